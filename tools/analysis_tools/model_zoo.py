"""Try every backbone, neck, proposal generator and language model.

Writes the tables of docs/model_zoo.md; what stands round them stays. The rows
are those of tests/zoo.py.

Example::

    python tools/analysis_tools/model_zoo.py
    python tools/analysis_tools/model_zoo.py --only FPN detector
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Optional

from mmengine.logging import MMLogger

from hero_mm.errors import UserError, explained, run_tool
from hero_mm.files import write_text

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs/model_zoo.md'
with explained():
    if not (ROOT / 'tests/zoo.py').is_file():
        raise UserError(
            'the rows stand in tests/zoo.py, which no wheel has: run this '
            'tool in a checkout of the repository'
        )
    sys.path.append(str(ROOT / 'tests'))
    import zoo

BEGIN = '<!-- tools/analysis_tools/model_zoo.py writes from here -->'
END = '<!-- to here -->'
PACKAGES = ('torch', 'mmdet', 'mmaction2', 'mmpretrain', 'transformers')
SMALL = f'FLOPs, {zoo.FRAMES} frames of {zoo.SIZE[0]}x{zoo.SIZE[1]}'
WHOLE = f'{zoo.FULL_FRAMES} frames of {zoo.FULL_SIZE[0]}x{zoo.FULL_SIZE[1]}'
TRIED = ('training step', 'prediction')
SEEN = ('sees', 'cell', 'step')
# Kind of a row -> the title of its table, and what its columns are called.
TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    'variant': (
        'Variants in `configs/hero/`',
        ('config', *SEEN, 'parameters', SMALL, *TRIED)
        + ('full-size parameters', f'FLOPs, {WHOLE}'),
    ),
    'tower': (
        'Other backbones and necks',
        ('video encoder', *SEEN, 'parameters', SMALL, *TRIED),
    ),
    'generator': (
        'Proposal generators',
        ('generator', 'parameters', SMALL, *TRIED),
    ),
    'detector': (
        'Detectors as proposal generators',
        ('detector', 'config of mmdet', 'parameters', *TRIED),
    ),
    'language': (
        'Language models as text encoders',
        ('language model', 'parameters', *TRIED),
    ),
    'refused': (
        'What is refused, and in which words',
        ('video encoder', 'error'),
    ),
}


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Try the rows, write the tables, and report what fails."""
    parser = argparse.ArgumentParser(
        description='Write the tables of docs/model_zoo.md'
    )
    parser.add_argument(
        '--only',
        nargs='+',
        default=[''],
        metavar='WORD',
        help='rows whose name holds one of these words, or whose kind it '
        f'is ({", ".join(TABLES)}); the others stay as they are written',
    )
    args = parser.parse_args(argv)
    text = PAGE.read_text(encoding='utf-8')
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    rows = zoo.all_rows(ROOT / 'configs')
    cells, failed = cells_of(text), []
    for row in rows:
        if not any(word in row.name or word == row.kind for word in args.only):
            continue
        result = zoo.try_row(row)
        good = result.is_right_for(row)
        failed += [] if good else [row.name]
        state, said = 'ok' if good else 'FAILS', result.problem or 'runs'
        print(f'{state:5} {row.name}: {said}', flush=True)
        cells[row.name] = cells_of_row(row, result)
        if row.kind == 'variant':
            cells[row.name] += whole_cells(row)
    # What stands round the tables stays.
    before, begin, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f'{PAGE} needs the lines {BEGIN!r} and {END!r}')
    about, tables = zoo_section(rows, cells)
    if args.only != [''] and old.strip():
        # Rows that were not tried are of the versions that stand there.
        about = old.strip().split('\n')[0]
    section = f'{about}\n\n{tables}'
    write_text(PAGE, f'{before}{BEGIN}\n\n{section}\n\n{END}{after}')
    print(f'wrote {PAGE}')
    if failed:
        raise UserError(f'{len(failed)} rows fail: {", ".join(failed)}')


def zoo_section(
    rows: Sequence[Any], cells: Mapping[str, list[str]]
) -> tuple[str, str]:
    """What stands between the marks: a line of versions, and the tables."""
    versions = [f'{package} {_version(package)}' for package in PACKAGES]
    parts: list[str] = []
    for kind, (title, head) in TABLES.items():
        shown = [
            [f'`{row.name}`' if kind == 'variant' else row.name]
            + cells[row.name]
            for row in rows
            if row.kind == kind and row.name in cells
        ]
        lines = [list(head), ['---'] * len(head), *shown]
        table = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
        count = f'{len(shown)} are refused.'
        if TRIED[-1] in head:
            place = head.index(TRIED[-1])
            runs = sum(line[place] == 'yes' for line in shown)
            count = f'{runs} of {len(shown)} run.'
        parts += [f'## {title}', count, table]
    return f'Written with {", ".join(versions)}.', '\n\n'.join(parts)


def cells_of(text: str) -> dict[str, list[str]]:
    """The rows of all tables of a document, by their first cell."""
    rows = [
        [cell.strip() for cell in line.strip('|').split(' | ')]
        for line in text.splitlines()
        if line.startswith('| ')
    ]
    return {row[0].strip('`'): row[1:] for row in rows}


def cells_of_row(row: Any, result: Any) -> list[str]:
    """What is written of a row, but for the whole size of a variant."""
    if row.kind == 'refused':
        return [result.problem or 'nothing: it runs']
    said = result.problem or ''
    training = 'yes' if result.trained else said
    answers = 'yes' if result.predicted else said if result.trained else ''
    parameters, flops = '', ''
    if result.problem is None:
        parameters, flops = _millions(result.parameters), _giga(result.flops)
    if row.kind == 'detector':
        return [f'`{zoo.DETECTORS[row.name]}`', parameters, training, answers]
    if row.kind == 'language':
        return [parameters, training, answers]
    cells = [parameters, flops, training, answers]
    if row.kind == 'generator':
        return cells
    return [*_tower(result.encoder), *cells]


def whole_cells(row: Any) -> list[str]:
    """Parameters and operations of a variant in its whole size."""
    parameters, flops = zoo.count_variant(row.config)
    return [_millions(parameters), _giga(flops)]


def _version(package: str) -> str:
    try:
        return version(package).partition('+')[0]
    except PackageNotFoundError:
        return 'not installed'


def _tower(encoder: Optional[Any]) -> list[str]:
    """What a video encoder sees, its cell and its step."""
    if encoder is None:
        return ['', '', '']
    towers = [encoder, *([encoder.motion] if encoder.motion else [])]
    sees = [
        f'windows of {one.clip_len}'
        if one.clip_len
        else 'frames'
        if one.sees == 'frame'
        else 'clips'
        for one in towers
    ]
    steps = sorted({step for one in towers for step in one.time_strides})
    unit = 'frame' if steps == [1] else 'frames'
    step = f'{" and ".join(map(str, steps))} {unit}'
    return [' and '.join(sees), f'{encoder.stride} px', step]


def _millions(number: int) -> str:
    return f'{number / 1e6:.3f} M'


def _giga(number: int) -> str:
    return f'{number / 1e9:,.3f} G'


if __name__ == '__main__':
    sys.exit(run_tool(main))
