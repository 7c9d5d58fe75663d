"""Between pixels and results the host waits for no device.

On the meta device a tensor has no values: whatever asks for one fails.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hero_mm.apis.random_clips import config_without_data, make_item
from hero_mm.models import GroundingDataPreprocessor
from hero_mm.registry import MODELS
from hero_mm.structures import transfer

META = torch.device('meta')


class Copies(TorchDispatchMode):
    """Counts what goes from the host to the device."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default:
            self.count += args[0].device != out.device
        return out


@pytest.fixture(scope='module')
def model(repo_root):
    cfg = config_without_data(repo_root / 'configs/hero_shapes.py')
    torch.manual_seed(0)
    return MODELS.build(cfg.model).to(META)


def batch():
    """Two clips of unlike length, size and number of sentences."""
    items = [make_item(8, (64, 48), 2, 0), make_item(6, (48, 64), 1, 1)]
    data = GroundingDataPreprocessor()(
        dict(
            inputs=[item['inputs'] for item in items],
            data_samples=[item['data_samples'] for item in items],
        )
    )
    for name, value in data['inputs'].items():
        if isinstance(value, torch.Tensor):
            data['inputs'][name] = value.to(META)
    data['data_samples'] = [one.to(META) for one in data['data_samples']]
    return data


@pytest.mark.parametrize('mode', ['loss', 'predict', 'tensor'])
def test_nothing_asks_for_a_value(model, mode, monkeypatch):
    sent = []

    def send(values, device, **kind):
        if device != torch.device('cpu'):
            sent.append(values)
        return torch.as_tensor(values, **kind).to(device)

    for module in (
        'structures.actions',
        'models.grounders.hero',
        'models.heads.contrastive_action_head',
        'models.heads.tube_decoding',
        'models.heads.tube_head',
        'models.regions',
        'models.text_encoders.word_text_encoder',
    ):
        monkeypatch.setattr(f'hero_mm.{module}.send', send)
    model.train(mode == 'loss')
    data = batch()
    with Copies() as copies, torch.set_grad_enabled(mode == 'loss'):
        out = model(**data, mode=mode)
    if mode == 'loss':
        assert all(loss.device == META for loss in out.values())
    # Numbers that only the host knows, and nothing else.
    assert copies.count == len(sent) <= 10


def test_what_is_sent_arrives():
    got = transfer.send([1, 2], 'cpu', dtype=torch.float64)
    assert got.dtype == torch.float64 and got.tolist() == [1, 2]
