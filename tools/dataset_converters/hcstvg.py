"""Convert HC-STVG (official JSON of version 1 or 2) to hero_mm's format.

Example:
    python tools/dataset_converters/hcstvg.py data/hcstvg/raw/test.json \
        --videos data/hcstvg/video --out data/hcstvg/test.json
"""

import sys

from hero_mm.errors import explained, run_tool

with explained():
    from hero_mm.datasets.converters import command_line, convert_hcstvg
    from hero_mm.datasets.converters.hcstvg import STCAT_LEFT_OUT


def main() -> None:
    """Convert and print the summary."""
    parser = command_line.converter_parser(__doc__)
    parser.add_argument(
        'annotations', help='official JSON file of version 1 or 2'
    )
    parser.add_argument('--split', default='', help='name of the split')
    parser.add_argument(
        '--exclude',
        nargs='+',
        metavar='NAME',
        default=[],
        help='file names of videos to leave out; stcat stands for those that '
        f'STCAT, CG-STVG and TA-STVG leave out ({", ".join(STCAT_LEFT_OUT)})',
    )
    args = parser.parse_args()
    if 'stcat' in args.exclude:
        args.exclude += STCAT_LEFT_OUT
    command_line.run_converter(args, convert_hcstvg)


if __name__ == '__main__':
    sys.exit(run_tool(main))
