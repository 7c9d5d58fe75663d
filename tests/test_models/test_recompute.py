"""Activation checkpointing of MMEngine: each part of the shapes model."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import turn_on_activation_checkpointing
from torch.testing import assert_close

from hero_mm.models import recompute
from hero_mm.registry import MODELS

# Part, and how often its forward runs in a step: once more where gradients
# need what it computed.
PARTS = {
    'video_encoder': 2,
    'video_encoder.backbone': 2,
    'text_encoder': 2,
    # Learns by another method than forward; its modules are those to name.
    'proposal_generator': 0,
    'proposal_generator.head': 2,
    # What they give has no gradient.
    'linker': 1,
    'action_head': 1,
    'retrieval': 1,
    'region_encoder': 2,
    'neck': 2,
    'neck.layers.0': 2,
    'tube_head': 2,
}


@pytest.fixture(scope='module')
def stepped(repo_root, make_clip, collate):
    """Function: a step of the shapes model with some modules checkpointed."""
    cfg = Config.fromfile(repo_root / 'configs/hero_shapes.py').model
    torch.manual_seed(0)
    items = make_clip(6), make_clip(4, (24, 32), seed=1)
    words = [
        text for one in items for text in one['data_samples'].queries.texts
    ]
    cfg.text_encoder.update(ann_file=None, vocabulary=words, unknown_prob=0.3)
    cfg.proposal_generator.min_score = 0.0
    wholes = {}
    for depth in ('reason', 'scout'):
        cfg.retrieval.update(depth=depth, train_prob=1.0)
        torch.manual_seed(0)
        wholes[depth] = MODELS.build(cfg)
        wholes[depth].init_weights()

    def step(*names, depth='reason'):
        model = copy.deepcopy(wholes[depth])
        turn_on_activation_checkpointing(model, list(names))
        model.train()
        batch = collate(model, *items)
        torch.manual_seed(1)
        losses = model(**batch, mode='loss')
        model.parse_losses(losses)[0].backward()
        found = {f'loss {k}': v for k, v in losses.items()}
        found.update(
            (f'grad {k}', p.grad) for k, p in model.named_parameters()
        )
        found.update((f'buffer {k}', v) for k, v in model.named_buffers())
        return found

    return step


@pytest.fixture(scope='module')
def plain(stepped):
    return stepped()


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value is None:
            assert found[name] is None, name
        else:
            assert_close(found[name], value)


@pytest.mark.parametrize('part', PARTS)
def test_a_checkpointed_part_learns_the_same(
    stepped, plain, part, monkeypatch
):
    runs, checkpoint = [], recompute.checkpoint

    def counted(forward, *args, **kwargs):
        def run(*inputs, **options):
            runs.append(part)
            return forward(*inputs, **options)

        return checkpoint(run, *args, **kwargs)

    monkeypatch.setattr(recompute, 'checkpoint', counted)
    assert_same(stepped(part), plain)
    assert len(runs) == PARTS[part]


@pytest.mark.parametrize('depth', ['reason', 'scout'])
def test_all_parts_at_once(stepped, depth):
    assert_same(stepped(*PARTS, depth=depth), stepped(depth=depth))


def test_a_backbone_that_a_scout_leaves_early(stepped):
    """What is computed again goes no further, either."""
    plain = stepped(depth='scout')
    assert_same(stepped('video_encoder.backbone', depth='scout'), plain)
