_base_ = './hero/hero_r101-roberta_8xb1-200f-40e_hcstvg.py'
