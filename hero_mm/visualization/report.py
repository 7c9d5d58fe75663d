"""Gather what a report of predictions shows, and write it.

Where a prediction fails, beside another; scores, curves, cases. The page is
made in :mod:`hero_mm.visualization.report_page`.

Shape legend: Q queries, T frames of a segment. Boxes are xyxy in pixels of the
video.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np

from hero_mm.datasets.annotation import GroundingAnnotation
from hero_mm.datasets.query_traits import QueryTraits, query_traits
from hero_mm.evaluation import (
    OtherTracks,
    score_tubes,
    selection_report,
    split_errors,
)
from hero_mm.evaluation.analysis import (
    ErrorSplit,
    boxes_as_arrays,
    item_differences,
    ranked_by,
    standard_groupings,
)
from hero_mm.evaluation.functional import (
    TubeScores,
    boxes_to_arrays,
    interpolate_boxes,
)
from hero_mm.files import write_text
from hero_mm.texts import csv_text

from .charts import histogram
from .render import draw_from_video
from .report_page import render_html
from .report_tables import (
    Table,
    breakdown_table,
    comparison_tables,
    error_table,
    oracle_table,
    ranked_name,
    right_table,
    score_table,
    selection_table,
    text_table,
)
from .training_log import TrainingLog
from .tube_view import TubeView
from .video_writer import PathLike

Predictions = Mapping[str, Mapping[str, Any]]


@dataclass
class Case:
    """One query that is shown.

    ``video`` is its path, '' where it is not to be drawn; ``files`` are the
    sheet and the mp4, relative to the report, ``error`` says why there are
    none.
    """

    view: TubeView
    video: str = ''
    files: list[str] = field(default_factory=list)
    error: str = ''


@dataclass
class Report:
    """Everything that the page shows.

    Facts are short texts by name, tables and cases stand by heading, charts
    are SVG by file name (empty ones are not shown), ``items`` is the text of
    ``items.csv``.
    """

    title: str
    facts: dict[str, str]
    sections: dict[str, list[Table]]
    charts: dict[str, str]
    cases: dict[str, list[Case]]
    items: str

    @property
    def tables(self) -> list[Table]:
        """list[Table]: Those of all sections."""
        return [table for part in self.sections.values() for table in part]


def choose_cases(
    scores: TubeScores, video_of: Mapping[str, str], count: int
) -> tuple[list[str], list[str]]:
    """The best and the worst queries, each of another video, none twice."""
    order = np.lexsort((scores.gt_viou, scores.tiou, ranked_by(scores)))
    ranked = [scores.query_ids[place] for place in order]

    def pick(ids: Sequence[str]) -> list[str]:
        # The first one of each video.
        first = {video_of[query_id]: query_id for query_id in reversed(ids)}
        return [q for q in ids if first[video_of[q]] == q][:count]

    best = pick(ranked[::-1])
    return best, pick([q for q in ranked if q not in best])


def case_view(
    annotation: GroundingAnnotation,
    query: Mapping[str, Any],
    clip: Mapping[str, Any],
    prediction: Optional[Mapping[str, Any]],
    note: str = '',
) -> TubeView:
    """The true and the predicted tube of a query, on all native frames.

    Predicted boxes are linear between those given and held at the ends.
    """
    video = annotation.videos[clip['video_id']]
    frames = np.arange(*clip['segment'], dtype=np.int64)
    predicted: dict[str, Any] = {}
    if prediction is not None:
        predicted['pred_span'] = tuple(map(float, prediction['span']))
        predicted['score'] = prediction.get('score')
        given = boxes_to_arrays(prediction['boxes'], 'prediction')
        if len(given[0]):
            predicted['pred_bboxes'] = interpolate_boxes(*given, frames)
    gt_boxes, valid = video.track_boxes(query['track_id'], frames)
    start, end = query['span']
    return TubeView(
        text=query['text'],
        query_id=query['query_id'],
        note=note,
        frame_inds=frames,
        segment=tuple(clip['segment']),
        fps=video.fps,
        gt_span=(float(start), float(end)),
        gt_bboxes=gt_boxes,
        gt_valid=valid & (frames >= start) & (frames < end),
        **predicted,
    )


def make_cases(
    annotation: GroundingAnnotation,
    predictions: Predictions,
    scores: TubeScores,
    video_dir: Optional[PathLike],
    count: int,
) -> dict[str, list[Case]]:
    """Choose the cases and say what to draw of them."""
    places = {
        query['query_id']: (clip, query)
        for clip in annotation.data_list
        for query in clip['queries']
    }
    video_of = {key: clip['video_id'] for key, (clip, _) in places.items()}
    records = scores.records()

    def case_of(query_id: str) -> Case:
        clip, query = places[query_id]
        record = records[query_id]
        note = (
            f'{query["type"]}, vIoU {record["viou"]:.2f}, '
            f'tIoU {record["tiou"]:.2f}, '
            f'box IoU in the true span {record["gt_viou"]:.2f}'
        )
        prediction = predictions.get(query_id)
        view = case_view(annotation, query, clip, prediction, note)
        path = annotation.videos[clip['video_id']].path
        return Case(view, str(Path(video_dir, path)) if video_dir else '')

    headings = ('Best cases', 'Worst cases')
    chosen = choose_cases(scores, video_of, count)
    return {
        name: list(map(case_of, ids)) for name, ids in zip(headings, chosen)
    }


def data_name(annotation: GroundingAnnotation) -> str:
    """Data set and split of an annotation, ``'unnamed'`` without any."""
    parts = (annotation.metainfo.get(key) for key in ('dataset', 'split'))
    return ' '.join(str(part) for part in parts if part) or 'unnamed'


def write_report(report: Report, out_dir: PathLike) -> str:
    """Draw the cases; write ``index.html`` and what belongs to it.

    A case that cannot be drawn is reported on the page. Gives the tables and
    the path of the page, for a terminal.
    """
    folder = Path(out_dir)
    charts = {
        f'charts/{name}.svg': svg for name, svg in report.charts.items() if svg
    }
    # What was computed is written before anything is drawn.
    for name, text in {**charts, 'items.csv': report.items}.items():
        write_text(folder / name, text)
    for heading, cases in report.cases.items():
        kind = heading.split()[0].lower()
        for place, case in enumerate(cases):
            if not case.video:
                continue
            names = [f'{kind}_{place}_{case.view.query_id}']
            try:
                paths = draw_from_video(
                    case.video, [case.view], folder / 'cases', names
                )
                case.files = [f'cases/{Path(path).name}' for path in paths]
            except (OSError, ValueError) as error:
                case.error = str(error)
    write_text(folder / 'index.html', render_html(report))
    tables = [text_table(table) for table in report.tables]
    return '\n\n'.join([*tables, f'Report: {folder / "index.html"}'])


def build_analysis(
    title: str,
    annotation: GroundingAnnotation,
    predictions: Predictions,
    video_dir: Optional[PathLike] = None,
    other: Optional[tuple[str, Predictions]] = None,
    count: int = 4,
    log: Optional[TrainingLog] = None,
    oracles: Optional[Mapping[str, Mapping[str, float]]] = None,
    **how: Any,
) -> Report:
    """Gather a report of predictions; nothing is drawn or written yet.

    ``how`` are ``protocol``, ``strict`` and ``interpolate`` of
    :func:`hero_mm.evaluation.evaluate_tubes`, whose errors are raised. Without
    ``video_dir`` no case is drawn. ``other`` is a name and predictions to
    compare with, ``count`` how many of the best and of the worst cases are
    shown; ``oracles`` are scores of guesses by name.
    """
    # Read once: the boxes are scored several times.
    truths = boxes_as_arrays(annotation.ground_truths(), 'ground truth')
    predictions = boxes_as_arrays(predictions, 'prediction')
    how['dataset'] = annotation.metainfo.get('dataset')
    traits = query_traits(annotation)
    split = split_errors(truths, predictions, **how)
    scores, second = split.predicted, None
    picked = selection_report(truths, predictions, OtherTracks(annotation))
    by_type, *groupings = standard_groupings(traits)
    tables = [score_table(scores, by_type, title if other else '')]
    if oracles:
        tables.append(oracle_table(scores.summary(), oracles))
    sections = {
        'Scores': tables,
        'Time and space': [
            error_table(split),
            right_table(scores),
            selection_table(picked),
        ],
        'Groups of queries': [
            breakdown_table(scores, grouping) for grouping in groupings
        ],
    }
    if other is not None:
        second = score_tubes(truths, other[1], **how)
        tables.append(score_table(second, by_type, other[0]))
        sections[f'{title} and {other[0]}'] = comparison_tables(
            scores,
            second,
            traits.video_ids,
            [by_type, *groupings],
            (title, other[0]),
            traits.texts,
        )
    facts = {
        'data': data_name(annotation),
        'clips': str(len(annotation.data_list)),
        'queries': str(len(scores.query_ids)),
        'protocol': scores.protocol.label,
        'without a prediction': str(len(scores.missing)),
        'predictions of unknown queries': str(len(scores.unknown)),
    }
    log = log or TrainingLog()
    return Report(
        title,
        {**facts, **log.facts()},
        sections,
        {**log.charts(), **_charts(scores, second)},
        make_cases(annotation, predictions, scores, video_dir, count),
        items_csv(traits, split, second),
    )


def _charts(
    scores: TubeScores, second: Optional[TubeScores]
) -> dict[str, str]:
    by = f'protocol {scores.protocol.label}'
    charts = {
        name.lower(): histogram(
            getattr(scores, name.lower()), f'Queries by {name}, {by}', name
        )
        for name in ('vIoU', 'tIoU', 'gt_vIoU')
    }
    if second is not None:
        charts['difference'] = histogram(
            item_differences(scores, second),
            f'Queries by difference of {ranked_name(scores)}, {by}',
            'second minus first',
            bins=20,
            limits=(-1.0, 1.0),
        )
    return charts


def items_csv(
    traits: QueryTraits, split: ErrorSplit, second: Optional[TubeScores] = None
) -> str:
    """What is known and scored of every query, a line each."""
    scores = split.predicted
    columns: dict[str, Any] = {
        'query_id': traits.query_ids,
        'video_id': traits.video_ids,
        'type': traits.types,
        'category': traits.categories,
        'predicate': traits.predicates,
        'protocol': [scores.protocol.label] * len(traits),
        'span_seconds': traits.span_seconds,
        'video_seconds': traits.video_seconds,
        'area': traits.area,
        'tiou': scores.tiou,
        'viou': scores.viou,
        'gt_viou': scores.gt_viou,
        'viou_true_span': split.true_span.viou,
        'viou_true_boxes': split.true_boxes.viou,
    }
    if second is not None:
        for name in ('tiou', 'viou', 'gt_viou'):
            columns[f'other_{name}'] = getattr(second, name)
    missing = set(scores.missing)
    columns['has_prediction'] = [
        int(q not in missing) for q in scores.query_ids
    ]
    columns['text'] = traits.texts
    rows = [
        [float(f'{c:.6g}') if isinstance(c, float) else c for c in row]
        for row in zip(*columns.values())
    ]
    return csv_text([list(columns), *rows])
