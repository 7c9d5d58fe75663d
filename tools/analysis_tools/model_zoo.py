r"""Build, train, ask and count every backbone, neck and generator, small.

Writes the tables of docs/model_zoo.md; what stands round them stays.

Examples::

    python tools/analysis_tools/model_zoo.py
    python tools/analysis_tools/model_zoo.py --check
    python tools/analysis_tools/model_zoo.py --check --only FPN Swin
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from mmengine.logging import MMLogger

from hero_mm.errors import explained, run_tool

with explained():
    from hero_mm.apis import model_zoo
    from hero_mm.files import write_text

ROOT = Path(__file__).resolve().parents[2]


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to those of the
            process.
    """
    parser = argparse.ArgumentParser(
        description='Write the tables of docs/model_zoo.md'
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=ROOT / 'docs/model_zoo.md',
        help='the document (docs/model_zoo.md)',
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='write nothing; say which rows fail, with exit code 1 if any',
    )
    parser.add_argument(
        '--only',
        nargs='+',
        metavar='WORD',
        help='with --check, rows whose name holds one of these words',
    )
    args = parser.parse_args(argv)
    if args.only and not args.check:
        parser.error('--only leaves rows out: it goes with --check')
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Try every row, then write the tables or tell what fails.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to those of the
            process.
    """
    args = parse_args(argv)
    text = ''
    if not args.check:
        text = args.out.read_text(encoding='utf-8')
        # An error shall come before minutes of work.
        model_zoo.replace_section(text, '')
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    rows = [
        row
        for row in model_zoo.all_rows(ROOT / 'configs')
        if not args.only or any(word in row.name for word in args.only)
    ]
    results, failed = [], []
    for row in rows:
        result = model_zoo.try_row(row)
        results.append(result)
        good = model_zoo.is_as_it_should(row, result)
        failed += [] if good else [row.name]
        state = 'ok' if good else 'FAILS'
        print(f'{state:5} {row.name}: {result.problem or "runs"}', flush=True)
    if not args.check:
        full = {
            row.name: model_zoo.count_variant(row.config)
            for row, result in zip(rows, results)
            if row.config is not None and result.problem is None
        }
        section = model_zoo.zoo_section(rows, results, full)
        text = model_zoo.replace_section(text, section)
        write_text(args.out, text)
        print(f'wrote {args.out}')
    if failed:
        raise ValueError(f'{len(failed)} rows fail: {", ".join(failed)}')


if __name__ == '__main__':
    sys.exit(run_tool(main))
