"""Render the embedded benchmark of moving shapes.

Example:
    python tools/dataset_converters/shapes.py --out data/shapes
"""

import argparse
import json

from hero_mm.errors import explained

with explained():
    from hero_mm.datasets.shapes import build_shapes


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='data/shapes', help='folder')
    parser.add_argument('--train', type=int, default=4500, help='videos')
    parser.add_argument('--val', type=int, default=200, help='videos')
    parser.add_argument('--test', type=int, default=500, help='videos')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=2, help='processes')
    return parser.parse_args()


def main() -> None:
    """Render what is missing and print what is there."""
    args = parse_args()
    sizes = {'train': args.train, 'val': args.val, 'test': args.test}
    try:
        summary = build_shapes(
            args.out, sizes, seed=args.seed, workers=args.workers
        )
    except ValueError as error:
        raise SystemExit(f'error: {error}') from error
    print(json.dumps(summary, indent=2))


if __name__ == '__main__':
    main()
