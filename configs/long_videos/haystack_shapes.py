_base_ = '../hero/hero_shiftconv_2xb4-16f-3e_shapes.py'
# Long videos of moving shapes, docs/long_videos.md: tests a checkpoint of
# configs/hero_shapes.py on videos of five minutes, searched in windows.
#   python tools/test.py configs/long_videos/haystack_shapes.py \
#       work_dirs/hero_shapes
# Renders data/shapes-haystack first where it is missing.
data_root = 'data/shapes-haystack/'
split = '5min'
prepare = dict(out=data_root, profile='haystack')
test_cfg = dict(_delete_=True, type='WindowTestLoop', window=4.0)
# On native frames: a grid of at most 200 would miss what lasts a second.
test_evaluator = dict(protocol='stcat')
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        ann_file=f'{data_root}{split}.json',
        data_prefix=dict(video=data_root + 'vidor/video'),
        make_command=(
            'python tools/dataset_converters/shapes.py --profile haystack '
            f'--out {data_root}'
        ),
    ),
)
