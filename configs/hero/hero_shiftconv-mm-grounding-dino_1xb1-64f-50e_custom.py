# HERO on footage of one's own, trained on what a frozen MM-Grounding-DINO,
# prompted with the sentences, finds there: the step after
# configs/hero_zero-shot_mm-grounding-dino.py, with the same weights.
#   python tools/train.py configs/hero_mm-grounding-dino_custom.py
# Data: data/own/train.json, data/own/videos (docs/data.md). Every sentence
# costs a pass of the detector a frame, in every epoch: for a GPU. Boxes that
# are found once (tools/extract_proposals.py, docs/proposals.md) cost it once.
_base_ = ['./hero_shiftconv_1xb1-64f-50e_custom.py']
# A folder, or its name on Hugging Face.
language_model = 'bert-base-uncased'
model = dict(
    proposal_generator=dict(
        _delete_=True,
        type='DetectorProposals',
        detector='mmdet::mm_grounding_dino/'
        'grounding_dino_swin-t_pretrain_obj365_goldg_grit9m_v3det.py',
        language_model=language_model,
        # Fetched once into torch's cache.
        checkpoint='https://download.openmmlab.com/mmdetection/v3.0/'
        'mm_grounding_dino/'
        'grounding_dino_swin-t_pretrain_obj365_goldg_grit9m_v3det/'
        'grounding_dino_swin-t_pretrain_obj365_goldg_grit9m_v3det_20231204_'
        '095047-b448804b.pth',
        max_per_frame=48,
        batch_size=4,
        # Frames of the config are small; it was trained on 480 and more.
        scale=4.0,
    ),
)
