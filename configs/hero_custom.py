_base_ = './hero/hero_shiftconv_1xb1-64f-50e_custom.py'
