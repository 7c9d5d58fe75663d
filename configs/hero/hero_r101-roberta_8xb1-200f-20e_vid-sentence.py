# configs/hero_vid-sentence.py with at most 200 frames instead of 64, and a
# short side of 352 pixels instead of 420.
#   data:     docs/data.md, section VID-sentence
#   train:    bash tools/dist_train.sh \
#                 configs/hero_r101-roberta_200f-20e_vid-sentence.py 8
#   one GPU:  python tools/train.py \
#                 configs/hero_r101-roberta_200f-20e_vid-sentence.py
#   test:     python tools/test.py \
#                 configs/hero_r101-roberta_200f-20e_vid-sentence.py CHECKPOINT
#   hardware: meant for 8 GPUs of 80 GB, a clip each
#   computed: 178 M parameters; forward 14.5 TFLOPs a clip of 200 frames
#             and 0.09 a sentence, a training step about three times that:
#             python tools/analysis_tools/get_flops.py \
#                 configs/hero_r101-roberta_200f-20e_vid-sentence.py
#             822 iterations an epoch: 8 clips each, of 6,582.
# Not trained by us, nor timed: there is no score to expect yet.
_base_ = './hero_r101-roberta_8xb2-64f-20e_vid-sentence.py'

sample = dict(type='SampleClipFrames', num_frames=200)
resize = dict(type='ResizeClip', short_side=352, max_long=626)
train_pipeline = [
    dict(sample, jitter=True),
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
