"""Convert VidSTG (official files and VidOR's boxes) to hero_mm's format.

Example:
    python tools/dataset_converters/vidstg.py \
        data/vidstg/test_annotations.json data/vidor/annotation \
        --files data/vidstg/test_files.json --videos data/vidor/video \
        --out data/vidstg/test.json
"""

import argparse
import os
import sys
from collections.abc import Iterable
from typing import Any

from hero_mm.datasets.converters import ConversionError, convert_vidstg


def parse_args() -> argparse.Namespace:
    """Read the command line.

    Returns:
        argparse.Namespace: The arguments.
    """
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'annotations', help='{train,val,test}_annotations.json of VidSTG'
    )
    parser.add_argument(
        'vidor', help="folder of VidOR's <video id>.json, nested or flat"
    )
    parser.add_argument(
        '--out', required=True, help='annotation file to write'
    )
    parser.add_argument(
        '--files', help='{split}_files.json: convert these videos only'
    )
    parser.add_argument(
        '--videos', help='folder of the videos: check that each is there'
    )
    parser.add_argument('--split', help='name of the split')
    parser.add_argument(
        '--skip-bad',
        action='store_true',
        help='leave out and list what is wrong instead of stopping',
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count() or 1,
        help='processes that read boxes (default: %(default)s)',
    )
    return parser.parse_args()


def show_progress(videos: Iterable[Any], total: int) -> Iterable[Any]:
    """Draw a progress bar where there is a terminal.

    Args:
        videos (Iterable): What is worked through.
        total (int): How many there are.

    Returns:
        Iterable: The same.
    """
    if not sys.stderr.isatty():
        return videos
    from rich.console import Console
    from rich.progress import track

    return track(
        videos, 'reading boxes', total=total, console=Console(stderr=True)
    )


def main() -> int:
    """Convert and print the summary.

    Returns:
        int: Exit status: 0, or 1 where a file is missing or wrong.
    """
    args = parse_args()
    try:
        summary = convert_vidstg(
            args.annotations,
            args.vidor,
            args.out,
            files=args.files,
            videos=args.videos,
            split=args.split,
            skip_bad=args.skip_bad,
            workers=args.workers,
            progress=show_progress,
        )
    except (ConversionError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(summary.text())
    return 0


if __name__ == '__main__':
    sys.exit(main())
