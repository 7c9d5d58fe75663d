_base_ = './hero/hero_shiftconv_2xb4-16f-3e_shapes.py'
