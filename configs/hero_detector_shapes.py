_base_ = './hero/hero_shiftconv-fcos_2xb4-16f-3e_shapes.py'
