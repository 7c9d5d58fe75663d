"""A model that is saved and read again is the same model."""

import pytest
import torch
from mmengine.runner import load_checkpoint, save_checkpoint
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from hero_mm.apis.checkpoint import check_weights, load_weights
from hero_mm.models.grounders.hero import check_version
from hero_mm.registry import MODELS

# What has a state of its own beside the weights would show here.
VARIANTS = {
    'whole': {},
    'some frames': dict(retrieval=dict(depth='reason')),
    'span supervision': dict(action_head=dict(supervision='span')),
    'joint attention': dict(
        neck=dict(attention='joint'), region_encoder=dict(attention='joint')
    ),
}


@pytest.fixture(params=VARIANTS)
def variant(request):
    return dict(
        VARIANTS[request.param], proposal_generator=dict(min_score=0.0)
    )


@pytest.fixture
def saved(variant, build_hero, make_clip, predict, tmp_path):
    """A checkpoint and what the model in it predicts."""
    model = build_hero(**variant)
    path = str(tmp_path / 'hero.pth')
    save_checkpoint(dict(state_dict=model.state_dict(), meta={}), path)
    clip = make_clip(5)
    return path, clip, predict(model, clip)[0]


def test_reloaded_is_the_model_before(
    saved, variant, build_hero, predict, same_predictions
):
    path, clip, wanted = saved
    model = build_hero(seed=5, **variant)
    with pytest.raises(AssertionError):
        same_predictions(predict(model, clip)[0], wanted)
    load_checkpoint(model, path, strict=True)
    same_predictions(predict(model.eval(), clip)[0], wanted, atol=0)


def test_vocabulary_comes_with_the_checkpoint(
    saved, variant, hero_config, predict, same_predictions
):
    """A model for inference needs neither annotations nor words."""
    path, clip, wanted = saved
    config = hero_config(**variant)
    del config['text_encoder']['vocabulary']
    model = MODELS.build(config)
    assert len(model.text_encoder.words) == 2
    load_checkpoint(model, path, strict=True)
    same_predictions(predict(model.eval(), clip)[0], wanted, atol=0)


def test_training_goes_on_as_it_would_have(
    saved, variant, build_hero, total_loss
):
    """No hidden state is lost."""
    path, clip, _ = saved
    after = []
    for seed in (0, 5):
        model = build_hero(seed=seed, **variant).train()
        load_checkpoint(model, path, strict=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for step in range(2):
            torch.manual_seed(step)
            optimizer.zero_grad()
            total_loss(model, clip)[1].backward()
            optimizer.step()
        after.append(total_loss(model, clip)[1].item())
    assert after[0] == after[1]


# --- checkpoints of 0.1.0

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
