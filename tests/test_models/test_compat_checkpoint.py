"""Checkpoints of 0.1.0 are refused wherever weights are loaded."""

import pytest
import torch
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from hero_mm.apis.checkpoint import check_weights, load_weights
from hero_mm.models.grounders.hero import check_version

# Of a model that configs/hero_shapes.py of 0.1.0 made.
OLD = (
    'video_encoder.project.weight',
    'video_encoder.norm.weight',
    'neck.region_layers.0.norm_spatial.weight',
    'tube_head.clip_out.weight',
    'region_detail.reduce.weight',
)
WORDS = (
    r'^the checkpoint is of hero_mm 0\.1\.0 .* model had another form: train '
)


@pytest.fixture
def old(build_hero, tmp_path):
    """Weights that 0.1.0 shares with today's, and its own; and their file."""
    shared = build_hero().video_encoder.backbone.state_dict()
    weights = {
        f'video_encoder.backbone.{name}': v for name, v in shared.items()
    }
    weights.update((name, torch.zeros(2, 2)) for name in OLD)
    path = tmp_path / 'old.pth'
    torch.save(dict(state_dict=weights, meta={}), path)
    return weights, path


@pytest.mark.parametrize('mark', [OLD[0], *OLD[3:]])
def test_weights_of_the_old_model(mark):
    with pytest.raises(ValueError, match=WORDS) as caught:
        check_version({mark: 0})
    assert mark in str(caught.value) and '\n' not in str(caught.value)
    with pytest.raises(ValueError, match=WORDS):
        check_version({f'module.{mark}': 0}, 'module.')
    check_version({mark: 0}, 'module.')
    # Of a model of one's own that has such a part.
    check_version({mark: 0}, known={mark})


def test_weights_of_this_model_pass(build_hero):
    check_version(build_hero().state_dict())


def test_the_inferencer_refuses_them(old, build_hero):
    with pytest.raises(ValueError, match=WORDS):
        load_weights(build_hero(), old[1])


def test_test_and_resume_refuse_them(old, build_hero):
    weights, path = old
    with pytest.raises(ValueError, match=WORDS):
        check_weights(build_hero(), weights, path)
    model = nn.ModuleDict(dict(video_encoder=nn.ModuleDict()))
    model['video_encoder']['project'] = nn.Linear(2, 2, bias=False)
    check_weights(model, {OLD[0]: torch.zeros(2, 2)}, path)


def test_load_from_refuses_them(old, build_hero):
    """MMEngine's own way, which would take what fits."""
    with pytest.raises(ValueError, match=WORDS):
        _load_checkpoint_to_model(build_hero(), dict(state_dict=old[0]))
