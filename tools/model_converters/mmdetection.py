r"""Convert a checkpoint of mmdet or mmpretrain to HERO.

The backbone is taken, and of an FPN or ChannelMapper the levels that HERO's
neck has. (A tool named ``mmdet`` would hide the package of that name.)

Example:
    python tools/model_converters/mmdetection.py \
        faster_rcnn_r101_fpn_1x_coco_20200130-f513f705.pth \
        --config configs/hero_vidstg.py --out checkpoints/frcnn_r101.pth
"""

import sys

from hero_mm.pretrained.command_line import run_converter

if __name__ == '__main__':
    sys.exit(run_converter('mmdetection', __doc__))
