r"""Print a whole config, with all that it inherits.

Example::

    python tools/analysis_tools/print_config.py configs/hero_shapes.py \
        --options model.neck=None
    python tools/analysis_tools/print_config.py published.pth > config.py
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from mmengine.config import DictAction

from hero_mm.errors import UserError, explained, run_tool

with explained():
    from hero_mm.apis.checkpoint import read_checkpoint
    from hero_mm.config import WEIGHTS, read_config


def config_text(path: str) -> str:
    """The config in a checkpoint, as text: nothing of it is run."""
    text = (read_checkpoint(path).get('meta') or {}).get('cfg')
    if not isinstance(text, str):
        raise UserError(
            f'{path} carries no config; ask for it where the checkpoint '
            'comes from'
        )
    return text


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Print the config."""
    parser = argparse.ArgumentParser(description='Print the whole config')
    parser.add_argument(
        'config', help='config file, or a checkpoint that carries one'
    )
    parser.add_argument(
        '--options',
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change the config',
    )
    args = parser.parse_args(argv)
    if Path(args.config).suffix in WEIGHTS and not args.options:
        print(config_text(args.config))
        return
    cfg = read_config(args.config, args.options)
    print(f'Config:\n{cfg.pretty_text}')


if __name__ == '__main__':
    sys.exit(run_tool(main))
