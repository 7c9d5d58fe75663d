"""What the report command takes from the config."""

import importlib.util
from pathlib import Path

import pytest
from mmengine.config import Config


@pytest.fixture(scope='module')
def tool(repo_root):
    path = repo_root / 'tools' / 'analysis_tools' / 'report.py'
    spec = importlib.util.spec_from_file_location('report_tool', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config(evaluator, **dataset):
    return Config(
        dict(
            test_dataloader=dict(dataset=dict(dataset)),
            test_evaluator=evaluator,
        )
    )


def fill(tool, cfg, *flags):
    args = tool.parse_args(['run', *flags])
    tool.fill_from_config(args, cfg)
    return args


def test_paths_are_joined_as_the_data_set_does(tool):
    cfg = config(
        dict(type='TubeMetric', protocol='stcat'),
        data_root='data/x',
        ann_file='test.json',
        data_prefix=dict(video='videos'),
    )
    args = fill(tool, cfg)
    assert args.ann == Path('data/x/test.json')
    assert args.videos == Path('data/x/videos')
    assert args.protocol == 'stcat'
    assert args.work_dir == Path('run') and args.cases == 4


def test_guesses_lie_beside_their_split(tool):
    assert tool.oracles_beside('data/x/val.json') == Path(
        'data/x/val.oracles.json'
    )


def test_the_demo_writes_them_where_its_report_looks(tool, repo_root):
    cfg = Config.fromfile(repo_root / 'configs/hero_shapes.py')
    wanted = tool.oracles_beside(fill(tool, cfg).ann)
    text = (repo_root / 'Makefile').read_text()
    assert f'ORACLES := {wanted}\n' in text
    assert '--split test --json $(ORACLES)\n' in text


def test_absolute_paths_stay(tool):
    cfg = config([], data_root='data', ann_file='/elsewhere/test.json')
    args = fill(tool, cfg)
    assert args.ann == Path('/elsewhere/test.json')
    assert args.videos == Path('data')


def test_flags_win(tool):
    cfg = config(dict(type='TubeMetric', protocol='stcat'), ann_file='a.json')
    args = fill(tool, cfg, '--ann', 'b.json', '--protocol', 'tubedetr')
    assert args.ann == 'b.json' and args.protocol == 'tubedetr'


@pytest.mark.parametrize(
    'evaluator,protocol',
    [
        ([], 'tubedetr'),
        (dict(type='TubeMetric'), 'tubedetr'),
        (
            [dict(type='Other'), dict(type='TubeMetric', protocol='hcstvg')],
            'hcstvg',
        ),
    ],
)
def test_the_protocol_of_the_evaluator(tool, evaluator, protocol):
    assert fill(tool, config(evaluator, ann_file='a')).protocol == protocol


def test_the_data_set_inside_a_wrapper(tool):
    inner = dict(ann_file='in.json', data_root='r')
    cfg = config([], type='RepeatDataset', dataset=inner)
    assert fill(tool, cfg).ann == Path('r/in.json')
