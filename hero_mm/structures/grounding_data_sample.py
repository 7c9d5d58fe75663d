"""The data sample of a clip: its queries, their true and predicted tubes.

Shape legend: K queries of the clip, T sampled frames, M tracks of the clip.
Boxes are xyxy. Spans are half-open ``[start, end)`` in native frame numbers.
"""

from typing import Any, Optional, TypeVar

import numpy as np
import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

Boxes = TypeVar('Boxes', np.ndarray, Tensor)


def _instances(name: str, doc: str) -> property:
    """A field of :class:`InstanceData`, as MMEngine wants such a property."""
    private = f'_{name}'

    def put(self: BaseDataElement, value: Optional[InstanceData]) -> None:
        self.set_field(value, private, dtype=InstanceData)

    return property(
        lambda self: getattr(self, private),
        put,
        lambda self: delattr(self, private),
        f'InstanceData: {doc}',
    )


class GroundingDataSample(BaseDataElement):
    """One clip with K >= 1 queries.

    Meta information (``metainfo``):

    - ``video_id`` (str), ``video_path`` (str)
    - ``frame_inds`` (np.ndarray): Native numbers of the sampled frames, int64,
      strictly increasing, has shape (T,).
    - ``segment`` (tuple[int, int]): The searched part, ``[start, end)``.
    - ``fps`` (float), ``frame_count`` (int): Of the whole video.
    - ``frame_edges`` (np.ndarray, optional): Seconds at which each of its
      frames begins and the last one ends, has shape (frame_count + 1,).
      Without it frame n begins at ``n / fps``.
    - ``ori_shape`` (tuple[int, int]): (height, width) of the video.
    - ``img_shape`` (tuple[int, int]): (height, width) given to the model,
      before padding.
    - ``crop_box`` (tuple[float, ...]): The part of the original frame that
      was kept, xyxy in original pixels; the whole frame without a crop.
    - ``flip`` (bool): The clip was mirrored left to right, after the crop.
    - ``tracks_complete`` (bool): ``gt_tracks`` has every object of the data
      set's kind wherever it is visible. Where it is False or absent, what no
      track covers is unknown: it may be an object that nobody annotated.
    - ``video_predicates`` (list[str]): Sorted; all predicates that may be true
      at any time in the video, of any object. Like ``tracks_complete`` it is
      truth, and only there beside ``gt_queries``.

    Data fields, all :class:`mmengine.structures.InstanceData` of length K
    (``gt_tracks``: M):

    - ``queries``: ``texts`` (list[str]), ``query_ids`` (list[str]),
      ``query_types`` (list[str]), ``predicates`` and ``categories``
      (list[str], '' where nobody annotated one), and in training optionally
      ``negative_texts`` (list[list[str]]).
    - ``gt_queries``: ``spans`` (K, 2) float, native frames; ``bboxes``
      (K, T, 4), in pixels of the input; ``valid`` (K, T), True where the
      target has a box and the frame lies inside the span; ``track_index``
      (K,) int64 of numpy, the place of the target in ``gt_tracks``, -1 where
      tracks are not loaded.
    - ``gt_tracks``: ``bboxes`` (M, T, 4), in pixels of the input; ``valid``
      (M, T), for every annotated object, inside the span or not;
      ``predicates`` (list[list[str]]), those that may be true of the object
      at any time in the video; empty where nobody annotated any;
      ``categories`` (list[str]).
    - ``proposals``, of length T: ``bboxes`` (T, K, 4), in pixels of the
      input; ``scores`` (T, K); ``valid`` (T, K), where a generator has read
      them from files.
    - ``pred_queries``: ``spans`` (K, 2) native frames; ``bboxes`` (K, T, 4),
      in pixels of the original video; ``scores`` (K, T); ``span_scores``
      (K,); ``action_consistency`` (K, T), in [0, 1]; ``presence`` (K,), in
      [0, 1]: that the clip shows what the sentence says, which compares from
      clip to clip.
    """

    queries = _instances('queries', 'The sentences of the clip.')
    gt_queries = _instances('gt_queries', 'The true tubes, one a query.')
    gt_tracks = _instances('gt_tracks', 'The boxes of all annotated objects.')
    proposals = _instances('proposals', 'Proposals of each frame.')
    pred_queries = _instances('pred_queries', 'The tubes, one a query.')

    def __getstate__(self) -> dict[str, Any]:
        """Send small tensors as bytes between processes.

        A tensor in shared memory costs the receiver a file descriptor.
        """
        return {
            name: _Packed(value) if isinstance(value, InstanceData) else value
            for name, value in self.__dict__.items()
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            if isinstance(value, _Packed):
                value = value.unpack()
            self.__dict__[name] = value


class _Packed:
    """Instances whose tensors are arrays, where an array can hold them."""

    def __init__(self, instances: InstanceData) -> None:
        self.metainfo = instances.metainfo
        self.fields = dict(instances.items())
        self.tensors = [
            name
            for name, value in self.fields.items()
            if isinstance(value, Tensor)
            and value.device.type == 'cpu'
            and value.dtype != torch.bfloat16
            and not value.requires_grad
        ]
        for name in self.tensors:
            self.fields[name] = self.fields[name].numpy()

    def unpack(self) -> InstanceData:
        """The instances, with tensors again."""
        for name in self.tensors:
            self.fields[name] = torch.from_numpy(self.fields[name])
        return InstanceData(metainfo=self.metainfo, **self.fields)


def to_original(boxes: Boxes, sample: GroundingDataSample) -> Boxes:
    """Map boxes from pixels of the input to those of the original video.

    They are xyxy, (..., 4), and cut to the picture. The sample has
    ``ori_shape`` and ``img_shape``, and ``crop_box`` and ``flip`` where the
    clip was changed so.
    """
    ori_height, ori_width = sample.ori_shape
    height, width = sample.img_shape
    whole = (0.0, 0.0, float(ori_width), float(ori_height))
    x1, y1, x2, y2 = sample.get('crop_box') or whole
    moved = boxes * 1.0  # A copy.
    if sample.get('flip', False):
        moved[..., [0, 2]] = width - moved[..., [2, 0]]
    x = moved[..., 0::2] * ((x2 - x1) / width) + x1
    y = moved[..., 1::2] * ((y2 - y1) / height) + y1
    moved[..., 0::2] = x.clip(0, ori_width)
    moved[..., 1::2] = y.clip(0, ori_height)
    return moved
