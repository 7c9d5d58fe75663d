# configs/hero_vidstg.py with weights, gradients and the state of the optimizer
# in shards, one a GPU (FSDP). Run by us on two processes of a CPU alone.
#   train:  bash tools/dist_train.sh configs/strategies/hero_vidstg_fsdp.py 8
_base_ = '../hero_vidstg.py'
runner_type = 'FlexibleRunner'
strategy = dict(
    type='FSDPStrategy',
    # Frozen and trained weights, and groups of their own rates.
    model_wrapper=dict(
        type='MMFullyShardedDataParallel', use_orig_params=True
    ),
    # One file, as without shards: any config tests it.
    state_dict_cfg='full',
)
# The moving average would need whole weights on every GPU.
custom_hooks = []
