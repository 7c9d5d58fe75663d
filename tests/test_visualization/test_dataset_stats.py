"""What a data set is made of, as tables and as a command."""

import re
from dataclasses import replace

import pytest

from hero_mm.visualization.dataset_report import (
    NUMBERS,
    build_dataset_report,
    name_table,
    number_row,
)


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('analysis_tools/dataset_stats')


def table_of(report, title):
    (found,) = (t for t in report.tables if t.title.startswith(title))
    return found


def row_of(report, title, name):
    (found,) = (r for r in table_of(report, title).rows if r[0] == name)
    return found


def test_numbers_are_spread_by_hand():
    row = number_row('x', range(101))
    assert row == ['x', '0', '5', '50', '50', '95', '100']
    assert len(row) == 1 + len(NUMBERS)
    assert number_row('y', [0.123456])[1:] == ['0.12'] * 6


def test_names_are_counted():
    table = name_table('verb', ['go', 'go', '', 'run'])
    assert 'verb: 2 different' in table.title
    assert table.rows == [
        ['go', '2', '50.0'],
        ['(none)', '1', '25.0'],
        ['run', '1', '25.0'],
    ]


def test_counts_of_the_whole(annotation):
    report = build_dataset_report(annotation)
    assert report.title == 'toy test'
    assert report.facts == {
        'videos': '4',
        'clips': '4',
        'sentences': '4',
        'tracks': '8',
        'boxes': '96',
    }


def test_types(annotation):
    assert table_of(build_dataset_report(annotation), 'By type').rows == [
        ['all', '4', '100.0', '4', '4.0', '1.3'],
        ['declarative', '2', '50.0', '2', '4.0', '1.3'],
        ['interrogative', '2', '50.0', '2', '4.0', '1.3'],
    ]


def test_lengths(annotation):
    annotation.data_list[0]['queries'][0]['span'] = [0, 12]
    annotation.data_list[1]['segment'] = [0, 10]
    report = build_dataset_report(annotation)

    def ends(name):
        row = row_of(report, 'Lengths and sizes', name)
        return row[1], row[4], row[-1]

    assert ends('true span, s') == ('1.33', '1.5', '2')
    assert ends('true span, frames') == ('8', '9', '12')
    assert ends('searched part, s') == ('1.67', '1.92', '2')
    # 100, 80 and twice 66.7 percent.
    assert ends('true span, % of the searched part') == (
        '66.67',
        '78.33',
        '100',
    )
    # 20 x 20 of 64 x 64 pixels.
    assert ends('object, % of the picture') == ('9.77', '9.77', '9.77')
    assert ends('video, frames a second') == ('6', '6', '6')
    assert ends('objects of a video') == ('2', '2', '2')


def test_hidden_objects_are_told(annotation):
    track = annotation.videos['v0'].tracks['0']
    track.runs = track.runs.copy()
    track.runs[0, 1] = 6
    table = table_of(build_dataset_report(annotation), 'Lengths and sizes')
    # Frames 6 to 9 of 4 times 8.
    assert table.note.startswith('12.5 percent')


def test_pictures(annotation):
    videos = annotation.videos
    videos['v0'] = replace(videos['v0'], width=32)
    table = table_of(build_dataset_report(annotation), 'Pictures')
    assert table.rows == [['64 x 64', '3', '75.0'], ['32 x 64', '1', '25.0']]
    assert table.note == '25.0 percent are upright.'


def test_words_are_counted_without_signs(annotation):
    texts = ('Cups, cups.', 'A cup ?', 'a dog', 'a dog')
    for clip, text in zip(annotation.data_list, texts):
        clip['queries'][0]['text'] = text
    report = build_dataset_report(annotation)
    # cups, a, cup, dog
    assert table_of(report, 'Words').note == (
        '4 different words, 1 of them once.'
    )
    assert row_of(report, 'Words', 'words of a sentence')[1] == '2'
    assert row_of(report, 'Words', 'sentences of a clip')[1:] == ['1'] * 6


def test_charts_count_every_sentence(annotation):
    annotation.data_list[0]['queries'][0]['span'] = [0, 12]
    charts = build_dataset_report(annotation).charts
    assert sorted(charts) == ['segment', 'size', 'span', 'span_share', 'words']
    for svg in charts.values():
        counts = re.findall(r'id="bar_\d+_(\d+)"', svg)
        assert sum(map(int, counts)) == 4
    assert '1 beyond' in charts['span'] and 'beyond' not in charts['size']


def test_no_sentence_is_an_error(annotation):
    annotation.data_list.clear()
    with pytest.raises(ValueError, match='there is no sentence'):
        build_dataset_report(annotation)


def test_prints_and_writes(tool, folder, tmp_path, capsys):
    out = tmp_path / 'stats'
    tool.main([str(folder / 'test.json'), '--out', str(out)])
    printed = capsys.readouterr().out
    assert printed.startswith('toy test: 4 videos, 4 clips, 4 sentences')
    assert 'By predicate: 1 different' in printed
    assert 'By predicate' in (out / 'report.md').read_text()
    assert 'charts/words.svg' in (out / 'index.html').read_text()
    assert (out / 'charts' / 'words.svg').is_file()


def test_writes_nothing_unasked(tool, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tool.main([str(folder / 'test.json')])
    assert 'Report' not in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
