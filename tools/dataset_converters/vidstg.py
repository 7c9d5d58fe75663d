"""Convert VidSTG (official files and VidOR's boxes) to hero_mm's format.

Example:
    python tools/dataset_converters/vidstg.py \
        data/vidstg/test_annotations.json data/vidor/annotation \
        --files data/vidstg/test_files.json --videos data/vidor/video \
        --out data/vidstg/test.json
"""

import sys

from hero_mm.errors import explained

with explained():
    from hero_mm.datasets.converters import convert_vidstg
    from hero_mm.datasets.converters.command_line import (
        converter_parser,
        run_converter,
    )


def main() -> int:
    """Convert and print the summary."""
    parser = converter_parser(__doc__)
    parser.add_argument(
        'annotations', help='{train,val,test}_annotations.json of VidSTG'
    )
    parser.add_argument(
        'vidor_dir',
        metavar='vidor',
        help="folder of VidOR's <video id>.json, nested or flat",
    )
    parser.add_argument(
        '--files', help='{split}_files.json: convert these videos only'
    )
    parser.add_argument(
        '--dataset',
        default='vidstg',
        help='name of the data set, for files of another one in the same '
        'layout (default: %(default)s)',
    )
    args = parser.parse_args()
    return run_converter(args, convert_vidstg)


if __name__ == '__main__':
    sys.exit(main())
