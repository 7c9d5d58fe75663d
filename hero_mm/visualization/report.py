"""Gather what a report of predictions shows, and write it.

Where a prediction fails, beside another; scores, curves, cases. The pages are
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
from hero_mm.evaluation.breakdown import Grouping, standard_groupings
from hero_mm.evaluation.comparison import item_differences, ranked_by
from hero_mm.evaluation.error_split import ErrorSplit, boxes_as_arrays
from hero_mm.evaluation.functional import (
    TubeScores,
    boxes_to_arrays,
    interpolate_boxes,
)
from hero_mm.files import write_text
from hero_mm.texts import csv_text

from .charts import histogram
from .render import draw_from_video
from .report_page import render_html, render_markdown
from .report_tables import (
    Table,
    breakdown_table,
    changed_table,
    comparison_tables,
    error_table,
    oracle_table,
    ranked_name,
    right_table,
    score_table,
    selection_table,
)
from .training_log import TrainingLog
from .tube_view import TubeView
from .video_writer import PathLike

Predictions = Mapping[str, Mapping[str, Any]]
ITEMS_FILE = 'items.csv'
_CHANGED = 10


@dataclass
class Case:
    """One query that is shown.

    Args:
        query_id (str): Its id.
        text (str): The sentence.
        note (str): Its scores, in words.
        video (str): Path of the video, '' where it is not to be drawn.
        view (TubeView): What is drawn.
        files (list[str]): The sheet and the mp4, relative to the report.
        error (str): Why it could not be drawn.
    """

    query_id: str
    text: str
    note: str
    video: str
    view: TubeView
    files: list[str] = field(default_factory=list)
    error: str = ''


@dataclass
class Report:
    """Everything that the pages show.

    Args:
        title (str): Name of the run.
        facts (dict[str, str]): Short texts by name.
        sections (dict[str, list[Table]]): Tables by heading.
        charts (dict[str, str]): SVG by file name; empty ones are left out.
        cases (dict[str, list[Case]]): By heading, best and worst.
        files (dict[str, str]): What lies beside the pages, by name.
    """

    title: str
    facts: dict[str, str]
    sections: dict[str, list[Table]]
    charts: dict[str, str] = field(default_factory=dict)
    cases: dict[str, list[Case]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.charts = {name: svg for name, svg in self.charts.items() if svg}

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

    def pick(ids: Sequence[str], taken: set[str], limit: int) -> list[str]:
        chosen: list[str] = []
        for query_id in ids:
            if len(chosen) < limit and video_of[query_id] not in taken:
                taken.add(video_of[query_id])
                chosen.append(query_id)
        return chosen

    best = pick(ranked[::-1], set(), count)
    rest = [query_id for query_id in ranked if query_id not in set(best)]
    return best, pick(rest, set(), min(count, len(rest)))


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
        known_N, boxes_N4 = boxes_to_arrays(
            prediction['boxes'], f'prediction of query {query["query_id"]!r}'
        )
        start, end = prediction['span']
        predicted = dict(
            pred_span=(float(start), float(end)), score=prediction.get('score')
        )
        if len(known_N):
            predicted['pred_bboxes'] = interpolate_boxes(
                known_N, boxes_N4, frames
            )
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
    predictions: Mapping[str, Mapping[str, Any]],
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
    cases: list[list[Case]] = []
    for chosen in choose_cases(scores, video_of, count):
        cases.append([])
        for query_id in chosen:
            clip, query = places[query_id]
            record = records[query_id]
            note = (
                f'{query["type"]}, vIoU {record["viou"]:.2f}, '
                f'tIoU {record["tiou"]:.2f}, '
                f'box IoU in the true span {record["gt_viou"]:.2f}'
            )
            view = case_view(
                annotation, query, clip, predictions.get(query_id), note
            )
            path = annotation.videos[clip['video_id']].path
            video = '' if video_dir is None else str(Path(video_dir) / path)
            cases[-1].append(Case(query_id, query['text'], note, video, view))
    return {'Best cases': cases[0], 'Worst cases': cases[1]}


def data_name(annotation: GroundingAnnotation) -> str:
    """Data set and split of an annotation, ``'unnamed'`` without any."""
    parts = (annotation.metainfo.get(key) for key in ('dataset', 'split'))
    return ' '.join(str(part) for part in parts if part) or 'unnamed'


def draw_cases(report: Report, out_dir: PathLike) -> None:
    """Draw a sheet and an mp4 of every case into ``out_dir/cases``.

    What cannot be drawn is reported on the page, and the others are drawn.
    """
    folder = Path(out_dir) / 'cases'
    for heading, cases in report.cases.items():
        kind = heading.split()[0].lower()
        for place, case in enumerate(cases):
            if not case.video:
                continue
            name = f'{kind}_{place}_{case.query_id}'
            try:
                paths = draw_from_video(
                    case.video, [case.view], folder, [name]
                )
            except (OSError, ValueError) as error:
                case.error = str(error)
                continue
            case.files = [f'cases/{Path(path).name}' for path in paths]


def write_report(report: Report, out_dir: PathLike) -> list[Path]:
    """Draw the cases and write ``index.html``, ``report.md`` and the rest.

    Returns:
        list[Path]: The two pages.
    """
    folder = Path(out_dir)
    charts = {f'charts/{name}.svg': s for name, s in report.charts.items()}
    # What was computed is written before anything is drawn.
    for name, text in {**charts, **report.files}.items():
        write_text(folder / name, text)
    draw_cases(report, folder)
    pages = {
        'index.html': render_html(report),
        'report.md': render_markdown(report),
    }
    for name, text in pages.items():
        write_text(folder / name, text)
    return [folder / name for name in pages]


def build_analysis(
    title: str,
    annotation: GroundingAnnotation,
    predictions: Predictions,
    video_dir: Optional[PathLike] = None,
    protocol: str = 'tubedetr',
    other: Optional[tuple[str, Predictions]] = None,
    count: int = 4,
    strict: bool = False,
    interpolate: Optional[bool] = None,
    log: Optional[TrainingLog] = None,
    oracles: Optional[Mapping[str, Mapping[str, float]]] = None,
) -> Report:
    """Gather a report of predictions; nothing is drawn or written yet.

    Args:
        title (str): Name of the predictions.
        annotation (GroundingAnnotation): The truth.
        predictions (Mapping): By query id.
        video_dir (str | os.PathLike, optional): Folder of the videos;
            without it nothing is drawn.
        protocol (str): Of the scores.
        other (tuple[str, Mapping], optional): Name and predictions to
            compare with.
        count (int): How many of the best and of the worst cases.
        strict (bool): Refuse missing and unknown queries.
        interpolate (bool, optional): As
            :func:`hero_mm.evaluation.evaluate_tubes` takes it.
        log (TrainingLog, optional): Of the training, for its curves.
        oracles (Mapping, optional): Scores of guesses by name.

    Returns:
        Report: For :func:`write_report`.

    Raises:
        ValueError: As :func:`hero_mm.evaluation.evaluate_tubes`.
    """
    # Read once: the boxes are scored several times.
    truths = boxes_as_arrays(annotation.ground_truths(), 'ground truth')
    predictions = boxes_as_arrays(predictions, 'prediction')
    how: dict[str, Any] = dict(
        protocol=protocol,
        dataset=annotation.metainfo.get('dataset'),
        strict=strict,
        interpolate=interpolate,
    )
    traits = query_traits(annotation)
    split = split_errors(truths, predictions, **how)
    scores = split.predicted
    second = None
    if other is not None:
        second = score_tubes(truths, other[1], **how)
    picked = selection_report(truths, predictions, OtherTracks(annotation))
    groupings = standard_groupings(traits)
    sections = _sections(split, selection_table(picked.summary()), groupings)
    sections['Scores'].append(score_table(scores, title if other else ''))
    if oracles:
        sections['Scores'].append(oracle_table(scores.summary(), oracles))
    if other is not None and second is not None:
        names = (title, other[0])
        sections['Scores'].append(score_table(second, other[0]))
        sections[f'{title} and {other[0]}'] = [
            *comparison_tables(
                scores, second, traits.video_ids, groupings, names
            ),
            *_changed(scores, second, traits, names),
        ]
    log = log or TrainingLog()
    return Report(
        title,
        {**_facts(annotation, scores), **log.facts()},
        sections,
        {**log.charts(), **_charts(scores, second)},
        make_cases(annotation, predictions, scores, video_dir, count),
        {ITEMS_FILE: items_csv(traits, split, second)},
    )


def _sections(
    split: ErrorSplit, picked: Table, groupings: Sequence[Grouping]
) -> dict[str, list[Table]]:
    """What every report shows, under its headings."""
    scores = split.predicted
    return {
        'Scores': [],
        'Time and space': [error_table(split), right_table(split), picked],
        # The first, by type of the sentence, is what the scores show.
        'Groups of queries': [
            breakdown_table(scores, grouping) for grouping in groupings[1:]
        ],
    }


def _facts(
    annotation: GroundingAnnotation, scores: TubeScores
) -> dict[str, str]:
    return {
        'data': data_name(annotation),
        'clips': str(len(annotation.data_list)),
        'queries': str(len(scores.query_ids)),
        'protocol': scores.protocol.label,
        'without a prediction': str(len(scores.missing)),
        'predictions of unknown queries': str(len(scores.unknown)),
    }


def _changed(
    first: TubeScores,
    second: TubeScores,
    traits: QueryTraits,
    names: tuple[str, str],
) -> list[Table]:
    texts = dict(zip(traits.query_ids, traits.texts))
    tables = [
        changed_table(first, second, texts, names, _CHANGED, better)
        for better in (True, False)
    ]
    return [table for table in tables if table is not None]


def _charts(
    scores: TubeScores, second: Optional[TubeScores]
) -> dict[str, str]:
    by = f'protocol {scores.protocol.label}'
    charts = {
        key: histogram(values.tolist(), f'Queries by {what}, {by}', what)
        for key, what, values in (
            ('viou', 'vIoU', scores.viou),
            ('tiou', 'tIoU', scores.tiou),
            ('gt_viou', 'gt_vIoU', scores.gt_viou),
        )
    }
    if second is not None:
        charts['difference'] = histogram(
            item_differences(scores, second).tolist(),
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
    columns: dict[str, Any] = {
        'query_id': traits.query_ids,
        'video_id': traits.video_ids,
        'type': traits.types,
        'category': traits.categories,
        'predicate': traits.predicates,
        'protocol': [split.predicted.protocol.label] * len(traits),
        'span_seconds': traits.span_seconds,
        'video_seconds': traits.video_seconds,
        'area': traits.area,
        'tiou': split.predicted.tiou,
        'viou': split.predicted.viou,
        'gt_viou': split.predicted.gt_viou,
        'viou_true_span': split.true_span.viou,
        'viou_true_boxes': split.true_boxes.viou,
    }
    if second is not None:
        columns['other_tiou'] = second.tiou
        columns['other_viou'] = second.viou
        columns['other_gt_viou'] = second.gt_viou
    missing = set(split.predicted.missing)
    columns['has_prediction'] = [
        int(query_id not in missing) for query_id in traits.query_ids
    ]
    columns['text'] = traits.texts
    rows = [
        [float(f'{c:.6g}') if isinstance(c, float) else c for c in row]
        for row in zip(*columns.values())
    ]
    return csv_text([list(columns), *rows])
