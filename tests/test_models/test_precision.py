"""Lower precision and compiled code give the same model."""

import pytest
import torch


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.float().flatten(), b.float().flatten()
    return torch.nn.functional.cosine_similarity(a, b, dim=0).item()


@pytest.fixture
def build(build_hero, collate):
    """Function: a model that proposes the same boxes, however it rounds.

    What is chosen cannot be nearly the same.
    """

    def make(*clips, **changes):
        model = build_hero(
            jitter=0.0, proposal_generator=dict(min_score=0.0), **changes
        )
        generator = model.proposal_generator
        batch = collate(model, *clips)
        with torch.no_grad():
            pyramid = model.encode(batch['inputs'])
            chosen = generator(pyramid, **batch_of(batch))
        generator._peaks = lambda *args: chosen
        return model

    return make


def batch_of(batch: dict) -> dict:
    return dict(inputs=batch['inputs'], samples=batch['data_samples'])


@pytest.fixture
def clips(make_clip):
    return make_clip(4), make_clip(6, seed=1)


def test_bfloat16_losses_are_near(build, clips, total_loss):
    model = build(*clips, action_head=dict(supervision='span'))
    losses, _ = total_loss(model, *clips)
    with torch.autocast('cpu', torch.bfloat16):
        half, total = total_loss(model, *clips)
    for key, value in losses.items():
        torch.testing.assert_close(
            half[key].float(),
            value,
            rtol=0.1,
            atol=0.05,
            msg=lambda text, key=key: f'{key}: {text}',
        )
    total.backward()
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), key


def test_bfloat16_predicts_the_same_tubes(build, clips, predict):
    model = build(*clips)
    for wanted, got in zip(
        predict(model, *clips), half(predict, model, clips)
    ):
        for name in wanted.keys():  # noqa: SIM118
            assert got[name].dtype == torch.float32, name
            assert got[name].isfinite().all(), name
        for name in ('scores', 'span_scores', 'action_consistency'):
            assert cosine(got[name], wanted[name]) > 0.99, name
        assert (got.bboxes - wanted.bboxes).abs().median() < 0.5
        assert (got.spans - wanted.spans).abs().median() < 0.5


def half(predict, model, clips):
    with torch.autocast('cpu', torch.bfloat16):
        return predict(model, *clips)


@pytest.mark.parametrize('kind', [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision(kind, build_hero, clips, predict):
    """Not by autocast: its weights, as strategies hold them."""
    model = build_hero().to(kind)
    for got in predict(model, *clips):
        assert got.bboxes.isfinite().all() and got.spans.isfinite().all()
