"""Gather an evaluation report: where a prediction fails, and beside another.

Shape legend: Q queries.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from hero_mm.datasets.annotation import GroundingAnnotation
from hero_mm.datasets.query_traits import QueryTraits, query_traits
from hero_mm.evaluation import (
    OtherTracks,
    score_tubes,
    selection_report,
    split_errors,
)
from hero_mm.evaluation.breakdown import Grouping, standard_groupings
from hero_mm.evaluation.comparison import item_differences
from hero_mm.evaluation.error_split import ErrorSplit, boxes_as_arrays
from hero_mm.evaluation.functional import TubeScores
from hero_mm.texts import csv_text

from .charts import histogram
from .report import Report, data_name, make_cases
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
from .video_writer import PathLike

Predictions = Mapping[str, Mapping[str, Any]]
ITEMS_FILE = 'items.csv'
_CHANGED = 10


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
        Report: For :func:`hero_mm.visualization.report.write_report`.

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
