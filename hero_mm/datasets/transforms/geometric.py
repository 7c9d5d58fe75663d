"""Change the pixels and the boxes of a clip together.

Shape legend: K queries, T sampled frames, M tracks, H height, W width. Boxes
are xyxy in pixels of the current frames, ``(x2, y2)`` exclusive.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Optional

import cv2
import numpy as np
from mmcv.transforms.utils import cache_randomness

from hero_mm.errors import UserError
from hero_mm.registry import TRANSFORMS

from .base import Transform

# Boxes and which of them are true.
# Boxes that a crop may cut, and those that it never does.
_OTHERS = (
    ('track_bboxes', 'track_valid'),
    ('proposal_bboxes', 'proposal_valid'),
)
_BOXES = (('gt_bboxes', 'gt_valid'), *_OTHERS)


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
class ResizeClip(Transform):
    """Resize all frames of a clip.

    Required key: ``imgs``. Changed keys: ``imgs``, ``img_shape``,
    ``gt_bboxes``, ``track_bboxes``.

    Args:
        scale (tuple[int, int], optional): (width, height); the largest size
            with ``keep_ratio``, else the exact one.
        short_side (int, optional): Pixels of the shorter side, instead of
            ``scale``; keeps the ratio.
        max_long (int, optional): Most pixels of the longer side, with
            ``short_side``.
        keep_ratio (bool): With ``scale``, whether to keep the aspect ratio.
            Defaults to True.
    """

    def __init__(
        self,
        scale: Optional[tuple[int, int]] = None,
        short_side: Optional[int] = None,
        max_long: Optional[int] = None,
        keep_ratio: bool = True,
    ) -> None:
        if (scale is None) == (short_side is None):
            raise UserError(
                'give either scale=(width, height) or short_side, got '
                f'scale={scale}, short_side={short_side}'
            )
        if scale is not None and (len(scale) != 2 or min(scale) < 1):
            raise UserError(f'scale must be (width, height), got {scale}')
        self.scale = scale
        self.short_side = short_side
        self.max_long = max_long
        self.keep_ratio = keep_ratio

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


SWAP_WORDS = {
    'left': 'right',
    'leftmost': 'rightmost',
    'leftward': 'rightward',
    'leftwards': 'rightwards',
    'lefthand': 'righthand',
    'lefthanded': 'righthanded',
    'leftside': 'rightside',
    'clockwise': 'counterclockwise',
    'cw': 'ccw',
}
# Other spellings of a word that changes.
_SPELLINGS = (
    (r'(?:counter|anti)[\s_-]?clock-?wise', 'counterclockwise'),
    (r'clock-wise', 'clockwise'),
)
# After these, *left* and *right* are sides whatever follows: *on the right
# next to the door*, *turns right before the door*.
_SIDE_AFTER = re.compile(
    r'\b(?:the|an?|his|her|its|their|my|your|on|to|from|at|far|top|bottom|'
    r'upper|lower|front|back|slightly|(?:left|right)\s(?:and|or|to)|turn\w*|'
    r'fac(?:es?|ed|ing)|lean\w*|tilt\w*|'
    r'mov(?:es?|ed|ing)|shift\w*|slid\w*|veer\w*|swerv\w*|bend\w*)[\s_-]+$',
    re.IGNORECASE,
)
# *Right next to* is *close to*; *right in* is none where it is no phrase.
_EMPHASIS = re.compile(
    r'right[\s_-]+(?:next|behind|beside|above|below|beneath|under(?:neath)?|'
    r'before|after|away|now|then|here|there|at|by|near|up|down|over|into|'
    r'through|across|past|along|around|against|between|outside|inside|off|'
    r'where|when|while|as|in\s(?:front|between|the\smiddle)|'
    r'on\s(?:top|time))\b',
    re.IGNORECASE,
)
# Correct, whatever stands before it.
_CORRECT = re.compile(
    r'right[\s-]+(?:of[\s-]way|way|answer|moment|time|order|thing|'
    r'angled?|angles|triangles?|side[\s-]up)\b',
    re.IGNORECASE,
)
_FINE = re.compile(r'\ball[\s-]$', re.IGNORECASE)
# *He left the room*, but not *moves left a bit*.
_LEAVES = re.compile(
    r'left\s+(?:the|an?(?!\s(?:little|bit|few|lot))|his|her|hers|its|it|him|'
    r'their|them|some|this|that|behind|alone|over|open|out|unattended|empty|'
    r'standing|lying|there|here)\b',
    re.IGNORECASE,
)
_LEFT_BY = re.compile(
    r'\b(?:he|she|it|they|who|has|have|had|having|never|just|already|'
    r'nothing|anything|something)\s$',
    re.IGNORECASE,
)


def _is_side(match: re.Match) -> bool:
    """Whether *left* or *right* is a side, and not *correct* or *gone*."""
    text, word = match.string, match.group().lower()
    before, after = text[: match.start()], text[match.start() :]
    if word == 'right':
        tag = before.rstrip().endswith(',') and after[5:].strip() == '?'
        if tag or _FINE.search(before) or _CORRECT.match(after):
            return False
        return not _EMPHASIS.match(after) or bool(_SIDE_AFTER.search(before))
    if word == 'left' and not _SIDE_AFTER.search(before):
        of_it = re.match(r'left[\s_-]of\b', after, re.IGNORECASE)
        gone = _LEAVES.match(after) or _LEFT_BY.search(before)
        return bool(of_it or not gone)
    return True


class WordSwapper:
    """Swap words in a sentence, both ways, and keep their case.

    Only whole words change; an underscore parts words, so that predicates
    such as ``move_left`` change too. *Left* and *right* change where they
    are sides: not in *right next to*, *all right* and *he left the room*.

    Args:
        pairs (Mapping[str, str]): Lower-case word to its counterpart.
    """

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self._other = {**pairs, **{b: a for a, b in pairs.items()}}
        words = [
            *(form for form, word in _SPELLINGS if word in self._other),
            *map(re.escape, sorted(self._other, key=len)[::-1]),
        ]
        self._pattern = re.compile(
            rf'(?<![^\W_])(?:{"|".join(words)})(?![^\W_])', re.IGNORECASE
        )

    def __call__(self, text: str) -> str:
        """Swap the words of a sentence or a predicate."""
        if not self._other:
            return text
        return self._pattern.sub(self._swap, text)

    def _swap(self, match: re.Match) -> str:
        word = match.group()
        if not _is_side(match):
            return word
        usual = word.lower()
        if usual not in self._other:
            usual = next(
                name for form, name in _SPELLINGS if re.fullmatch(form, usual)
            )
        other = self._other[usual]
        if word.isupper():
            return other.upper()
        return other.capitalize() if word[0].isupper() else other


@TRANSFORMS.register_module()
class RandomFlipClip(Transform):
    """Mirror a clip left to right, and what its sentences say about sides.

    Required key: ``imgs``. Changed keys: ``imgs``, ``flip``, ``gt_bboxes``,
    ``track_bboxes``, text and predicate of ``queries``, ``negative_texts``,
    and what may be true: ``video_predicates``, ``track_predicates`` and those
    of the tracks of ``video_info``.

    Args:
        prob (float): Chance of the flip. Defaults to 0.5.
        swap_words (dict[str, str], optional): Words that change places, both
            ways. Defaults to None: left and right with their kin, and
            clockwise in all spellings.
    """

    def __init__(
        self, prob: float = 0.5, swap_words: Optional[dict[str, str]] = None
    ) -> None:
        if not 0 <= prob <= 1:
            raise UserError(f'prob must be in [0, 1], got {prob}')
        self.prob = prob
        self.swap = WordSwapper(
            SWAP_WORDS if swap_words is None else swap_words
        )

    def transform(self, results: dict) -> dict:
        """Flip or not."""
        if not self._chosen():
            return results
        width = results['img_shape'][1]
        results['imgs'] = results['imgs'][:, :, ::-1]
        results['flip'] = not results.get('flip', False)
        _change_boxes(results, lambda boxes: _mirror(boxes, width))
        if 'queries' in results:
            results['queries'] = [
                self._swap_query(q) for q in results['queries']
            ]
        if 'negative_texts' in results:
            results['negative_texts'] = [
                [self.swap(text) for text in texts]
                for texts in results['negative_texts']
            ]
        self._swap_predicates(results)
        return results

    def _swap_predicates(self, results: dict) -> None:
        """Mirror what may be true of the video and of its objects."""
        if 'video_predicates' in results:
            results['video_predicates'] = sorted(
                map(self.swap, results['video_predicates'])
            )
        if 'track_predicates' in results:
            results['track_predicates'] = [
                sorted(map(self.swap, names))
                for names in results['track_predicates']
            ]
        if 'video_info' in results:
            # Tubes may be loaded after the flip.
            video = results['video_info']
            tracks = {
                name: replace(
                    track, predicates=tuple(map(self.swap, track.predicates))
                )
                for name, track in video.tracks.items()
            }
            results['video_info'] = replace(video, tracks=tracks)

    def _swap_query(self, query: dict) -> dict:
        changed = {
            key: self.swap(query[key])
            for key in ('text', 'predicate')
            if key in query
        }
        return {**query, **changed}

    @cache_randomness
    def _chosen(self) -> bool:
        return bool(np.random.rand() < self.prob)


def _mirror(boxes: np.ndarray, width: int) -> np.ndarray:
    mirrored = boxes.copy()
    mirrored[..., [0, 2]] = width - boxes[..., [2, 0]]
    return mirrored


@TRANSFORMS.register_module()
class RandomTubeCrop(Transform):
    """Cut out a random part of all frames that holds every true box.

    Required keys: ``imgs``, ``gt_bboxes``, ``gt_valid``. Changed keys:
    ``imgs``, ``img_shape``, ``crop_box``, ``gt_bboxes``, ``track_bboxes``,
    ``track_valid`` and those of proposals: other objects are cut, and are
    not valid where nothing is left of them.

    Args:
        prob (float): Chance of the crop. Defaults to 0.5.
        min_scale (float): Least share of width and height that stays.
            Defaults to 0.5.
    """

    def __init__(self, prob: float = 0.5, min_scale: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise UserError(f'prob must be in [0, 1], got {prob}')
        if not 0 < min_scale <= 1:
            raise UserError(f'min_scale must be in (0, 1], got {min_scale}')
        self.prob = prob
        self.min_scale = min_scale

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

    @cache_randomness
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
