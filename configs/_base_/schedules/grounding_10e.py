# AdamW with smaller steps for pretrained encoders, 10 epochs, cosine.
max_epochs = 10
optim_wrapper = dict(
    # In bfloat16 where the GPU has it.
    type='hero_mm.BFloat16OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    # Our choice: at 1 the first steps would all be clipped.
    clip_grad=dict(max_norm=35.0),
    paramwise_cfg=dict(
        custom_keys={
            # Of looks, of motion, and of a detector that is trained.
            'backbone': dict(lr_mult=0.1),
            'proposal_generator.detector': dict(lr_mult=0.1),
            'text_encoder.language_model': dict(lr_mult=0.2),
        }
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=500),
    # Without T_max it follows the length of the training.
    dict(
        type='CosineAnnealingLR',
        # Of the rate of each part, whatever it is scaled by.
        eta_min_ratio=0.01,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# Scored and kept is the moving average of the weights, over about the last
# ninth of the training.
custom_hooks = [dict(type='EMAHook', ema_type='RampedAverage')]
# The learning rate above is for 16 clips a step: 8 GPUs with 2 clips each. It
# is scaled by processes, clips and accumulated gradients.
auto_scale_lr = dict(enable=True, base_batch_size=16)
