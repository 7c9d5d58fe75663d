"""Turn the result dictionary into what the model takes.

Shape legend: K queries, T sampled frames, M tracks, H height, W width.
"""

from dataclasses import dataclass

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData

from hero_mm.registry import TRANSFORMS
from hero_mm.structures import GroundingDataSample

META_KEYS = (
    'video_id',
    'video_path',
    'frame_inds',
    'segment',
    'fps',
    'frame_edges',
    'frame_count',
    'ori_shape',
    'img_shape',
    'crop_box',
    'flip',
    'tracks_complete',
    'video_predicates',
    'spans_known',
)
# Truth, packed only beside the true tubes.
_TRUTH = ('tracks_complete', 'video_predicates', 'spans_known')


@TRANSFORMS.register_module()
@dataclass(eq=False)
class PackGroundingInputs(BaseTransform):
    """Pack a clip and its queries.

    Required key: ``imgs``. Ground truth, queries and meta information are
    packed as far as they are there, so that a clip without truth works;
    ``tracks_complete`` and ``video_predicates`` only beside the true tubes.
    """

    def transform(self, results: dict) -> dict:
        """Gives ``inputs``, uint8 RGB of shape (T, 3, H, W), and
        ``data_samples``, a :class:`GroundingDataSample`.
        """
        # Channels stay last in memory, as convolutions like them best.
        imgs = np.ascontiguousarray(results['imgs']).transpose(0, 3, 1, 2)
        sample = GroundingDataSample(
            metainfo={
                key: results[key]
                for key in META_KEYS
                if key in results
                and (key not in _TRUTH or 'gt_spans' in results)
            }
        )
        if 'queries' in results:
            sample.queries = _pack_queries(results)
        if 'gt_spans' in results:
            sample.gt_queries = InstanceData(
                spans=_tensor(results['gt_spans']),
                bboxes=_tensor(results['gt_bboxes']),
                valid=_tensor(results['gt_valid']),
                track_index=results['track_index'],
            )
            sample.gt_tracks = InstanceData(
                bboxes=_tensor(results['track_bboxes']),
                valid=_tensor(results['track_valid']),
                predicates=results['track_predicates'],
                categories=results['track_categories'],
            )
        if 'proposal_bboxes' in results:
            sample.proposals = InstanceData(
                bboxes=_tensor(results['proposal_bboxes']),
                scores=_tensor(results['proposal_scores']),
                valid=_tensor(results['proposal_valid']),
            )
        return dict(inputs=torch.from_numpy(imgs), data_samples=sample)


def _pack_queries(results: dict) -> InstanceData:
    queries = results['queries']
    texts = [query['text'] for query in queries]
    guesses = [
        'interrogative' if text.rstrip().endswith('?') else 'declarative'
        for text in texts
    ]
    packed = InstanceData(
        texts=texts,
        query_ids=[
            query.get('query_id', str(place))
            for place, query in enumerate(queries)
        ],
        query_types=[
            query.get('type', guess) for query, guess in zip(queries, guesses)
        ],
        predicates=[query.get('predicate', '') for query in queries],
        categories=[query.get('category', '') for query in queries],
    )
    if 'negative_texts' in results:
        packed.negative_texts = results['negative_texts']
    return packed


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
