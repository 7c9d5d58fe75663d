# FCOS (arXiv 1904.01355), small: class-agnostic, 64 x 64 pixels, from scratch
# on a CPU. Of mmdet.
detector = dict(
    type='mmdet.FCOS',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=8,
    ),
    backbone=dict(
        type='ResNet',
        depth=18,
        num_stages=2,
        base_channels=16,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(0, 1),
        norm_cfg=dict(type='BN'),
        norm_eval=False,
    ),
    neck=dict(type='FPN', in_channels=[16, 32], out_channels=32, num_outs=2),
    bbox_head=dict(
        type='FCOSHead',
        num_classes=1,
        in_channels=32,
        feat_channels=32,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=8),
        # Objects of up to 16 pixels, and larger ones.
        strides=[4, 8],
        regress_ranges=((-1, 8), (8, 1e8)),
        center_sampling=True,
        norm_on_bbox=True,
        centerness_on_reg=True,
        loss_cls=dict(
            type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25
        ),
        loss_bbox=dict(type='GIoULoss'),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True),
    ),
    test_cfg=dict(
        nms_pre=200,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=50,
    ),
)
