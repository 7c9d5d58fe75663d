"""What is drawn of one query: its true and its predicted tube on a clip.

Shape legend: K queries of the clip, T sampled frames. Boxes are xyxy in
pixels of the original video. Spans and segments are half-open
``[start, end)`` in native frame numbers.
"""

from dataclasses import dataclass, replace
from typing import Any, Optional

import numpy as np

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
        query_id (str): Id of the query, part of file names.
        note (str): A short line under the sentence, such as scores.
        pred_span (tuple[float, float], optional): Predicted span.
        pred_bboxes (np.ndarray, optional): Predicted boxes, has shape (T, 4).
        score (float, optional): Score of the predicted span.
        gt_span (tuple[float, float], optional): True span.
        gt_bboxes (np.ndarray, optional): True boxes, has shape (T, 4).
        gt_valid (np.ndarray, optional): True where there is a true box, has
            shape (T,).
        action (np.ndarray, optional): Action consistency in [0, 1], has
            shape (T,).
        frame_edges (np.ndarray, optional): Seconds at which native frames
            begin; see :class:`GroundingDataSample`.
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
    """A tensor, list or array as an array on the CPU."""
    if hasattr(value, 'detach'):
        value = value.detach().float().cpu()
    return np.asarray(value)


def _span(value: Any) -> Span:
    start, end = _array(value).tolist()
    return float(start), float(end)


def _gt_fields(sample: GroundingDataSample) -> list[dict]:
    gt = sample.gt_queries
    bboxes = to_original(_array(gt.bboxes), sample)
    valid = _array(gt.valid).astype(bool)
    return [
        dict(gt_span=_span(span), gt_bboxes=bboxes[k], gt_valid=valid[k])
        for k, span in enumerate(gt.spans)
    ]


def _pred_fields(sample: GroundingDataSample) -> list[dict]:
    pred = sample.pred_queries
    bboxes = _array(pred.bboxes)
    fields = [
        dict(pred_span=_span(span), pred_bboxes=bboxes[k])
        for k, span in enumerate(pred.spans)
    ]
    if 'span_scores' in pred:
        for field, score in zip(fields, _array(pred.span_scores)):
            field['score'] = float(score)
    if 'action_consistency' in pred:
        for field, action in zip(fields, _array(pred.action_consistency)):
            field['action'] = action
    for field, window in zip(fields, pred.get('windows', ())):
        field['segment'] = _span(window)
    return fields


def views_from_sample(
    sample: GroundingDataSample, draw_gt: bool = True, draw_pred: bool = True
) -> list[TubeView]:
    """Take what is drawn from a sample, one view a query.

    Args:
        sample (GroundingDataSample): With ``queries``, and ``gt_queries`` or
            ``pred_queries`` or both.
        draw_gt (bool): Take the true tubes, where the sample has them.
        draw_pred (bool): Take the predicted tubes, where it has them.

    Returns:
        list[TubeView]: K views.
    """
    queries = sample.queries
    fields: list[dict] = [{} for _ in queries.texts]
    if draw_gt and '_gt_queries' in sample:
        fields = [{**a, **b} for a, b in zip(fields, _gt_fields(sample))]
    if draw_pred and '_pred_queries' in sample:
        fields = [{**a, **b} for a, b in zip(fields, _pred_fields(sample))]
    ids = queries.get('query_ids', [str(k) for k in range(len(fields))])
    return [
        TubeView(
            text=text,
            query_id=str(query_id),
            frame_inds=_array(sample.frame_inds).astype(np.int64),
            # Of a long video, what was seen around the tube.
            segment=field.pop('segment', _span(sample.segment)),
            fps=float(sample.fps),
            frame_edges=sample.get('frame_edges'),
            **field,
        )
        for text, query_id, field in zip(queries.texts, ids, fields)
    ]


def _interpolate(
    values: Optional[np.ndarray], old: np.ndarray, new: np.ndarray
) -> Optional[np.ndarray]:
    """Linear between the old frames, held at the ends."""
    if values is None:
        return None
    flat = values.reshape(len(old), -1)
    columns = [np.interp(new, old, column) for column in flat.T]
    return np.stack(columns, axis=-1).reshape(len(new), *values.shape[1:])


def stretch_view(view: TubeView, aspect: float) -> TubeView:
    """A view whose boxes are as wide as its pixels are displayed."""
    if aspect == 1:
        return view
    scale = np.array([aspect, 1.0, aspect, 1.0])
    pred, true = view.pred_bboxes, view.gt_bboxes
    return replace(
        view,
        pred_bboxes=None if pred is None else np.asarray(pred) * scale,
        gt_bboxes=None if true is None else np.asarray(true) * scale,
    )


def resample_view(view: TubeView, frames: np.ndarray) -> TubeView:
    """Move a view to other frames of the same clip.

    Boxes and action consistency are linear between the frames of the view
    and held at the ends; a true box is shown where the nearest frame of the
    view has one.

    Args:
        view (TubeView): With T frames.
        frames (np.ndarray): Native frame numbers, strictly increasing, has
            shape (N,).

    Returns:
        TubeView: With N frames.
    """
    old, new = view.frame_inds, np.asarray(frames, dtype=np.int64)
    valid = view.gt_valid
    if valid is not None:
        nearest = np.abs(new[:, None] - old[None]).argmin(axis=1)
        valid = valid[nearest]
    return replace(
        view,
        frame_inds=new,
        pred_bboxes=_interpolate(view.pred_bboxes, old, new),
        gt_bboxes=_interpolate(view.gt_bboxes, old, new),
        gt_valid=valid,
        action=_interpolate(view.action, old, new),
    )


def _spread(indices: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of the indices, evenly spread, ends included."""
    if len(indices) <= count:
        return indices
    places = np.linspace(0, len(indices) - 1, count).round().astype(int)
    return indices[places]


def choose_sheet_indices(view: TubeView, count: int = 8) -> list[int]:
    """Pick frames that tell the story: half of them inside the span.

    Examples:
        >>> view = TubeView('x', np.arange(20), (0, 20), 10.0,
        ...                 pred_span=(10, 12))
        >>> choose_sheet_indices(view, 4)
        [0, 10, 11, 19]
    """
    span = view.gt_span or view.pred_span or view.segment
    frames = view.frame_inds
    inside = (frames >= span[0]) & (frames < span[1])
    every = np.arange(len(frames))
    picked_in = _spread(every[inside], (count + 1) // 2)
    picked_out = _spread(every[~inside], count - len(picked_in))
    picked_in = _spread(every[inside], count - len(picked_out))
    return sorted(int(i) for i in np.concatenate([picked_in, picked_out]))
