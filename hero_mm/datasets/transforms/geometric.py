"""Change the pixels and the boxes of a clip together.

Shape legend: K queries, T sampled frames, M tracks, H height, W width. Boxes
are xyxy in pixels of the current frames, ``(x2, y2)`` exclusive.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from hero_mm.errors import UserError
from hero_mm.registry import TRANSFORMS

from ..sides import swap_sides
from .sampling import check_shares

# Boxes and which of them are valid: those that a crop may cut, and all.
_OTHERS = (
    ('track_bboxes', 'track_valid'),
    ('proposal_bboxes', 'proposal_valid'),
)
_BOXES = (('gt_bboxes', 'gt_valid'), *_OTHERS)
# What of a query names sides.
_SAID = ('text', 'predicate')
_LISTS: dict[str, Callable] = dict(
    negative_texts=list, track_predicates=sorted
)


def _change_boxes(
    results: dict, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Apply a change to all boxes; those that are not valid stay zeros."""
    for key, valid_key in _BOXES:
        if key in results:
            boxes = change(results[key]).astype(np.float32)
            boxes[~results[valid_key]] = 0
            results[key] = boxes


@TRANSFORMS.register_module()
@dataclass(eq=False)
class ResizeClip(BaseTransform):
    """Resize all frames of a clip (``imgs``, ``img_shape``) and all boxes.

    Args:
        scale (tuple[int, int], optional): (width, height); the largest size
            with ``keep_ratio``, else the exact one.
        short_side (int, optional): Pixels of the shorter side, instead of
            ``scale``; keeps the ratio.
        max_long (int, optional): Most pixels of the longer side, with
            ``short_side``.
        keep_ratio (bool): With ``scale``, whether to keep the aspect ratio.
    """

    scale: Optional[tuple[int, int]] = None
    short_side: Optional[int] = None
    max_long: Optional[int] = None
    keep_ratio: bool = True

    def __post_init__(self) -> None:
        if (self.scale is None) == (self.short_side is None):
            raise UserError(
                'give either scale=(width, height) or short_side, got '
                f'scale={self.scale}, short_side={self.short_side}'
            )
        if self.scale is not None and min(self.scale) < 1:
            raise UserError(f'scale must be (width, height), got {self.scale}')

    def _new_size(self, width: int, height: int) -> tuple[int, int]:
        if self.scale is not None and not self.keep_ratio:
            return int(self.scale[0]), int(self.scale[1])
        if self.scale is not None:
            factor = min(self.scale[0] / width, self.scale[1] / height)
        else:
            factor = (self.short_side or 1) / min(width, height)
            if self.max_long is not None:
                factor = min(factor, self.max_long / max(width, height))
        return max(1, round(width * factor)), max(1, round(height * factor))

    def transform(self, results: dict) -> dict:
        """Resize frames and boxes."""
        imgs = results['imgs']
        height, width = imgs.shape[1:3]
        size = self._new_size(width, height)
        if size == (width, height):
            return results
        smaller = size[0] < width
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        out = np.empty((len(imgs), size[1], size[0], 3), dtype=np.uint8)
        for source, target in zip(imgs, out):
            cv2.resize(
                np.ascontiguousarray(source),
                size,
                dst=target,
                interpolation=method,
            )
        factor = np.array([size[0] / width, size[1] / height] * 2)
        _change_boxes(results, lambda boxes: boxes * factor)
        results.update(imgs=out, img_shape=(size[1], size[0]))
        return results


@TRANSFORMS.register_module()
@dataclass(eq=False)
class RandomFlipClip(BaseTransform):
    """Mirror a clip left to right, and what its sentences say about sides.

    Stands after ``LoadTubes``. Changed keys: ``imgs``, ``flip``, all boxes,
    text and predicate of ``queries``, ``negative_texts``, and what may be
    true: ``video_predicates`` and ``track_predicates``.

    Args:
        prob (float): Chance of the flip.
    """

    prob: float = 0.5

    def __post_init__(self) -> None:
        check_shares(prob=self.prob)

    def transform(self, results: dict) -> dict:
        """Flip or not."""
        if np.random.rand() >= self.prob:
            return results
        width = results['img_shape'][1]
        results['imgs'] = results['imgs'][:, :, ::-1]
        results['flip'] = not results.get('flip', False)
        _change_boxes(results, lambda boxes: _mirror(boxes, width))
        if 'queries' in results:
            results['queries'] = [
                {
                    key: swap_sides(value) if value and key in _SAID else value
                    for key, value in query.items()
                }
                for query in results['queries']
            ]
        if 'video_predicates' in results:
            results['video_predicates'] = sorted(
                map(swap_sides, results['video_predicates'])
            )
        for key, order in _LISTS.items():
            if key in results:
                results[key] = [
                    order(map(swap_sides, texts)) for texts in results[key]
                ]
        return results


def _mirror(boxes: np.ndarray, width: int) -> np.ndarray:
    mirrored = boxes.copy()
    mirrored[..., [0, 2]] = width - boxes[..., [2, 0]]
    return mirrored


@TRANSFORMS.register_module()
@dataclass(eq=False)
class RandomTubeCrop(BaseTransform):
    """Cut out a random part of all frames that holds every true box.

    Changed keys: ``imgs``, ``img_shape``, ``crop_box`` and all boxes: other
    objects are cut, and are not valid where nothing is left of them.

    Args:
        prob (float): Chance of the crop.
        min_scale (float): Least share of width and height that stays.
    """

    prob: float = 0.5
    min_scale: float = 0.5

    def __post_init__(self) -> None:
        check_shares(prob=self.prob, min_scale=self.min_scale)

    def transform(self, results: dict) -> dict:
        """Crop or not."""
        true_N4 = results['gt_bboxes'][results['gt_valid']]
        crop = self._random_crop(results['img_shape'], true_N4)
        if crop is None:
            return results
        x1, y1, x2, y2 = crop
        results['crop_box'] = _crop_of_original(results, crop)
        results['imgs'] = results['imgs'][:, y1:y2, x1:x2]
        results['img_shape'] = (y2 - y1, x2 - x1)
        shift = np.array([x1, y1, x1, y1])
        high = np.array([x2 - x1, y2 - y1] * 2)
        for key, valid_key in _OTHERS:
            if key in results:
                boxes = np.clip(results[key] - shift, 0, high)
                left = (boxes[..., 2:] > boxes[..., :2]).all(-1)
                results[valid_key] = results[valid_key] & left
        _change_boxes(results, lambda boxes: np.clip(boxes - shift, 0, high))
        return results

    def _random_crop(
        self, shape: tuple[int, int], true_N4: np.ndarray
    ) -> Optional[tuple[int, int, int, int]]:
        """Whole pixels xyxy, or None for no crop."""
        if np.random.rand() >= self.prob:
            return None
        starts, ends = [], []
        for axis, length in enumerate((shape[1], shape[0])):
            low, high = length, 0
            if len(true_N4):
                low = max(0, int(np.floor(true_N4[:, axis].min())))
                high = min(length, int(np.ceil(true_N4[:, axis + 2].max())))
            least = max(high - low, int(np.ceil(self.min_scale * length)), 1)
            size = np.random.randint(least, length + 1)
            first = max(0, high - size)
            last = min(low, length - size)
            start = np.random.randint(first, last + 1)
            starts.append(int(start))
            ends.append(int(start + size))
        return starts[0], starts[1], ends[0], ends[1]


def _crop_of_original(
    results: dict, crop: tuple[int, int, int, int]
) -> tuple[float, float, float, float]:
    """The crop of the current frames, in pixels of the original ones."""
    left, top, right, bottom = results['crop_box']
    height, width = results['img_shape']
    x1, y1, x2, y2 = crop
    if results.get('flip', False):
        x1, x2 = width - x2, width - x1
    across, down = (right - left) / width, (bottom - top) / height
    return (
        left + x1 * across,
        top + y1 * down,
        left + x2 * across,
        top + y2 * down,
    )
