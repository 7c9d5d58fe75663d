# HERO on VidSTG with ResNet-101 and RoBERTa-base, 64 frames, short side 420.
#   data:     docs/data.md, section VidSTG
#   train:    bash tools/dist_train.sh configs/hero_vidstg.py 8
#   one GPU:  python tools/train.py configs/hero_vidstg.py
#   test:     python tools/test.py configs/hero_vidstg.py CHECKPOINT
#   hardware: meant for 8 GPUs of 80 GB, 2 clips each
#   computed: 178 M parameters; forward 7.1 TFLOPs a clip of 64 frames
#             and 0.03 a sentence, a training step about three times that:
#             python tools/analysis_tools/get_flops.py \
#                 configs/hero_vidstg.py --shape 64 3 420 747
#             A test takes five frames a second, as its protocol does, at most
#             200: 22.1 TFLOPs a clip and 0.09 a sentence.
#             About 1,160 iterations an epoch: 16 clips each, of about
#             18,600 (36,202 captions; the 3,996 of val have 2,048).
# It was built and stepped, not trained or timed by us: there is no score to
# expect yet.
_base_ = [
    '../_base_/datasets/vidstg.py',
    '../_base_/models/hero_r101_roberta.py',
    '../_base_/schedules/grounding_10e.py',
    '../_base_/default_runtime.py',
]
