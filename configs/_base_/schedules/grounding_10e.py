# AdamW with smaller steps for pretrained encoders, 10 epochs, cosine.
max_epochs = 10
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(
        custom_keys={
            'video_encoder.backbone': dict(lr_mult=0.1),
            'text_encoder.language_model': dict(lr_mult=0.2),
        }
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=500),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=1e-6,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='RampedAverage',
        momentum=2e-4,
    )
]
# The learning rate above is for 8 GPUs with 2 clips each.
auto_scale_lr = dict(base_batch_size=16)
