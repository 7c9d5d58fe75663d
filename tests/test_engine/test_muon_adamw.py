"""MuonAdamW: orthogonal steps of matrices; mixed precision on the CPU."""

import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from hero_mm.engine import BFloat16OptimWrapper, MuonAdamW, optim_wrappers
from hero_mm.engine.muon_adamw import orthogonalise
from hero_mm.registry import OPTIM_WRAPPERS


@pytest.mark.parametrize('shape', [(3, 16, 40), (2, 40, 16), (1, 24, 24)])
def test_singular_values_are_pulled_to_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
    assert (values > 0.5).float().mean() > 0.8
    assert values.max() < 1.3


def test_matrices_and_the_rest():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 16, 3), nn.LayerNorm(16))
    small = nn.Linear(8, 4)
    optimizer = MuonAdamW(
        [*model.parameters(), *small.parameters()], lr=0.01, weight_decay=0.0
    )
    before = [p.detach().clone() for p in model.parameters()]
    for p in (*model.parameters(), *small.parameters()):
        p.grad = torch.randn_like(p)
    optimizer.step()
    after = [p.detach() for p in model.parameters()]
    conv = (after[0] - before[0]).flatten(1)
    # As large as a step of AdamW: about the learning rate an entry.
    assert conv.square().mean().sqrt().item() == pytest.approx(0.002, rel=0.3)
    values = torch.linalg.svdvals(conv)
    assert values.max() / values.min() < 2.5
    norm = (after[2] - before[2]).abs()
    torch.testing.assert_close(norm, torch.full_like(norm, 0.01))
    muon = [group['muon'] for group in optimizer.param_groups]
    assert sorted(muon) == [False, True]
    # A matrix whose one side is short is none.
    (matrices,) = [g['params'] for g in optimizer.param_groups if g['muon']]
    assert len(matrices) == 1 and matrices[0] is model[0].weight
    assert len(optimizer.state) == 6


def test_the_rest_is_adamw():
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(6)) for _ in range(2))
    a = MuonAdamW([ours], lr=0.1, weight_decay=0.1, betas=(0.8, 0.9))
    b = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.1, betas=(0.8, 0.9))
    for _ in range(5):
        grad = torch.randn(6)
        for weight, optimizer in ((ours, a), (theirs, b)):
            weight.grad = grad.clone()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_resumes_as_it_was():
    def train(optimizer, weight, seeds):
        for seed in seeds:
            torch.manual_seed(seed)
            weight.grad = torch.randn(12, 12)
            optimizer.step()

    through = nn.Parameter(torch.zeros(12, 12))
    optimizer = MuonAdamW([through], lr=0.01)
    train(optimizer, through, range(3))
    resumed = nn.Parameter(through.detach().clone())
    again = MuonAdamW([resumed], lr=0.5)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(optimizer, through, range(3, 6))
    train(again, resumed, range(3, 6))
    torch.testing.assert_close(resumed, through)


def test_groups_of_a_config():
    model = nn.ModuleDict(
        dict(backbone=nn.Linear(16, 16), head=nn.Linear(16, 16))
    )
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='hero_mm.MuonAdamW', lr=0.1),
            paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
        ),
    )
    rates = {
        (group['muon'], round(group['lr'], 3))
        for group in wrapper.optimizer.param_groups
    }
    assert rates == {(True, 0.01), (True, 0.1), (False, 0.01), (False, 0.1)}


def test_a_momentum_of_one_is_refused():
    with pytest.raises(ValueError, match=r'in \[0, 1\), got 1.0'):
        MuonAdamW([nn.Parameter(torch.zeros(9, 9))], momentum=1.0)


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
