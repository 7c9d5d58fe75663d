"""Convert files of TubeDETR's preprocessing to hero_mm's format.

Takes VidSTG's {train,val,test}.json and HC-STVG's *_proc.json; the boxes
stand in them.

Example:
    python tools/dataset_converters/tubedetr.py data/tubedetr/test.json \
        --videos data/vidor/video --out data/vidstg/test.json
    python tools/dataset_converters/tubedetr.py data/tubedetr/test_proc.json \
        --videos data/hcstvg/video --out data/hcstvg/test.json
"""

import sys

from hero_mm.errors import explained

with explained():
    from hero_mm.datasets.converters import convert_tubedetr
    from hero_mm.datasets.converters.command_line import (
        converter_parser,
        run_converter,
    )
    from hero_mm.datasets.converters.tubedetr import QUERY_IDS


def main() -> int:
    """Convert and print the summary."""
    parser = converter_parser(__doc__)
    parser.add_argument(
        'annotations',
        help='{train,val,test}.json of VidSTG or *_proc.json of HC-STVG, as '
        "TubeDETR's preprocessing writes them",
    )
    parser.add_argument(
        '--dataset', help='name of the data set (default: by the file)'
    )
    parser.add_argument(
        '--query-ids',
        choices=QUERY_IDS,
        default='tubedetr',
        help="name sentences by TubeDETR's numbers, or as vidstg.py and "
        'hcstvg.py name them (default: %(default)s)',
    )
    args = parser.parse_args()
    return run_converter(args, convert_tubedetr)


if __name__ == '__main__':
    sys.exit(main())
