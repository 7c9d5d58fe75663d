"""The commands that report predictions, trainings and data sets."""

import json

import pytest
from mmengine.config import Config

from hero_mm.datasets.source import dataset_config, dataset_paths


@pytest.fixture(scope='module')
def analyze(load_tool):
    return load_tool('analysis_tools/analyze_results')


@pytest.fixture(scope='module')
def report_tool(load_tool):
    return load_tool('analysis_tools/report')


@pytest.fixture
def words(folder, tmp_path):
    return [
        str(folder / 'predictions.json'),
        *('--ann', str(folder / 'test.json')),
        *('--out', str(tmp_path / 'report')),
    ]


def write_other(folder, target, keep='012', **metainfo):
    content = json.loads((folder / 'predictions.json').read_text())
    found = {k: v for k, v in content['predictions'].items() if k in keep}
    target.write_text(json.dumps(dict(metainfo=metainfo, predictions=found)))
    return str(target)


def test_two_files_are_reported(analyze, folder, words, tmp_path, capsys):
    other = write_other(folder, tmp_path / 'other.json')
    how = ['--protocol', 'stcat', '--no-interpolate']
    how += ['--videos', str(folder / 'videos'), '--cases', '1']
    analyze.main([*words, '--compare', other, *how])
    printed = capsys.readouterr()
    for name in ('predictions', 'other'):
        title = f'Scores of {name}, protocol stcat without interpolation'
        assert title in printed.out
    assert 'warning: 1 of 4 queries' in printed.err
    report = tmp_path / 'report'
    assert f'Report: {report / "index.html"}' in printed.out
    names = {p.name for p in report.iterdir()}
    assert names == {'cases', 'charts', 'index.html', 'items.csv'}
    drawn = sorted(p.suffix for p in (report / 'cases').iterdir())
    assert drawn == ['.mp4', '.mp4', '.png', '.png']
    with pytest.raises(ValueError, match='1 of 4 queries'):
        analyze.main([other, *words[1:], '--strict'])


def test_predictions_of_another_split_are_refused(
    analyze, folder, words, tmp_path
):
    other = write_other(folder, tmp_path / 'other.json', split='val')
    for more in [other, *words[1:]], [*words, '--compare', other]:
        with pytest.raises(ValueError, match=r"other\.json.*split 'val' and"):
            analyze.main(more)
    analyze.main([*more, '--force'])


def test_a_folder_of_videos_must_be_there(analyze, words, capsys):
    with pytest.raises(SystemExit):
        analyze.main([*words, '--videos', 'gone'])
    assert '--videos gone is no folder' in capsys.readouterr().err


def test_a_training_is_reported(report_tool, folder, tmp_path, capsys):
    """Annotation, videos and protocol come from its config."""
    dataset = dict(
        data_root=str(folder),
        ann_file='test.json',
        data_prefix=dict(video='videos'),
    )
    evaluators = [dict(type='x'), dict(type='TubeMetric', protocol='stcat')]
    cfg = dict(
        model=dict(type='X'),
        test_dataloader=dict(dataset=dataset),
        test_evaluator=evaluators,
    )
    Config(cfg).dump(str(tmp_path / 'toy.py'))
    write_other(folder, tmp_path / 'predictions.json', '0123')
    report_tool.main([str(tmp_path), '--cases', '1'])
    assert 'protocol stcat' in capsys.readouterr().out
    assert (tmp_path / 'report' / 'index.html').is_file()
    assert len(list((tmp_path / 'report' / 'cases').iterdir())) == 4
    other = dict(checkpoint='../other/best.pth')
    write_other(folder, tmp_path / 'predictions.json', '0123', **other)
    with pytest.raises(ValueError, match='analyze_results.py reports'):
        report_tool.main([str(tmp_path)])
    (tmp_path / 'predictions.json').unlink()
    with pytest.raises(FileNotFoundError, match='predictions.json'):
        report_tool.main([str(tmp_path)])


def test_the_demo_writes_guesses_where_its_report_looks(repo_root):
    cfg = Config.fromfile(repo_root / 'configs/hero_shapes.py')
    ann_file, _ = dataset_paths(dataset_config(cfg, 'test'))
    text = (repo_root / 'Makefile').read_text()
    assert f'ORACLES := {ann_file.with_suffix(".oracles.json")}\n' in text
    assert '--split test --json $(ORACLES)\n' in text


@pytest.fixture(scope='module')
def stats(load_tool):
    return load_tool('analysis_tools/dataset_stats')


def test_numbers_and_names_by_hand(stats):
    row = stats.number_row('x', range(101))
    assert row == ['x', '0', '5', '50', '50', '95', '100']
    table = stats.count_table('verb', ['go', 'go', '', 'run'])
    assert 'verb: 2 different' in table.title
    assert table.rows == [
        ['go', '2', '50.0'],
        ['(none)', '1', '25.0'],
        ['run', '1', '25.0'],
    ]


def test_what_a_data_set_is_made_of(stats, annotation):
    annotation.data_list[0]['queries'][0]['span'] = [0, 12]
    annotation.data_list[1]['segment'] = [0, 10]
    track = annotation.videos['v1'].tracks['0']
    track.runs = track.runs.copy()
    track.runs[0, 1] = 6
    lengths, kinds, categories, _ = stats.dataset_tables(annotation)
    assert kinds.rows == [
        ['declarative', '2', '50.0'],
        ['interrogative', '2', '50.0'],
    ]
    shown = {row[0]: (row[1], row[4], row[-1]) for row in lengths.rows}
    assert shown['true span, s'] == ('1.33', '1.5', '2')
    assert shown['searched part, s'] == ('1.67', '1.92', '2')
    # 100, 80 and twice 66.7 percent.
    share = shown['true span, % of the searched part']
    assert share == ('66.67', '78.33', '100')
    # 20 x 20 of 64 x 64 pixels.
    assert shown['object, % of the picture'] == ('9.77', '9.77', '9.77')
    assert shown['objects of a video'] == ('2', '2', '2')
    # Frames 6 to 9 of 12 and three times 8.
    assert lengths.note.startswith('11.1 percent')
    assert categories.rows == [['a', '4', '100.0']]


def test_a_data_set_is_reported(stats, folder, capsys):
    stats.main([str(folder / 'test.json')])
    printed = capsys.readouterr().out
    assert printed.startswith('toy test: 4 videos, 4 clips, 4 sentences, 8 ')
    assert '96 boxes' in printed and 'by predicate: 1 different' in printed
