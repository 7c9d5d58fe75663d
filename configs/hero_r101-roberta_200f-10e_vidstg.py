_base_ = './hero/hero_r101-roberta_8xb1-200f-10e_vidstg.py'
