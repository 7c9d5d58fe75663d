"""A model that is saved and read again is the same model."""

import pytest
import torch
from mmengine.runner import load_checkpoint, save_checkpoint
from mmengine.runner.checkpoint import _load_checkpoint_to_model

from hero_mm.apis.checkpoint import check_weights, load_weights
from hero_mm.pretrained.filling import MARKS_OF_0_1, check_version

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


@pytest.mark.parametrize(
    'mark', ['video_encoder.project.weight', 'tube_head.clip_out.weight']
)
def test_weights_of_0_1_0_are_refused(mark, build_hero, tmp_path):
    """By MMEngine's own way, too, which would take what fits."""
    old, path = {mark: torch.zeros(2, 2)}, tmp_path / 'old.pth'
    torch.save(dict(state_dict=old, meta={}), path)
    for load in (
        lambda model: load_weights(model, path),
        lambda model: check_weights(model, old, path),
        lambda model: _load_checkpoint_to_model(model, dict(state_dict=old)),
    ):
        with pytest.raises(ValueError, match=r'is of hero_mm 0\.1\.0 .*train'):
            load(build_hero())
    # Of a model of one's own that has such a part.
    check_version(old, known={mark})


@pytest.mark.parametrize('mark', MARKS_OF_0_1)
def test_marks_of_0_1_0_are_found_in_a_wrapper(mark):
    assert len(MARKS_OF_0_1) == 3
    with pytest.raises(ValueError, match=f'0.1.0 .*module.{mark}'):
        check_version({f'module.{mark}': 0}, 'module.')
    check_version({mark: 0}, 'module.')
