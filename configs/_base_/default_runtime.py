# Everything that does not depend on data or model. A config inherits it and
# changes what it needs. Prefixes: it also serves configs of another scope.
default_scope = 'hero_mm'
# Registers the scope, so that mmengine's own tools find our components too,
# and reads checkpoints, so that they can resume.
custom_imports = dict(
    imports=['hero_mm', 'hero_mm.pretrained.loaders'],
    allow_failed_imports=False,
)

default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20, ignore_last=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # Keeps the best checkpoint by m_vIoU and the last two, to resume: while
    # one is written, the one before must still be there.
    checkpoint=dict(
        type='hero_mm.SafeCheckpointHook',
        interval=1,
        max_keep_ckpts=2,
        save_best='tube/m_vIoU',
        rule='greater',
    ),
    # The learning rate of a resumed training is that of its schedule.
    schedule=dict(type='hero_mm.ScheduleHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # A resumed epoch draws what it would have drawn.
    epoch_seed=dict(type='hero_mm.EpochSeedHook'),
    # Stops before a loss that is not finite spoils what was saved.
    finite_loss=dict(type='hero_mm.FiniteLossHook'),
    # Warns of frozen batch norms that no checkpoint filled.
    frozen_norms=dict(type='hero_mm.FrozenNormHook'),
    progress=dict(type='hero_mm.ProgressBarHook'),
    # Says at the end which videos could not be read.
    broken_videos=dict(type='hero_mm.BrokenVideoHook'),
    # Draws some tubes of a test; tools/test.py --show-dir turns it on.
    visualization=dict(type='hero_mm.TubeVisualizationHook', enable=False),
)

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)

log_processor = dict(type='LogProcessor', window_size=20, by_epoch=True)
log_level = 'INFO'

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='hero_mm.TubeVisualizer', vis_backends=vis_backends)

load_from = None
resume = False
