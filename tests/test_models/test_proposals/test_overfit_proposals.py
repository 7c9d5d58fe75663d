"""A tiny HERO on proposals of a joint RPN learns a few clips by heart."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from hero_mm.registry import MODELS

# The clips and the score of the test of HERO's own proposals.
OWN = runpy.run_path(str(Path(__file__).parents[1] / 'test_overfit.py'))
STEPS, RATE, WIDTH = 150, 8e-3, 32


def clips() -> list[dict]:
    """Four clips, of which everything is annotated."""
    drawn = [OWN['draw_clip'](seed) for seed in range(4)]
    for clip in drawn:
        clip['data_samples'].set_metainfo(dict(tracks_complete=True))
    return drawn


def config(proposing_config, head_config, words) -> dict:
    head = head_config('RPNHead')
    head.update(in_channels=WIDTH, feat_channels=WIDTH)
    head['anchor_generator'].update(
        scales=[1.2, 1.6], strides=[8], center_offset=0.5
    )
    generator = dict(type='DenseHeadProposals', head=head, loss_weight=10.0)
    made = proposing_config(generator)
    made['text_encoder']['vocabulary'] = words
    for part in made.values():
        if isinstance(part, dict) and 'embed_dims' in part:
            part['embed_dims'] = WIDTH
    made['video_encoder']['backbone'].update(
        stem_channels=16, channels=(24, 32)
    )
    return made


@pytest.mark.slow
def test_eight_sentences_by_heart(proposing_config, head_config, collate):
    torch.manual_seed(0)
    drawn = clips()
    texts = {t for c in drawn for t in c['data_samples'].queries.texts}
    model = MODELS.build(config(proposing_config, head_config, sorted(texts)))
    model.init_weights()
    batch = collate(model, *drawn)
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
    scores = [score for sample in samples for score in OWN['viou'](sample)]
    assert np.mean(scores) > 0.9, scores
