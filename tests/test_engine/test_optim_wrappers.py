"""Mixed precision on the CPU."""

import pytest
import torch
from torch import nn

from hero_mm.engine import BFloat16OptimWrapper, optim_wrappers
from hero_mm.registry import OPTIM_WRAPPERS


def test_the_forward_pass_runs_in_bfloat16_and_weights_stay():
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    before = model.weight.clone()
    wrapper = OPTIM_WRAPPERS.build(
        dict(
            type='BFloat16OptimWrapper',
            everywhere=True,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            clip_grad=dict(max_norm=1.0),
        )
    )
    assert isinstance(wrapper, BFloat16OptimWrapper)
    with wrapper.optim_context(model):
        out = model(torch.ones(2, 4))
    assert out.dtype == torch.bfloat16
    wrapper.update_params(out.float().square().mean())
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)
    assert model(torch.ones(2, 4)).dtype == torch.float32


@pytest.mark.parametrize('has', [True, False])
def test_bfloat16_where_the_device_has_it(monkeypatch, has):
    monkeypatch.setattr(optim_wrappers, 'has_bfloat16', lambda: has)
    model = nn.Linear(4, 1)
    wrapper = BFloat16OptimWrapper(
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1)
    )
    with wrapper.optim_context(model):
        out = model(torch.ones(2, 4))
    assert out.dtype == (torch.bfloat16 if has else torch.float32)


@pytest.mark.parametrize(
    ('there', 'capability', 'has'),
    [(True, (8, 0), True), (True, (7, 5), False), (False, (9, 0), False)],
)
def test_gpus_that_have_bfloat16(monkeypatch, there, capability, has):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: there)
    monkeypatch.setattr(
        torch.cuda, 'get_device_capability', lambda: capability
    )
    monkeypatch.setattr(torch.version, 'cuda', '12.8')
    assert optim_wrappers.has_bfloat16() is has
