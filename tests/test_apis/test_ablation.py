"""Suites of ablations: what is read, how trainings are fitted, what it costs.

The tool around it is tested in tests/test_tools/test_ablate.py.
"""

import inspect
import json
from pathlib import Path

import pytest
from mmengine.config import Config
from programs import run_program
from test_tools_cli import TINY_CONFIG
from zoo import small_hero

from hero_mm.apis import ablation
from hero_mm.apis.ablation import cost, schedule
from hero_mm.apis.ablation.cost import measure_cost
from hero_mm.apis.ablation.scheduler import jobs_of
from hero_mm.apis.ablation.suite import read_suite
from hero_mm.apis.complexity import count_flops
from hero_mm.apis.random_clips import make_item
from hero_mm.config import read_config
from hero_mm.registry import DATASETS, MODELS

NAMES = ('parts', 'retrieval', 'labels', 'probes')


def one(**changes):
    return dict(name='a', config='c.py', budget=dict(clips=4)) | changes


@pytest.fixture
def suites(repo_root):
    folder = repo_root / 'configs/ablations'
    return {n: ablation.load_suite(folder / f'{n}.py') for n in NAMES}


def test_the_suites_that_come_with_it(suites, repo_root):
    found = sorted((repo_root / 'configs/ablations').glob('*.py'))
    assert [path.stem for path in found] == sorted(NAMES)
    parts = suites['parts']
    assert all(run.seeds == (0, 1) for run in parts.runs)
    for suite in suites.values():
        shown = {row for table in suite.comparisons for row in table.rows}
        shown = {suite.row(text)[0].name for text in shown}
        assert shown == {run.name for run in suite.runs}, 'a run is not shown'
        for run in suite.runs:
            if run.budget.kind == 'trained':
                source, _, name = run.budget.value.partition('/')
                assert source == 'parts'
                assert set(run.seeds) <= set(parts.run(name).seeds)


@pytest.mark.parametrize('name', NAMES)
def test_options_have_a_place_in_the_config(
    name, suites, repo_root, monkeypatch
):
    """Of runs that others train, too; a misspelt one would change nothing."""
    monkeypatch.chdir(repo_root)
    configs, asked = {}, 0
    for run in suites[name].runs:
        _, _, of = str(run.budget.value).partition('/')
        path = run.config or suites['parts'].run(of).config
        if path not in configs:
            configs[path] = read_config(path)
        for key in {*run.options, *(k for t in run.tests for k in t.options)}:
            *parents, last = key.split('.')
            part = configs[path]
            for parent in parents:
                part = part[int(parent) if parent.isdigit() else parent]
            if last not in part:
                kind = MODELS.get(part.type) or DATASETS.get(part.type)
                assert last in inspect.signature(kind).parameters, key
            asked += 1
    assert asked


def test_the_first_seed_of_all_comes_first():
    runs = [one(seeds=[3, 4]), one(name='b', seeds=[5])]
    jobs = jobs_of(read_suite('suite', dict(runs=runs)), Path('out'))
    seeds = [(job.run.name, job.seed) for job in jobs]
    assert seeds == [('a', 3), ('b', 5), ('a', 4)]


@pytest.mark.parametrize(
    ('told', 'message'),
    [
        (dict(runs=[]), 'defines no list `runs`'),
        (dict(runs=[one(seed=1)]), "unexpected keyword argument 'seed'"),
        (
            dict(runs=[dict(config='c.py')]),
            'budget must be a dict with one key',
        ),
        (dict(runs=[one(budget=dict(clips=0))]), 'a positive number of clips'),
        (dict(runs=[one(budget=dict(clips=1, x=2))]), 'a dict with one key'),
        (dict(runs=[one(budget=dict(compute_of='b'))]), "no run 'b'"),
        (dict(runs=[one(budget=dict(trained='x/b'))]), 'and not both'),
        (dict(runs=[one(config='')]), 'needs a config'),
        (
            dict(
                runs=[
                    *(one(), one(name='b', budget=dict(compute_of='a'))),
                    one(name='c', budget=dict(compute_of='b')),
                ]
            ),
            'name one that has an amount',
        ),
        (dict(runs=[one(seeds=())]), 'one or more different seeds'),
        (dict(runs=[one(name='a/b')]), "the name 'a/b' must be letters"),
        (dict(runs=[one(), one()]), "the name 'a' comes twice"),
        (dict(runs=[one(tests=[dict(), dict()])]), "'test' comes twice"),
        (dict(runs=[one(compare_to='a/b')]), "has no test 'b'"),
        (
            dict(runs=[one()], comparisons=[dict(title='t', rows=['b'])]),
            'its runs are a',
        ),
        (dict(runs=[one()], plots=[dict(title='t')]), 'Plot .* missing'),
    ],
)
def test_what_is_wrong_with_a_suite_is_told(told, message):
    with pytest.raises(ValueError, match=message):
        read_suite('suite', told)


def config(**changes):
    return Config(
        dict(
            train_dataloader=dict(batch_size=4),
            train_cfg=dict(by_epoch=True, max_epochs=10, val_interval=2),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook')),
        )
        | changes
    )


def test_schedules_are_fitted():
    cfg = config(
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=50),
            dict(
                type='CosineAnnealingLR',
                T_max=10,
                begin=1,
                by_epoch=True,
                convert_to_iter_based=True,
            ),
        ],
        custom_hooks=[dict(type='EMAHook')],
    )
    assert schedule.iterations_of(241, cfg) == 60
    schedule.fit_training(cfg, 60)
    warm, cosine = cfg.param_scheduler
    assert warm.end == 50 and not warm.by_epoch
    assert (cosine.T_max, cosine.begin) == (60, 6)
    assert cosine.by_epoch is False and 'convert_to_iter_based' not in cosine
    assert cfg.train_cfg.max_iters == 60 and cfg.train_cfg.val_interval == 2
    assert [hook.type.rpartition('.')[2] for hook in cfg.custom_hooks] == [
        *('EMAHook', 'TrainingCostHook', 'DeadlineHook'),
    ]


def test_schedules_that_do_not_fit_are_told():
    warm = dict(type='LinearLR', by_epoch=False, end=50)
    with pytest.raises(ValueError, match='counts 50 iterations'):
        schedule.fit_training(config(param_scheduler=warm), 40)
    steps = dict(type='MultiStepLR', milestones=[3], by_epoch=True)
    with pytest.raises(ValueError, match='without milestones'):
        schedule.fit_training(config(param_scheduler=[steps]), 40)
    with pytest.raises(ValueError, match='how many clips a batch has'):
        schedule.iterations_of(8, Config(dict()))


def test_a_calibration_keeps_no_checkpoint():
    cfg = config()
    schedule.fit_calibration(cfg)
    steps = schedule.WARMUP_ITERS + schedule.CALIBRATION_CLIPS / 4
    assert cfg.train_cfg.max_iters == steps
    assert cfg.custom_hooks[0].warmup == schedule.WARMUP_ITERS
    assert cfg.default_hooks.checkpoint is None


def test_what_is_tested_stands_in_the_config():
    cfg = config(
        test_dataloader=dict(dataset=dict(ann_file='t.json', data_root='d')),
        test_evaluator=dict(type='hero_mm.TubeMetric', protocol='stcat'),
    )
    assert schedule.annotation_of(cfg) == ('d/t.json', 'stcat')


def test_the_cost_of_a_clip(monkeypatch):
    model = MODELS.build(small_hero()).eval()
    clips = [make_item(4, (32, 32), queries, 0) for queries in (1, 2, 1)]
    found = measure_cost(model, clips, clips=2)
    assert (found['clips'], found['sentences']) == (2, 3)
    assert found['flops'] == sum(count_flops(model, clips[:2]).values()) / 2
    assert found['flops'] == pytest.approx(sum(found['flops_parts'].values()))
    assert found['params'] == sum(p.numel() for p in model.parameters())
    assert found['trained_params'] <= found['params'] and found['ms'] > 0
    assert not found['errors']
    # Of what is no HERO the rest is measured.
    monkeypatch.setattr(cost, 'count_flops', lambda *args: 1 / 0)
    found = measure_cost(model, clips, clips=2)
    assert found['flops'] is None and found['ms'] > 0
    assert found['errors'] == dict(flops='division by zero')


def test_the_example_of_the_page(repo_root, tmp_path):
    """The suite that docs/ablations.md shows is one."""
    page = (repo_root / 'docs/ablations.md').read_text()
    text = page.split('```python\n')[1].split('```')[0]
    (tmp_path / 'mine.py').write_text(text)
    suite = ablation.load_suite(tmp_path / 'mine.py')
    assert suite.name == 'mine' and len(suite.runs) > 1


@pytest.mark.slow
def test_the_tools_train_test_and_measure(repo_root, tmp_path):
    """With tools/train.py and tools/test.py, on a model of two layers."""
    base = str(repo_root / 'configs/_base_/default_runtime.py')
    (tmp_path / 'toy.py').write_text(
        TINY_CONFIG.format(base=base)
        + "param_scheduler = [dict(type='OneCycleLR', eta_max=0.1, "
        'total_steps=1, by_epoch=True, convert_to_iter_based=True)]\n'
    )
    (tmp_path / 's.py').write_text(
        "runs = [dict(name='a', config='toy.py', "
        'budget=dict(cpu_seconds=0.02))]'
    )
    tool = repo_root / 'tools/analysis_tools/ablate.py'
    run_program(tool, 's.py', '--out', 'out', cwd=tmp_path)
    path = tmp_path / 'out/a/seed0/result.json'
    result = json.loads(path.read_text())
    assert result['tests']['test']['scores']['m_vIoU'] == 0.5
    test = result['tests']['test']
    assert 'counted for grounders' in test['errors']['flops']
    assert test['ms'] > 0 and result['cpu_seconds'] > 0
    measured = result['calibration']['cpu_seconds_a_clip']
    assert result['clips'] == 2 * max(1, round(0.02 / measured / 2))
    assert [p['clips'] for p in result['curve']][-1] == result['clips']
    assert (tmp_path / 'out/all-runs-clips.svg').is_file()
