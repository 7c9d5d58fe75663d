"""The command that writes an evaluation report."""

import json

import pytest


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('analysis_tools/analyze_results')


@pytest.fixture
def words(folder, tmp_path):
    return [
        str(folder / 'predictions.json'),
        *('--ann', str(folder / 'test.json')),
        *('--out', str(tmp_path / 'report')),
    ]


def write_other(folder, target, keep='012', **metainfo):
    content = json.loads((folder / 'predictions.json').read_text())
    content['metainfo'] = metainfo
    content['predictions'] = {
        key: item
        for key, item in content['predictions'].items()
        if key in keep
    }
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(content))
    return str(target)


def test_writes_and_prints(tool, words, tmp_path, capsys):
    tool.main(words)
    out = capsys.readouterr().out
    assert 'Scores, protocol tubedetr, in percent' in out
    assert 'with the true boxes' in out
    report = tmp_path / 'report'
    assert f'Report: {report / "index.html"}' in out
    names = {p.name for p in report.iterdir()}
    assert names == {'charts', 'index.html', 'items.csv', 'report.md'}


def test_draws_where_the_videos_are(tool, folder, words, tmp_path):
    videos = ['--videos', str(folder / 'videos')]
    tool.main([*words, *videos, '--cases', '1'])
    drawn = sorted(p.suffix for p in (tmp_path / 'report/cases').iterdir())
    assert drawn == ['.mp4', '.mp4', '.png', '.png']


@pytest.mark.parametrize('name', ['other.json', 'deep/predictions.json'])
def test_compares_two_files(tool, folder, words, tmp_path, capsys, name):
    path = tmp_path / name
    other = write_other(folder, path)
    tool.main([*words, '--compare', other, '--protocol', 'stcat'])
    printed = capsys.readouterr()
    names = ('predictions', 'other')
    if path.stem == 'predictions':
        # Files of one name are called by their paths.
        names = (words[0], str(path))
    for called in names:
        assert f'Scores of {called}, protocol stcat' in printed.out
    assert 'warning: 1 of 4 queries' in printed.err
    items = (tmp_path / 'report/items.csv').read_text()
    assert 'other_viou' in items.splitlines()[0]
    with pytest.raises(ValueError, match='1 of 4 queries'):
        tool.main([other, *words[1:], '--strict'])


def test_without_interpolation(tool, words, capsys):
    tool.main([*words, '--protocol', 'stcat', '--no-interpolate'])
    told = 'Scores, protocol stcat without interpolation, in percent'
    assert told in capsys.readouterr().out


@pytest.mark.parametrize('which', ['first', 'second'])
def test_predictions_of_another_split_are_refused(
    tool, folder, words, tmp_path, which
):
    other = write_other(folder, tmp_path / 'other.json', split='val')
    more = words[1:] if which == 'first' else words
    more = [other, *more] if which == 'first' else [*more, '--compare', other]
    with pytest.raises(ValueError, match=r"other\.json.*split 'val' and 'te"):
        tool.main(more)
    tool.main([*more, '--force'])


def test_a_folder_of_videos_must_be_there(tool, words, capsys):
    with pytest.raises(SystemExit) as stop:
        tool.main([*words, '--videos', 'gone'])
    assert stop.value.code == 2
    assert '--videos gone is no folder' in capsys.readouterr().err
