# HERO on VidSTG with ResNet-101 and RoBERTa-base, 64 frames, short side 420.
#   data:     docs/data.md, section VidSTG
#   train:    bash tools/dist_train.sh configs/hero_vidstg.py 8 --amp
#   one GPU:  python tools/train.py configs/hero_vidstg.py --amp
#   test:     python tools/test.py configs/hero_vidstg.py CHECKPOINT
# Meant for GPUs of 80 GB. It was built and stepped, not trained by us: there
# is no score to expect yet.
_base_ = [
    './_base_/datasets/vidstg.py',
    './_base_/models/hero_r101_roberta.py',
    './_base_/schedules/grounding_10e.py',
    './_base_/default_runtime.py',
]

# The second level of the FPN is made and not used.
find_unused_parameters = True
