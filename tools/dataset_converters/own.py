"""Convert own footage, as annotation tools export it, to hero_mm's format.

Writes OUT/<split>.json and OUT/queries.csv; see docs/own_footage.md.

Example:
    python tools/dataset_converters/own.py exports --format cvat \
        --videos videos --splits 'val=shop2*' 'train=*' --out data/own
    python tools/dataset_converters/own.py export.json --format label-studio \
        --videos videos --splits train=0.8 val=0.2 --out data/own
"""

import sys

from hero_mm.errors import explained, run_tool

with explained():
    from hero_mm.datasets.converters import command_line
    from hero_mm.datasets.footage import FORMATS, convert_own


def main() -> None:
    """Convert and print the summary."""
    parser = command_line.converter_parser(__doc__, 'folder to write')
    parser.add_argument('source', help='the export: a file or a folder')
    parser.add_argument('--format', choices=FORMATS, required=True)
    parser.add_argument(
        '--splits',
        nargs='+',
        metavar='NAME=WHICH',
        default=['train=*'],
        help='pattern of the names of its videos, or its share of them '
        '(default: all of it is train)',
    )
    parser.add_argument(
        '--sentences',
        metavar='FILE',
        help='table of sentences, where the export has none',
    )
    parser.add_argument('--fps', type=float, default=0.0, help='of the videos')
    parser.add_argument(
        '--interpolate',
        action='store_true',
        help='boxes of coco-video and csv are on key frames',
    )
    args = parser.parse_args()
    wrong = [one for one in args.splits if '=' not in one]
    if wrong:
        parser.error(f'--splits {wrong[0]}: write NAME=PATTERN or NAME=SHARE')
    args.splits = dict(one.split('=', 1) for one in args.splits)
    command_line.run_converter(args, convert_own)


if __name__ == '__main__':
    sys.exit(run_tool(main))
