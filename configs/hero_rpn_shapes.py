_base_ = './hero/hero_shiftconv-rpn_2xb4-16f-3e_shapes.py'
