r"""Convert a checkpoint of MDETR (ResNet) to HERO.

ResNet, RoBERTa and the two projections to width D are taken.

Example:
    python tools/model_converters/mdetr.py \
        pretrained_resnet101_checkpoint.pth --config configs/hero_vidstg.py \
        --out checkpoints/mdetr_r101.pth
"""

import sys

from hero_mm.pretrained.command_line import run_converter

if __name__ == '__main__':
    sys.exit(run_converter('mdetr', __doc__))
