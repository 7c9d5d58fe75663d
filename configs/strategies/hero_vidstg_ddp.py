# configs/hero_vidstg.py by MMEngine's runner with strategies: every GPU holds
# the whole model, as with its other runner.
#   train:  bash tools/dist_train.sh configs/strategies/hero_vidstg_ddp.py 8
_base_ = '../hero_vidstg.py'
runner_type = 'FlexibleRunner'
strategy = dict(type='DDPStrategy')
