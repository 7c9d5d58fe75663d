"""Parameters and operations, against what can be counted by hand."""

import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch import nn
from zoo import small_hero

from hero_mm.apis import complexity
from hero_mm.apis.complexity import (
    count_encoder_flops,
    count_flops,
    count_parameters,
    flops_of,
    kept_bytes,
)
from hero_mm.apis.random_clips import make_item
from hero_mm.registry import MODELS


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))
        self.one = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1, bias=False))
        self.two = nn.Linear(4, 4).requires_grad_(False)
        self.none = nn.ReLU()


def test_parameters_by_part():
    model = Parts()
    model.one[0].bias.requires_grad_(False)
    assert count_parameters(model) == {
        '': (5, 5),
        'one': (6 + 3 + 3, 6 + 3),
        'two': (20, 0),
    }


X = torch.ones(2, 7, 8)
COUNTED = {
    'product': (lambda: X @ torch.ones(8, 3), 2 * 2 * 7 * 8 * 3),
    'layer': (lambda: nn.Linear(8, 3)(X), 2 * 2 * 7 * 8 * 3),
    'convolution': (
        lambda: nn.Conv2d(3, 5, 3, padding=1)(torch.ones(2, 3, 6, 4)),
        2 * 2 * 5 * 6 * 4 * 3 * 9,
    ),
    'strided convolution in 3-D': (
        lambda: nn.Conv3d(3, 5, 2, 2)(torch.ones(1, 3, 4, 4, 4)),
        2 * 5 * 2**3 * 3 * 2**3,
    ),
    # Queries times keys, and weights times values.
    'attention': (
        lambda: nn.functional.scaled_dot_product_attention(X, X, X),
        2 * (2 * 2 * 7 * 7 * 8),
    ),
    # Projections of three and one, and the attention.
    'heads': (
        lambda: nn.MultiheadAttention(8, 2, batch_first=True).eval()(X, X, X),
        4 * (2 * 2 * 7 * 8 * 8) + 2 * (2 * 2 * 7 * 7 * 8),
    ),
    'norm': (lambda: nn.LayerNorm(8)(X), 0),
}


@pytest.mark.parametrize('name', COUNTED)
def test_operations_by_hand(name):
    action, wanted = COUNTED[name]
    assert flops_of(action) == wanted


@pytest.fixture(scope='module')
def hero():
    torch.manual_seed(0)
    model = MODELS.build(small_hero())
    model.init_weights()
    return model


def test_clips_and_sentences_are_counted_apart(hero):
    def count(*sentences):
        # The seed draws the words: as many in each sentence.
        clips = [make_item(4, (32, 32), k, 0) for k in sentences]
        return count_flops(hero, clips)

    one, two, both = count(1), count(2), count(1, 1)
    assert all(value > 0 for value in one.values())
    for part in ('backbone', 'pyramid', 'rest of the clip'):
        assert two[part] == one[part]
    for part in ('backbone', 'pyramid'):
        assert both[part] == 2 * one[part]
    # What all clips share is done once.
    rest = both['rest of the clip'], 2 * one['rest of the clip']
    assert 0.99 < rest[0] / rest[1] <= 1
    assert both['text encoder'] == two['text encoder']
    for part in ('text encoder', 'reasoning', 'head'):
        assert two[part] == pytest.approx(2 * one[part], rel=0.05)
    # Slots are prepared for the comparison once a clip.
    rest = one['rest of the sentence'], two['rest of the sentence']
    assert rest[0] < rest[1] < 2 * rest[0]


def test_shapes_count_as_the_real_run_does(hero, monkeypatch):
    items = [make_item(4, (32, 32), 2, 0)]
    shapes = count_flops(hero, items)
    done = []
    count = complexity.count_parts

    def real(*args, **data):
        if not done:
            done.append(True)
            raise RuntimeError('something looks at values')
        return count(*args, **data)

    monkeypatch.setattr(complexity, 'count_parts', real)
    assert count_flops(hero, items) == shapes


class Squares(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1000))

    def forward(self, x):
        y = x * self.weight
        # Kept: x and the weight for the first product, y for the square.
        return (y.view(10, 100) ** 2).sum()


def test_what_is_kept_for_gradients():
    model = Squares()
    x = torch.ones(1000)
    assert kept_bytes(lambda: model(x), model) == 2 * 4000
    shapes = Squares().to('meta')
    assert kept_bytes(lambda: shapes(x.to('meta')), shapes) == 2 * 4000


def test_counting_leaves_no_trace(hero):
    hero.train()
    item = make_item(2, (16, 16), 1, 0)
    count_flops(hero, [item])
    assert 'pred_queries' not in item['data_samples']
    assert hero.training and hero.tube_head.training
    with pytest.raises(ZeroDivisionError):
        flops_of(lambda: 1 / 0)
    assert torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(TypeError, match='Linear has no scout, encode'):
        count_flops(nn.Linear(2, 2), [])


def test_an_encoder_is_counted_without_being_run(hero):
    """As by running it; sides are padded to whole regions."""
    encoder = hero.video_encoder.eval()
    real = dict(
        imgs=torch.ones(1, 3, 3, 24, 40),
        frame_mask=torch.ones(1, 3, dtype=torch.bool),
        pixel_mask=torch.ones(1, 24, 40, dtype=torch.bool),
    )
    wanted = flops_of(lambda: encoder(**real))
    assert count_encoder_flops(encoder, 3, (37, 17)) == wanted > 0
    assert encoder.projects[0].weight.device.type == 'cpu'
    # An hour of film.
    large = count_encoder_flops(encoder, 3 * 30000, (40, 24))
    assert large == 30000 * wanted


@pytest.mark.parametrize('keep', [1.0, 0.5])
def test_what_a_scout_saves_is_not_counted(hero, keep):
    """Before the encoder; all that is done is in one of the parts."""
    config = small_hero()
    config['retrieval'] = dict(
        type='FrameRetrieval', depth='scout', keep_ratio=keep, run=2
    )
    model = MODELS.build(config).eval()
    item = make_item(8, (32, 32), 2, 0)
    parts, without = count_flops(model, [item]), count_flops(hero, [item])
    whole = flops_of(lambda: model.test_step(pseudo_collate([item])))
    assert sum(parts.values()) == whole and min(parts.values()) > 0
    for part in ('backbone', 'pyramid'):
        assert parts[part] == keep * without[part]
