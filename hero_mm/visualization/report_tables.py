"""Tables of reports, from plain scores: means, groups, errors, two files.

Shares are shown in percent, differences in percent points, with one decimal.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np

from hero_mm.evaluation.analysis import (
    Difference,
    ErrorSplit,
    Grouping,
    compare_scores,
    group_scores,
    item_differences,
    ranked_by,
)
from hero_mm.evaluation.functional import TubeScores
from hero_mm.evaluation.functional.table import align_rows
from hero_mm.json_reader import read_json

from .video_writer import PathLike

SELECTED = {
    'picked': 'frames on the true object',
    'other': 'on another',
    'nothing': 'on none',
    'picked_iou': 'box IoU where right',
}
RIGHT = 0.5
"""A span, or the boxes, are right where their overlap is more than this."""
FEW_VIDEOS = 20
"""With fewer videos an interval is too narrow; a note says so."""
_CLEAR = {True: 'yes', False: 'no', None: '–'}
_CHANGED = 10


class Table(NamedTuple):
    """A table of texts; ``total`` where its first row stands for the rest."""

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ''
    total: bool = True


def text_table(table: Table) -> str:
    """A table for a terminal."""
    lines = table.title, *align_rows([table.head, *table.rows]), table.note
    return '\n'.join(filter(None, lines))


def percent(value: Optional[float]) -> str:
    """A share in percent, or a dash where there is none.

    Examples:
        >>> percent(0.4567), percent(float('nan'))
        ('45.7', '–')
    """
    if value is None or not np.isfinite(value):
        return '–'
    return f'{100 * value:.1f}'


def points(value: float) -> str:
    """A difference of two shares in percent points, with its sign.

    Examples:
        >>> points(0.0123), points(-0.5), points(float('nan'))
        ('+1.2', '-50.0', '–')
    """
    return f'{100 * value:+.1f}' if np.isfinite(value) else '–'


def interval(difference: Difference) -> str:
    """The interval of a difference in percent points, '–' without one."""
    low, high = points(difference.low), points(difference.high)
    return low if low == '–' else f'{low} to {high}'


def _percents(
    summary: Mapping[str, float], keys: Sequence[str], prefix: str = ''
) -> list[str]:
    return [percent(summary.get(prefix + key)) for key in keys]


def _unit(scores: TubeScores) -> str:
    return f'protocol {scores.protocol.label}, in percent'


def main_key(scores: TubeScores) -> str:
    """The one mean score that a protocol is quoted by."""
    return 'acc_avg' if scores.protocol.accuracies else 'm_vIoU'


def ranked_name(scores: TubeScores) -> str:
    """What queries are ranked and compared by."""
    return 'gt_vIoU' if scores.protocol.accuracies else 'vIoU'


def breakdown_table(
    scores: TubeScores, grouping: Grouping, title: str = ''
) -> Table:
    """Scores of groups of queries."""
    keys = list(scores.columns())
    everyone = ('all', len(scores.query_ids), scores.summary())
    rows = [
        [name, str(count), *_percents(means, keys)]
        for name, count, means in [everyone, *group_scores(scores, grouping)]
    ]
    return Table(
        f'{title or f"By {grouping.title}"}, {_unit(scores)}',
        [grouping.title, 'queries', *keys],
        rows,
    )


def score_table(scores: TubeScores, by_type: Grouping, name: str) -> Table:
    """Scores by type of the sentence, with what the protocol does."""
    note = scores.protocol.summary
    if scores.missing:
        note += f'; {len(scores.missing)} queries without a prediction score 0'
    title = f'Scores of {name}' if name else 'Scores'
    return breakdown_table(scores, by_type, title)._replace(note=note)


def oracle_table(
    summary: Mapping[str, float], oracles: Mapping[str, Mapping[str, float]]
) -> Table:
    """The run beside guesses that know only a part."""
    names = dict.fromkeys(key for row in oracles.values() for key in row)
    keys = [key for key in names if key in summary]
    rows = {'this run': summary, **oracles}
    return Table(
        'Beside guesses, in percent',
        ['', *keys],
        [[name, *_percents(row, keys)] for name, row in rows.items()],
        'The guesses have perfect boxes but use only a part of the sentence '
        'or of the video.',
    )


def read_oracles(path: PathLike) -> dict[str, dict[str, float]]:
    """Scores of guesses by name and group; empty where there is no file.

    The file is JSON, ``{NAME: {"group": "blind", "m_tIoU": ..., ...}}``, of
    ``tools/analysis_tools/shapes_oracles.py``.
    """
    oracles = {}
    file = Path(path)
    for name, row in (read_json(file) if file.is_file() else {}).items():
        group = row.pop('group', '')
        oracles[f'{name} ({group})' if group else name] = row
    return oracles


def selection_table(summary: Mapping[str, float]) -> Table:
    """Which object was followed inside the true span."""
    kinds = dict.fromkeys(key.rpartition('/')[0] for key in summary)
    return Table(
        'Which object is boxed inside the true span, in percent',
        ['sentences', *SELECTED.values()],
        [
            [kind or 'all']
            + _percents(summary, list(SELECTED), f'{kind}/' if kind else '')
            for kind in kinds
        ],
    )


def error_table(split: ErrorSplit) -> Table:
    """Scores with parts of the predictions replaced by the truth."""
    parts = {
        'as predicted': split.predicted.summary(),
        'with the true span': split.true_span.summary(),
        'with the true boxes': split.true_boxes.summary(),
        'with both': split.both.summary(),
    }
    keys = list(split.predicted.columns())
    key = main_key(split.predicted)
    start, time, space, together = (part[key] for part in parts.values())
    return Table(
        f'Error in time and error in space, {_unit(split.predicted)}',
        ['', *keys],
        [[name, *_percents(part, keys)] for name, part in parts.items()],
        f'Of the {100 * (together - start):.1f} points of {key} that are '
        f'missing, the right spans alone would bring '
        f'{100 * (time - start):.1f} and the right boxes alone '
        f'{100 * (space - start):.1f}. The last row is what this protocol '
        f'gives to the truth itself.',
    )


def right_table(scores: TubeScores) -> Table:
    """How many queries have the right span, the right boxes, both or none."""
    in_time, in_space = scores.tiou > RIGHT, scores.gt_viou > RIGHT
    rows = [
        [f'boxes {name}', percent((in_time & rows_Q).mean())]
        + [percent((~in_time & rows_Q).mean())]
        for name, rows_Q in (('right', in_space), ('wrong', ~in_space))
    ]
    return Table(
        f'What is right of the queries, {_unit(scores)} of them',
        ['', 'span right', 'span wrong'],
        rows,
        f'Right: an overlap of more than {RIGHT:g}; of the spans (tIoU), of '
        f'the boxes in the true span (gt_vIoU).',
        total=False,
    )


def comparison_tables(
    first: TubeScores,
    second: TubeScores,
    video_ids: Sequence[str],
    groupings: Sequence[Grouping],
    names: tuple[str, str],
    texts: Sequence[str],
) -> list[Table]:
    """Two predictions side by side: means, groups, sentences."""
    videos = len(set(video_ids))
    drawn = video_ids if videos > 1 else None
    over = f'{len(texts)} queries of one video'
    if drawn is not None:
        over = f'{videos} videos, each with all its queries'
    note = (
        f'Difference: {names[1]} minus {names[0]}, in percent points. The '
        f'interval is a paired bootstrap over {over}.'
    )
    if videos < FEW_VIDEOS:
        note += ' Of so few videos it is narrower than it should be.'
    head = [*names, 'difference', '95 % interval', 'clear of 0']
    means = Table(
        f'Scores, {_unit(first)}',
        ['', *head],
        [
            [found.key, *_difference(found)]
            for found in compare_scores(first, second, drawn)
        ],
        note,
        total=False,
    )
    key = main_key(first)
    rows = [
        [grouping.title, name, *_difference(found)]
        for grouping in groupings
        for place, name in enumerate(grouping.names)
        for found in compare_scores(
            first, second, drawn, grouping.group == place
        )
        if found.key == key
    ]
    groups = Table(
        f'{key} by group, {_unit(first)}',
        ['by', 'group', *head],
        rows,
        'Of this many intervals one in twenty misses by chance.',
        total=False,
    )
    return [means, groups, _changed_table(first, second, names, texts)]


def _difference(found: Difference) -> list[str]:
    return [
        percent(found.first),
        percent(found.second),
        points(found.value),
        interval(found),
        _CLEAR[found.is_clear],
    ]


def _changed_table(
    first: TubeScores,
    second: TubeScores,
    names: tuple[str, str],
    texts: Sequence[str],
) -> Table:
    """The queries that gain and those that lose most, the best first."""
    delta = item_differences(first, second)
    order = np.argsort(-delta, kind='stable')
    gains = order[delta[order] > 0][:_CHANGED]
    losses = order[delta[order] < 0][-_CHANGED:]
    one, two = ranked_by(first), ranked_by(second)
    rows = [
        [
            texts[place],
            first.query_ids[place],
            percent(one[place]),
            percent(two[place]),
            points(delta[place]),
        ]
        for place in [*gains, *losses]
    ]
    return Table(
        f'Where {names[1]} differs most: {ranked_name(first)}, {_unit(first)}',
        ['sentence', 'query', *names, 'difference'],
        rows,
        f'{names[1]} is better for {int((delta > 0).sum())}, the same for '
        f'{int((delta == 0).sum())} and worse for {int((delta < 0).sum())} '
        f'of {len(delta)} queries.',
        total=False,
    )
