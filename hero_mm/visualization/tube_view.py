"""What is drawn of one query: its true and its predicted tube on a clip.

Shape legend: K queries of the clip, T sampled frames. Boxes are xyxy in
pixels of the original video. Spans and segments are half-open
``[start, end)`` in native frame numbers.
"""

from dataclasses import dataclass, replace
from typing import Any, Optional

import numpy as np

from hero_mm.evaluation.functional import interpolate_boxes
from hero_mm.structures import GroundingDataSample, to_original

Span = tuple[float, float]


@dataclass(frozen=True)
class TubeView:
    """The tube of one query, as plain arrays ready to be drawn.

    Args:
        text (str): The sentence.
        frame_inds (np.ndarray): Native numbers of the frames, strictly
            increasing, has shape (T,).
        segment (tuple[float, float]): The searched part, ``[start, end)``.
        fps (float): Native frames a second.
        query_id, note (str): Part of file names; a line under the sentence.
        pred_span, gt_span (tuple[float, float], optional): The spans.
        pred_bboxes, gt_bboxes (np.ndarray, optional): Boxes, have shape
            (T, 4); the true ones stand where ``gt_valid`` (T,) is true.
        score (float, optional): Score of the predicted span.
        action (np.ndarray, optional): Action consistency in [0, 1], has
            shape (T,).
        frame_edges (np.ndarray, optional): Seconds at which native frames
            begin; see :class:`GroundingDataSample`.
        pixel_aspect (float): Width of a pixel of the frames in its heights;
            they are drawn as they are displayed. Defaults to 1.
    """

    text: str
    frame_inds: np.ndarray
    segment: Span
    fps: float
    query_id: str = ''
    note: str = ''
    pred_span: Optional[Span] = None
    pred_bboxes: Optional[np.ndarray] = None
    score: Optional[float] = None
    gt_span: Optional[Span] = None
    gt_bboxes: Optional[np.ndarray] = None
    gt_valid: Optional[np.ndarray] = None
    action: Optional[np.ndarray] = None
    frame_edges: Optional[np.ndarray] = None
    pixel_aspect: float = 1.0

    def seconds(self, frame: float) -> float:
        """When a native frame is shown, in seconds from the first one on."""
        if self.frame_edges is None:
            return frame / self.fps
        numbers = np.arange(len(self.frame_edges))
        return float(np.interp(frame, numbers, self.frame_edges))

    def __len__(self) -> int:
        return len(self.frame_inds)

    def pred_box(self, index: int) -> Optional[np.ndarray]:
        """The predicted box on a frame, None outside the predicted span."""
        if self.pred_bboxes is None or self.pred_span is None:
            return None
        frame = self.frame_inds[index]
        inside = self.pred_span[0] <= frame < self.pred_span[1]
        return self.pred_bboxes[index] if inside else None

    def gt_box(self, index: int) -> Optional[np.ndarray]:
        """The true box on a frame, None where the target is not marked."""
        if self.gt_bboxes is None or self.gt_valid is None:
            return None
        return self.gt_bboxes[index] if self.gt_valid[index] else None


def _array(value: Any) -> np.ndarray:
    if hasattr(value, 'detach'):
        value = value.detach().float().cpu()
    return np.asarray(value)


def _span(value: Any) -> Span:
    start, end = _array(value).tolist()
    return float(start), float(end)


def views_from_sample(sample: GroundingDataSample) -> list[TubeView]:
    """K views of a sample with ``queries``, one a query.

    True tubes are those of ``gt_queries``, predicted ones of
    ``pred_queries``, where the sample has them.
    """
    texts = sample.queries.texts
    ids = sample.queries.get('query_ids', range(len(texts)))
    true, found = sample.get('gt_queries'), sample.get('pred_queries')
    views = []
    for k, (text, query_id) in enumerate(zip(texts, ids)):
        fields: dict[str, Any] = dict(segment=_span(sample.segment))
        if true is not None:
            fields['gt_span'] = _span(true.spans[k])
            fields['gt_bboxes'] = to_original(_array(true.bboxes[k]), sample)
            fields['gt_valid'] = _array(true.valid[k]).astype(bool)
        if found is not None:
            fields['pred_span'] = _span(found.spans[k])
            fields['pred_bboxes'] = _array(found.bboxes[k])
            if 'span_scores' in found:
                fields['score'] = float(found.span_scores[k])
            if 'action_consistency' in found:
                fields['action'] = _array(found.action_consistency[k])
            # Of a long video, what was seen around the tube.
            if 'windows' in found:
                fields['segment'] = _span(found.windows[k])
        view = TubeView(
            text=text,
            query_id=str(query_id),
            frame_inds=_array(sample.frame_inds).astype(np.int64),
            fps=float(sample.fps),
            frame_edges=sample.get('frame_edges'),
            **fields,
        )
        views.append(view)
    return views


def resample_view(view: TubeView, frames: np.ndarray) -> TubeView:
    """Move a view to other frames (N,) of the same clip.

    Boxes and action consistency are linear between the frames of the view
    and held at the ends; a true box is shown where the nearest frame of the
    view has one.
    """
    old, new = view.frame_inds, np.asarray(frames, dtype=np.int64)
    changed: dict[str, Any] = {
        name: interpolate_boxes(old, getattr(view, name), new)
        for name in ('pred_bboxes', 'gt_bboxes')
        if getattr(view, name) is not None
    }
    if view.gt_valid is not None:
        nearest = np.abs(new[:, None] - old[None]).argmin(axis=1)
        changed['gt_valid'] = view.gt_valid[nearest]
    if view.action is not None:
        changed['action'] = np.interp(new, old, view.action)
    return replace(view, frame_inds=new, **changed)


def _spread(indices: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of the indices, evenly spread, ends included."""
    places = np.linspace(0, len(indices) - 1, min(count, len(indices)))
    return indices[places.round().astype(int)]


def choose_sheet_indices(view: TubeView, count: int = 8) -> list[int]:
    """Pick frames that tell the story: half of them inside the span.

    Examples:
        >>> view = TubeView('x', np.arange(20), (0, 20), 10.0,
        ...                 pred_span=(10, 12))
        >>> choose_sheet_indices(view, 4)
        [0, 10, 11, 19]
    """
    start, end = view.gt_span or view.pred_span or view.segment
    inside = (view.frame_inds >= start) & (view.frame_inds < end)
    within, beside = np.flatnonzero(inside), np.flatnonzero(~inside)
    least = min(len(within), (count + 1) // 2)
    beside = _spread(beside, count - least)
    within = _spread(within, count - len(beside))
    return sorted(np.concatenate([within, beside]).tolist())
