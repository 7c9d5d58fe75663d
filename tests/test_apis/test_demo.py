"""The demo script and the inferencer on HERO itself."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from zoo import WIDTH, small_hero

from hero_mm.apis import TubeInferencer
from hero_mm.registry import MODELS
from hero_mm.visualization import VideoWriter

WORDS = ['red', 'square', 'what', 'moves']


def make_config():
    """The smallest HERO, with all its parts."""
    pipeline = [
        dict(type='SampleClipFrames', num_frames=6),
        dict(type='DecodeFrames'),
        dict(type='LoadTubes'),
        dict(type='ResizeClip', short_side=32),
        dict(type='PackGroundingInputs'),
    ]
    text = dict(type='WordTextEncoder', embed_dims=WIDTH, vocabulary=WORDS)
    dataset = dict(type='GroundingDataset', pipeline=pipeline)
    return Config(
        dict(
            default_scope='hero_mm',
            model=small_hero(text_encoder=text),
            test_dataloader=dict(dataset=dataset),
        )
    )


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('work')
    cfg = make_config()
    cfg.dump(str(folder / 'tiny.py'))
    init_default_scope('hero_mm')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.save(
        dict(meta={}, state_dict=model.state_dict()), folder / 'epoch_1.pth'
    )
    return folder


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp('video') / 'clip.mp4'
    rng = np.random.default_rng(0)
    with VideoWriter(path, fps=10) as writer:
        for _ in range(24):
            writer.write(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    return path


@pytest.fixture(scope='module')
def inferencer(work_dir):
    return TubeInferencer(work_dir, device='cpu')


def test_hero_answers(inferencer, video):
    (tube,) = inferencer(video, 'the red square')['predictions']
    start, end = tube['span']
    assert 0 <= start < end <= 24
    boxes = np.array(tube['bboxes'])
    assert boxes.shape == (len(tube['frames']), 4)
    assert (boxes[:, 2:] >= boxes[:, :2]).all()
    assert boxes.min() >= -1e-3 and boxes.max() <= 64 + 1e-3
    assert 0 <= tube['score'] <= 1


def test_a_sentence_gets_the_same_tube_among_others(inferencer, video):
    encoded = inferencer.encode_video(video)
    texts = ['red square', 'what moves when the red one turns left ?', 'x']
    together = inferencer.ground(encoded, texts)
    for text, tube in zip(texts, together):
        (alone,) = inferencer.ground(encoded, text)
        assert alone['frames'] == tube['frames']
        np.testing.assert_allclose(alone['span'], tube['span'], atol=1e-3)
        np.testing.assert_allclose(alone['bboxes'], tube['bboxes'], atol=1e-2)


def test_the_words_of_the_checkpoint_are_used(work_dir, tmp_path):
    """The annotations of the training need not be there."""
    cfg = Config.fromfile(str(work_dir / 'tiny.py'))
    cfg.model.text_encoder.pop('vocabulary')
    inferencer = TubeInferencer(cfg, work_dir / 'epoch_1.pth', device='cpu')
    assert set(WORDS) <= set(inferencer.model.text_encoder.words)


@pytest.fixture
def demo(repo_root):
    path = repo_root / 'demo' / 'demo.py'
    spec = importlib.util.spec_from_file_location('demo_script', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_demo(demo, work_dir, video, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'out'
    flags = ['--model', work_dir, '--out', out, '--segment', '0.4', '1.6']
    argv = ['demo.py', video, 'red square', 'what moves?', *flags]
    monkeypatch.setattr(sys, 'argv', [str(part) for part in argv])
    demo.main()
    lines = capsys.readouterr().out.splitlines()
    answers = [line for line in lines if ' score ' in line]
    assert [line.split()[-1] for line in answers] == ['square', 'moves?']
    for line in answers:
        assert 0.4 <= float(line.split()[0]) < 1.6
    assert sorted(path.name for path in out.iterdir()) == [
        'clip_0.mp4',
        'clip_0.png',
        'clip_1.mp4',
        'clip_1.png',
    ]
