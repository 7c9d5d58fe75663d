# MuonAdamW, a short warm-up and a cosine, by iteration.
max_epochs = 3
learning_rate = 4e-3
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='hero_mm.MuonAdamW',
        lr=learning_rate,
        weight_decay=1e-2,
        betas=(0.9, 0.98),
        # One kernel for all weights: several times faster on a CPU.
        fused=True,
    ),
    clip_grad=dict(max_norm=5.0),
)
# Without total_steps it follows the length of the training.
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=learning_rate,
        pct_start=0.06,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# Scored and kept is the moving average of the weights, over about the last
# ninth of the training.
custom_hooks = [dict(type='EMAHook', ema_type='RampedAverage')]
