"""What the command lines of all converters share."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from .summary import ConversionSummary


def converter_parser(
    doc: str, out: str = 'annotation file to write'
) -> argparse.ArgumentParser:
    """A parser with the options of :class:`Conversion` but the split."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', required=True, help=out)
    parser.add_argument(
        '--skip-bad',
        action='store_true',
        help='leave out and list what is wrong instead of stopping',
    )
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
    return parser


def run_converter(
    args: argparse.Namespace, convert: Callable[..., ConversionSummary]
) -> None:
    """Convert, print the summary and list all that was repaired or skipped.

    ``args`` are what the converter takes.
    """
    path = Path(args.out).with_suffix('.conversion.txt')
    summary = convert(**vars(args))
    summary.write_list(path)
    sys.stdout.write(f'{summary.text()}\n  all by name: {path}\n')
