_base_ = './hero/hero_shiftconv_2xb2-48f-5e_shapes-long.py'
