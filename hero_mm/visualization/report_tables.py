"""Tables of a report, from plain scores.

Shares are shown in percent with one decimal.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

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
    """A table for a terminal.

    Args:
        table (Table): What is shown.

    Returns:
        str: Title, aligned rows, note.
    """
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


def _types(summary: Mapping[str, float]) -> list[tuple[str, str]]:
    """Row names and key prefixes of a summary, all queries first."""
    kinds = dict.fromkeys(
        key.split('/', 1)[0] for key in summary if '/' in key
    )
    return [('all', ''), *((kind, f'{kind}/') for kind in kinds)]


def score_table(scores: TubeScores, name: str = '') -> Table:
    """Scores by sentence type.

    Args:
        scores (TubeScores): Of a run.
        name (str): Of the run, where there are several.

    Returns:
        Table: In percent, with the protocol in its title.
    """
    summary = scores.summary()
    keys = [key for key in summary if '/' not in key]
    kinds = list(scores.query_types)
    rows = [
        [
            name,
            str(kinds.count(name) if prefix else len(kinds)),
            *(percent(summary[prefix + key]) for key in keys),
        ]
        for name, prefix in _types(summary)
    ]
    note = scores.protocol.told
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
    """The run beside guesses that know only a part.

    Args:
        summary (Mapping[str, float]): Scores of the run over all queries.
        oracles (Mapping): Scores by name of the guess.

    Returns:
        Table: In percent.
    """
    names = dict.fromkeys(key for row in oracles.values() for key in row)
    keys = [key for key in names if key in summary]
    rows = [['this run', *(percent(summary[key]) for key in keys)]]
    rows += [
        [name, *(percent(row.get(key)) for key in keys)]
        for name, row in oracles.items()
    ]
    return Table(
        'Beside guesses, in percent',
        ['', *keys],
        rows,
        'The guesses have perfect boxes but use only a part of the sentence '
        'or of the video.',
    )


def selection_table(summary: Mapping[str, float]) -> Table:
    """Which object was followed inside the true span.

    Args:
        summary (Mapping[str, float]): Of
            :func:`hero_mm.evaluation.selection_report`.

    Returns:
        Table: In percent.
    """
    rows = [
        [name, *(percent(summary[prefix + key]) for key in SELECTION_KEYS)]
        for name, prefix in _types(summary)
    ]
    return Table(
        'Which object is boxed inside the true span, in percent',
        ['sentences', *SELECTION_TITLES],
        rows,
    )


def read_oracles(path: PathLike) -> dict[str, dict[str, float]]:
    """Scores of guesses, by name.

    Args:
        path (str | os.PathLike): A JSON file
            ``{NAME: {"group": "blind", "m_tIoU": ..., ...}}``; the group,
            which says what a guess is told, may be left away.

    Returns:
        dict[str, dict[str, float]]: By name and group; empty where there is
        no file.

    Raises:
        ValueError: If it is something else.
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
        raise ValueError(
            f'{file} must be JSON like {{NAME: {{"m_tIoU": 0.1}}}} ({error}); '
            'write it again with tools/analysis_tools/shapes_oracles.py '
            '--json.'
        ) from error
