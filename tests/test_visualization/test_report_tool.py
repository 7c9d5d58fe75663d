"""What the report command takes from the config."""

from pathlib import Path

import pytest
from mmengine.config import Config

from hero_mm.evaluation.prediction_file import dump_predictions
from hero_mm.visualization.report import Report


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('analysis_tools/report')


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


@pytest.fixture
def reports(tool, monkeypatch, tmp_path):
    """Write the report of a prediction file; gives title, curves, folder."""
    folder = tmp_path / 'run'
    log = folder / '1/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('{"loss": 1.0, "step": 1}')
    built = []

    def build(title, *args, log, **options):
        built.append((title, log is not None and bool(log.train)))
        return Report(title, {}, {})

    monkeypatch.setattr(tool, 'build_analysis', build)
    monkeypatch.setattr(tool, 'load_annotation', lambda path: None)
    monkeypatch.setattr(tool, 'read_oracles', lambda path: None)

    def call(pred, checkpoint=None, out=None, default=False):
        pred.parent.mkdir(exist_ok=True)
        about = dict(checkpoint=checkpoint) if checkpoint else {}
        dump_predictions(pred, {}, about)
        words = ['--ann', 'a', '--videos', 'v', '--protocol', 'stcat']
        words += [] if default else ['--pred', str(pred)]
        words += ['--out', str(out)] if out else []
        tool.main([str(folder), *words])
        return built[-1]

    call.folder = folder
    return call


def test_the_report_of_a_training_is_replaced_by_its_own_alone(
    reports, tmp_path
):
    run = reports.folder
    own, page = run / 'predictions.json', run / 'report/index.html'
    assert reports(own, 'best.pth', default=True) == ('run', True)
    first = page.read_bytes()
    # Of another model, of an unknown one, of another split.
    other = tmp_path / 'other/tubes.json'
    assert reports(other, 'best.pth') == ('tubes', False)
    assert (tmp_path / 'other/tubes_report/index.html').is_file()
    assert reports(tmp_path / 'theirs.json') == ('theirs', False)
    assert reports(run / 'val.json', 'best.pth') == ('val', True)
    assert (run / 'val_report/index.html').is_file()
    assert page.read_bytes() == first
    for pred in (other, run / 'val.json'):
        with pytest.raises(FileExistsError, match='report of .*predictions'):
            reports(pred, 'best.pth', out=run / 'report')
    assert page.read_bytes() == first
    # What another model wrote in its place is not its own.
    assert reports(own, '../other/best.pth', default=True) == (
        'predictions',
        False,
    )
    assert page.read_bytes() == first
    reports(own, 'best.pth', default=True)
    reports(other, 'best.pth')


def test_a_moved_training_keeps_its_report(reports, tmp_path, tool):
    run = reports.folder
    reports(run / 'predictions.json', 'best.pth', default=True)
    moved = run.rename(tmp_path / 'moved')
    assert tool.is_own(
        moved, moved / 'predictions.json', dict(checkpoint='best.pth')
    )
    tool.check_place(moved / 'report', moved / 'predictions.json', True)


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
