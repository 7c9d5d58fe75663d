"""tools/train.py, tools/test.py and hero-mm, as users call them.

A model of one layer stands in for HERO, so that what is tested here is the
tools and MMEngine below them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from forks import Forks
from mmengine.config import Config

from hero_mm import cli
from hero_mm.apis import checkpoint
from hero_mm.apis.checkpoint import read_checkpoint
from hero_mm.engine.work_lock import hold_work_dir, release_work_dir

ROOT = Path(__file__).resolve().parent.parent
TOY_MODULE = """
import json
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch.utils.data import Dataset

def prepare(path):
    with open(path, 'a') as file:
        file.write('made')

@MODELS.register_module()
class ToyModel(BaseModel):
    def __init__(self, width=4):
        super().__init__()
        self.layer = torch.nn.Linear(width, 1)
    def forward(self, inputs, labels, mode='tensor'):
        out = self.layer(inputs)
        if mode == 'loss':
            return dict(loss=(out.float() - labels).square().mean())
        return [dict(dtype=str(out.dtype), out=float(o)) for o in out]

@DATASETS.register_module()
class ToyData(Dataset):
    metainfo = {}
    def __len__(self):
        return 8
    def __getitem__(self, index):
        value = torch.arange(4.) + index
        return dict(inputs=value / 8, labels=torch.ones(1))

@METRICS.register_module()
class ToyTubeMetric(BaseMetric):
    default_prefix = 'tube'
    def __init__(self, dump=None, checkpoint=None):
        super().__init__()
        self.dump = dump
    def process(self, data_batch, data_samples):
        self.results += [sample['out'] for sample in data_samples]
    def compute_metrics(self, results):
        if self.dump:
            with open(self.dump, 'w') as file:
                json.dump(results, file)
        return dict(m_vIoU=len(results) / 8)
"""
TOY_CONFIG = """
_base_ = {base!r}
default_scope = 'mmengine'
custom_imports = dict(
    imports=['hero_mm', 'toy_of_tools'], allow_failed_imports=False)
default_hooks = dict(
    progress=dict(type='hero_mm.ProgressBarHook'),
    visualization=dict(type='hero_mm.TubeVisualizationHook', enable=False))
visualizer = dict(type='Visualizer')
prepare = dict(type='toy_of_tools.prepare', path='prepared.txt')
model = dict(type='ToyModel')
train_dataloader = dict(
    batch_size=2, num_workers=0, collate_fn=dict(type='default_collate'),
    dataset=dict(type='ToyData'),
    sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    batch_size=2, num_workers=0, collate_fn=dict(type='default_collate'),
    dataset=dict(type='ToyData'),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader
val_evaluator = dict(type='ToyTubeMetric')
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
"""


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp('toy')
    base = str(ROOT / 'configs/_base_/default_runtime.py')
    (folder / 'toy_of_tools.py').write_text(TOY_MODULE)
    (folder / 'toy.py').write_text(TOY_CONFIG.format(base=base))
    return folder


@pytest.fixture(scope='module')
def run(toy):
    """Function: run a tool in the folder; gives what it wrote."""
    path = os.pathsep.join([str(toy), str(ROOT)])
    with Forks({'PYTHONPATH': path}) as forks:

        def call(tool, *words, code=0):
            found, said = forks.run(toy, ROOT / 'tools' / tool, *words)
            assert found == code, said
            return said

        yield call


@pytest.fixture(scope='module')
def trained(toy, run):
    """The work dir of a training in mixed precision, and its log."""
    flags = ('--amp', '--seed', 5, '--work-dir', 'work')
    return toy / 'work', run('train.py', 'toy.py', *flags)


def test_training_writes_log_checkpoints_and_scores(trained):
    work, log = trained
    assert (work / 'best_tube_m_vIoU_epoch_1.pth').is_file()
    assert (work / 'last_checkpoint').is_file()
    assert (work / 'toy.py').is_file()
    scalars = next(work.glob('*/vis_data/scalars.json')).read_text()
    assert 'tube/m_vIoU' in scalars
    assert 'tube/m_vIoU: 1.0000' in log
    assert 'Failed to search registry' not in log
    dumped = Config.fromfile(work / 'toy.py', import_custom_modules=False)
    assert dumped.randomness.seed == 5
    assert dumped.optim_wrapper.type == 'hero_mm.BFloat16OptimWrapper'
    assert (work.parent / 'prepared.txt').read_text() == 'made'


@pytest.mark.slow
def test_training_resumes_and_refuses_another_model(trained, run):
    tool = 'train.py'
    options = ('--work-dir', 'work', '--resume', '--no-validate')
    more = ('--cfg-options', 'train_cfg.max_epochs=2')
    log = run(tool, 'toy.py', *options, *more)
    assert 'resumed epoch: 1' in log
    assert 'Epoch(train) [2]' in log and 'Epoch(train) [1]' not in log
    assert 'Epoch(val)' not in log
    log = run(tool, 'toy.py', *options, *more, 'model.width=5', code=1)
    assert 'layer.weight (1, 4) in the checkpoint, (1, 5)' in log
    assert 'Traceback' not in log


def test_testing_scores_and_dumps(trained, toy, run):
    work, _ = trained
    words = ('--dump', 'pred.json', '--work-dir', 'tested')
    log = run('test.py', 'toy.py', 'work', *words)
    assert 'tube/m_vIoU: 1.0000' in log
    predictions = json.loads((toy / 'pred.json').read_text())
    best = read_checkpoint(work)['state_dict']
    inputs = (torch.arange(4.0) + torch.arange(8.0)[:, None]) / 8
    layer = torch.nn.Linear(4, 1)
    layer.weight.data = best['layer.weight']
    layer.bias.data = best['layer.bias']
    expected = layer(inputs).flatten().tolist()
    assert predictions == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_a_second_training_is_refused_and_a_test_is_not(trained, run):
    work, _ = trained
    before = (work / 'toy.py').read_text()
    hold_work_dir(work)
    try:
        words = ('--work-dir', 'work', '--cfg-options', 'model.width=5')
        log = run('train.py', 'toy.py', *words, code=1)
        assert f'another training runs in {work}: process {os.getpid()}' in log
        assert 'Traceback' not in log
        assert (work / 'toy.py').read_text() == before
        run('test.py', 'toy.py', 'work')
        (dumped,) = (work / 'test').glob('*.py')
        assert dumped.stem[:2] == '20'
    finally:
        release_work_dir(work)


@pytest.mark.slow
def test_another_schedule_is_refused_or_taken(toy, run):
    tool, work = 'train.py', ('--work-dir', 'rated')
    rate = 'param_scheduler.type=CosineAnnealingLR'
    options = ('--no-validate', '--cfg-options', rate)
    run(tool, 'toy.py', *work, *options)
    more = ('--resume', *work, *options, 'train_cfg.max_epochs=3')
    log = run(tool, 'toy.py', *more, code=1)
    assert 'CosineAnnealingLR.T_max 1, now 3' in log
    assert '--rescale-schedule' in log and 'Traceback' not in log
    log = run(tool, 'toy.py', '--rescale-schedule', *more)
    assert 'Epoch(train) [3][4/4]  lr: 2.5000e-02' in log
    # A checkpoint that no training can go on from.
    weights = torch.load(toy / 'rated/epoch_3.pth', weights_only=False)
    torch.save(dict(state_dict=weights['state_dict']), toy / 'alone.pth')
    log = run(tool, 'toy.py', '--resume', 'alone.pth', code=1)
    assert 'alone.pth holds no optimizer, message_hub, meta' in log


@pytest.mark.slow
def test_testing_refuses_another_model(trained, run):
    tool = 'test.py'
    words = ('work', '--cfg-options', 'model.width=5')
    log = run(tool, 'toy.py', *words, code=1)
    assert 'does not fit this config' in log and 'Traceback' not in log


@pytest.mark.slow
def test_two_processes_train_and_validate(toy):
    done = subprocess.run(
        ['bash', str(ROOT / 'tools/dist_train.sh'), 'toy.py', '2']
        + ['--work-dir', 'two'],
        cwd=toy,
        env={
            **os.environ,
            'PYTHON': sys.executable,
            'PYTHONPATH': str(toy),
            'OMP_NUM_THREADS': '1',
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Four samples a process, two a step; all eight are scored.
    assert 'Epoch(train) [1][2/2]' in done.stdout
    assert 'Epoch(val) [1][2/2]    tube/m_vIoU: 1.0000' in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    'given, said',
    [
        ({}, '--standalone --local-addr=127.0.0.1 '),
        (
            {'PORT': '29501'},
            '--nnodes=1 --node_rank=0 '
            '--master_addr=127.0.0.1 --master_port=29501 ',
        ),
        (
            {'NNODES': '2', 'NODE_RANK': '1', 'MASTER_ADDR': 'first'},
            '--nnodes=2 --node_rank=1 '
            '--master_addr=first --master_port=29500 ',
        ),
    ],
)
@pytest.mark.parametrize('name', ['train', 'test'])
def test_processes_meet_at_a_free_port_or_at_the_one_named(
    name, given, said, tmp_path
):
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    files = ['c.py', 'c.pth'][: 1 + (name == 'test')]
    done = subprocess.run(
        ['bash', str(ROOT / f'tools/dist_{name}.sh'), *files, '2', '--amp'],
        env={'PATH': os.environ['PATH'], 'PYTHON': str(python), **given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f'{said}--nproc_per_node=2 ' in done.stdout
    ending = f'{name}.py {" ".join(files)} --launcher pytorch --amp'
    assert done.stdout.strip().endswith(ending)


@pytest.mark.parametrize('name', ['dist_train', 'dist_test', 'slurm_train'])
def test_launchers_say_how_they_are_called(name):
    done = subprocess.run(
        ['bash', str(ROOT / f'tools/{name}.sh')],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f'tools/{name}.sh' in done.stderr


def test_slurm_starts_the_tool(tmp_path):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\necho "$@"\n')
    srun.chmod(0o755)
    done = subprocess.run(
        ['bash', str(ROOT / 'tools/slurm_test.sh'), 'part', 'job', 'c.py']
        + ['a.pth', '--dump', 'x.json'],
        env={**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'}
        | {'GPUS': '2', 'GPUS_PER_NODE': '2', 'SRUN_ARGS': '--qos=high -v'},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.split()
    assert words[:2] == ['-p', 'part'] and '--qos=high' in words
    assert '--ntasks=2' in words
    assert words[-6:] == ['c.py', 'a.pth', '--dump', 'x.json'] + [
        '--launcher',
        'slurm',
    ]


# Flags, without a process


@pytest.fixture
def merged(load_tool, monkeypatch):
    """A config with the flags of a tool."""

    def call(name, config, *words):
        tool = load_tool(name)
        monkeypatch.setattr(sys, 'argv', [name, 'c.py', *words])
        cfg = Config(config)
        tool.merge_args(cfg, tool.parse_args())
        return cfg

    return call


PLAIN = dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(lr=1)))


def test_seed_flags_go_before_the_config(merged):
    config = dict(PLAIN, randomness=dict(seed=1, deterministic=True))
    words = ('--seed', '7', '--diff-rank-seed')
    cfg = merged('train', config, *words)
    assert cfg.randomness == dict(
        seed=7, diff_rank_seed=True, deterministic=True
    )
    cfg = merged('train', config)
    assert cfg.randomness == dict(seed=1, deterministic=True)
    assert merged('train', PLAIN).randomness == dict(seed=None)


def test_resume_flags(merged):
    cfg = merged('train', dict(PLAIN, load_from='x'), '--resume')
    assert (cfg.resume, cfg.load_from) == (True, None)
    cfg = merged('train', PLAIN, '--resume', 'a.pth')
    assert (cfg.resume, cfg.load_from) == (True, 'a.pth')


def test_a_checkpoint_is_read_once_before_the_runner(
    load_tool, tmp_path, monkeypatch
):
    path, reads = tmp_path / 'epoch_1.pth', []
    meta = dict(epoch=1, iter=2, seed=7)
    whole = dict(optimizer={}, message_hub={}, meta=meta)
    torch.save(dict(whole, state_dict=dict(w=torch.ones(1))), path)
    tool, read = load_tool('train'), checkpoint.read_checkpoint
    for module in (checkpoint, tool):
        monkeypatch.setattr(
            module, 'read_checkpoint', lambda p: reads.append(p) or read(p)
        )
    for given in (None, str(path)):
        cfg = Config(dict(resume=True, load_from=given, randomness={}))
        cfg.work_dir = str(tmp_path)
        found, weights = tool.take_up(cfg)
        assert found == cfg.load_from == str(path) and list(weights) == ['w']
        assert cfg.randomness.seed == 7
    assert len(reads) == 2


def test_amp_on_an_accelerator(load_tool, monkeypatch):
    tool = load_tool('train')
    monkeypatch.setattr(tool, 'get_device', lambda: 'cuda')
    cfg = Config(PLAIN)
    tool.use_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'


def test_amp_refuses_a_wrapper_of_another_kind(merged):
    config = dict(optim_wrapper=dict(type='ApexOptimWrapper'))
    with pytest.raises(ValueError, match="'ApexOptimWrapper'"):
        merged('train', config, '--amp')


def test_learning_rate_is_scaled_where_the_batch_is_known(merged):
    config = dict(PLAIN, auto_scale_lr=dict(enable=False, base_batch_size=8))
    cfg = merged('train', config, '--auto-scale-lr')
    assert cfg.auto_scale_lr.enable
    with pytest.raises(ValueError, match='base_batch_size'):
        merged('train', PLAIN, '--auto-scale-lr')


@pytest.mark.parametrize('wrap', [list, lambda schedules: schedules[0]])
def test_a_rate_that_would_not_be_scaled_is_told(merged, wrap):
    one_cycle = dict(type='mmengine.OneCycleLR', eta_max=3e-3)
    config = dict(
        PLAIN,
        auto_scale_lr=dict(base_batch_size=8),
        param_scheduler=wrap([one_cycle]),
    )
    with pytest.raises(ValueError, match=r'its eta_max \(0.003\) .* / 8'):
        merged('train', config, '--auto-scale-lr')


def test_show_dir_turns_the_hook_on(merged):
    config = dict(default_hooks=dict(visualization=dict(type='Draws')))
    words = ('a.pth', '--show-dir', 'out', '--interval', '3')
    cfg = merged('test', config, *words)
    assert cfg.default_hooks.visualization == dict(
        type='Draws', enable=True, out_dir='out', interval=3
    )
    with pytest.raises(ValueError, match='default_hooks.visualization'):
        merged('test', {}, *words)


def test_a_test_writes_its_config_under_its_time(
    load_tool, monkeypatch, tmp_path
):
    """By its name it would replace that of the training or another test."""
    path = tmp_path / 'mine.py'
    path.write_text('a = 1\n')
    tool = load_tool('test')
    monkeypatch.setattr(sys, 'argv', ['test', str(path), 'a.pth'])
    cfg = tool.nameless(Config.fromfile(path), tool.parse_args())
    assert cfg.filename is None and cfg.a == 1
    assert cfg.experiment_name == 'mine'


def test_dump_reaches_the_tube_metric(merged):
    evaluators = [dict(type='Other'), dict(type='hero_mm.TubeMetric')]
    config = dict(test_evaluator=evaluators)
    words = ('a.pth', '--dump')
    cfg = merged('test', config, *words, 'p.json')
    assert cfg.test_evaluator[1].dump == 'p.json'
    # Of a URL nothing is kept.
    assert 'checkpoint' not in cfg.test_evaluator[1]
    cfg = merged('test', config, *words, 'p.pkl')
    assert cfg.test_evaluator[2].out_file_path == 'p.pkl'
    with pytest.raises(ValueError, match='must end in .json'):
        merged('test', config, *words, 'p.txt')
    config = dict(test_evaluator=dict(type='Other'))
    with pytest.raises(ValueError, match='needs a TubeMetric'):
        merged('test', config, *words, 'p.json')


# hero-mm


def test_doctor_gives_its_exit_code(monkeypatch):
    monkeypatch.setattr('hero_mm.doctor.run_doctor', lambda console: 1)
    assert cli.main(['doctor']) == 1


def test_a_command_is_asked_for(capsys):
    with pytest.raises(SystemExit, match='2'):
        cli.main([])
    assert 'ground' in capsys.readouterr().err
