_base_ = './hero/hero_mm-grounding-dino-swin-t_64f_zero-shot.py'
