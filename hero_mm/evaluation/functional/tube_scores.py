"""Scores of predicted tubes: temporal overlap, tube overlap, accuracy.

Plain numpy; :class:`hero_mm.evaluation.TubeMetric` wraps it for MMEngine.

Shape legend: Q queries. Boxes are xyxy; spans are
half-open ``[start, end)`` in native frames.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

import numpy as np

from hero_mm.errors import UserError, UserTypeError

from .boxes import FloatArray
from .overlaps import Overlaps, tube_overlaps
from .protocols import Protocol, get_protocol
from .tubes import (
    TrueTube,
    Tube,
    means_by_type,
    read_ground_truth,
    read_prediction,
)

THRESHOLDS = (0.3, 0.5)
# A mean of overlaps that are all 0.4 is 0.39999999999999997 of some lengths.
# The published code of VID-sentence adds 1e-10 inside its box overlap, and so
# passes them.
ACCURACY_SLACK = 1e-9
_NAMED = 5
_NOTHING: dict[str, Any] = dict(span=(0.0, 0.0), boxes={})


@dataclass(frozen=True)
class TubeScores:
    """Scores of every query, before they are averaged.

    Attributes:
        protocol (Protocol): How they were scored.
        query_ids (list[str]): In the order of the ground truths.
        query_types (list[str, optional]): Their types.
        tiou (np.ndarray): Temporal overlap, has shape (Q,).
        viou (np.ndarray): Tube overlap, has shape (Q,).
        gt_viou (np.ndarray): Mean box overlap in the true span, whatever
            span was predicted, has shape (Q,).
        missing (list[str]): Queries without a prediction; they score 0.
        unknown (list[str]): Predictions without a ground truth; ignored.
        ungraded (list[str]): Queries without a true box on a frame that the
            protocol grades; they score 0.
        boxless (list[str]): Queries whose prediction has no box on some
            graded frame, where it scores 0.
        elsewhere (list[str]): Queries whose predicted span, or boxes, are
            wholly outside the segment.
    """

    protocol: Protocol
    query_ids: list[str]
    query_types: list[Optional[str]]
    tiou: FloatArray
    viou: FloatArray
    gt_viou: FloatArray
    missing: list[str]
    unknown: list[str]
    ungraded: list[str] = field(default_factory=list)
    boxless: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def records(self) -> dict[str, dict[str, float]]:
        """``tiou``, ``viou`` and ``gt_viou`` by query id."""
        rows = zip(self.query_ids, self.tiou, self.viou, self.gt_viou)
        return {
            query_id: dict(
                tiou=float(tiou), viou=float(viou), gt_viou=float(gt_viou)
            )
            for query_id, tiou, viou, gt_viou in rows
        }

    def summary(self) -> dict[str, float]:
        """Mean scores by key of the protocol, and by sentence type."""
        return means_by_type(self.columns(), self.query_types)

    def columns(self) -> dict[str, FloatArray]:
        """What is averaged, (Q,) by key; ``vIoU@R``, ``acc@R`` are 0 or 1."""
        if self.protocol.accuracies:
            result = {}
            for value in self.protocol.accuracies:
                passed = self.gt_viou >= value - ACCURACY_SLACK
                result[f'acc@{value}'] = passed.astype(np.float64)
            return dict(result, acc_avg=np.mean(list(result.values()), axis=0))
        result = dict(m_tIoU=self.tiou)
        for name, scores in (('', self.viou), ('gt_', self.gt_viou)):
            result[f'{name}m_vIoU'] = scores
            for value in THRESHOLDS:
                passed = scores > value
                result[f'{name}vIoU@{value}'] = passed.astype(np.float64)
        return result


def evaluate_tubes(
    ground_truths: Mapping[str, Mapping[str, Any]],
    predictions: Mapping[str, Mapping[str, Any]],
    protocol: str = 'tubedetr',
    strict: bool = False,
    per_query: bool = False,
    dataset: Optional[str] = None,
    interpolate: Optional[bool] = None,
) -> dict[str, Any]:
    """Score predicted tubes.

    Args:
        ground_truths (Mapping): By query id: ``span`` and ``segment``,
            ``[start, end)`` in native frames; ``boxes`` ``{frame: [x1, y1,
            x2, y2]}`` in pixels (or a pair of arrays); ``fps``;
            ``query_type``.
        predictions (Mapping): By query id: ``span`` and ``boxes``.
        protocol (str): One of :data:`~.protocols.PROTOCOLS`.
        strict (bool): Refuse missing and unknown queries. Otherwise a
            missing prediction scores 0, an unknown one is ignored, and a
            warning counts them.
        per_query (bool): Add the scores of each query as ``'per_query'``.
        dataset (str, optional): Name of the data set, for protocols that
            read data sets differently.
        interpolate (bool, optional): Whether to fill frames without a
            predicted box from their neighbours. Defaults to what the
            protocol does.

    Returns:
        dict: ``m_tIoU``, ``m_vIoU``, ``vIoU@0.3``, ``vIoU@0.5``,
        ``gt_m_vIoU``, ``gt_vIoU@0.3``, ``gt_vIoU@0.5`` in [0, 1] (with
        ``vid_sentence``: ``acc@0.4``, ``acc@0.5``, ``acc@0.6``,
        ``acc_avg``), over all queries and, prefixed with
        ``'declarative/'`` and ``'interrogative/'``, over those of a type.

    Raises:
        ValueError: If there is no ground truth, an entry is malformed (the
            message names the query), the protocol is unknown, or, with
            ``strict``, queries are missing or unknown.
        TypeError: If the truths or the predictions are no mappings.

    Examples:
        >>> truth = dict(span=[0, 2], segment=[0, 3], fps=5,
        ...              boxes={0: [0, 0, 4, 4], 1: [0, 0, 4, 4]})
        >>> guess = dict(span=[0, 1], boxes={0: [0, 0, 4, 2]})
        >>> scores = evaluate_tubes({'a': truth}, {'a': guess})
        >>> scores['m_tIoU'], scores['m_vIoU'], scores['gt_m_vIoU']
        (0.5, 0.25, 0.25)
    """
    scores = score_tubes(
        ground_truths, predictions, protocol, strict, dataset, interpolate
    )
    result: dict[str, Any] = dict(scores.summary())
    if per_query:
        result['per_query'] = scores.records()
    return result


def score_tubes(
    ground_truths: Mapping[str, Mapping[str, Any]],
    predictions: Mapping[str, Mapping[str, Any]],
    protocol: str = 'tubedetr',
    strict: bool = False,
    dataset: Optional[str] = None,
    interpolate: Optional[bool] = None,
) -> TubeScores:
    """Score each query, as :func:`evaluate_tubes` does, without averaging."""
    chosen = get_protocol(protocol, dataset, interpolate)
    for items, name in (
        (ground_truths, 'ground truths'),
        (predictions, 'predictions'),
    ):
        if not isinstance(items, Mapping):
            raise UserTypeError(
                f'The {name} must be a mapping from query id to a dict, '
                f'found {type(items).__name__}.'
            )
    if not ground_truths:
        raise UserError('There is no ground truth: give at least one query.')
    # A set, since a lazy mapping makes the item to say whether it has it.
    known = set(ground_truths)
    missing = [key for key in ground_truths if key not in predictions]
    unknown = [key for key in predictions if key not in known]
    _report_strangers(missing, unknown, len(ground_truths), strict)
    rows: dict[str, Overlaps] = {}
    query_types, elsewhere = [], []
    for query_id, item in ground_truths.items():
        truth = read_ground_truth(query_id, item)
        if chosen.grid == 'sampled' and not (truth.fps or 0) > 0:
            raise UserError(
                f'ground truth of query {query_id!r}: protocol '
                f'{chosen.name!r} needs a positive fps, found {truth.fps}.'
            )
        query_types.append(truth.query_type)
        given = predictions.get(query_id, _NOTHING)
        prediction = read_prediction(query_id, given)
        rows[query_id] = tube_overlaps(chosen, truth, prediction)
        if given is not _NOTHING and _is_elsewhere(prediction, truth):
            elsewhere.append(query_id)
    there = {key: row for key, row in rows.items() if key in predictions}
    table = np.array([row[:3] for row in rows.values()], dtype=np.float64)
    scores = TubeScores(
        protocol=chosen,
        query_ids=list(ground_truths),
        query_types=query_types,
        tiou=table[:, 0],
        viou=table[:, 1],
        gt_viou=table[:, 2],
        missing=missing,
        unknown=unknown,
        ungraded=[key for key, row in rows.items() if not row.graded],
        boxless=[key for key, row in there.items() if row.boxless],
        elsewhere=elsewhere,
    )
    _report_doubts(scores, there)
    return scores


def _is_elsewhere(prediction: Tube, truth: TrueTube) -> bool:
    """Whether a prediction has nothing to do with the searched segment."""
    start, end = truth.segment
    (first, last), frames = prediction.span, prediction.frames
    no_box = len(frames) and (frames[-1] < start or frames[0] >= end)
    return bool(last <= start or first >= end or no_box)


def _report_doubts(scores: TubeScores, there: Mapping[str, Overlaps]) -> None:
    """Warn of scores that say little of the model."""
    doubts = []
    total, name = len(scores.query_ids), scores.protocol.name
    if scores.ungraded:
        doubts.append(
            f'{len(scores.ungraded)} of {total} queries have no true box on a '
            f'frame that protocol {name!r} grades '
            f'({name_some(scores.ungraded)}); they score 0 whatever is '
            f'predicted.'
        )
    if scores.boxless:
        without = sum(row.boxless for row in there.values())
        inside = sum(row.boxless_inside for row in there.values())
        doubts.append(
            f'{len(scores.boxless)} of {len(there)} predictions have no box '
            f'on some of the frames that protocol {name!r} grades '
            f'({name_some(scores.boxless)}): {without} of '
            f'{sum(row.graded for row in there.values())} frames, {inside} '
            f'of them inside predicted spans, which score 0. Predict a box '
            f'on every native frame, or on those of the grid '
            f'(docs/metrics.md, section 2). Or are query ids counted another '
            f'way?'
        )
    if scores.elsewhere:
        doubts.append(
            f'{len(scores.elsewhere)} of {len(there)} predictions have their '
            f'span or their boxes outside the segment that is searched '
            f'({name_some(scores.elsewhere)}). Are query ids, or frames, '
            f'counted another way? Predictions that carry "video" and "text" '
            f'are compared with the annotation.'
        )
    for doubt in doubts:
        warnings.warn(doubt, stacklevel=4)


def _report_strangers(
    missing: list[str], unknown: list[str], total: int, strict: bool
) -> None:
    lines = []
    if missing:
        lines.append(
            f'{len(missing)} of {total} queries have no prediction '
            f'({name_some(missing)})'
        )
    if unknown:
        lines.append(
            f'{len(unknown)} predictions belong to no query of the '
            f'annotation ({name_some(unknown)})'
        )
    if lines and strict:
        raise UserError(
            f'{"; ".join(lines)}. Predict every query, or score without '
            f'strict to count missing ones as 0.'
        )
    if lines:
        warnings.warn(
            f'{"; ".join(lines)}. Missing ones score 0, unknown ones are '
            f'ignored.',
            stacklevel=4,
        )


def name_some(names: list[str]) -> str:
    """The first few names, in quotes."""
    shown = ', '.join(repr(name) for name in names[:_NAMED])
    return shown + (', ...' if len(names) > _NAMED else '')
