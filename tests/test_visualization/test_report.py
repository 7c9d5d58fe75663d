"""A report from small files: tables, cases, two files, the page."""

import csv
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from hero_mm.evaluation import score_tubes
from hero_mm.evaluation.analysis import Difference
from hero_mm.visualization.report import (
    build_analysis,
    case_view,
    choose_cases,
    write_report,
)
from hero_mm.visualization.report_tables import (
    comparison_tables,
    interval,
    oracle_table,
    read_oracles,
    text_table,
)

FRAMES = 12
BOX = [10, 10, 30, 30]


class Page(HTMLParser):
    """Checks that tags are closed, and gathers links."""

    def __init__(self, folder):
        super().__init__()
        self.open, self.links = [], []
        self.text = (folder / 'index.html').read_text()
        self.feed(self.text)
        assert self.open == [] and '<script' not in self.text

    def handle_starttag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ('src', 'href')]
        if tag not in ('meta', 'img'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def better(predictions):
    """The second query gets the whole span, the first a frame too few."""
    other = {key: dict(item) for key, item in predictions.items()}
    other['1']['span'] = [2, 10]
    other['0']['span'] = [2, 8]
    return other


def table_of(report, title):
    (found,) = (t for t in report.tables if t.title.startswith(title))
    return found


def column(table, name):
    return [row[table.head.index(name)] for row in table.rows]


def items(report):
    return list(csv.DictReader(io.StringIO(report.items)))


def test_scores_and_what_is_right(annotation, predictions):
    report = build_analysis('run', annotation, predictions)
    assert report.facts['data'] == 'toy test'
    table = table_of(report, 'Scores, protocol tubedetr')
    lines = text_table(table).splitlines()
    assert lines[0] == table.title and lines[-1] == table.note
    assert len({len(line) for line in lines[1:-1]}) == 1
    assert [row[:2] for row in table.rows] == [
        ['all', '4'],
        ['declarative', '2'],
        ['interrogative', '2'],
    ]
    assert column(table, 'gt_m_vIoU') == ['75.0', '100.0', '50.0']
    # Query 3, an interrogative one, follows the other object.
    assert table_of(report, 'Which object').rows == [
        ['all', '75.0', '25.0', '0.0', '100.0'],
        ['declarative', '100.0', '0.0', '0.0', '100.0'],
        ['interrogative', '50.0', '50.0', '0.0', '100.0'],
    ]
    # A tIoU of half, that of query 2, is not right: the threshold is strict.
    assert table_of(report, 'What is right').rows == [
        ['boxes right', '50.0', '25.0'],
        ['boxes wrong', '0.0', '25.0'],
    ]
    table = table_of(report, 'Error in time and error in space')
    # The grid sees 2 3 4 5 6 8 9 of the spans [2, 10), [2, 8), [2, 6),
    # [2, 4); the last prediction boxes another object.
    assert column(table, 'm_vIoU') == [
        f'{100 * share:.1f}' for share in (16 / 28, 21 / 28, 18 / 28, 1)
    ]
    assert re.findall(r'\d+\.\d', table.note) == ['42.9', '17.9', '7.1']


def test_groups_have_all_queries_first(annotation, predictions):
    report = build_analysis('run', annotation, predictions)
    tables = report.sections['Groups of queries']
    assert len(tables) == 5
    for table in tables:
        assert table.rows[0][:2] == ['all', '4']
        assert sum(map(int, column(table, 'queries'))) == 2 * 4
        assert column(table, 'm_vIoU')[0] == '57.1'
    # 8 frames of 12 a second, 400 of 4096 pixels.
    assert tables[0].rows[1][0] == '1 to 3 s'
    assert tables[1].rows[1][0] == '5 to 20 % of the picture'


def test_guesses_stand_beside_the_run(annotation, predictions, tmp_path):
    path = tmp_path / 'oracles.json'
    assert read_oracles(path) == {}
    path.write_text('{"a": {"group": "blind", "m_vIoU": 0.1}, "b": {"x": 1}}')
    oracles = read_oracles(path)
    table = oracle_table(dict(m_vIoU=0.5, m_tIoU=0.7), oracles)
    assert table.head == ['', 'm_vIoU']
    rows = [['this run', '50.0'], ['a (blind)', '10.0'], ['b', '–']]
    assert table.rows == rows
    report = build_analysis('run', annotation, predictions, oracles=oracles)
    assert table_of(report, 'Beside guesses').rows[0] == ['this run', '57.1']
    path.write_text('{')
    with pytest.raises(ValueError, match=r'oracles\.json'):
        read_oracles(path)


def test_the_items(annotation, predictions):
    rows = items(build_analysis('run', annotation, predictions))
    assert [row['query_id'] for row in rows] == list('0123')
    assert float(rows[1]['viou']) == pytest.approx(5 / 7, abs=1e-6)
    assert float(rows[1]['viou_true_span']) == 1
    assert float(rows[3]['viou_true_boxes']) == pytest.approx(2 / 7, abs=1e-6)
    assert rows[0]['text'] == 'the <b>0</b> | one'
    assert rows[0]['has_prediction'] == '1' and 'other_viou' not in rows[0]


def test_the_protocol_stands_beside_every_number(annotation, predictions):
    label = 'stcat without interpolation'
    for item in predictions.values():
        item['boxes'] = {'2': item['boxes']['2']}
    how = dict(protocol='stcat', other=('two', predictions))
    report = build_analysis(
        'one', annotation, predictions, interpolate=False, **how
    )
    assert report.facts['protocol'] == label
    titles = {table.title for table in report.tables}
    assert len(titles) == len(report.tables)
    # Which object is followed is a count of its own.
    own = {title for title in titles if f'protocol {label}' not in title}
    assert own == {'Which object is boxed inside the true span, in percent'}
    charts = {name: svg for name, svg in report.charts.items() if svg}
    assert set(charts) == {'viou', 'tiou', 'gt_viou', 'difference'}
    assert all(f', protocol {label}<' in svg for svg in charts.values())
    rows = items(report)
    assert {row['protocol'] for row in rows} == {label}
    assert float(rows[0]['viou']) == float(rows[0]['other_viou']) == 0.125
    row, *_ = items(build_analysis('one', annotation, predictions, **how))
    assert float(row['viou']) == float(row['other_viou']) == 1


def test_two_files(annotation, predictions, better):
    report = build_analysis(
        'one', annotation, predictions, other=('two', better)
    )
    means = table_of(report, 'Scores, protocol tubedetr')
    assert means.head[1:4] == ['one', 'two', 'difference']
    (row,) = (row for row in means.rows if row[0] == 'm_vIoU')
    # Both change by two of seven frames, one up and one down.
    assert row[1:4] == ['57.1', '57.1', '+0.0'] and row[-1] == 'no'
    assert 'over 4 videos' in means.note and 'narrower' in means.note
    groups = table_of(report, 'm_vIoU by group')
    kinds = {row[1]: row[4] for row in groups.rows if row[0] == 'sentence'}
    assert kinds == {'declarative': '-14.3', 'interrogative': '+14.3'}
    changed = table_of(report, 'Where two differs most: vIoU, protocol tubed')
    assert changed.rows == [
        ['the <b>1</b> | one', '1', '71.4', '100.0', '+28.6'],
        ['the <b>0</b> | one', '0', '100.0', '71.4', '-28.6'],
    ]
    assert re.findall(r' (\d)', changed.note) == ['1', '2', '1', '4']
    assert float(items(report)[1]['other_viou']) == 1


def test_a_single_video_gets_an_honest_note(annotation, predictions, better):
    truths = annotation.ground_truths()
    pair = score_tubes(truths, predictions), score_tubes(truths, better)
    means = comparison_tables(*pair, 'vvvv', [], ('one', 'two'), 'abcd')[0]
    assert 'over 4 queries of one video' in means.note
    # Drawn query by query.
    assert '–' not in means.rows[1]
    assert interval(Difference('x', 0, 0.1, 0.02, 0.2)) == '+2.0 to +20.0'
    assert interval(Difference('x', 0, 0.1, np.nan, np.nan)) == '–'


def test_best_and_worst_are_of_different_videos(annotation, predictions):
    scores = score_tubes(annotation.ground_truths(), predictions)
    video_of = dict(zip('0123', 'aabb'))
    assert choose_cases(scores, video_of, 2) == (['0', '2'], ['3', '1'])
    assert choose_cases(scores, dict.fromkeys('0123', 'v'), 3)[0] == ['0']
    # No case is best and worst.
    own = {k: k for k in '0123'}
    assert choose_cases(scores, own, 4) == (['0', '1', '2', '3'], [])


def test_cases_are_ranked_by_what_the_protocol_scores(annotation, predictions):
    # The boxes of query 2 are right and its span is wrong, which accuracy
    # does not see.
    predictions['2']['span'] = [0, 1]
    predictions['0']['boxes'] = dict.fromkeys(
        predictions['0']['boxes'], [12, 10, 30, 30]
    )
    truths, videos = annotation.ground_truths(), {k: k for k in '0123'}
    scores = score_tubes(truths, predictions, 'vid_sentence')
    assert choose_cases(scores, videos, 3)[0] == ['1', '2', '0']
    how = dict(protocol='vid_sentence')
    report = build_analysis('run', annotation, predictions, **how)
    table = table_of(report, 'Error in time and error in space')
    assert column(table, 'acc_avg') == ['75.0', '75.0', '100.0', '100.0']
    assert 'points of acc_avg' in table.note
    scores = score_tubes(truths, predictions)
    assert choose_cases(scores, videos, 3)[0] == ['0', '1', '3']


def test_a_case_has_boxes_on_every_frame(annotation, predictions):
    clip = annotation.data_list[0]
    query = clip['queries'][0]
    prediction = predictions['0']
    prediction['boxes'] = {'0': BOX, '11': [21, 10, 41, 30]}
    view = case_view(annotation, query, clip, prediction, 'a note')
    assert len(view) == FRAMES and view.note == 'a note'
    np.testing.assert_allclose(view.pred_bboxes[:, 0], np.arange(10, 22))
    assert view.gt_valid.tolist() == [2 <= i < 10 for i in range(FRAMES)]
    np.testing.assert_allclose(view.gt_box(4), BOX)
    for boxes in ({}, ([], [])):
        guess = dict(span=[3, 5], boxes=boxes)
        view = case_view(annotation, query, clip, guess)
        assert view.pred_span == (3, 5) and view.pred_box(4) is None


def test_the_page(folder, annotation, predictions, better, tmp_path):
    annotation.videos['v0'].path = 'gone.mp4'
    predictions['2']['boxes'] = {}
    report = build_analysis(
        'a run',
        annotation,
        predictions,
        folder / 'videos',
        other=('two', better),
        count=2,
    )
    printed = write_report(report, tmp_path / 'report')
    page = Page(tmp_path / 'report')
    # A video and a sheet that is also a link, for each of three cases; the
    # charts and the file of items. The fourth video is missing.
    charts = sum(1 for svg in report.charts.values() if svg)
    assert len(page.links) == 3 * 3 + charts + 1
    for link in page.links:
        assert (tmp_path / 'report' / link).is_file(), link
    assert page.text.count('Not drawn: ') == 1 and 'gone.mp4' in page.text
    for heading in report.sections:
        assert f'<h2>{heading}</h2>' in page.text
    for table in report.tables:
        assert f'<caption>{table.title}</caption>' in page.text
        assert text_table(table) in printed


def test_texts_are_escaped(annotation, predictions, tmp_path):
    hostile = '<script>alert(1)</script> "x" \x1b[31m'
    annotation.metainfo['dataset'] = hostile
    annotation.data_list[0]['queries'][0].update(
        text=hostile, predicate=hostile, category=hostile
    )
    report = build_analysis(hostile, annotation, predictions)
    report.cases['Best cases'][0].error = hostile
    write_report(report, tmp_path)
    assert '&lt;script&gt;' in Page(tmp_path).text
    assert '\x1b' not in report.items


def test_a_missing_prediction_is_counted(annotation, predictions):
    del predictions['0']
    with pytest.warns(UserWarning, match='1 of 4 queries'):
        report = build_analysis('run', annotation, predictions)
    assert report.facts['without a prediction'] == '1'
    note = report.sections['Scores'][0].note
    assert '1 queries without a prediction' in note
    with pytest.raises(ValueError, match="'0'"):
        build_analysis('run', annotation, predictions, strict=True)
