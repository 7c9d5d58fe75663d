"""Scores as a table of plain text, one row a sentence type."""

from collections import Counter

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
    summary = scores.summary()
    keys = [key for key in summary if '/' not in key]
    counts = Counter(scores.query_types)
    rows = [['sentences', 'queries', *keys]]
    total = len(scores.query_ids)
    rows.append(['all', str(total), *(_percent(summary[k]) for k in keys)])
    for query_type in QUERY_TYPES:
        if counts[query_type]:
            values = (_percent(summary[f'{query_type}/{k}']) for k in keys)
            rows.append([query_type, str(counts[query_type]), *values])
    lines = [
        f'Protocol {scores.protocol.name}: {scores.protocol.summary}',
        f'{total} queries, {len(scores.missing)} without a prediction '
        f'(scored 0), {len(scores.unknown)} predictions of unknown queries '
        f'(ignored); scores in percent',
    ]
    return '\n'.join([*lines, *_align(rows)])


def _percent(value: float) -> str:
    return f'{100 * value:.2f}'


def _align(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        '  '.join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths))
        )
        for row in rows
    ]
    return [lines[0], '-' * len(lines[0]), *lines[1:]]
