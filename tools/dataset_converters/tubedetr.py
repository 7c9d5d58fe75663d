"""Convert VidSTG as TubeDETR's preprocessing writes it to hero_mm's format.

Example:
    python tools/dataset_converters/tubedetr.py data/tubedetr/test.json \
        --videos data/vidor/video --out data/vidstg/test.json
"""

import sys

from hero_mm.errors import explained

with explained():
    from hero_mm.datasets.converters import command_line, convert_tubedetr


def main() -> int:
    """Convert and print the summary."""
    parser = command_line.converter_parser(__doc__)
    parser.add_argument(
        'annotations', help='{train,val,test}.json; the boxes stand in it'
    )
    return command_line.run_converter(parser.parse_args(), convert_tubedetr)


if __name__ == '__main__':
    sys.exit(main())
