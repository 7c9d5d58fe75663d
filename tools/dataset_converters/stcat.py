"""Convert data laid out as for STCAT, CG-STVG or TA-STVG.

Videos are looked for in the folder of the layout, and verified where --videos
names it.

Example:
    python tools/dataset_converters/stcat.py data/vidstg --split test \
        --out data/vidstg/test.json
    python tools/dataset_converters/stcat.py data/hc-stvg2 --split test \
        --out data/hc-stvg2/val.json
"""

import sys

from hero_mm.errors import explained

with explained():
    from hero_mm.datasets.converters import convert_stcat
    from hero_mm.datasets.converters.command_line import (
        converter_parser,
        run_converter,
    )
    from hero_mm.datasets.converters.stcat import PLACES


def main() -> int:
    """Convert and print the summary."""
    parser = converter_parser(__doc__)
    parser.add_argument(
        'folder', help='data/vidstg, data/hc-stvg or data/hc-stvg2'
    )
    parser.add_argument(
        '--dataset',
        choices=list(PLACES),
        help='which of several in one folder (default: the one there)',
    )
    args = parser.parse_args()
    if args.split is None:
        parser.error('give --split: train, val or test, as the file is called')
    return run_converter(args, convert_stcat)


if __name__ == '__main__':
    sys.exit(main())
