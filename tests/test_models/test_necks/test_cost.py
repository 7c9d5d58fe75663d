"""What a sentence costs in the large model, by frames and by regions.

Shapes alone are followed, at the full width, so that terms that grow with
the square have their true share.
"""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from hero_mm.apis.benchmark.counting import exponent
from hero_mm.apis.complexity import flops_of
from hero_mm.models import Regions, TextFeatures
from hero_mm.registry import MODELS

CONFIG = (
    Path(__file__).resolve().parents[3]
    / 'configs/_base_/models/hero_r101_roberta.py'
)
# Of a sentence of VidSTG, with what a sub-word tokenizer adds.
WORDS = 16


def flops(frames: int, regions: int, attention: str = 'hierarchical') -> int:
    """Of the late fusion, the reasoning and the head for one sentence."""
    config = Config.fromfile(CONFIG).model
    dims, sizes = config.neck.embed_dims, config.neck.num_sizes
    config.neck.attention = attention
    with torch.device('meta'):
        neck = MODELS.build(config.neck).eval()
        head = MODELS.build(config.tube_head).eval()
        shape = (1, frames, regions)
        mask = torch.ones(shape, dtype=torch.bool)
        clip = Regions(
            torch.zeros(*shape, 4),
            torch.zeros(shape),
            mask,
            torch.zeros(1, frames),
            mask[..., 0],
            torch.zeros(*shape, dims),
            torch.zeros(*shape, sizes, dims),
            gate_BT=torch.zeros(1, frames),
        )
        text = TextFeatures(
            torch.zeros(1, WORDS, dims),
            torch.ones(1, WORDS, dtype=torch.bool),
            *torch.zeros(2, 1, dims),
            torch.zeros(1, WORDS),
        )
        query = torch.zeros(1, dtype=torch.long)

        def ground() -> None:
            clip.fit_BTN2 = head.compare(clip, text, query)
            reasoned = neck(
                clip.features_BTND,
                clip.mask_BTN,
                text.words_QLD,
                text.word_mask_QL,
                text.sentence_QD,
                clip.looks_BTNSD,
                clip.times_BT,
                clip.frame_mask_BT,
                clip.fit_BTN2,
                clip.gate_BT,
            )
            head(*reasoned, clip, text)

        return flops_of(ground)


@pytest.mark.slow
def test_cost_grows_with_frames_as_frames_do():
    counts = {frames: flops(frames, 64) for frames in (32, 64, 128, 256, 512)}
    assert 0.99 < exponent([*counts], [*counts.values()]) <= 1.05, counts
    assert counts[64] <= 40e9


def test_cost_grows_with_regions_hardly_faster():
    counts = {regions: flops(64, regions) for regions in (64, 128, 256)}
    assert 0.9 < exponent([*counts], [*counts.values()]) <= 1.1, counts


def test_the_joint_attention_would_grow_with_the_square():
    """The same measure sees what HERO replaces."""
    counts = {frames: flops(frames, 64, 'joint') for frames in (32, 128, 512)}
    assert exponent([*counts], [*counts.values()]) > 1.5, counts
