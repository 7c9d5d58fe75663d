"""Convert VID-sentence (official lists and tracks) to hero_mm's format.

Example:
    python tools/dataset_converters/vid_sentence.py \
        data/vid_sentence/ILSVRC --split test \
        --videos data/ILSVRC/Data/VID --out data/vid_sentence/test.json
"""

import sys

from hero_mm.errors import explained

with explained():
    from hero_mm.datasets.converters import command_line, convert_vid_sentence
    from hero_mm.datasets.converters.vid_sentence import SEGMENTS


def main() -> int:
    """Convert and print the summary."""
    parser = command_line.converter_parser(__doc__)
    parser.add_argument('root', help='folder ILSVRC of VID-sentence')
    parser.add_argument(
        '--segment',
        choices=SEGMENTS,
        default='tube',
        help='what of a video is searched: the frames of the tube, as the '
        'published scores have it, or all (default: %(default)s)',
    )
    parser.add_argument(
        '--fps',
        type=float,
        default=30.0,
        help='frames a second, which the files do not say '
        '(default: %(default)s)',
    )
    args = parser.parse_args()
    if not args.split:
        parser.error('give --split: train, val or test')
    return command_line.run_converter(args, convert_vid_sentence)


if __name__ == '__main__':
    sys.exit(main())
