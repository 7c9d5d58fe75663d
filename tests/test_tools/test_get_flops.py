"""What a model costs, at the command line."""

import re

import pytest
from mmengine.config import Config


def config(*steps, wrapped=False):
    dataset = dict(type='D', pipeline=list(steps))
    if wrapped:
        dataset = dict(type='Repeat', dataset=dataset)
    return Config(dict(test_dataloader=dict(dataset=dataset)))


SAMPLE = dict(type='hero_mm.SampleClipFrames', num_frames=9)
DENSE = dict(type='SampleClipFrames', max_frames=20, num_frames=9)
RESIZE = dict(type='ResizeClip', short_side=48, max_long=80)
SCALE = dict(type='ResizeClip', scale=(64, 48))
SHAPES = [
    # As it is given.
    ([8, 3, 20, 30], config(), (8, 20, 30)),
    ([20, 30], config(SAMPLE), (9, 20, 30)),
    # What the test pipeline makes.
    (None, config(SAMPLE), (9, 224, 224)),
    (None, config(DENSE, wrapped=True), (20, 224, 224)),
    (None, config(SAMPLE, SCALE), (9, 48, 64)),
    (None, config(SAMPLE, RESIZE), (9, 48, 80)),
    (None, config(SAMPLE, dict(RESIZE, max_long=None)), (9, 48, 48)),
]


@pytest.mark.parametrize(('shape', 'cfg', 'wanted'), SHAPES)
def test_the_clip_that_is_counted(tool, shape, cfg, wanted):
    assert tool.clip_shape(shape, cfg) == wanted


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        ([1, 2, 3], 'give HEIGHT WIDTH'),
        ([8, 4, 20, 30], 'give HEIGHT WIDTH'),
        ([20, 20], 'does not say how many frames'),
    ],
)
def test_numbers_that_are_no_shape(tool, shape, message):
    with pytest.raises(ValueError, match=message):
        tool.clip_shape(shape, config())


def numbers(text, unit):
    """Name of a row -> its last number."""
    rows = re.findall(rf'^(.*?) {{2,}}.*?([\d.]+) {unit}$', text, re.M)
    return {name.strip(): float(value) for name, value in rows}


def test_rows_add_up(tool, repo_root, capsys):
    path = str(repo_root / 'configs/hero_shapes.py')
    tool.main([path, '--shape', '4', '3', '32', '32', '--sentences', '2'])
    text = capsys.readouterr().out
    assert '4 frames of 32 x 32 pixels' in text and '2 sentence(s)' in text
    trained = numbers(text, 'M')
    parts = {'video_encoder', 'region_encoder', 'neck', 'tube_head'}
    assert parts <= set(trained)
    total = trained.pop('in all')
    assert sum(trained.values()) == pytest.approx(total, abs=0.01)
    flops = numbers(text, 'G')
    once = ('backbone', 'pyramid', 'rest of the clip')
    each = ('text encoder', 'reasoning', 'head', 'rest of the sentence')
    clip, sentence = (sum(flops[p] for p in parts) for parts in (once, each))
    assert flops['clip in all'] == pytest.approx(clip, abs=1e-3)
    assert flops['sentences in all (2)'] == pytest.approx(sentence, abs=1e-3)
    assert flops['in all'] == pytest.approx(clip + sentence, abs=1e-3)
