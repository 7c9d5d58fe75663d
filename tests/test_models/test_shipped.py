"""The claims of the method on the models that ship: small and large.

The small one has its own size; of the large one the layers, windows and sizes
are as they ship, its width and its towers are small.
"""

import copy
from pathlib import Path
from zlib import crc32

import pytest
import torch
from mmengine.config import Config

from hero_mm.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
# Clips are as long as two of the windows, and half a window more.
FRAMES = {'small': 16, 'large': 40}
WORDS = (
    'the red square moves left',
    'the blue circle that is beside the square turns and stops .',
    'what grows ?',
)


def _narrow(part) -> None:
    """Width 32 in place of 256, in place."""
    for name, value in part.items():
        if isinstance(value, dict):
            _narrow(value)
        elif name == 'embed_dims' or (name, value) == ('in_channels', 256):
            part[name] = 32
        elif name in ('common_dims', 'read_dims'):
            part[name] = 16


def config_of(kind: str) -> dict:
    """The model of a config, with a vocabulary in place of downloads."""
    small = Config.fromfile(CONFIGS / '_base_/models/hero_small.py').model
    model = small
    if kind == 'large':
        path = CONFIGS / '_base_/models/hero_r101_roberta.py'
        model = Config.fromfile(path).model
        _narrow(model)
        model.video_encoder = small.video_encoder
        model.video_encoder.embed_dims = 32
        model.data_preprocessor.pad_size_divisor = 8
        model.text_encoder = small.text_encoder
        model.text_encoder.embed_dims = 32
        # Of few pixels; twelve regions are enough to see what is said here.
        model.proposal_generator.num_proposals = 24
        model.max_regions = model.linker.num_slots = 12
    model.text_encoder.pop('ann_file')
    model.text_encoder.vocabulary = WORDS
    return model.to_dict()


@pytest.fixture(scope='module')
def ship():
    """Function: a model as it ships, with some entries changed.

    Names of entries are those of ``--cfg-options``. All weights are random,
    and those that two models share are the same.
    """

    def build(kind: str = 'small', seed: int = 0, **changes):
        config = Config(dict(model=config_of(kind)))
        config.merge_from_dict(
            {f'model.{key}': value for key, value in changes.items()}
        )
        torch.manual_seed(seed)
        model = MODELS.build(config.model)
        model.init_weights()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                own = torch.Generator().manual_seed(crc32(name.encode()))
                noise = torch.randn(parameter.shape, generator=own)
                if parameter.dim() > 1:
                    noise = noise / parameter[0].numel() ** 0.5
                    parameter.copy_(noise)
                else:
                    parameter.add_(0.1 * noise)
        # Untrained proposals are sure of nothing.
        model.proposal_generator.min_score = 0.0
        return model.eval()

    return build


@pytest.fixture(scope='module')
def clip(make_clip):
    """Function: a random clip of the length of a kind of model."""

    def make(kind: str = 'small', seed: int = 0, texts=WORDS, **options):
        size = (64, 64) if kind == 'small' else (48, 48)
        return make_clip(FRAMES[kind], size, texts, seed, **options)

    return make


# --- every switch changes the answer ----------------------------------------

JOINT = {'neck.attention': 'joint', 'region_encoder.attention': 'joint'}
ONE_SIZE = {
    'region_encoder.scales': (1.25,),
    'region_encoder.levels': (-1,),
    'region_encoder.points': (7,),
    'neck.num_sizes': 1,
}
REASON = {'retrieval.depth': 'reason', 'retrieval.keep_ratio': 0.5}
SWITCHES = {
    'no linker': {'linker': None},
    'no action head': {'action_head': None, 'retrieval': None},
    'retrieval': REASON,
    'no neck': {'neck': None},
    'no layers over the clip': {'region_encoder.num_layers': 0},
    'joint': JOINT,
    'no words': {'neck.words': False},
    'no shift in the neck': {'neck.shift': False},
    'no shift over the clip': {'region_encoder.shift': False},
    'other windows': {'neck.temporal_window': 4},
    'other windows over the clip': {'region_encoder.temporal_window': 4},
    'no pyramid': ONE_SIZE,
    'no colours': {'region_encoder.colour_points': 0},
    'another level': {'region_encoder.levels': (1, 1, 1)},
    'fewer regions': {'max_regions': 4},
}


@pytest.fixture(scope='module')
def answers(ship, clip, predict):
    """Function: what a model says of one clip; kept for the next test."""
    known: dict = {}

    def answer(kind: str, **changes) -> dict:
        key = (kind, str(changes))
        if key not in known:
            (tubes,) = predict(ship(kind, **changes), clip(kind))
            known[key] = {name: tubes[name] for name in ('spans', 'scores')}
        return known[key]

    return answer


def difference(one: dict, other: dict) -> float:
    """How far spans and scores are apart, by how much they vary."""
    return max(
        ((value - other[name]).abs().max() / value.std()).item()
        for name, value in one.items()
    )


@pytest.mark.parametrize('kind', FRAMES)
def test_the_same_model_says_the_same(kind, ship, clip, predict, answers):
    """Without this, the tests below could not fail."""
    (tubes,) = predict(ship(kind), clip(kind))
    same = {name: tubes[name] for name in ('spans', 'scores')}
    assert difference(answers(kind), same) == 0
    # What lets all frames go on and weighs them is no other model.
    none = answers(kind, retrieval=None)
    assert difference(answers(kind), none) == 0


@pytest.mark.parametrize('kind', FRAMES)
@pytest.mark.parametrize('name', SWITCHES)
def test_every_switch_changes_the_answer(name, kind, answers):
    changed = answers(kind, **SWITCHES[name])
    assert difference(answers(kind), changed) > 0.05


@pytest.mark.parametrize(
    'kind, depth',
    [('small', 'reason'), ('large', 'reason'), ('small', 'scout')],
)
def test_the_share_of_frames_changes_the_answer(kind, depth, answers):
    shares = [
        answers(
            kind,
            **{'retrieval.depth': depth, 'retrieval.keep_ratio': share},
        )
        for share in (0.25, 0.5, 1.0)
    ]
    assert difference(shares[0], shares[1]) > 0.05
    assert difference(shares[1], shares[2]) > 0.05
    # All of them is all of them.
    assert difference(shares[2], answers(kind)) == 0


# --- windows ----------------------------------------------------------------

TRAINED = sorted(
    path
    for path in (CONFIGS / 'hero').rglob('*.py')
    if 'zero-shot' not in path.stem
)


def sampled_frames(pipeline) -> list[int]:
    """As many as are asked for; at a rate, a long clip has the most."""
    steps = [
        step
        for step in pipeline
        if step.type.rpartition('.')[2] == 'SampleClipFrames'
    ]
    names = ('num_frames', 'max_frames', 'min_frames')
    return [step[name] for step in steps for name in names if name in step]


@pytest.mark.parametrize('path', TRAINED, ids=lambda path: path.stem)
def test_windows_are_at_most_half_of_the_clip(path):
    """Else a window would hold the clip and nothing would be shifted."""
    config = Config.fromfile(path)
    frames = [
        number
        for name in ('train', 'val', 'test')
        for dataset in [config[f'{name}_dataloader'].dataset]
        for part in dataset.get('datasets', [dataset])
        for number in sampled_frames(part.pipeline)
    ]
    assert frames
    for part in ('neck', 'region_encoder'):
        assert 2 * config.model[part].temporal_window <= min(frames), part


# --- who learns from what ---------------------------------------------------

GROUNDING = {
    'loss_location',
    'loss_match',
    'loss_early',
    'loss_elsewhere',
    'loss_span',
    'loss_offset',
    'loss_actionness',
    'loss_tube',
}
OBJECTS = {
    'loss_object',
    'loss_object_bbox',
    'loss_region_bbox',
    'loss_region_l1',
}
CONTRAST = 'loss_action_contrast'
# In training all frames go on, or some are left out.
DEPTHS = {
    'weigh': {'retrieval.depth': 'weigh'},
    'reason': {**REASON, 'retrieval.train_prob': 1.0},
}


def losses_of(model, collate, *clips) -> dict:
    losses = model.train()(**collate(model, *clips), mode='loss')
    return {name: value for name, value in losses.items() if 'loss' in name}


def learners(loss, model, part: str = '') -> set[str]:
    """Parameters of a part that a loss moves."""
    named = {
        name: parameter
        for name, parameter in model.named_parameters()
        if name.startswith(part)
    }
    found = torch.autograd.grad(
        loss, list(named.values()), retain_graph=True, allow_unused=True
    )
    return {
        name
        for name, gradient in zip(named, found)
        if gradient is not None and gradient.abs().max() > 0
    }


@pytest.mark.parametrize('kind', FRAMES)
@pytest.mark.parametrize('depth', DEPTHS)
def test_nothing_but_the_contrast_teaches_the_action_head(
    depth, kind, ship, clip, collate
):
    model = ship(kind, **DEPTHS[depth])
    losses = losses_of(model, collate, clip(kind), clip(kind, 1))
    assert set(losses) == GROUNDING | OBJECTS | {CONTRAST}
    for name in GROUNDING | OBJECTS:
        assert losses[name] > 0, name
        assert not learners(losses[name], model, 'action_head'), name
    of_contrast = learners(losses[CONTRAST], model)
    # And the contrast teaches nothing that comes after it.
    assert not {
        name
        for name in of_contrast
        if name.startswith(('neck', 'tube_head', 'proposal_generator'))
    }
    for part in ('action_head', 'region_encoder', 'video_', 'text_'):
        assert any(name.startswith(part) for name in of_contrast), part


def without_spans(clip: dict) -> dict:
    clip = copy.deepcopy(clip)
    clip['data_samples'].set_metainfo(dict(spans_known=False))
    return clip


SPANS = {'action_head.supervision': 'span'}


def test_spans_that_are_not_known_are_not_looked_at(ship, clip, collate):
    """Beside a clip that has them."""
    model, blind = ship(**SPANS), without_spans(clip(seed=1))
    torch.manual_seed(0)
    usual = losses_of(model, collate, clip(), blind)
    truth = blind['data_samples'].gt_queries
    truth.spans = truth.spans.flip(0) * 0.3 + 1
    truth.bboxes = truth.bboxes.roll(1, 0) + 3
    truth.valid = ~truth.valid
    torch.manual_seed(0)
    changed = losses_of(model, collate, clip(), blind)
    for name, value in usual.items():
        assert changed[name] == value, name
