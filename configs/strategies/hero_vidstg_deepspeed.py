# configs/hero_vidstg.py with gradients and the state of the optimizer in
# shards, one a GPU (DeepSpeed, ZeRO stage 2); `pip install deepspeed`. Not run
# on GPUs by us: a small model was trained so on two processes of a CPU.
#   train:  bash tools/dist_train.sh \
#               configs/strategies/hero_vidstg_deepspeed.py 8
# A checkpoint is a folder; its zero_to_fp32.py makes a file of weights of it.
_base_ = '../hero_vidstg.py'
runner_type = 'FlexibleRunner'
strategy = dict(
    type='DeepSpeedStrategy',
    zero_optimization=dict(stage=2),
    gradient_clipping=35.0,
)
optim_wrapper = dict(
    _delete_=True,
    # DeepSpeed clips and accumulates by itself.
    type='DeepSpeedOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    paramwise_cfg={{_base_.optim_wrapper.paramwise_cfg}},
)
# The moving average would need whole weights on every GPU.
custom_hooks = []
