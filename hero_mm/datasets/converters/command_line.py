"""What the command lines of all converters share."""

import argparse
import inspect
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hero_mm.errors import UserError

from ..progress import show_progress
from ..video_facts import VideoCheck
from .common import ConversionSummary


def base_parser(doc: str, out: str) -> argparse.ArgumentParser:
    """A parser with ``--out`` (what it is), ``--list`` and ``--skip-bad``."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', required=True, help=out)
    parser.add_argument(
        '--list',
        metavar='FILE',
        help='text file that lists all that was repaired or skipped '
        '(default: OUT with .conversion.txt for .json)',
    )
    parser.add_argument(
        '--skip-bad',
        action='store_true',
        help='leave out and list what is wrong instead of stopping',
    )
    return parser


def converter_parser(doc: str) -> argparse.ArgumentParser:
    """That of a converter: also ``--split``, ``--videos``, ``--workers``."""
    parser = base_parser(doc, 'annotation file to write')
    parser.add_argument('--split', help='name of the split')
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
) -> int:
    """Convert, print the summary and write the list.

    ``args`` has ``out`` and ``list``, and by their names what the converter
    takes; of :func:`converter_parser` the videos are verified. The exit
    status is 1 where a file is missing, wrong or cannot be written.
    """
    options = dict(vars(args), progress=show_progress)
    if options.get('videos') is not None and 'workers' in options:
        options['videos'] = VideoCheck(
            args.videos,
            workers=args.workers,
            progress=partial(show_progress, what='verifying videos'),
        )
    names = inspect.signature(convert).parameters
    path = args.list or Path(args.out).with_suffix('.conversion.txt')
    try:
        summary = convert(**{k: v for k, v in options.items() if k in names})
        summary.write_list(path)
    except (UserError, OSError) as error:
        sys.stderr.write(f'error: {error}\n')
        return 1
    sys.stdout.write(f'{summary.text()}\n  all by name: {path}\n')
    return 0
