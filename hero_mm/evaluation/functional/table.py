"""Scores as a table of plain text, one row a sentence type."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Optional

from hero_mm.texts import printable

from .selection import Selection
from .tube_scores import TubeScores
from .tubes import QUERY_TYPES


def format_scores(scores: TubeScores) -> str:
    """Draw the mean scores as a table.

    Args:
        scores (TubeScores): What :func:`score_tubes` gave.

    Returns:
        str: Protocol and counts, then one row for all queries and one for
        each sentence type that occurs; scores in percent.
    """
    lines = [
        f'Protocol {scores.protocol.label}: {scores.protocol.described}',
        f'{len(scores.query_ids)} queries, {len(scores.missing)} without a '
        f'prediction (scored 0), {len(scores.unknown)} predictions of '
        f'unknown queries (ignored); scores in percent',
    ]
    rows = _rows(scores.summary(), scores.query_types)
    return '\n'.join([*lines, *align_rows(rows)])


def format_selection(selection: Selection) -> str:
    """Draw what was picked as a table.

    Args:
        selection (Selection): What :func:`selection_report` gave.

    Returns:
        str: One row for all queries and one for each sentence type that
        occurs; values in percent.
    """
    line = (
        'Object picked on the frames of the true span (share of frames; '
        'picked_queries: on more than half of them; picked_iou: box overlap '
        'where picked), in percent'
    )
    rows = _rows(selection.summary(), selection.query_types)
    return '\n'.join([line, *align_rows(rows)])


def _rows(
    summary: Mapping[str, float], query_types: Sequence[Optional[str]]
) -> list[list[str]]:
    keys = [key for key in summary if '/' not in key]
    counts = Counter(query_types)
    rows = [
        ['sentences', 'queries', *keys],
        ['all', str(len(query_types)), *(_percent(summary[k]) for k in keys)],
    ]
    for query_type in QUERY_TYPES:
        if counts[query_type]:
            values = (_percent(summary[f'{query_type}/{k}']) for k in keys)
            rows.append([query_type, str(counts[query_type]), *values])
    return rows


def _percent(value: float) -> str:
    return f'{100 * value:.2f}'


def align_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells in columns of plain text, the head underlined.

    The first column is aligned left, the others right.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        '  '.join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths))
        )
        for row in rows
    ]
    return [lines[0], '-' * len(lines[0]), *lines[1:]]
