"""Convert VidSTG (official files and VidOR's boxes) to hero_mm's format.

Example:
    python tools/dataset_converters/vidstg.py \
        data/vidstg/test_annotations.json data/vidor/annotation \
        --files data/vidstg/test_files.json --videos data/vidor/video \
        --out data/vidstg/test.json
"""

import sys

from hero_mm.errors import explained, run_tool

with explained():
    from hero_mm.datasets.converters import command_line, convert_vidstg


def main() -> None:
    """Convert and print the summary."""
    parser = command_line.converter_parser(__doc__)
    parser.add_argument(
        'annotations', help='{train,val,test}_annotations.json of VidSTG'
    )
    parser.add_argument(
        'vidor_dir',
        metavar='vidor',
        help="folder of VidOR's <video id>.json, nested or flat",
    )
    parser.add_argument('--split', default='', help='name of the split')
    parser.add_argument(
        '--files', help='{split}_files.json: convert these videos only'
    )
    command_line.run_converter(parser.parse_args(), convert_vidstg)


if __name__ == '__main__':
    sys.exit(run_tool(main))
