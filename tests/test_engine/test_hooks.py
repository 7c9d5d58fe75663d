"""The progress bar and the drawing hook, in tiny runs."""

import io
import os
import pty
import re
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from rich.console import Console
from torch.utils.data import Dataset

from hero_mm.datasets.video_reader import open_video
from hero_mm.engine.hooks import (
    ProgressBarHook,
    TubeVisualizationHook,
    progress_bar_hook,
    tube_visualization_hook,
)
from hero_mm.registry import HOOKS, VISUALIZERS
from hero_mm.structures import GroundingDataSample
from hero_mm.visualization import VideoWriter

SHOW, HIDE = '\x1b[?25h', '\x1b[?25l'


class Numbers(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.ones(1)


class Model(BaseModel):
    """One weight; predicts the samples it was given."""

    def __init__(self, samples=(), fail_at=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.samples = list(samples)
        self.fail_at = fail_at
        self.calls = self.steps = 0

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'predict':
            return [self.samples[self.calls % len(self.samples)]]
        self.steps += 1
        if self.steps == self.fail_at:
            raise KeyboardInterrupt
        return dict(loss=(self.weight * inputs).sum())


def fake_step(self, data, *args):
    """Data are plain tensors: no sample, no preprocessing."""
    self.calls += 1
    return self(data, mode='predict')


Model.val_step = fake_step
Model.test_step = fake_step


def make_sample(path='none.mp4', video_id='clip') -> GroundingDataSample:
    sample = GroundingDataSample(
        metainfo=dict(
            video_id=video_id,
            video_path=str(path),
            frame_inds=np.array([0, 2, 4]),
            segment=(0, 6),
            fps=10.0,
            ori_shape=(32, 48),
            img_shape=(16, 24),
        )
    )
    sample.queries = InstanceData(
        texts=['a', 'b', 'c'], query_ids=['0', '1', '2']
    )
    sample.pred_queries = InstanceData(
        spans=torch.tensor([[0.0, 6.0]] * 3),
        bboxes=torch.tensor([4.0, 4, 20, 20]).expand(3, 3, 4),
    )
    return sample


class Nothing(Evaluator):
    """An evaluator that scores nothing."""

    def __init__(self):
        super().__init__([])

    def evaluate(self, size):
        return {'tube/m_vIoU': 0.5}


def make_runner(work_dir, model=None, train=None, hooks=(), visualizer=None):
    loader = dict(
        dataset=Numbers(),
        sampler=dict(type='DefaultSampler', shuffle=False),
        batch_size=1,
        num_workers=0,
    )
    name = str(work_dir)
    return Runner(
        model=model or Model([make_sample()]),
        work_dir=str(work_dir),
        experiment_name=re.sub(r'\W', '_', name),
        train_dataloader=loader if train else None,
        train_cfg=train,
        optim_wrapper=(
            dict(optimizer=dict(type='SGD', lr=0.01)) if train else None
        ),
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=Nothing(),
        test_dataloader=loader,
        test_cfg=dict(),
        test_evaluator=Nothing(),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1), checkpoint=None
        ),
        custom_hooks=list(hooks),
        visualizer=visualizer,
        default_scope='hero_mm',
    )


@pytest.fixture
def screen(monkeypatch):
    """A terminal that remembers what was written to it."""
    file = io.StringIO()

    def console():
        return Console(file=file, force_terminal=True, width=140)

    monkeypatch.setattr(progress_bar_hook, 'make_console', console)
    monkeypatch.setenv('TERM', 'xterm')
    return file


def show_log_on(runner, screen):
    """Send the log to the screen, as it is where stdout is a terminal."""
    for handler in runner.logger.handlers:
        if type(handler).__name__ == 'StreamHandler':
            handler.setStream(screen)
            return handler
    raise LookupError


EPOCHS = dict(by_epoch=True, max_epochs=2, val_interval=1)
ITERS = dict(by_epoch=False, max_iters=8, val_interval=4)


@pytest.mark.parametrize('train', [EPOCHS, ITERS])
def test_bar_shows_training_and_validation(tmp_path, screen, train):
    hook = ProgressBarHook()
    make_runner(tmp_path, train=dict(train), hooks=[hook]).train()
    text = screen.getvalue()
    assert '8/8' in text and 'val' in text and '4/4' in text
    assert 'lr 1.0e-02' in text and 'loss ' in text
    assert ('epoch 2/2' in text) is (train is EPOCHS)
    assert text.rindex(SHOW) > text.rindex(HIDE)


def test_bar_shows_a_test(tmp_path, screen):
    make_runner(tmp_path, hooks=[ProgressBarHook()]).test()
    text = screen.getvalue()
    assert 'test' in text and '4/4' in text
    assert text.rindex(SHOW) > text.rindex(HIDE)


def test_lines_of_iterations_go_to_the_file_only(tmp_path, screen):
    runner = make_runner(
        tmp_path, train=dict(EPOCHS), hooks=[ProgressBarHook()]
    )
    handler = show_log_on(runner, screen)
    before = list(handler.filters)
    runner.train()
    text = screen.getvalue()
    assert not re.search(r'\(train\).*eta: ', text)
    assert 'm_vIoU: 0.5' in text, 'scores are shown above the bar'
    log = next(tmp_path.rglob('*.log')).read_text()
    assert len(re.findall(r'\(train\).*eta: ', log)) == 8
    assert handler.stream is screen
    assert handler.filters == before


def test_without_a_terminal_nothing_is_added(tmp_path, monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(
        progress_bar_hook, 'make_console', lambda: Console(file=file)
    )
    runner = make_runner(
        tmp_path, train=dict(EPOCHS), hooks=[ProgressBarHook()]
    )
    show_log_on(runner, file)
    runner.train()
    text = file.getvalue()
    assert len(re.findall(r'\(train\).*eta: ', text)) == 8
    assert HIDE not in text and '━' not in text


def test_only_the_main_process_draws(tmp_path, screen, monkeypatch):
    monkeypatch.setattr(progress_bar_hook, 'is_main_process', lambda: False)
    make_runner(tmp_path, hooks=[ProgressBarHook()]).test()
    assert screen.getvalue() == ''


def test_ctrl_c_leaves_the_terminal_clean(tmp_path, screen):
    runner = make_runner(
        tmp_path,
        model=Model([make_sample()], fail_at=3),
        train=dict(EPOCHS),
        hooks=[ProgressBarHook()],
    )
    handler = show_log_on(runner, screen)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    text = screen.getvalue()
    assert text.rindex(SHOW) > text.rindex(HIDE)
    assert handler.stream is screen and sys.stdout is not screen
    before = len(text)
    runner.logger.info('Epoch(train) [1] eta: 1 is shown again')
    assert 'shown again' in screen.getvalue()[before:]


def test_two_runs_of_one_runner(tmp_path, screen):
    hook = ProgressBarHook()
    runner = make_runner(tmp_path, train=dict(EPOCHS), hooks=[hook])
    runner.train()
    runner.test()
    assert hook._depth == 0 and hook._display is None
    assert screen.getvalue().count(SHOW) == 2


@pytest.mark.slow
def test_on_a_real_terminal(tmp_path, repo_root):
    """A process on a pseudo terminal ends with the cursor shown."""
    script = tmp_path / 'run.py'
    script.write_text(
        textwrap.dedent(f"""
        import importlib.util, pathlib
        spec = importlib.util.spec_from_file_location(
            'fakes', {str(Path(__file__))!r})
        fakes = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(fakes)
        runner = fakes.make_runner(
            pathlib.Path({str(tmp_path)!r}) / 'run', train=dict(fakes.EPOCHS),
            hooks=[fakes.ProgressBarHook()],
            model=fakes.Model([fakes.make_sample()], fail_at=7))
        runner.train()
        """)
    )
    main, side = pty.openpty()
    env = {**os.environ, 'TERM': 'xterm', 'COLUMNS': '120'}
    env['PYTHONPATH'] = str(repo_root)
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=side, stderr=side, env=env
    )
    os.close(side)
    chunks = []
    while True:
        try:
            chunk = os.read(main, 65536)
        except OSError:
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(main)
    assert process.wait() != 0
    text = b''.join(chunks).decode(errors='replace')
    assert text.rindex(SHOW) > text.rindex(HIDE)
    assert text.index('KeyboardInterrupt') > text.rindex(SHOW)
    assert '6/8' in text


def make_visualizer(path):
    return VISUALIZERS.build(dict(type='TubeVisualizer', name=str(path)))


@pytest.fixture
def video(tmp_path):
    path = tmp_path / 'clip.mp4'
    with VideoWriter(path, fps=10) as writer:
        for value in range(0, 240, 40):
            writer.write(np.full((32, 48, 3), value, np.uint8))
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_results_of_a_test_are_drawn(tmp_path, video):
    samples = [make_sample(video, f'clip{i}') for i in range(4)]
    hook = HOOKS.build(
        dict(type='TubeVisualizationHook', interval=2, max_queries=1)
    )
    run = tmp_path / 'run'
    make_runner(
        run, Model(samples), hooks=[hook], visualizer=make_visualizer(run)
    ).test()
    # The fake model counts its call before it predicts: clip1 comes first.
    assert names(run / 'vis' / 'test') == [
        'clip1_0-6_0.mp4',
        'clip1_0-6_0.png',
        'clip3_0-6_0.mp4',
        'clip3_0-6_0.png',
    ]


def test_number_of_clips_is_limited_in_each_validation(tmp_path, video):
    samples = [make_sample(video, f'clip{i}') for i in range(4)]
    hook = TubeVisualizationHook(
        max_samples=1,
        max_queries=2,
        video=False,
        out_dir=str(tmp_path / 'here'),
    )
    run = tmp_path / 'run'
    make_runner(
        run,
        Model(samples),
        train=dict(EPOCHS),
        hooks=[hook],
        visualizer=make_visualizer(run),
    ).train()
    assert names(tmp_path / 'here') == ['val_4', 'val_8']
    assert len(names(tmp_path / 'here' / 'val_8')) == 2


def test_frames_of_the_sample_are_drawn(tmp_path, video, monkeypatch):
    asked = []
    real = tube_visualization_hook.open_video

    def spy(path, **kwargs):
        asked.append((path, kwargs))
        return real(path, **kwargs)

    monkeypatch.setattr(tube_visualization_hook, 'open_video', spy)
    run = tmp_path / 'run'
    make_runner(
        run,
        Model([make_sample(video)]),
        hooks=[TubeVisualizationHook(max_samples=1, max_queries=1)],
        visualizer=make_visualizer(run),
    ).test()
    assert asked == [(str(video), dict(backend_args=None))]


def test_what_cannot_be_drawn_ends_no_test(tmp_path, video, monkeypatch):
    lines = []
    (tmp_path / 'file').write_text('in the way')
    (tmp_path / 'bad.mp4').write_text('no video')
    samples = [make_sample(video, 'a'), make_sample(tmp_path / 'bad.mp4', 'b')]
    run = tmp_path / 'run'
    runner = make_runner(
        run,
        Model(samples),
        hooks=[TubeVisualizationHook(out_dir=str(tmp_path / 'file'))],
        visualizer=make_visualizer(run),
    )
    monkeypatch.setattr(runner.logger, 'warning', lines.append)
    runner.test()
    text = '\n'.join(map(str, lines))
    assert 'clip.mp4 is not drawn' in text and 'is a file' in text
    assert 'bad.mp4 is not drawn' in text
    assert (tmp_path / 'file').read_text() == 'in the way'


def test_pixels_that_are_not_square_are_stretched(tmp_path):
    """A white square of 16 x 32 stored pixels, each twice as wide as high."""
    path = tmp_path / 'wide.mp4'
    image = np.zeros((48, 64, 3), np.uint8)
    image[8:40, 24:40] = 255
    with av.open(str(path), 'w') as output:
        stream = output.add_stream('libx264', rate=10)
        stream.width, stream.height = 64, 48
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(image, format='rgb24')
            frame.pts, frame.time_base = number, Fraction(1, 10)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    run = tmp_path / 'run'
    make_runner(
        run,
        Model([make_sample(path)]),
        hooks=[TubeVisualizationHook(max_samples=1, max_queries=1)],
        visualizer=make_visualizer(run),
    ).test()
    (mp4,) = (run / 'vis' / 'test').glob('*.mp4')
    with open_video(mp4) as reader:
        white = reader.get_frames([0])[0].min(-1) > 180
    rows, columns = white[:280].any(1).sum(), white[:280].any(0).sum()
    assert columns / rows == pytest.approx(1, abs=0.1)


def test_a_hook_that_is_off_draws_nothing(tmp_path):
    run = tmp_path / 'run'
    make_runner(run, hooks=[TubeVisualizationHook(enable=False)]).test()
    assert not (run / 'vis').exists()


def test_the_right_visualizer_is_asked_for(tmp_path):
    runner = make_runner(tmp_path, hooks=[TubeVisualizationHook()])
    with pytest.raises(TypeError, match='TubeVisualizer'):
        runner.test()


@pytest.mark.parametrize('name', ['interval', 'max_samples', 'max_queries'])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f'{name} must be at least 1, got 0'):
        TubeVisualizationHook(**{name: 0})
