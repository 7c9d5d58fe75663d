"""Strategies that shard the model train what the plain one does.

Two processes on the CPU; weights, scores and what a training goes on from.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.testing import assert_close

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
_base_ = {base!r}
prepare = None
custom_hooks = []
model = dict(text_encoder=dict(ann_file='data/val.json'))
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=1e-2, momentum=0.9))
param_scheduler = []
data = dict(
    ann_file='data/val.json', data_prefix=dict(video='data/vidor/video'))
train_dataloader = dict(
    batch_size=1, num_workers=0, persistent_workers=False, dataset=data)
val_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False, dataset=data)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2)
"""


def run(folder, *words):
    """Run a Python command in a folder."""
    paths = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    threads = dict(OMP_NUM_THREADS='1', PYTHONPATH=paths)
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={**os.environ, **threads},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-9000:] + done.stderr[-9000:]


def write_config(folder, name, strategy=None):
    """A training of two steps an epoch; plain without a strategy."""
    text = CONFIG.format(base=str(ROOT / 'configs/hero_shapes.py'))
    if strategy is not None:
        text += f"runner_type = 'FlexibleRunner'\nstrategy = {strategy}\n"
    (folder / f'{name}.py').write_text(text)


def train(folder, *trainings):
    """Run trainings one after the other, on two processes."""
    lines = [f'{words} --seed 3'.split() for words in trainings]
    words = '-m torch.distributed.run --standalone --nproc_per_node=2'
    script = ROOT / 'tests/test_engine/trainings.py'
    run(folder, *words.split(), script, json.dumps(lines))


def strategy_of(name):
    """That of a config for users."""
    path = ROOT / f'configs/strategies/hero_vidstg_{name}.py'
    return Config.fromfile(path).strategy.to_dict()


def losses(*logs):
    """The losses of all steps of a log."""
    (log,) = logs
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line['loss'] for line in lines if 'loss' in line]


def load(path):
    return torch.load(path, weights_only=False)


def scores(*logs):
    """The last scores of a log."""
    (log,) = logs
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    found = [line for line in lines if 'tube/m_tIoU' in line][-1]
    return {k: v for k, v in found.items() if k.startswith('tube/')}


def test_shards_learn_what_whole_models_do(tmp_path, shapes_data):
    """FSDP: weights as by DDP, clipped alike; it resumes; any config tests."""
    (tmp_path / 'data').symlink_to(shapes_data)
    write_config(tmp_path, 'plain')
    for name in ('ddp', 'fsdp'):
        write_config(tmp_path, name, strategy_of(name))
    train(
        tmp_path,
        'ddp.py --work-dir ddp',
        'fsdp.py --work-dir fsdp',
        'fsdp.py --work-dir again --resume fsdp/epoch_1.pth',
    )
    whole, sharded, again = (
        load(tmp_path / name / 'epoch_2.pth')
        for name in ('ddp', 'fsdp', 'again')
    )
    weights = whole['state_dict']
    for other in (sharded, again):
        assert weights.keys() == other['state_dict'].keys()
        for name, value in weights.items():
            found = other['state_dict'][name]
            assert_close(found, value, rtol=1e-4, atol=1e-5, msg=name)
    first = load(tmp_path / 'fsdp/epoch_1.pth')
    moved = [abs(first['state_dict'][k] - v).max() for k, v in weights.items()]
    assert max(moved) > 1e-3 and first['optimizer']['state']
    words = ('plain.py', 'fsdp/epoch_2.pth', '--work-dir', 'tested')
    run(tmp_path, ROOT / 'tools/test.py', *words)
    tested = scores(*tmp_path.glob('tested/*/*.json'))
    validated = scores(*tmp_path.glob('fsdp/*/vis_data/scalars.json'))
    # Each process validates with the batch norms of its own clips.
    assert tested == pytest.approx(validated, abs=0.05)
    assert tested['tube/m_tIoU'] > 0.1


def test_deepspeed_trains_resumes_and_is_tested(tmp_path, shapes_data):
    pytest.importorskip('deepspeed')
    (tmp_path / 'data').symlink_to(shapes_data)
    write_config(tmp_path, 'plain')
    write_config(tmp_path, 'zero', strategy_of('deepspeed'))
    adamw = dict(type='AdamW', lr=1e-3)
    wrapper = dict(type='DeepSpeedOptimWrapper', optimizer=adamw)
    with (tmp_path / 'zero.py').open('a') as file:
        file.write(f'optim_wrapper = dict(_delete_=True, **{wrapper})\n')
        file.write('default_hooks = dict(logger=dict(interval=1))\n')
    train(tmp_path, 'zero.py --work-dir zero')
    train(tmp_path, 'zero.py --work-dir again --resume zero/epoch_1.pth')
    whole, rest = (
        losses(*tmp_path.glob(f'{name}/*/vis_data/scalars.json'))
        for name in ('zero', 'again')
    )
    assert len(whole) == 4 and whole[2:] == rest
    (best,) = (tmp_path / 'zero').glob('best_*.pth')
    words = ('plain.py', best, '--work-dir', 'tested')
    run(tmp_path, ROOT / 'tools/test.py', *words)
    tested = scores(*tmp_path.glob('tested/*/*.json'))
    validated = scores(*tmp_path.glob('zero/*/vis_data/scalars.json'))
    assert tested == pytest.approx(validated, abs=0.05)
