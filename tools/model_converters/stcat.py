r"""Convert a checkpoint of STCAT to HERO.

ResNet, RoBERTa and the two projections to width D are taken, of the moving
average where the file has one.

Example:
    python tools/model_converters/stcat.py model_final.pth \
        --config configs/hero_vidstg.py --out checkpoints/stcat_vidstg.pth
"""

import sys

from hero_mm.pretrained.command_line import run_converter

if __name__ == '__main__':
    sys.exit(run_converter('stcat', __doc__))
