"""tools/train.py, tools/test.py and hero-mm, as users call them.

A model of two numbers stands in for HERO: the tools are tested, and MMEngine
below them.
"""

import json
import os
import sys

import pytest
import torch
from forks import Forks
from mmengine.config import Config
from programs import PATH, ROOT, run_program
from tiny_runner import Line

from hero_mm import cli
from hero_mm.apis.checkpoint import read_checkpoint
from hero_mm.engine.work_lock import hold_work_dir, release_work_dir

TINY_CONFIG = """
_base_ = {base!r}
default_scope = 'mmengine'
custom_imports = dict(
    imports=['hero_mm', 'tiny_runner'], allow_failed_imports=False)
visualizer = dict(type='Visualizer')
prepare = dict(type='tiny_runner.prepare', path='prepared.txt')
model = dict(type='Line')
train_dataloader = dict(
    batch_size=2, num_workers=0, dataset=dict(type='Ones', size=8),
    sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = test_dataloader = train_dataloader
val_evaluator = test_evaluator = dict(type='TinyTubeMetric')
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
"""


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp('toy')
    base = str(ROOT / 'configs/_base_/default_runtime.py')
    (folder / 'toy.py').write_text(TINY_CONFIG.format(base=base))
    return folder


@pytest.fixture(scope='module')
def run(toy):
    """Function: run a tool in the folder; gives what it wrote."""
    with Forks({'PYTHONPATH': PATH}) as forks:

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
    assert 'tube/m_vIoU: 0.5000' in log
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
    assert 'one.weight (1, 1) in the checkpoint, (5, 1)' in log
    assert 'Traceback' not in log


def test_testing_scores_and_dumps(trained, toy, run):
    work, _ = trained
    words = ('--dump', 'pred.json', '--work-dir', 'tested')
    log = run('test.py', 'toy.py', 'work', *words)
    assert 'tube/m_vIoU: 0.5000' in log
    predictions = json.loads((toy / 'pred.json').read_text())
    best = Line()
    best.load_state_dict(read_checkpoint(work)['state_dict'])
    assert predictions == best(torch.ones(8, 1))


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
def test_another_schedule_is_refused_or_taken(run):
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


@pytest.mark.slow
def test_two_processes_train_and_validate(toy):
    words = ROOT / 'tools/dist_train.sh', 'toy.py', 2, '--work-dir', 'two'
    given = dict(program='bash', cwd=toy, PYTHON=sys.executable)
    done = run_program(*words, **given)
    # Four samples a process, two a step; all eight are scored.
    assert 'Epoch(train) [1][2/2]' in done.stdout
    scores = 'tube/m_vIoU: 0.5000  tube/clips: 8'
    assert f'Epoch(val) [1][2/2]    {scores}' in done.stdout


@pytest.fixture
def echo(tmp_path):
    """Function: what a launcher gives to a program in another's place."""

    def call(program, name, words, *variables):
        path = tmp_path / program
        path.write_text('#!/bin/sh\necho "$@"\n')
        path.chmod(0o755)
        env = dict(PATH=f'{tmp_path}:{os.environ["PATH"]}', PYTHON=program)
        script = ROOT / f'tools/{name}.sh'
        env.update(variables, program='bash')
        return run_program(script, *words, **env).stdout.strip()

    return call


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
    name, given, said, echo
):
    files = ['c.py', 'c.pth'][: 1 + (name == 'test')]
    words = [*files, '2', '--amp']
    shown = echo('mypython', f'dist_{name}', words, *given.items())
    assert f'{said}--nproc_per_node=2 ' in shown
    ending = f'{name}.py {" ".join(files)} --launcher pytorch --amp'
    assert shown.endswith(ending)


@pytest.mark.parametrize('name', ['dist_train', 'dist_test', 'slurm_train'])
def test_launchers_say_how_they_are_called(name):
    script = f'tools/{name}.sh'
    done = run_program(ROOT / script, program='bash', code=2)
    assert script in done.stderr


def test_slurm_starts_the_tool(echo):
    words = ['part', 'job', 'c.py', 'a.pth', '--dump', 'x.json']
    given = dict(GPUS='2', GPUS_PER_NODE='2', SRUN_ARGS='--qos=high -v')
    said = echo('srun', 'slurm_test', words, *given.items())
    assert said.startswith('-p part') and '--qos=high' in said
    assert '--ntasks=2' in said
    assert said.endswith('c.py a.pth --dump x.json --launcher slurm')


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


def test_amp_is_of_the_device(load_tool, monkeypatch):
    tool = load_tool('train')
    monkeypatch.setattr(tool, 'get_device', lambda: 'cuda')
    cfg = Config(PLAIN)
    tool.use_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'
    with pytest.raises(ValueError, match="'ApexOptimWrapper'"):
        tool.use_amp(Config(dict(optim_wrapper=dict(type='ApexOptimWrapper'))))


def test_learning_rate_is_scaled_where_the_batch_is_known(merged):
    config = dict(PLAIN, auto_scale_lr=dict(enable=False, base_batch_size=8))
    cfg = merged('train', config, '--auto-scale-lr')
    assert cfg.auto_scale_lr.enable
    with pytest.raises(ValueError, match='base_batch_size'):
        merged('train', PLAIN, '--auto-scale-lr')
    # This one sets its own.
    one_cycle = dict(type='mmengine.OneCycleLR', eta_max=3e-3)
    for schedule in (one_cycle, [one_cycle]):
        config['param_scheduler'] = schedule
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
