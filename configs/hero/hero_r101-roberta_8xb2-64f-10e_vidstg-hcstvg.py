# HERO on VidSTG and HC-STVG (version 1) together, with ResNet-101 and
# RoBERTa-base, 64 frames, short side 420.
#   data:     docs/data.md, section VidSTG and HC-STVG together
#   train:    bash tools/dist_train.sh configs/hero_vidstg-hcstvg.py 8
#   one GPU:  python tools/train.py configs/hero_vidstg-hcstvg.py
#   test:     python tools/test.py configs/hero_vidstg-hcstvg.py CHECKPOINT
#   hardware: meant for 8 GPUs of 80 GB, 2 clips each
#   computed: 178 M parameters; forward 7.1 TFLOPs a clip of 64 frames
#             and 0.03 a sentence, a training step about three times that:
#             python tools/analysis_tools/get_flops.py \
#                 configs/hero_vidstg-hcstvg.py --shape 64 3 420 747
#             A test takes five frames a second, at most 200: 22.1 TFLOPs a
#             clip and 0.09 a sentence; the 100 of HC-STVG cost half.
#             About 1,440 iterations an epoch: 16 clips each, of about
#             23,100 (36,202 captions; the 3,996 of val have 2,048; and the
#             4,500 of HC-STVG).
# Both are validated and tested, each by its own protocol; the best checkpoint
# is that of VidSTG. Not trained by us, nor timed: there is no score to expect
# yet.
_base_ = [
    '../_base_/datasets/vidstg_hcstvg.py',
    '../_base_/models/hero_r101_roberta.py',
    '../_base_/schedules/grounding_10e.py',
    '../_base_/default_runtime.py',
]

default_hooks = dict(checkpoint=dict(save_best='vidstg/m_vIoU'))
