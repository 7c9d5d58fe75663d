"""Render the embedded benchmark of moving shapes.

Examples:
    python tools/dataset_converters/shapes.py --out data/shapes
    python tools/dataset_converters/shapes.py --out data/shapes --probes
    python tools/dataset_converters/shapes.py --profile long
"""

import argparse
import json
import sys

from hero_mm.errors import explained, run_tool

with explained():
    from hero_mm.datasets.shapes import build_probes, build_shapes
    from hero_mm.datasets.shapes.profiles import (
        PROBE_VIDEOS,
        PROBES,
        PROFILES,
    )

SPLITS = ('train', 'val', 'test')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        '--out', help='folder; by default data/shapes, or as its profile'
    )
    parser.add_argument(
        '--profile',
        default='default',
        choices=list(PROFILES),
        help='long: larger frames, and more of them; haystack: long videos',
    )
    for split in SPLITS:
        parser.add_argument(f'--{split}', type=int, help='videos')
    parser.add_argument(
        '--probes',
        type=int,
        nargs='?',
        const=PROBE_VIDEOS,
        metavar='VIDEOS',
        help='render only the probes, to OUT/probes; so many videos of each',
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=2, help='processes')
    args = parser.parse_args()
    sizes = {split: getattr(args, split) for split in SPLITS}
    args.sizes = {k: size for k, size in sizes.items() if size is not None}
    if args.probes is not None and (args.sizes or args.profile != 'default'):
        parser.error(
            '--probes renders nothing else, in the format of the default '
            'profile: leave out --profile, --train, --val and --test'
        )
    if args.out is None:
        args.out = f'data/shapes-{args.profile}'.removesuffix('-default')
    return args


def main() -> None:
    """Render what is missing and print what is there."""
    args = parse_args()
    how = args.seed, args.workers
    if args.probes is not None:
        sizes = dict.fromkeys(PROBES, args.probes)
        summary = build_probes(args.out, sizes, *how)
    else:
        summary = build_shapes(args.out, args.sizes, *how, args.profile)
    print(json.dumps(summary, indent=2))


if __name__ == '__main__':
    sys.exit(run_tool(main))
