# HERO on HC-STVG (version 1) with ResNet-101 and RoBERTa-base, 64
# frames, short side 420.
#   data:     docs/data.md, section HC-STVG
#   train:    bash tools/dist_train.sh configs/hero_hcstvg.py 8
#   one GPU:  python tools/train.py configs/hero_hcstvg.py
#   test:     python tools/test.py configs/hero_hcstvg.py CHECKPOINT
#   hardware: meant for 8 GPUs of 80 GB, 2 clips each
#   computed: 178 M parameters; forward 7.1 TFLOPs a clip of 64 frames
#             and 0.03 a sentence, a training step about three times that:
#             python tools/analysis_tools/get_flops.py \
#                 configs/hero_hcstvg.py
#             281 iterations an epoch: 16 clips each, of 4,500.
# Scored by HC-STVG's own protocol. For those of TubeDETR and of STCAT and its
# followers, dump the predictions and score them: docs/metrics.md.
# Only the objects of sentences have boxes; what else a video shows is unknown.
# So the proposals learn from the cells inside these boxes alone, and nobody
# says where there is no object. Start from a model trained on VidSTG,
#   --cfg-options load_from=work_dirs/hero_vidstg/best_tube_m_vIoU_epoch_10.pth
# or take the boxes of a frozen detector: docs/proposals.md.
# Its parts run together at a small size in the tests; it was not trained or
# timed by us: there is no score to expect yet.
_base_ = [
    '../_base_/datasets/hcstvg.py',
    '../_base_/models/hero_r101_roberta.py',
    '../_base_/schedules/grounding_10e.py',
    '../_base_/default_runtime.py',
]

# As long as TubeDETR.
max_epochs = 40
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
