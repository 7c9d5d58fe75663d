"""The table of docs/model_zoo.md, in Markdown."""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Optional

from .rows import FRAMES, FULL_FRAMES, FULL_SIZE, SIZE, Result, Row

BEGIN = '<!-- tools/analysis_tools/model_zoo.py writes from here -->'
END = '<!-- to here -->'
PACKAGES = ('torch', 'mmdet', 'mmaction2', 'mmpretrain', 'transformers')
Full = Mapping[str, tuple[int, int]]


def zoo_section(
    rows: Sequence[Row], results: Sequence[Result], full: Full
) -> str:
    """What stands between the marks.

    Args:
        rows (Sequence[Row]): What was tried.
        results (Sequence[Result]): What was found of each.
        full (Mapping): Parameters and operations of whole variants, by name.
    """
    found = list(zip(rows, results))
    small = f'{FRAMES} frames of {SIZE[0]}x{SIZE[1]}'
    whole = f'{FULL_FRAMES} frames of {FULL_SIZE[0]}x{FULL_SIZE[1]}'
    tower = ['sees', 'cell', 'step', 'parameters', f'FLOPs, {small}']
    tried = ['training step', 'prediction']
    variants = [
        [f'`{row.name}`', *_tower(one), *_tried(one), *_whole(row, full)]
        for row, one in found
        if row.kind == 'variant'
    ]
    towers = [
        [row.name, *_tower(one), *_tried(one)]
        for row, one in found
        if row.kind == 'tower'
    ]
    generators = [
        [row.name, *_counts(one), *_tried(one)]
        for row, one in found
        if row.kind == 'generator'
    ]
    refused = [
        [row.name, one.problem or 'nothing: it runs']
        for row, one in found
        if row.kind == 'refused'
    ]
    full_size = ['full-size parameters', f'FLOPs, {whole}']
    return '\n\n'.join(
        [
            f'Written with {", ".join(map(_version, PACKAGES))}.',
            '### Variants in `configs/hero/`',
            _markdown(['config', *tower, *tried, *full_size], variants),
            '### Other backbones and necks',
            _markdown(['video encoder', *tower, *tried], towers),
            '### Proposal generators',
            _markdown(['generator', *tower[3:], *tried], generators),
            '### What is refused, and in which words',
            _markdown(['video encoder', 'error'], refused),
        ]
    )


def replace_section(text: str, section: str) -> str:
    """Put a section between the marks of a document.

    Args:
        text (str): The document.
        section (str): What shall stand there.

    Raises:
        ValueError: When it has no marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(
            f'the document has no place for the table: write {BEGIN!r} and '
            f'{END!r} on lines of their own'
        )
    return f'{before}{BEGIN}\n\n{section}\n\n{END}{after}'


def cells_of(text: str) -> dict[str, list[str]]:
    """The rows of all tables of a document, by their first cell.

    Args:
        text (str): The document.
    """
    rows = [
        [cell.strip() for cell in line.strip('|').split(' | ')]
        for line in text.splitlines()
        if line.startswith('| ')
    ]
    return {row[0].strip('`'): row[1:] for row in rows}


def _version(package: str) -> str:
    try:
        return f'{package} {version(package).partition("+")[0]}'
    except PackageNotFoundError:
        return f'{package} not installed'


def _tower(result: Result) -> list[str]:
    encoder: Optional[Any] = result.encoder
    if encoder is None:
        return ['', '', '', *_counts(result)]
    towers = [encoder, *([encoder.motion] if encoder.motion else [])]
    sees = [
        f'windows of {one.clip_len}'
        if one.clip_len
        else 'frames'
        if one.sees == 'frame'
        else 'clips'
        for one in towers
    ]
    steps = sorted(
        {level.time_stride for one in towers for level in one.levels}
    )
    step = ' and '.join(map(str, steps))
    return [
        ' and '.join(sees),
        f'{encoder.stride} px',
        f'{step} frame{"" if steps == [1] else "s"}',
        *_counts(result),
    ]


def _counts(result: Result) -> list[str]:
    if result.problem is not None:
        return ['', '']
    return [_millions(result.parameters), _giga(result.flops)]


def _tried(result: Result) -> list[str]:
    told = result.problem or ''
    return [
        'yes' if result.trained else told,
        'yes' if result.predicted else told if result.trained else '',
    ]


def _whole(row: Row, full: Full) -> list[str]:
    if row.name not in full:
        return ['', '']
    parameters, flops = full[row.name]
    return [_millions(parameters), _giga(flops)]


def _millions(number: int) -> str:
    return f'{number / 1e6:.3f} M'


def _giga(number: int) -> str:
    return f'{number / 1e9:,.3f} G'


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
