# configs/hero_vidstg.py without a neck: starts of MDETR, TubeDETR and STCAT.
#   python tools/model_converters/to_hero.py \
#       pretrained_resnet101_checkpoint.pth \
#       --config configs/hero/hero_r101-c5_vidstg.py \
#       --out checkpoints/mdetr.pth
#   python tools/train.py configs/hero/hero_r101-c5_vidstg.py \
#       --cfg-options load_from=checkpoints/mdetr.pth
# Their one 1x1 projection of stride 32 is the coarsest level as it is: after
# the conversion the tower computes what theirs computed.
_base_ = './hero_r101-roberta_8xb2-64f-10e_vidstg.py'

model = dict(
    video_encoder=dict(
        neck=None,
        level=-1,
        # Strides 8 and 16 stand below.
        finer_levels=(0, 1),
        norm=False,
    )
)
