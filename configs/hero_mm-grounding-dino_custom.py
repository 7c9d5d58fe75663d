_base_ = './hero/hero_shiftconv-mm-grounding-dino_1xb1-64f-50e_custom.py'
