"""What the command lines of all converters share."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from hero_mm.errors import UserError

from .summary import ConversionSummary


def base_parser(doc: str, out: str) -> argparse.ArgumentParser:
    """A parser with ``--out`` (what it is) and ``--skip-bad``."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', required=True, help=out)
    parser.add_argument(
        '--skip-bad',
        action='store_true',
        help='leave out and list what is wrong instead of stopping',
    )
    return parser


def converter_parser(doc: str) -> argparse.ArgumentParser:
    """That of a converter, with the options of :class:`Conversion`."""
    parser = base_parser(doc, 'annotation file to write')
    parser.add_argument('--split', default='', help='name of the split')
    parser.add_argument(
        '--dataset', default='', help='name of the data set, if another'
    )
    parser.add_argument(
        '--videos',
        metavar='DIR',
        help='folder of the videos, nested or flat: verify that each is '
        'there, opens, and is as long and large as annotated',
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count() or 1,
        help='processes that read files and verify videos '
        '(default: %(default)s)',
    )
    parser.set_defaults(progress=True)
    return parser


def run_converter(
    args: argparse.Namespace, convert: Callable[..., ConversionSummary]
) -> int:
    """Convert, print the summary and list all that was repaired or skipped.

    ``args`` are what the converter takes. The exit status is 1 where a file
    is missing, wrong or cannot be written.
    """
    path = Path(args.out).with_suffix('.conversion.txt')
    try:
        summary = convert(**vars(args))
        summary.write_list(path)
    except (UserError, OSError) as error:
        sys.stderr.write(f'error: {error}\n')
        return 1
    sys.stdout.write(f'{summary.text()}\n  all by name: {path}\n')
    return 0
