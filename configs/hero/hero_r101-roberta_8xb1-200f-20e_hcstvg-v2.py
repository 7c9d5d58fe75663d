# configs/hero_hcstvg-v2.py with the frames of TubeDETR: five a second and at
# most 200 instead of 64, and a short side of 352 pixels instead of 420.
# That makes 100 frames of the 20 seconds of a video.
#   data:     docs/data.md, section HC-STVG
#   train:    bash tools/dist_train.sh \
#                 configs/hero_r101-roberta_200f-20e_hcstvg-v2.py 8
#   one GPU:  python tools/train.py \
#                 configs/hero_r101-roberta_200f-20e_hcstvg-v2.py
#   test:     python tools/test.py \
#                 configs/hero_r101-roberta_200f-20e_hcstvg-v2.py CHECKPOINT
#   hardware: meant for 8 GPUs of 80 GB, a clip each
#   computed: 178 M parameters; forward 7.2 TFLOPs a clip of 100 frames
#             and 0.05 a sentence, a training step about three times that:
#             python tools/analysis_tools/get_flops.py \
#                 configs/hero_r101-roberta_200f-20e_hcstvg-v2.py \
#                 --shape 100 3 352 626
#             1,266 iterations an epoch: 8 clips each, of 10,131.
# Not trained by us, nor timed: there is no score to expect yet.
_base_ = './hero_r101-roberta_8xb2-64f-20e_hcstvg-v2.py'

sample = dict(type='SampleClipFrames', mode='fps', fps=5, max_frames=200)
resize = dict(type='ResizeClip', short_side=352, max_long=626)
train_pipeline = [
    dict(sample, crop_prob=0.5, min_frames=64),
    *_base_.train_pipeline[1:-2],
    resize,
    dict(type='PackGroundingInputs'),
]
test_pipeline = [
    sample,
    *_base_.test_pipeline[1:-2],
    resize,
    dict(type='PackGroundingInputs'),
]
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
# A clip a GPU, twice: as many clips a step as there.
optim_wrapper = dict(accumulative_counts=2)
