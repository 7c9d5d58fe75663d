"""A tiny HERO on proposals of a joint RPN learns a few clips by heart."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from hero_mm.registry import MODELS

# The clips and the score of the test of the dense form.
DENSE = runpy.run_path(str(Path(__file__).parents[1] / 'test_overfit.py'))
STEPS, RATE = 150, 8e-3


@pytest.mark.slow
def test_eight_sentences_by_heart(hero_config, head_config, collate):
    torch.manual_seed(0)
    clips = [DENSE['draw_clip'](seed) for seed in range(4)]
    words = sorted({t for c in clips for t in c['data_samples'].queries.texts})
    head = head_config('RPNHead')
    head.update(in_channels=32, feat_channels=32)
    head['anchor_generator'].update(
        scales=[1.2, 1.6], strides=[8], center_offset=0.5
    )
    head['test_cfg'].update(max_per_img=8)
    config = hero_config(
        proposal_generator=dict(type='DenseHeadProposals', head=head),
        roi_encoder=dict(num_train=6),
        max_regions=6,
    )
    config['text_encoder']['vocabulary'] = words
    for part in ('video_encoder', 'text_encoder', 'neck', 'action_head'):
        config[part]['embed_dims'] = 32
    config['tube_head']['embed_dims'] = 32
    config['video_encoder']['backbone'].update(
        stem_channels=16, channels=(24, 32)
    )
    model = MODELS.build(config)
    model.init_weights()
    batch = collate(model, *clips)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=STEPS
    )
    model.train()
    for _ in range(STEPS):
        total, _ = model.parse_losses(model(**batch, mode='loss'))
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    samples = model.eval()(**batch, mode='predict')
    scores = [score for sample in samples for score in DENSE['viou'](sample)]
    assert np.mean(scores) > 0.9, scores
