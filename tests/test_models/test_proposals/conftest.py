"""Tiny generators of every kind; detectors are mmdet's own, shrunk."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from hero_mm.apis.model_zoo.generators import (
    HEADS,
    save_small_bert,
    small_detector,
    small_head,
)
from hero_mm.models import VideoFeatures
from hero_mm.models.proposals import ProposalSet

PROMPTS = ('the red square moves left', 'what grows?', 'object . circle .')


@pytest.fixture(scope='session')
def bert(tmp_path_factory) -> Path:
    """Folder of a tiny BERT with random weights and its tokenizer."""
    pytest.importorskip('transformers')
    return save_small_bert(tmp_path_factory.mktemp('bert'), ' '.join(PROMPTS))


@pytest.fixture(scope='session')
def detector_config(bert):
    """Function: the config of a tiny detector, by its usual name."""
    return lambda name: ConfigDict(small_detector(name, bert))


@pytest.fixture(scope='session')
def head_config():
    """Function: the config of a tiny dense head on two levels."""
    return small_head


@pytest.fixture(scope='session')
def generator_config(detector_config, head_config):
    """Function: the config of a generator, by the name of what it uses."""

    def make(name: str, **changes) -> dict:
        if name == 'file':
            return dict(type='FileProposals', **changes)
        if name in HEADS:
            return dict(
                type='DenseHeadProposals',
                head=head_config(name),
                num_levels=2,
                **changes,
            )
        return dict(
            type='DetectorProposals',
            detector=detector_config(name),
            **changes,
        )

    return make


@pytest.fixture(scope='session')
def build_proposing(build_hero, generator_config):
    """Function: a tiny HERO on proposals of a generator."""

    def build(name: str, hero: dict | None = None, **changes):
        options = dict(
            shake=0.05, max_regions=6, roi_encoder=dict(num_train=8)
        )
        options.update(hero or {})
        return build_hero(
            proposal_generator=generator_config(name, **changes), **options
        )

    return build


@pytest.fixture(scope='session')
def with_proposals():
    """Function: a clip with random proposals, as from files."""

    def add(clip: dict, number: int = 7, seed: int = 0) -> dict:
        rng = np.random.default_rng(seed)
        sample = clip['data_samples']
        height, width = sample.img_shape
        shape = (len(sample.frame_inds), number)
        low = rng.uniform(0, 0.6, (*shape, 2))
        boxes = np.concatenate(
            [low, low + rng.uniform(0.1, 0.4, low.shape)], -1
        )
        boxes *= np.array([width, height] * 2)
        sample.proposals = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            scores=torch.tensor(rng.uniform(0.1, 1, shape)).float(),
            valid=torch.tensor(rng.uniform(size=shape) < 0.8),
        )
        return clip

    return add


@pytest.fixture(scope='session')
def make_set():
    """Function: proposals from nested lists of boxes, clip by clip."""

    def make(clips: list, scores: list | None = None) -> ProposalSet:
        most = max(len(frame) for clip in clips for frame in clip)
        longest = max(map(len, clips))
        boxes = torch.zeros(len(clips), longest, max(most, 1), 4)
        told = torch.zeros(boxes.shape[:3])
        valid = torch.zeros(boxes.shape[:3], dtype=torch.bool)
        for b, clip in enumerate(clips):
            for t, frame in enumerate(clip):
                for k, box in enumerate(frame):
                    boxes[b, t, k] = torch.tensor(box, dtype=torch.float32)
                    told[b, t, k] = scores[b][t][k] if scores else 1.0
                    valid[b, t, k] = True
        return ProposalSet(boxes, told, valid)

    return make


@pytest.fixture(scope='session')
def constant_video(make_video):
    """Function: features of a grid that are the same everywhere."""

    def make(clips: int, frames: int, height: int, width: int, dims: int = 4):
        video: VideoFeatures = make_video(
            torch.ones(clips, frames, height, width, dims)
        )
        return video

    return make
