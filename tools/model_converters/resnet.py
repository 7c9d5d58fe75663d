r"""Convert a ResNet of torchvision or timm to HERO.

Example:
    python tools/model_converters/resnet.py torchvision://resnet101 \
        --out checkpoints/resnet101.pth
    python tools/model_converters/resnet.py \
        hf://timm/resnet101.a1_in1k/model.safetensors --out r101_a1.pth
"""

import sys

from hero_mm.pretrained.command_line import run_converter

if __name__ == '__main__':
    sys.exit(run_converter('resnet', __doc__))
