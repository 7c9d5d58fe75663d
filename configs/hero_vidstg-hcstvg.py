_base_ = './hero/hero_r101-roberta_8xb2-64f-10e_vidstg-hcstvg.py'
