r"""Print a whole config, with all that it inherits.

Example::

    python tools/analysis_tools/print_config.py configs/hero_shapes.py \
        --options model.neck=None
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Optional

from mmengine.config import DictAction

from hero_mm.errors import explained, run_tool

with explained():
    from hero_mm.engine.launch import read_config


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Print the config.

    Args:
        argv (Sequence[str], optional): Arguments; the flags are those of
            MMAction2. Defaults to those of the process.
    """
    parser = argparse.ArgumentParser(description='Print the whole config')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--options',
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change the config',
    )
    args = parser.parse_args(argv)
    cfg = read_config(args.config, args.options)
    print(f'Config:\n{cfg.pretty_text}')


if __name__ == '__main__':
    sys.exit(run_tool(main))
