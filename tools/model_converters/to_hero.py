r"""Convert a checkpoint of another model to HERO.

Known by their names: MDETR, TubeDETR, STCAT, MM-Grounding-DINO, detectors of
mmdet, classifiers of mmpretrain.

Example:
    python tools/model_converters/to_hero.py \
        pretrained_resnet101_checkpoint.pth --out checkpoints/mdetr_r101.pth \
        --config configs/hero/hero_r101-c5_vidstg.py
"""

import sys

from hero_mm.pretrained import command_line


def main() -> int:
    """Convert by the command line; the exit status."""
    return command_line.main(__doc__)


if __name__ == '__main__':
    sys.exit(main())
