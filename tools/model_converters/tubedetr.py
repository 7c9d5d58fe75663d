r"""Convert a checkpoint of TubeDETR to HERO.

ResNet, RoBERTa and the two projections to width D are taken, of the moving
average where the file has one.

Example:
    python tools/model_converters/tubedetr.py checkpoint.pth \
        --config configs/hero_vidstg.py --out checkpoints/tubedetr_vidstg.pth
"""

import sys

from hero_mm.pretrained.command_line import run_converter

if __name__ == '__main__':
    sys.exit(run_converter('tubedetr', __doc__))
