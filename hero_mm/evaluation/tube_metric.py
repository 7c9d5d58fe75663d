"""MMEngine's metric around the plain scoring functions.

Shape legend: K queries of a clip, T sampled frames, F native frames of the
segment. Boxes are xyxy in pixels of the original video; spans and segments
are half-open ``[start, end)`` in native frames.
"""

import logging
import os
import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.evaluator import DumpResults as MMDumpResults
from mmengine.logging import print_log

from hero_mm.errors import UserError
from hero_mm.files import replacing
from hero_mm.registry import METRICS

from .functional import (
    format_scores,
    get_protocol,
    interpolate_boxes,
    score_tubes,
)
from .functional.tubes import read_prediction
from .prediction_file import (
    BOX_DECIMALS,
    FACTS,
    SPAN_DECIMALS,
    dump_predictions,
)


@METRICS.register_module()
class TubeMetric(BaseMetric):
    """Scores of tubes by a named protocol.

    The true tubes come from the annotation file, with a box on every native
    frame. Predictions are made dense in the same way: linear between sampled
    frames, held at the ends of the segment. So every protocol can score the
    same predictions.

    Args:
        protocol (str): One of
            :data:`hero_mm.evaluation.functional.PROTOCOLS`.
        ann_file (str, optional): Annotation file. Defaults to the one that
            the data set names in its ``metainfo['ann_file']``.
        dataset (str, optional): Of data sets that are tested together
            (``ConcatDataset``), the one that is scored here, by the name that
            its annotation gives it. Defaults to None, all.
        backend_args (dict, optional): Arguments of the MMEngine storage
            backend of the annotation. Defaults to None, the local disk.
        dump (str, optional): Write the predictions to this ``.json`` file
            (see :mod:`hero_mm.evaluation.prediction_file`).
        checkpoint (str, optional): What predicts, for those who read what is
            dumped: kept there, relative to the file.
        **kwargs: Those of MMEngine's ``BaseMetric``: ``collect_device``,
            ``collect_dir``, and ``prefix`` of the names (``'tube'``).

    Examples:
        >>> val_evaluator = [
        ...     dict(type='TubeMetric', dataset='vidstg', prefix='vidstg'),
        ...     dict(type='TubeMetric', dataset='hcstvg', prefix='hcstvg',
        ...          protocol='hcstvg')]
    """

    default_prefix = 'tube'

    def __init__(
        self,
        protocol: str = 'tubedetr',
        ann_file: Optional[str] = None,
        dataset: Optional[str] = None,
        backend_args: Optional[dict] = None,
        dump: Optional[str] = None,
        checkpoint: Optional[str] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        get_protocol(protocol)
        if dump is not None and Path(dump).suffix != '.json':
            raise UserError(
                f'TubeMetric: dump must be the path of a .json file, found '
                f'{dump!r}.'
            )
        self.protocol = protocol
        self.ann_file = ann_file
        self.dataset = dataset
        self.backend_args = backend_args
        self.dump = dump
        self.checkpoint = checkpoint
        self._annotations: Any = None

    def process(
        self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]
    ) -> None:
        """Keep the predictions of a batch, one result a clip.

        Samples, or what their ``to_dict`` gives, have ``queries``,
        ``pred_queries``, ``frame_inds`` and ``segment``; a ValueError names
        the query whose prediction is missing, malformed or not finite.
        """
        # One result a clip: MMEngine cuts the gathered list to the number of
        # clips of the data set.
        self.results.extend(map(_read_sample, data_samples))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores in [0, 1], as :func:`hero_mm.evaluation.evaluate_tubes`."""
        truths, metainfo, prefix = self._load_truths()
        predictions: dict[str, dict[str, Any]] = {}
        duplicates = 0
        for clip in results:
            for name, item in clip['queries'].items():
                query_id = name.removeprefix(prefix)
                if not name.startswith(prefix):
                    continue
                if query_id in predictions:
                    duplicates += 1
                else:
                    predictions[query_id] = _densify(item, clip)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            scores = score_tubes(
                truths,
                predictions,
                self.protocol,
                dataset=metainfo.get('dataset'),
            )
        for warning in caught:
            print_log(
                f'TubeMetric: {warning.message}', 'current', logging.WARNING
            )
        print_log(
            f'{format_scores(scores)}\n{duplicates} queries were predicted '
            f'more than once (first kept)',
            'current',
        )
        if self.dump is not None:
            kept = {key: metainfo[key] for key in FACTS if key in metainfo}
            if self.checkpoint is not None:
                folder = os.path.dirname(os.path.abspath(self.dump))
                kept['checkpoint'] = os.path.relpath(self.checkpoint, folder)
            dump_predictions(self.dump, predictions, kept)
            print_log(f'Predictions written to {self.dump}', 'current')
        return scores.summary()

    def _load_truths(self) -> tuple[Mapping[str, Any], dict[str, Any], str]:
        """The true tubes that the data set serves, and facts of their files.

        Videos that are broken are served, and score 0. And what stands before
        the ids of its file in those of a result: the number of its data set,
        where one of several is scored.
        """
        meta = self.dataset_meta or {}
        path, served = self.ann_file, None
        if path is None:
            path, served = meta.get('ann_file'), meta.get('served')
        if path is None:
            raise UserError(
                'TubeMetric: no annotation file. The data set names none '
                'in metainfo["ann_file"]; set ann_file in the config of '
                'the metric.'
            )
        several = isinstance(path, list)
        paths = path if several else [path]
        parts: Any = (served if several else [served]) or [None] * len(paths)
        if self._annotations is None:
            # Not at the top: data sets import decoders.
            from hero_mm.datasets.annotation import load_annotation

            self._annotations = [
                load_annotation(one, self.backend_args) for one in paths
            ]
        names = [one.metainfo.get('dataset') for one in self._annotations]
        if self.dataset is not None and names.count(self.dataset) != 1:
            raise UserError(
                f'TubeMetric: dataset={self.dataset!r} must be one of the '
                f'data sets that are tested, and those are called {names} '
                f'(metainfo.dataset of their annotation files).'
            )
        truths: Any = {}
        prefix, facts = '', []
        for number, annotation in enumerate(self._annotations):
            if self.dataset not in (None, names[number]):
                continue
            facts.append(annotation.metainfo)
            own = f'{number}/' if several else ''
            if self.dataset is not None:
                # Scored alone, by the ids of its file.
                prefix, own = own, ''
            whole, part = annotation.ground_truths(), parts[number]
            if not own and part is None:
                # The only one: each truth is made when it is asked for.
                truths = whole
                continue
            for query in whole if part is None else part:
                truths[own + query] = whole[query]
        common = [
            (key, value)
            for key, value in facts[0].items()
            if all(fact.get(key) == value for fact in facts)
        ]
        return truths, dict(common), prefix


def _read_sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    video_id = sample.get('video_id')
    for key in ('queries', 'pred_queries', 'frame_inds', 'segment'):
        if sample.get(key) is None:
            raise UserError(
                f'TubeMetric: the data sample of video {video_id!r} has no '
                f'{key!r}. The model must return samples with pred_queries, '
                f'and PackGroundingInputs must keep frame_inds and segment.'
            )
    predicted = sample['pred_queries']
    query_ids = list(sample['queries']['query_ids'])
    texts = sample['queries'].get('texts')
    frames_T = _to_numpy(sample['frame_inds']).astype(np.int64)
    spans_K2 = _to_numpy(predicted['spans']).astype(np.float64)
    boxes_KT4 = _to_numpy(predicted['bboxes']).astype(np.float32)
    scores_K = predicted.get('span_scores')
    if scores_K is not None:
        scores_K = _to_numpy(scores_K).astype(np.float64)
    queries = {}
    for row, query_id in enumerate(query_ids):
        item = dict(
            span=spans_K2[row].round(SPAN_DECIMALS).tolist(),
            boxes=(frames_T, boxes_KT4[row]),
        )
        read_prediction(query_id, item)
        if video_id is not None and texts is not None:
            item.update(video=video_id, text=texts[row])
        if scores_K is not None:
            item['score'] = float(scores_K[row])
        queries[query_id] = item
    return dict(queries=queries, segment=tuple(map(int, sample['segment'])))


def _densify(item: dict[str, Any], clip: dict[str, Any]) -> dict[str, Any]:
    """Give the prediction a box on each native frame of its segment.

    Rounded as in the prediction file, which then scores exactly the same.
    """
    frames_T, boxes_T4 = item['boxes']
    frames_F = np.arange(*clip['segment'], dtype=np.int64)
    boxes_F4 = interpolate_boxes(frames_T, boxes_T4, frames_F)
    return dict(item, boxes=(frames_F, boxes_F4.round(BOX_DECIMALS)))


def _to_numpy(value: Any) -> np.ndarray:
    if hasattr(value, 'detach'):
        # bfloat16 has no numpy type.
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    return np.asarray(value)


@METRICS.register_module()
class DumpResults(MMDumpResults):
    """MMEngine's dump of all that a model gave, written as a whole."""

    def compute_metrics(self, results: list) -> dict:
        """Write the file, or raise a :class:`WriteError`."""
        path = self.out_file_path
        with replacing(path) as part, open(part, 'wb') as file:
            pickle.dump(results, file)
        print_log(f'all that the model gave: {path}', logger='current')
        return {}
