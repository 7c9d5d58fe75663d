"""Tables of reports, from plain scores: means, groups, errors, two files.

Shares are shown in percent, differences in percent points, with one decimal.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from hero_mm.errors import UserError
from hero_mm.evaluation.breakdown import Grouping, GroupScores, group_scores
from hero_mm.evaluation.comparison import (
    Difference,
    compare_scores,
    item_differences,
    ranked_by,
)
from hero_mm.evaluation.error_split import RIGHT, ErrorSplit, lost_points
from hero_mm.evaluation.functional import TubeScores
from hero_mm.evaluation.functional.table import align_rows

from .video_writer import PathLike

SELECTION_KEYS = ('picked', 'other', 'nothing', 'picked_iou')
SELECTION_TITLES = (
    'frames on the true object',
    'on another',
    'on none',
    'box IoU where right',
)

FEW_VIDEOS = 20
"""With fewer videos an interval is too narrow; a note says so."""
_CLEAR = {True: 'yes', False: 'no', None: '–'}


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Args:
        title (str): Above it.
        head (list[str]): One a column.
        rows (list[list[str]]): As many cells each.
        note (str): Below it.
        total (bool): Whether the first row stands for all the others.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ''
    total: bool = True


def text_table(table: Table) -> str:
    """A table for a terminal."""
    lines = [table.title, *align_rows([table.head, *table.rows])]
    return '\n'.join([*lines, *([table.note] if table.note else [])])


def percent(value: Optional[float]) -> str:
    """A share in percent, or a dash where there is none.

    Examples:
        >>> percent(0.4567), percent(float('nan'))
        ('45.7', '–')
    """
    if value is None or not np.isfinite(value):
        return '–'
    return f'{100 * value:.1f}'


def _percents(
    summary: Mapping[str, float], keys: Sequence[str], prefix: str = ''
) -> list[str]:
    return [percent(summary.get(prefix + key)) for key in keys]


def _types(summary: Mapping[str, float]) -> list[tuple[str, str]]:
    """Row names and key prefixes of a summary, all queries first."""
    kinds = dict.fromkeys(
        key.split('/', 1)[0] for key in summary if '/' in key
    )
    return [('all', ''), *((kind, f'{kind}/') for kind in kinds)]


def score_table(scores: TubeScores, name: str = '') -> Table:
    """Scores by sentence type."""
    summary = scores.summary()
    keys = [key for key in summary if '/' not in key]
    kinds = list(scores.query_types)
    rows = [
        [
            name,
            str(kinds.count(name) if prefix else len(kinds)),
            *_percents(summary, keys, prefix),
        ]
        for name, prefix in _types(summary)
    ]
    note = scores.protocol.summary
    if scores.missing:
        note += f'; {len(scores.missing)} queries without a prediction score 0'
    return Table(
        f'Scores{f" of {name}" if name else ""}, protocol '
        f'{scores.protocol.label}, in percent',
        ['sentences', 'queries', *keys],
        rows,
        note,
    )


def oracle_table(
    summary: Mapping[str, float], oracles: Mapping[str, Mapping[str, float]]
) -> Table:
    """The run beside guesses that know only a part."""
    names = dict.fromkeys(key for row in oracles.values() for key in row)
    keys = [key for key in names if key in summary]
    rows = [
        [name, *_percents(row, keys)]
        for name, row in {'this run': summary, **oracles}.items()
    ]
    return Table(
        'Beside guesses, in percent',
        ['', *keys],
        rows,
        'The guesses have perfect boxes but use only a part of the sentence '
        'or of the video.',
    )


def selection_table(summary: Mapping[str, float]) -> Table:
    """Which object was followed inside the true span."""
    rows = [
        [name, *_percents(summary, SELECTION_KEYS, prefix)]
        for name, prefix in _types(summary)
    ]
    return Table(
        'Which object is boxed inside the true span, in percent',
        ['sentences', *SELECTION_TITLES],
        rows,
    )


def read_oracles(path: PathLike) -> dict[str, dict[str, float]]:
    """Scores of guesses by name and group; empty where there is no file.

    The file is JSON, ``{NAME: {"group": "blind", "m_tIoU": ..., ...}}``.
    """
    file = Path(path)
    if not file.is_file():
        return {}
    try:
        oracles = {}
        for name, row in json.loads(file.read_text(encoding='utf-8')).items():
            group = row.pop('group', None)
            label = name if group is None else f'{name} ({group})'
            oracles[label] = {str(k): float(v) for k, v in row.items()}
        return oracles
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f'{file} must be JSON like {{NAME: {{"m_tIoU": 0.1}}}} ({error}); '
            'write it again with tools/analysis_tools/shapes_oracles.py '
            '--json.'
        ) from error


def points(value: float) -> str:
    """A difference of two shares in percent points, with its sign.

    Examples:
        >>> points(0.0123), points(-0.5), points(float('nan'))
        ('+1.2', '-50.0', '–')
    """
    return f'{100 * value:+.1f}' if np.isfinite(value) else '–'


def interval(difference: Difference) -> str:
    """The interval of a difference in percent points, '–' without one."""
    if not np.isfinite(difference.low):
        return '–'
    return f'{points(difference.low)} to {points(difference.high)}'


def _unit(scores: TubeScores) -> str:
    return f'protocol {scores.protocol.label}, in percent'


def main_key(scores: TubeScores) -> str:
    """The one mean score that a protocol is quoted by."""
    return 'acc_avg' if scores.protocol.accuracies else 'm_vIoU'


def ranked_name(scores: TubeScores) -> str:
    """What queries are ranked and compared by."""
    return 'gt_vIoU' if scores.protocol.accuracies else 'vIoU'


def breakdown_table(scores: TubeScores, grouping: Grouping) -> Table:
    """Scores of groups of queries."""
    summary = scores.summary()
    keys = list(scores.columns())
    everyone = GroupScores('all', len(scores.query_ids), summary)
    rows = [
        [part.name, str(part.count), *_percents(part.scores, keys)]
        for part in [everyone, *group_scores(scores, grouping)]
    ]
    head = [grouping.title, 'queries', *keys]
    return Table(
        f'By {grouping.title}, {_unit(scores)}',
        head,
        rows,
    )


def error_table(split: ErrorSplit) -> Table:
    """Scores with parts of the predictions replaced by the truth."""
    keys = list(split.predicted.columns())
    rows = [
        [name, *_percents(scores.summary(), keys)]
        for name, scores in split.rows().items()
    ]
    key = main_key(split.predicted)
    lost = lost_points(split, key)
    note = (
        f'Of the {100 * lost["together"]:.1f} points of {key} that are '
        f'missing, the right spans alone would bring '
        f'{100 * lost["time"]:.1f} and the right boxes alone '
        f'{100 * lost["space"]:.1f}. The last row is what this protocol '
        f'gives to the truth itself.'
    )
    return Table(
        f'Error in time and error in space, {_unit(split.predicted)}',
        ['', *keys],
        rows,
        note,
    )


def right_table(split: ErrorSplit) -> Table:
    """How many queries have the right span, the right boxes, both or none."""
    shares = split.right_shares()
    names = {True: 'boxes right', False: 'boxes wrong'}
    rows = [
        [
            names[space],
            *(percent(shares[time, space]) for time in (True, False)),
        ]
        for space in (True, False)
    ]
    return Table(
        f'What is right of the queries, {_unit(split.predicted)} of them',
        ['', 'span right', 'span wrong'],
        rows,
        f'Right: an overlap of more than {RIGHT:g}; of the spans (tIoU), of '
        f'the boxes in the true span (gt_vIoU).',
        total=False,
    )


def difference_row(name: str, difference: Difference) -> list[str]:
    """A row of a comparison: both means, difference, interval."""
    return [
        name,
        percent(difference.first),
        percent(difference.second),
        points(difference.value),
        interval(difference),
        _CLEAR[difference.is_clear],
    ]


def comparison_tables(
    first: TubeScores,
    second: TubeScores,
    clusters: Sequence[str],
    groupings: Sequence[Grouping],
    names: tuple[str, str],
) -> list[Table]:
    """Two predictions side by side: means, groups, items."""
    head = [*names, 'difference', '95 % interval', 'clear of 0']
    videos = len(set(clusters))
    drawn = clusters if videos > 1 else None
    means = Table(
        f'Scores, {_unit(first)}',
        ['', *head],
        [
            difference_row(found.key, found)
            for found in compare_scores(first, second, drawn)
        ],
        f'Difference: {names[1]} minus {names[0]}, in percent points. '
        + _interval_note(videos, len(first.query_ids)),
        total=False,
    )
    key = main_key(first)
    rows = []
    for grouping in groupings:
        for place, name in enumerate(grouping.names):
            chosen = grouping.group == place
            found = compare_scores(first, second, drawn, chosen)
            (one,) = (part for part in found if part.key == key)
            rows.append([grouping.title, *difference_row(name, one)])
    groups = Table(
        f'{key} by group, {_unit(first)}',
        ['by', 'group', *head],
        rows,
        'Of this many intervals one in twenty misses by chance.',
        total=False,
    )
    return [means, groups, _better_or_worse(first, second, names[1])]


def _interval_note(videos: int, queries: int) -> str:
    if videos < 2:
        return (
            f'The interval is a paired bootstrap over {queries} queries: '
            f'they are all of one video, and say little of others.'
        )
    note = (
        f'The interval is a paired bootstrap over {videos} videos, each with '
        f'all its queries.'
    )
    if videos < FEW_VIDEOS:
        note += ' Of so few videos it is narrower than it should be.'
    return note


def _better_or_worse(
    first: TubeScores, second: TubeScores, name: str
) -> Table:
    delta = item_differences(first, second)
    rows = [
        [word, str(int(there.sum())), percent(float(there.mean()))]
        for word, there in (
            ('better', delta > 0),
            ('the same', delta == 0),
            ('worse', delta < 0),
        )
    ]
    return Table(
        f'Queries for which {name} is better or worse: '
        f'{ranked_name(first)}, {_unit(first)}',
        [name, 'queries', 'percent of them'],
        rows,
        total=False,
    )


def changed_table(
    first: TubeScores,
    second: TubeScores,
    texts: Mapping[str, str],
    names: tuple[str, str],
    count: int,
    better: bool,
) -> Optional[Table]:
    """The queries that differ most."""
    delta = item_differences(first, second) * (1 if better else -1)
    order = np.argsort(-delta, kind='stable')[:count]
    order = order[delta[order] > 0]
    if not len(order):
        return None
    one, two = ranked_by(first), ranked_by(second)
    rows = [
        [
            texts[first.query_ids[place]],
            first.query_ids[place],
            percent(float(one[place])),
            percent(float(two[place])),
            points(float(two[place] - one[place])),
        ]
        for place in order
    ]
    return Table(
        f'Where {names[1]} is {"better" if better else "worse"} by most: '
        f'{ranked_name(first)}, {_unit(first)}',
        ['sentence', 'query', *names, 'difference'],
        rows,
        total=False,
    )
