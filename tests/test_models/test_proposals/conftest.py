"""Generators of every kind; detectors are mmdet's own, shrunk."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from zoo_detectors import HEADS, small_detector, small_head
from zoo_language import save_language_model

from hero_mm.registry import MODELS

PROMPTS = ('the red square moves left', 'what grows?', 'object . circle .')


@pytest.fixture(scope='session')
def bert(tmp_path_factory) -> Path:
    """Folder of a tiny BERT with random weights and its tokenizer."""
    pytest.importorskip('transformers')
    folder = tmp_path_factory.mktemp('bert')
    return save_language_model(folder, 'BERT', ' '.join(PROMPTS))


@pytest.fixture(scope='session')
def detector_config(bert):
    """Function: the config of a tiny detector, by its usual name."""
    return lambda name: ConfigDict(small_detector(name, bert))


@pytest.fixture(scope='session')
def generator_config(detector_config):
    """Function: the config of a generator, by the name of what it uses."""

    def make(name: str, **changes) -> dict:
        if name == 'own':
            return dict(
                type='ObjectProposals',
                embed_dims=16,
                num_proposals=8,
                # An untrained one is sure of nothing.
                min_score=0.0,
                **changes,
            )
        if name == 'file':
            return dict(type='FileProposals', **changes)
        if name in HEADS:
            return dict(
                type='DenseHeadProposals',
                head=small_head(name),
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
    """Function: a tiny HERO on proposals of a generator, all random."""

    def build(name: str, hero: dict | None = None, **changes):
        model = build_hero(**{'shake': 0.05, **(hero or {})})
        generator = MODELS.build(generator_config(name, **changes))
        generator.bind(model.data_preprocessor)
        generator.init_weights()
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        model.proposal_generator = generator
        return model.eval()

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
        side = rng.uniform(0.1, 0.4, (*shape, 2))
        boxes = np.concatenate([low, low + side], -1)
        boxes *= np.array([width, height] * 2)
        sample.proposals = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            scores=torch.tensor(rng.uniform(0.1, 1, shape)).float(),
            valid=torch.tensor(rng.uniform(size=shape) < 0.8),
        )
        return clip

    return add


@pytest.fixture(scope='session')
def learn(collate):
    """Function: losses and regions of the generator of a model."""

    def run(model, *clips):
        batch = collate(model, *clips)
        pyramid = model.encode(batch['inputs'])
        return model.proposal_generator.loss_and_predict(
            pyramid, batch['inputs'], batch['data_samples']
        )

    return run


@pytest.fixture(scope='session')
def propose(collate):
    """Function: regions of the generator of a model, and the pyramid."""

    @torch.no_grad()
    def run(model, *clips):
        batch = collate(model, *clips)
        pyramid = model.encode(batch['inputs'])
        regions = model.proposal_generator(
            pyramid, batch['inputs'], batch['data_samples']
        )
        return regions, pyramid

    return run
