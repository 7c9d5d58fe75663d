r"""Convert a checkpoint of MM-Grounding-DINO to HERO.

The backbone, the levels of the neck that HERO has, BERT and the projection of
its words are taken; the config's text encoder must be a BERT.

Example:
    python tools/model_converters/mm_grounding_dino.py \
        grounding_dino_swin-t_pretrain_obj365_goldg_*.pth \
        --config configs/hero/hero_swin-t_vidstg.py \
        --cfg-options model.text_encoder.name=bert-base-uncased \
        --out checkpoints/mm_gdino_swin-t.pth
"""

import sys

from hero_mm.pretrained.command_line import run_converter

if __name__ == '__main__':
    sys.exit(run_converter('mm_grounding_dino', __doc__))
