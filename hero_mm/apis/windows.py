"""Search a long video: windows at the rate that a model knows, in order.

A video of any length is decoded once, from the start. What is held are the
frames of one window and the few best tubes of each sentence.

Shape legend: K sentences, T frames of a window, N frames of a tube. Boxes are
xyxy in pixels of the video; spans, segments and windows are half-open
``[start, end)`` in native frames.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count as count_up
from itertools import takewhile
from typing import Any, Optional

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.structures import InstanceData

from hero_mm.datasets.picture_reader import PictureReader
from hero_mm.datasets.transforms.formatting import META_KEYS
from hero_mm.datasets.transforms.loading import DecodeFrames
from hero_mm.datasets.transforms.sampling import SampleClipFrames
from hero_mm.datasets.video_reader import VideoError, VideoReader
from hero_mm.errors import UserError
from hero_mm.evaluation.functional import interpolate_boxes, paired_box_iou
from hero_mm.structures import GroundingDataSample

SAME = 0.5
"""Tubes of two windows that agree so well on what both see are one."""
SPARE = 4
"""So many times the tubes that are asked for are kept while it goes."""
LONG = 2.0
"""A video of more windows than this is searched in windows by itself."""


def window_seconds(cfg: Config, pipeline: Compose) -> Optional[float]:
    """How long the clips are that a model knows, as far as its config says.

    By ``window``, in seconds; without it, by a sampler of a fixed rate.
    """
    seconds = cfg.get('window')
    if seconds is not None:
        return check_seconds(seconds)
    for step in pipeline.transforms:
        if isinstance(step, SampleClipFrames) and step.fps and step.max_frames:
            return step.max_frames / step.fps
    return None


def check_seconds(value: Any) -> float:
    """A window that was given, in seconds; ValueError where it is none."""
    if isinstance(value, (int, float)) and math.isfinite(value) and value >= 0:
        return float(value)
    raise UserError(
        f'window must be a number of seconds, or 0 for none, got {value!r}'
    )


@dataclass(frozen=True)
class Grid:
    """The frames that are looked at, one every ``step`` native frames.

    ``start`` is the first native frame of what is searched, ``length`` the
    frames T of a window; ``shift`` is the place of a frame in its step: 0.5
    is its middle.
    """

    start: int
    step: float
    length: int
    shift: float

    @classmethod
    def of(
        cls, sampler: SampleClipFrames, fps: float, seconds: float, start: int
    ) -> 'Grid':
        """As a sampler would choose them in a clip of so many seconds."""
        native = seconds * fps
        if sampler.mode == 'fps':
            step, shift = max(fps / (sampler.fps or fps), 1.0), 0.0
        else:
            step, shift = max(native / (sampler.num_frames or 1), 1.0), 0.5
        length = max(round(native / step), 1)
        most = sampler.max_frames or sampler.num_frames or length
        return cls(start, step, min(length, most), shift)

    def rank(self, index: int) -> int:
        """The native frame of a place in the grid."""
        place = (index + self.shift) * self.step
        # With shift 0: the first frame whose own place has come.
        whole = math.floor(place) if self.shift else math.ceil(place - 1e-9)
        return self.start + whole

    def edge(self, index: int) -> int:
        """The native frame at which the part of a place begins."""
        if not self.shift:
            return self.rank(index)
        return self.start + round(index * self.step)

    def ranks(self, end: Optional[int] = None) -> Iterator[int]:
        """Native frames in order, below ``end`` where there is one."""
        ranks = map(self.rank, count_up())
        return takewhile(lambda rank: end is None or rank < end, ranks)


@dataclass(frozen=True, eq=False)
class Window:
    """Frames of a part of a video, the ``segment``.

    ``frames_T`` are native numbers, int64; ``images`` T pictures, RGB uint8.
    """

    segment: tuple[int, int]
    frames_T: np.ndarray
    images: list[np.ndarray]

    def through(
        self, pipeline: Compose, facts: dict[str, Any], size: tuple[int, int]
    ) -> dict[str, Any]:
        """What a pipeline makes of it, with ``size`` (width, height)."""
        results = dict(
            facts, segment=self.segment, frame_inds=self.frames_T.copy()
        )
        for step in pipeline.transforms:
            if isinstance(step, DecodeFrames):
                images = np.stack(self.images)
                results = step.pack(results, images, size[::-1])
            elif not isinstance(step, SampleClipFrames):
                results = step(results)
        return results


def cut_windows(
    frames: Iterable[tuple[int, np.ndarray]],
    grid: Grid,
    find_end: Callable[[], int],
) -> Iterator[Window]:
    """Cut numbered frames of the grid into windows; the last one is as long.

    Half of a window is seen again by the next one. ``find_end`` gives one
    past the last native frame, and is asked when all frames have come.
    """
    held: deque[tuple[int, np.ndarray]] = deque(maxlen=grid.length)
    hop = max(1, round(grid.length / 2))

    def window(start: int, end: int) -> Window:
        ranks, images = zip(*held)
        return Window((start, end), np.array(ranks, np.int64), list(images))

    seen = 0
    for frame in frames:
        fresh = seen - grid.length
        if fresh >= 0 and fresh % hop == 0:
            yield window(grid.edge(fresh), grid.edge(seen))
        held.append(frame)
        seen += 1
    if held:
        yield window(grid.edge(seen - len(held)), find_end())


@dataclass(frozen=True, eq=False)
class Found:
    """A tube of one sentence, and its score: that it is what that says.

    ``window`` is what was seen around it. Of each native frame that was
    looked at (``frames_N``, int64) there is a box and an action consistency.
    """

    span: tuple[float, float]
    score: float
    window: tuple[int, int]
    frames_N: np.ndarray
    boxes_N4: np.ndarray
    action_N: np.ndarray

    def inside(self, frames: np.ndarray) -> np.ndarray:
        """Which frames lie in the span."""
        return (frames >= self.span[0]) & (frames < self.span[1])


def read_found(sample: GroundingDataSample) -> list[Found]:
    """The K tubes of a window, of a sample with ``pred_queries``.

    Their ``presence`` is the score; where a model does not give it, it is
    that of the span.
    """
    pred = sample.pred_queries
    frames = np.asarray(sample.frame_inds, dtype=np.int64)
    start, end = map(int, sample.segment)
    scores = pred.get('presence', pred.span_scores).tolist()
    actions = pred.get('action_consistency', pred.scores)
    arrays = (v.float().cpu().numpy() for v in (pred.bboxes, actions))
    return [
        Found((first, last), score, (start, end), frames, boxes, action)
        for (first, last), score, boxes, action in zip(
            pred.spans.tolist(), scores, *arrays
        )
    ]


def agreement(first: Found, second: Found) -> float:
    """Overlap (vIoU) of two tubes on the frames that both windows saw.

    The sum of the overlaps of boxes where both spans are, by the number of
    frames where one is; 0 where neither is.
    """
    frames, a, b = np.intersect1d(
        first.frames_N, second.frames_N, True, return_indices=True
    )
    one, two = first.inside(frames), second.inside(frames)
    if not (one | two).any():
        return 0.0
    both = one & two
    overlaps = paired_box_iou(
        first.boxes_N4[a][both], second.boxes_N4[b][both]
    )
    return float(overlaps.sum() / (one | two).sum())


def join(first: Found, second: Found, step: float) -> Found:
    """One tube of two that agree, of the higher score; the first begins first.

    A window that ends within a tube did not see its end: there the other one
    is asked. What both saw is taken from the one of higher score. ``step``
    is the number of native frames between two that are looked at.
    """
    best = first if first.score >= second.score else second
    starts_cut = second.span[0] - second.window[0] < step
    ends_cut = first.window[1] - first.span[1] < step
    start = (first if starts_cut else best).span[0]
    end = (second if ends_cut else best).span[1]
    if not (starts_cut or ends_cut) or end <= start:
        return best
    # Boxes of the middle of what both saw are those of one, then the other.
    border = (second.window[0] + first.window[1]) / 2
    if first.window[1] >= second.window[1]:
        border = second.window[1]
    mine = first.frames_N < border
    theirs = second.frames_N >= border
    window = first.window[0], max(first.window[1], second.window[1])
    arrays = (
        np.concatenate([getattr(first, k)[mine], getattr(second, k)[theirs]])
        for k in ('frames_N', 'boxes_N4', 'action_N')
    )
    return Found((start, end), best.score, window, *arrays)


class BestTubes:
    """The best tubes of one sentence so far, ``number`` of them.

    ``step`` is the number of native frames between two that are looked at.
    """

    def __init__(self, number: int, step: float) -> None:
        self.number = number
        self.step = step
        self._kept: list[Found] = []

    def add(self, found: Found) -> bool:
        """Take the tube of the next window; says if the best ones change.

        It is joined with those that it agrees with by :data:`SAME` or more on
        the frames that both windows saw; so no event stands there twice.
        """
        before, begun = self.best(), found.window[0]
        for other in list(self._kept):
            if other.window[1] > begun and agreement(other, found) >= SAME:
                self._kept.remove(other)
                found = join(other, found, self.step)
        self._kept.append(found)
        # What the next window may still continue is kept in any case.
        self._kept.sort(key=lambda one: (-one.score, one.span))
        self._kept = [
            one
            for place, one in enumerate(self._kept)
            if place < SPARE * self.number or one.window[1] > begun
        ]
        return self.best() != before

    def best(self) -> list[Found]:
        """The best tubes, the best one first; at most as many as asked."""
        return self._kept[: self.number]


def as_sample(
    texts: Sequence[str], found: Sequence[Found], facts: dict[str, Any]
) -> GroundingDataSample:
    """Tubes of K sentences about one video as a sample, as a clip gives it.

    Its frames are those of all tubes; ``windows`` (K, 2) is what was seen
    around each tube.
    """
    frames = np.unique(np.concatenate([one.frames_N for one in found]))
    meta = {key: facts[key] for key in META_KEYS if key in facts}
    sample = GroundingDataSample(metainfo=dict(meta, frame_inds=frames))
    boxes = [
        interpolate_boxes(one.frames_N, one.boxes_N4, frames) for one in found
    ]
    action = [np.interp(frames, one.frames_N, one.action_N) for one in found]
    sample.queries = InstanceData(texts=list(texts))
    sample.pred_queries = InstanceData(
        spans=np.array([one.span for one in found]),
        bboxes=np.stack(boxes),
        span_scores=np.array([one.score for one in found]),
        action_consistency=np.stack(action),
        windows=np.array([one.window for one in found]),
    )
    return sample


@dataclass(frozen=True, eq=False)
class Progress:
    """How far a search is, and whether that is all (``final``).

    ``best`` are the tubes of each sentence, ``changed`` the sentences whose
    best ones changed. ``facts`` are those of the video, ``segment`` in them is
    what was searched so far.
    """

    best: list[BestTubes]
    changed: list[int]
    facts: dict[str, Any]
    final: bool


def search(
    reader: VideoReader,
    answer: Callable[[dict[str, Any]], GroundingDataSample],
    pipeline: Compose,
    facts: dict[str, Any],
    seconds: float,
    count: int,
    number: int = 1,
) -> Iterator[Progress]:
    """Search a video, window by window, in one pass over its frames.

    Args:
        reader (VideoReader): The video.
        answer (Callable): From what the pipeline gives of a window to a
            sample with ``pred_queries``.
        pipeline (Compose): Chooses, decodes and packs frames.
        facts (dict): What the pipeline needs to know: ``video_path``, ``fps``
            and, where a part is searched, ``segment``.
        seconds (float): Length of a window.
        count (int): Number K of sentences.
        number (int): Tubes that are kept of each.

    Yields:
        Progress: After each window; the last one is final.
    """
    sampler, decoder = (
        next((s for s in pipeline.transforms if isinstance(s, kind)), None)
        for kind in (SampleClipFrames, DecodeFrames)
    )
    if sampler is None or decoder is None:
        raise UserError(
            'windows of a long video need a test pipeline with '
            'SampleClipFrames and DecodeFrames; give window=0 to look at the '
            'whole video at once'
        )
    start, end = facts.get('segment', (0, None))
    grid = Grid.of(sampler, facts['fps'], seconds, start)
    best = [BestTubes(number, grid.step) for _ in range(count)]
    frames = reader.stream(grid.ranks(end), decoder.max_side)

    def find_end() -> int:
        return reader.check_whole() if end is None else end

    so_far = None
    for window in cut_windows(frames, grid, find_end):
        found = read_found(
            answer(window.through(pipeline, facts, reader.size))
        )
        changed = [k for k, tubes in enumerate(best) if tubes.add(found[k])]
        so_far = dict(
            facts,
            segment=(start, window.segment[1]),
            frame_count=window.segment[1],
            ori_shape=reader.size[::-1],
        )
        yield Progress(best, changed, so_far, False)
    if so_far is None:
        raise VideoError(reader.path, 'no frame can be decoded')
    whole = dict(so_far, frame_count=reader.frame_count)
    if 'frame_edges' not in whole and not isinstance(reader, PictureReader):
        whole['frame_edges'] = reader.edges
    yield Progress(best, list(range(count)), whole, True)
