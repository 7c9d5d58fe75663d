# VidSTG and HC-STVG, version 1, together; docs/data.md.
_base_ = './vidstg.py'

hcstvg_root = 'data/hcstvg/'
hcstvg_videos = hcstvg_root + 'video'
hcstvg_command = (
    f'python tools/dataset_converters/hcstvg.py {hcstvg_root}raw/{{0}}.json '
    f'--videos {hcstvg_videos} --out {hcstvg_root}{{0}}.json'
)
hcstvg = dict(type='GroundingDataset', data_prefix=dict(video=hcstvg_videos))
# There is no val split: the field validates on test, and so does this.
hcstvg_test = dict(
    hcstvg,
    ann_file=hcstvg_root + 'test.json',
    test_mode=True,
    make_command=hcstvg_command.format('test'),
    pipeline=_base_.test_pipeline,
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            _base_.train_dataloader.dataset,
            dict(
                hcstvg,
                ann_file=hcstvg_root + 'train.json',
                make_command=hcstvg_command.format('train'),
                pipeline=_base_.train_pipeline,
            ),
        ],
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[_base_.val_dataloader.dataset, hcstvg_test],
    )
)
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[_base_.test_dataloader.dataset, hcstvg_test],
    )
)
# Each by its own protocol.
val_evaluator = [
    dict(
        type='TubeMetric',
        dataset='vidstg',
        protocol='tubedetr',
        prefix='vidstg',
    ),
    dict(
        type='TubeMetric',
        dataset='hcstvg',
        protocol='hcstvg',
        prefix='hcstvg',
    ),
]
test_evaluator = val_evaluator
