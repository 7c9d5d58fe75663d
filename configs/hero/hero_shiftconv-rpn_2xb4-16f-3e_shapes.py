# HERO on proposals of an RPN that is trained with it, on the embedded
# benchmark.
#   bash tools/dist_train.sh configs/hero_rpn_shapes.py 2       (two cores)
#   python tools/train.py configs/hero_rpn_shapes.py            (one process)
_base_ = ['./hero_shiftconv_2xb4-16f-3e_shapes.py']
model = dict(
    proposal_generator=dict(
        _delete_=True,
        type='DenseHeadProposals',
        # Of 4 pixels a cell, and one of 8 that is pooled from it: small
        # objects are 8 pixels wide.
        level=-2,
        num_levels=2,
        # Its losses are means over anchors, small beside those of HERO.
        loss_weight=15.0,
        head=dict(
            type='mmdet.RPNHead',
            in_channels=64,
            feat_channels=64,
            anchor_generator=dict(
                type='AnchorGenerator',
                # Squares of 8, 11, 16 and 22 pixels.
                scales=[2.0, 2.8],
                ratios=[1.0],
                strides=[4, 8],
                # In the middle of a cell, not at its corner.
                center_offset=0.5,
            ),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
            loss_bbox=dict(type='L1Loss'),
            train_cfg=dict(
                assigner=dict(
                    type='MaxIoUAssigner',
                    pos_iou_thr=0.5,
                    neg_iou_thr=0.3,
                    min_pos_iou=0.3,
                ),
                sampler=dict(
                    type='RandomSampler',
                    num=64,
                    pos_fraction=0.5,
                    add_gt_as_proposals=False,
                ),
                allowed_border=-1,
                pos_weight=-1,
            ),
            test_cfg=dict(
                nms_pre=64,
                max_per_img=32,
                nms=dict(type='nms', iou_threshold=0.7),
                min_bbox_size=0,
            ),
        ),
    ),
    # Regions of a frame that go on.
    max_regions=6,
)
