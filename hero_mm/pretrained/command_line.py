"""The command line of ``tools/model_converters/to_hero.py``."""

import argparse
import sys
from pathlib import Path
from typing import Any, Optional

from hero_mm.errors import UserError, run_tool

from .reading import add_trust_argument


def main(doc: Optional[str], argv: Optional[list[str]] = None) -> int:
    """Convert by the command line and say what became of each tensor.

    Returns:
        int: Exit status: 0, or 1 where a file is missing or wrong.
    """
    args = _parse_args(doc, argv)
    return run_tool(lambda: _convert_file(args))


def _parse_args(
    doc: Optional[str], argv: Optional[list[str]]
) -> argparse.Namespace:
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'checkpoint',
        help='a file (.pth, .bin, .safetensors), a URL or '
        'hf://OWNER/NAME/FILE',
    )
    parser.add_argument('--out', required=True, help='checkpoint to write')
    parser.add_argument(
        '--config',
        required=True,
        help='the HERO config that will load it: its model is built, and '
        'names and shapes are compared',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change the config, e.g. model.text_encoder.name=FOLDER',
    )
    parser.add_argument(
        '--weights',
        metavar='ENTRY',
        help="entry of the file that holds the weights (default: 'model_ema' "
        "where it has one, else 'model' or 'state_dict')",
    )
    add_trust_argument(parser)
    return parser.parse_args(argv)


def model_shapes(
    config: str, options: Optional[dict[str, Any]] = None
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the model of a config; no weights are loaded."""
    from mmengine.registry import init_default_scope

    from ..config import read_config
    from ..registry import MODELS

    cfg = read_config(config, options)
    if not isinstance(cfg.get('model'), dict):
        raise UserError(f'config {config!r} has no entry model')
    init_default_scope(cfg.get('default_scope', 'hero_mm'))
    weights = MODELS.build(cfg.model).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def _convert_file(args: argparse.Namespace) -> None:
    from .conversion import convert, layout_of
    from .fetching import fetch
    from .sources import read_source

    out = Path(args.out)
    if out.resolve() == Path(fetch(args.checkpoint)).resolve():
        raise UserError(
            f'--out {out} is the checkpoint itself; give another name'
        )
    source = read_source(args.checkpoint, args.weights)
    # Before a model is built.
    layout_of(source)
    model = model_shapes(args.config, args.cfg_options)
    result = convert(source, model, args.config)
    result.save(out)
    sys.stdout.write(f'{result.summary()}\nwritten: {out}\n')
