"""Scores as a table of plain text, one row a sentence type."""

from collections.abc import Mapping, Sequence
from typing import Optional

from hero_mm.texts import printable

from .selection import Selection
from .tube_scores import TubeScores
from .tubes import QUERY_TYPES


def format_scores(scores: TubeScores) -> str:
    """Protocol, counts and mean scores in percent, a row a sentence type."""
    lines = [
        f'Protocol {scores.protocol.label}: {scores.protocol.summary}',
        f'{len(scores.query_ids)} queries, {len(scores.missing)} without a '
        f'prediction (scored 0), {len(scores.unknown)} predictions of '
        f'unknown queries (ignored); scores in percent',
    ]
    rows = _rows(scores.summary(), scores.query_types)
    return '\n'.join([*lines, *align_rows(rows)])


def format_selection(selection: Selection) -> str:
    """What was picked, in percent, a row a sentence type."""
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
    rows = [['sentences', 'queries', *keys]]
    types = [name for name in QUERY_TYPES if name in query_types]
    for name in ('all', *types):
        prefix = '' if name == 'all' else f'{name}/'
        count = query_types.count(name) if prefix else len(query_types)
        values = [f'{100 * summary[prefix + key]:.2f}' for key in keys]
        rows.append([name, str(count), *values])
    return rows


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
