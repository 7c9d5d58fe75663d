"""Scores as a table of plain text, one row a sentence type."""

from collections import Counter
from collections.abc import Mapping, Sequence

from hero_mm.texts import printable

from .tube_scores import TubeScores
from .tubes import QUERY_TYPES


def format_scores(scores: TubeScores) -> str:
    """Protocol, counts and mean scores in percent, a row a sentence type."""
    counts = Counter(scores.query_types)
    counts['all'] = len(scores.query_ids)
    rows = _rows(scores.summary())
    for row in rows:
        row.insert(1, str(counts.get(row[0], 'queries')))
    lines = [
        f'Protocol {scores.protocol.label}: {scores.protocol.summary}',
        f'{counts["all"]} queries, {len(scores.missing)} without a '
        f'prediction (scored 0), {len(scores.unknown)} predictions of '
        f'unknown queries (ignored); scores in percent',
        *align_rows(rows),
    ]
    return '\n'.join(lines)


def format_selection(summary: Mapping[str, float]) -> str:
    """What was picked, in percent, a row a sentence type."""
    line = (
        'Object picked on the frames of the true span (share of frames; '
        'picked_queries: on more than half of them; picked_iou: box overlap '
        'where picked), in percent'
    )
    return '\n'.join([line, *align_rows(_rows(summary))])


def _rows(summary: Mapping[str, float]) -> list[list[str]]:
    keys = [key for key in summary if '/' not in key]
    prefixes = {'all': '', **{name: f'{name}/' for name in QUERY_TYPES}}
    return [
        ['sentences', *keys],
        *(
            [name, *(f'{100 * summary[prefix + key]:.2f}' for key in keys)]
            for name, prefix in prefixes.items()
            if prefix + keys[0] in summary
        ),
    ]


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
