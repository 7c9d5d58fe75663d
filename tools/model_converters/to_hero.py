r"""Convert a checkpoint of another model to HERO.

Known by their names: MDETR, TubeDETR, STCAT, MM-Grounding-DINO, detectors of
mmdet, classifiers of mmpretrain.

Example:
    python tools/model_converters/to_hero.py \
        pretrained_resnet101_checkpoint.pth --out checkpoints/mdetr_r101.pth \
        --config configs/hero/hero_r101-c5_vidstg.py
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Optional

from hero_mm.errors import UserError, explained, run_tool

with explained():
    from mmengine.config import DictAction
    from mmengine.registry import init_default_scope

    from hero_mm.config import read_config
    from hero_mm.pretrained import fetching
    from hero_mm.pretrained.conversion import convert, layout_of, read_source
    from hero_mm.pretrained.reading import add_trust_argument
    from hero_mm.registry import MODELS


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    return parser.parse_args()


def model_shapes(
    config: str, options: Optional[dict[str, Any]] = None
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the model of a config; no weights are loaded."""
    cfg = read_config(config, options)
    if not isinstance(cfg.get('model'), dict):
        raise UserError(f'config {config!r} has no entry model')
    init_default_scope(cfg.get('default_scope', 'hero_mm'))
    weights = MODELS.build(cfg.model).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def main() -> None:
    """Convert a file and say what became of each tensor."""
    args = parse_args()
    out = Path(args.out)
    if out.resolve() == Path(fetching.fetch(args.checkpoint)).resolve():
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


if __name__ == '__main__':
    sys.exit(run_tool(main))
