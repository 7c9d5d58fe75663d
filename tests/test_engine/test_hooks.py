"""The progress bar and the drawing hook, in tiny runs."""

import io
import itertools
import os
import pty
import subprocess
import sys
from fractions import Fraction
from logging import StreamHandler
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from rich.console import Console
from tiny_runner import TinyTubeMetric, loader
from tiny_runner import make_runner as make_any_runner

from hero_mm.datasets.video_reader import open_video
from hero_mm.engine.hooks import progress_bar_hook
from hero_mm.registry import HOOKS
from hero_mm.structures import GroundingDataSample
from hero_mm.visualization import VideoWriter

SHOW, HIDE = '\x1b[?25h', '\x1b[?25l'
HOOK = dict(type='hero_mm.ProgressBarHook')


class Model(BaseModel):
    """One weight; predicts the samples it was given, one after the other."""

    def __init__(self, samples=(), fail_at=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.samples = itertools.cycle(samples or [make_sample()])
        self.fail_at = fail_at
        self.steps = 0

    def forward(self, inputs, mode='tensor'):
        if mode == 'predict':
            return [next(self.samples)]
        self.steps += 1
        if self.steps == self.fail_at:
            raise KeyboardInterrupt
        return dict(loss=(self.weight * inputs[0]).sum())


class Says(Hook):
    line = 'a long line ' * 20

    def after_train_iter(self, runner, *args, **options):
        runner.logger.info(self.line)


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


def make_runner(work_dir, model=None, train=None, hooks=(), **more):
    for name in ('val', 'test'):
        more[f'{name}_dataloader'] = loader(4, 1)
        more[f'{name}_cfg'] = {}
        more[f'{name}_evaluator'] = [TinyTubeMetric()]
    if train:
        more.update(train_dataloader=loader(4, 1), train_cfg=train)
    else:
        more.update(train_cfg=None, optim_wrapper=None)
    return make_any_runner(
        work_dir,
        model=model or Model(),
        log_level='INFO',
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1), checkpoint=None
        ),
        custom_hooks=list(hooks),
        default_scope='hero_mm',
        **more,
    )


@pytest.fixture
def screen(monkeypatch):
    """A terminal that remembers what was written to it."""
    file = io.StringIO()
    monkeypatch.setattr(
        progress_bar_hook,
        'Console',
        lambda **more: Console(
            file=file, force_terminal=True, width=140, **more
        ),
    )
    monkeypatch.setenv('TERM', 'xterm')
    return file


EPOCHS = dict(by_epoch=True, max_epochs=2, val_interval=1)
ITERS = dict(by_epoch=False, max_iters=8, val_interval=4)


@pytest.mark.parametrize('train', [EPOCHS, ITERS])
def test_a_bar_stands_below_the_log(tmp_path, screen, train):
    runner = make_runner(tmp_path, train=dict(train), hooks=[HOOK])
    (handler,) = (
        one for one in runner.logger.handlers if type(one) is StreamHandler
    )
    handler.setStream(screen)
    runner.register_hook(Says())
    runner.train()
    text = screen.getvalue()
    # Lines of the log are not broken.
    assert Says.line in text
    assert '8/8' in text and 'val' in text and '4/4' in text
    assert 'loss ' in text and 'm_vIoU: 0.5' in text
    assert ('epoch 2/2' in text) is (train is EPOCHS)
    assert text.rindex(SHOW) > text.rindex(HIDE)
    runner.test()
    again = screen.getvalue()[len(text) :]
    assert 'test' in again and '4/4' in again
    assert again.rindex(SHOW) > again.rindex(HIDE)
    runner.logger.info('and on')
    assert screen.getvalue().rstrip().endswith('and on')


@pytest.mark.parametrize('reason', ['no terminal', 'not the main process'])
def test_elsewhere_there_is_none(tmp_path, screen, monkeypatch, reason):
    if reason == 'no terminal':
        console = Console(file=screen)
        monkeypatch.setattr(
            progress_bar_hook, 'Console', lambda **more: console
        )
    else:
        monkeypatch.setattr(progress_bar_hook, 'is_main_process', bool)
    make_runner(tmp_path, hooks=[HOOK]).test()
    assert screen.getvalue() == ''


@pytest.mark.slow
def test_on_a_real_terminal(tmp_path, repo_root):
    """A process on a pseudo terminal ends with the cursor shown."""
    script = f"""
from test_hooks import *
model, work = Model(fail_at=7), {str(tmp_path)!r}
make_runner(work, model, dict(EPOCHS), hooks=[HOOK]).train()
"""
    main, side = pty.openpty()
    env = {**os.environ, 'TERM': 'xterm', 'COLUMNS': '120'}
    folders = (repo_root, repo_root / 'tests', Path(__file__).parent)
    env['PYTHONPATH'] = os.pathsep.join(map(str, folders))
    process = subprocess.Popen(
        [sys.executable, '-c', script], stdout=side, stderr=side, env=env
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
    assert 'KeyboardInterrupt' in text and '6/8' in text


@pytest.fixture
def video(tmp_path):
    path = tmp_path / 'clip.mp4'
    with VideoWriter(path, fps=10) as writer:
        for value in range(0, 240, 40):
            writer.write(np.full((32, 48, 3), value, np.uint8))
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def draw(run, samples, train=None, **options):
    """Test or train with the hook; gives the runner."""
    runner = make_runner(
        run,
        Model(samples),
        train=train,
        hooks=[dict(type='TubeVisualizationHook', **options)],
        visualizer=dict(type='TubeVisualizer', name=str(run)),
    )
    runner.train() if train else runner.test()
    return runner


def test_results_of_a_test_are_drawn(tmp_path, video):
    samples = [make_sample(video, f'clip{i}') for i in range(4)]
    local = dict(backend='local')
    draw(tmp_path, samples, interval=2, max_queries=1, backend_args=local)
    assert names(tmp_path / 'vis' / 'test') == [
        f'clip{number}_0-6_0.{kind}'
        for number in (0, 2)
        for kind in ('mp4', 'png')
    ]


def test_number_of_clips_is_limited_in_each_validation(tmp_path, video):
    samples = [make_sample(video, f'clip{i}') for i in range(4)]
    out = tmp_path / 'here'
    options = dict(max_samples=1, max_queries=2, video=False, out_dir=str(out))
    draw(tmp_path / 'run', samples, dict(EPOCHS), **options)
    assert names(out) == ['val_4', 'val_8']
    assert len(names(out / 'val_8')) == 2


def test_what_cannot_be_drawn_ends_no_test(tmp_path, video):
    (tmp_path / 'file').write_text('in the way')
    (tmp_path / 'bad.mp4').write_text('no video')
    samples = [make_sample(video, 'a'), make_sample(tmp_path / 'bad.mp4', 'b')]
    draw(tmp_path / 'run', samples, out_dir=str(tmp_path / 'file'))
    (log,) = (tmp_path / 'run').rglob('*.log')
    text = log.read_text()
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
    draw(tmp_path, [make_sample(path)], max_samples=1, max_queries=1)
    (mp4,) = (tmp_path / 'vis' / 'test').glob('*.mp4')
    with open_video(mp4) as reader:
        white = reader.get_frames([0])[0].min(-1) > 180
    rows, columns = white[:280].any(1).sum(), white[:280].any(0).sum()
    assert columns / rows == pytest.approx(1, abs=0.1)


def test_what_is_refused(tmp_path):
    on = dict(type='TubeVisualizationHook')
    make_runner(tmp_path, hooks=[dict(on, enable=False)]).test()
    assert not (tmp_path / 'vis').exists()
    with pytest.raises(TypeError, match='needs a TubeVisualizer'):
        make_runner(tmp_path, hooks=[on]).test()
    for name in ('interval', 'max_samples', 'max_queries'):
        with pytest.raises(ValueError, match=f'{name} must be at least 1, go'):
            HOOKS.build(dict(on, **{name: 0}))
    # What MMAction2's --show sets.
    with pytest.raises(ValueError, match='--show-dir FOLDER writes'):
        HOOKS.build(dict(on, show=True, wait_time=2))
