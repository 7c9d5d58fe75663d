"""Convert VID-sentence (official lists and tracks) to hero_mm's format.

Example:
    python tools/dataset_converters/vid_sentence.py \
        data/vid_sentence/ILSVRC --split test \
        --videos data/ILSVRC/Data/VID --out data/vid_sentence/test.json
"""

import sys

from hero_mm.errors import explained, run_tool

with explained():
    from hero_mm.datasets.converters import command_line, convert_vid_sentence


def main() -> None:
    """Convert and print the summary."""
    parser = command_line.converter_parser(__doc__)
    parser.add_argument('root', help='folder ILSVRC of VID-sentence')
    parser.add_argument('--split', required=True, help='train, val or test')
    command_line.run_converter(parser.parse_args(), convert_vid_sentence)


if __name__ == '__main__':
    sys.exit(run_tool(main))
