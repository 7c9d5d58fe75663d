# Tubes without training data: a frozen MM-Grounding-DINO, prompted with the
# sentence, finds boxes in each frame; HERO's linking makes tubes of them, and
# a span is where the scores along a tube are higher than elsewhere.
#   hero-mm ground VIDEO "SENTENCE" \
#       --model configs/hero_zero-shot_mm-grounding-dino.py
#   python tools/test.py configs/hero_zero-shot_mm-grounding-dino.py \
#       grounding_dino_swin-t_pretrain_obj365_goldg_grit9m_v3det_*.pth
# What it is: never trained on tubes. It sees frames one by one, so that words
# of the action hardly count, and any thing that a sentence names may score
# high. No score on a real benchmark has been measured. Every sentence costs a
# pass of the detector a frame. Without internet: docs/proposals.md,
# "Without training data".
_base_ = ['../_base_/default_runtime.py']
# Fetched once into torch's cache.
load_from = (
    'https://download.openmmlab.com/mmdetection/v3.0/mm_grounding_dino/'
    'grounding_dino_swin-t_pretrain_obj365_goldg_grit9m_v3det/'
    'grounding_dino_swin-t_pretrain_obj365_goldg_grit9m_v3det_20231204_095047-'
    'b448804b.pth'
)
# A folder, or its name on Hugging Face.
language_model = 'bert-base-uncased'
data_root = 'data/own/'
ann_file = data_root + 'val.json'
video_root = data_root + 'videos'

model = dict(
    type='ZeroShotGrounder',
    proposal_generator=dict(
        type='DetectorProposals',
        detector='mmdet::mm_grounding_dino/'
        'grounding_dino_swin-t_pretrain_obj365_goldg_grit9m_v3det.py',
        language_model=language_model,
        checkpoint=load_from,
        max_per_frame=16,
        batch_size=4,
    ),
    # Regions of a frame that go on, for each sentence.
    max_regions=8,
    linker=dict(type='RegionLinker', num_slots=8),
)

test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='GroundingDataset',
        ann_file=ann_file,
        data_prefix=dict(video=video_root),
        test_mode=True,
        pipeline=[
            dict(type='SampleClipFrames', mode='fps', fps=2, max_frames=64),
            dict(type='DecodeFrames', max_side=1024),
            dict(type='LoadTubes'),
            # The smallest size that the detector was trained on.
            dict(type='ResizeClip', short_side=480, max_long=853),
            dict(type='PackGroundingInputs'),
        ],
    ),
)
test_cfg = dict(type='TestLoop')
test_evaluator = dict(type='TubeMetric', protocol='tubedetr')
