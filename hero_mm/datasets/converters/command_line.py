"""What the command lines of all converters share."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Optional

from ..annotation import AnnotationError
from .common import ConversionError, ConversionSummary
from .verify import VideoCheck

# Without a terminal a line tells every so many seconds how far it is.
LINE_SECONDS = 10.0


def converter_parser(doc: str) -> argparse.ArgumentParser:
    """The parser of a converter, with what every one of them takes.

    Args:
        doc (str): What the tool does, with examples.

    Returns:
        ArgumentParser: With ``--out --list --split --skip-bad --videos
        --workers``.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--out', required=True, help='annotation file to write'
    )
    parser.add_argument(
        '--list',
        metavar='FILE',
        help='text file that lists all that was repaired or skipped '
        '(default: OUT with .conversion.txt for .json)',
    )
    parser.add_argument('--split', help='name of the split')
    parser.add_argument(
        '--skip-bad',
        action='store_true',
        help='leave out and list what is wrong instead of stopping',
    )
    parser.add_argument(
        '--videos',
        metavar='DIR',
        help='folder of the videos, nested or flat: verify that each is '
        'there, opens, and is as long and large as annotated; what was '
        'verified is kept in OUT with .videos.jsonl for .json, so that a '
        'run can go on',
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count() or 1,
        help='processes that read files and verify videos '
        '(default: %(default)s)',
    )
    return parser


def video_check(args: argparse.Namespace) -> Optional[VideoCheck]:
    """How the videos are verified.

    Args:
        args (Namespace): Of :func:`converter_parser`.

    Returns:
        VideoCheck, optional: None where no folder is given.
    """
    if args.videos is None:
        return None
    return VideoCheck(
        args.videos,
        state=Path(args.out).with_suffix('.videos.jsonl'),
        workers=args.workers,
        progress=partial(show_progress, what='verifying videos'),
    )


def show_progress(
    items: Iterable[Any], total: int, what: str = 'reading boxes'
) -> Iterable[Any]:
    """Draw a progress bar, or write a line now and then without a terminal.

    Args:
        items (Iterable): What is worked through.
        total (int): How many there are.
        what (str): What is done. Defaults to 'reading boxes'.

    Returns:
        Iterable: The same.
    """
    if not sys.stderr.isatty():
        return _with_lines(items, total, what)
    from rich.console import Console
    from rich.progress import track

    return track(items, what, total=total, console=Console(stderr=True))


def _with_lines(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    told = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        if time.monotonic() - told >= LINE_SECONDS:
            told = time.monotonic()
            sys.stderr.write(f'{what}: {count:,} of {total:,}\n')


def run_converter(
    args: argparse.Namespace, convert: Callable[[], ConversionSummary]
) -> int:
    """Convert, tell the summary and write the list.

    Args:
        args (Namespace): Of :func:`converter_parser`.
        convert (Callable): Does the work.

    Returns:
        int: Exit status: 0, or 1 where a file is missing, wrong or cannot be
        written.
    """
    path = args.list or Path(args.out).with_suffix('.conversion.txt')
    try:
        summary = convert()
        summary.write_list(path)
    except (AnnotationError, ConversionError, OSError) as error:
        sys.stderr.write(f'error: {error}\n')
        return 1
    sys.stdout.write(f'{summary.text()}\n  all by name: {path}\n')
    return 0
