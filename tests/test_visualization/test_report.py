"""A report from small files: tables, cases, two files, pages."""

import csv
import io
import re
import subprocess
import sys
from html.parser import HTMLParser

import av
import numpy as np
import pytest
from mmengine.config import Config

from hero_mm.evaluation import score_tubes, split_errors
from hero_mm.evaluation.comparison import Difference
from hero_mm.visualization.report import (
    ITEMS_FILE,
    build_analysis,
    case_view,
    choose_cases,
    write_report,
)
from hero_mm.visualization.report_page import render_html, render_markdown
from hero_mm.visualization.report_tables import (
    changed_table,
    comparison_tables,
    error_table,
    interval,
    main_key,
    oracle_table,
    read_oracles,
    right_table,
    score_table,
    text_table,
)

FRAMES = 12
BOX = [10, 10, 30, 30]


def make(folder, annotation, predictions, **kwargs):
    kwargs.setdefault('count', 2)
    return build_analysis(
        'toy run', annotation, predictions, folder / 'videos', **kwargs
    )


class Page(HTMLParser):
    """Checks that tags are closed, and gathers links."""

    VOID = frozenset({'meta', 'img', 'br', 'line', 'rect', 'circle'})

    def __init__(self, text):
        super().__init__()
        self.open, self.links = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ('src', 'href')]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_scores_by_sentence_type(annotation, predictions):
    scores = score_tubes(annotation.ground_truths(), predictions)
    table = score_table(scores)
    assert 'tubedetr' in table.title
    assert [row[:2] for row in table.rows] == [
        ['all', '4'],
        ['declarative', '2'],
        ['interrogative', '2'],
    ]
    place = table.head.index('gt_m_vIoU')
    assert [row[place] for row in table.rows] == ['75.0', '100.0', '50.0']


def test_the_object_that_was_followed(folder, annotation, predictions):
    report = make(folder, annotation, predictions)
    table = report.sections['Time and space'][-1]
    # Query 3, an interrogative one, follows the other object.
    assert table.rows == [
        ['all', '75.0', '25.0', '0.0', '100.0'],
        ['declarative', '100.0', '0.0', '0.0', '100.0'],
        ['interrogative', '50.0', '50.0', '0.0', '100.0'],
    ]


def test_guesses_stand_beside_the_run():
    oracles = {'whole clip': dict(m_vIoU=0.1, other=3), 'looks': {}}
    table = oracle_table(dict(m_vIoU=0.5, m_tIoU=0.7), oracles)
    assert table.head == ['', 'm_vIoU']
    assert table.rows == [
        ['this run', '50.0'],
        ['whole clip', '10.0'],
        ['looks', '–'],
    ]


def test_best_and_worst_are_of_different_videos(annotation, predictions):
    scores = score_tubes(annotation.ground_truths(), predictions)
    video_of = dict(zip('0123', ('a', 'a', 'b', 'b')))
    best, worst = choose_cases(scores, video_of, 2)
    assert best == ['0', '2'] and worst == ['3', '1']
    assert choose_cases(scores, dict.fromkeys('0123', 'v'), 3)[0] == ['0']


def test_no_case_is_best_and_worst(annotation, predictions):
    scores = score_tubes(annotation.ground_truths(), predictions)
    best, worst = choose_cases(scores, {k: k for k in '0123'}, 4)
    assert best == ['0', '1', '2', '3'] and worst == []


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


def test_a_case_without_prediction(annotation):
    clip = annotation.data_list[0]
    view = case_view(annotation, clip['queries'][0], clip, None)
    assert view.pred_span is None and view.gt_span == (2.0, 10.0)


def test_a_case_with_a_span_and_no_boxes(annotation):
    clip = annotation.data_list[0]
    query = clip['queries'][0]
    for boxes in ({}, ([], [])):
        guess = dict(span=[3, 5], boxes=boxes)
        view = case_view(annotation, query, clip, guess)
        assert view.pred_span == (3, 5) and view.pred_box(4) is None


def test_the_pages(folder, annotation, predictions, tmp_path):
    report = make(folder, annotation, predictions)
    html, markdown = write_report(report, tmp_path / 'report')
    page = Page(html.read_text())
    links = [link for link in page.links if not link.startswith('#')]
    # A video and a sheet that is also a link, for each of the four cases; the
    # charts and the file of items.
    assert len(links) == 3 * 4 + len(report.charts) + 1
    links += re.findall(r'\]\(([^)]+)\)', markdown.read_text())
    for link in links:
        assert '://' not in link and (html.parent / link).is_file(), link
    (video, *_) = (link for link in links if link.endswith('.mp4'))
    with av.open(str(html.parent / video)) as container:
        assert container.streams.video[0].codec_context.name == 'h264'
    assert '<script' not in html.read_text()


HOSTILE = '<script>alert(1)</script> [x](javascript:alert(1)) | \x1b[31m`=1`'


def test_texts_are_escaped(folder, annotation, predictions):
    annotation.metainfo['dataset'] = HOSTILE
    annotation.data_list[0]['queries'][0].update(
        text=HOSTILE, predicate=HOSTILE, category=HOSTILE
    )
    report = make(folder, annotation, predictions)
    report.title = report.cases['Best cases'][0].error = HOSTILE
    html, markdown = render_html(report), render_markdown(report)
    for page in (html, markdown):
        assert '<script' not in page and '&lt;script' in page
    page = Page(html)
    assert not [link for link in page.links if 'javascript' in link]
    assert '](javascript' not in markdown and '\x1b' not in markdown
    assert '\n### &lt;script&gt;' in markdown
    items = report.files['items.csv']
    assert '\x1b' not in items


def test_the_tables_of_markdown_are_whole(folder, annotation, predictions):
    report = make(folder, annotation, predictions)
    lines = render_markdown(report).splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith('| sent')]
    assert len(starts) >= 2
    for start in starts:
        block = lines[start : start + 5]
        assert len({line.count('|') for line in block}) == 1
        assert set(block[1]) <= set('|- ')


def test_a_broken_video_is_told_and_the_rest_drawn(
    folder, annotation, predictions, tmp_path
):
    annotation.videos['v0'].path = 'gone.mp4'
    report = make(folder, annotation, predictions)
    html, markdown = write_report(report, tmp_path)
    assert 'Not drawn: ' in html.read_text()
    assert 'gone.mp4' in markdown.read_text()
    assert len(list((tmp_path / 'cases').glob('*.mp4'))) == 3


def test_oracles_are_read(tmp_path):
    path = tmp_path / 'oracles.json'
    assert read_oracles(path) == {}
    path.write_text('{"guess": {"m_vIoU": 0.25}}')
    assert read_oracles(path) == {'guess': {'m_vIoU': 0.25}}
    path.write_text('{"guess": {"group": "blind", "m_vIoU": 0.25}}')
    assert read_oracles(path) == {'guess (blind)': {'m_vIoU': 0.25}}


@pytest.mark.parametrize('text', ['[1]', '{"a": 3}', '{"a": {"b": "x"}}', '{'])
def test_bad_oracles_are_named(tmp_path, text):
    path = tmp_path / 'oracles.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'oracles\.json must be JSON'):
        read_oracles(path)


def run_tool(repo_root, *args):
    return subprocess.run(
        [sys.executable, 'tools/analysis_tools/report.py', *map(str, args)],
        cwd=repo_root,
        env={'PYTHONPATH': str(repo_root), 'PATH': ''},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_command(folder, repo_root):
    """Annotation, videos and protocol come from the config."""
    dataset = dict(
        data_root=str(folder),
        ann_file='test.json',
        data_prefix=dict(video='videos'),
    )
    Config(
        dict(
            model=dict(type='X'),
            test_dataloader=dict(dataset=dataset),
            test_evaluator=dict(type='TubeMetric', protocol='stcat'),
        )
    ).dump(str(folder / 'toy.py'))
    done = run_tool(repo_root, folder, '--cases', 1)
    assert done.returncode == 0, done.stderr
    assert 'protocol stcat' in done.stdout
    assert (folder / 'report' / 'index.html').is_file()
    (folder / 'predictions.json').unlink()
    done = run_tool(repo_root, folder)
    assert done.returncode == 1
    assert 'predictions.json' in done.stderr
    assert 'Traceback' not in done.stderr


def table_of(report, title):
    (found,) = (t for t in report.tables if t.title.startswith(title))
    return found


def column(table, name):
    return [row[table.head.index(name)] for row in table.rows]


@pytest.fixture
def better(predictions):
    """The second query gets the whole span, the first a box too few."""
    other = {key: dict(item) for key, item in predictions.items()}
    other['1']['span'] = [2, 10]
    other['0']['span'] = [2, 8]
    return other


def test_error_in_time_and_space(annotation, predictions):
    report = build_analysis('run', annotation, predictions)
    table = table_of(report, 'Error in time and error in space')
    assert 'protocol tubedetr' in table.title
    # The grid sees 2 3 4 5 6 8 9 of the spans [2, 10), [2, 8), [2, 6),
    # [2, 4); the last prediction boxes another object.
    assert column(table, 'm_vIoU') == [
        f'{100 * share:.1f}' for share in (16 / 28, 21 / 28, 18 / 28, 1)
    ]
    assert [row[0] for row in table.rows] == [
        'as predicted',
        'with the true span',
        'with the true boxes',
        'with both',
    ]
    assert 'Of the 42.9 points of m_vIoU' in table.note
    assert 'bring 17.9 and the right boxes alone 7.1' in table.note


def test_what_is_right(annotation, predictions):
    truths = annotation.ground_truths()
    table = right_table(split_errors(truths, predictions))
    assert 'protocol tubedetr, in percent of them' in table.title
    assert table.rows == [
        ['boxes right', '50.0', '25.0'],
        ['boxes wrong', '0.0', '25.0'],
    ]


def test_groups_have_all_queries_first(annotation, predictions):
    report = build_analysis('run', annotation, predictions)
    tables = report.sections['Groups of queries']
    assert [table.head[0] for table in tables] == [
        'length of the true span',
        'size of the object',
        'category of the object',
        'predicate',
        'length of the video',
    ]
    for table in tables:
        assert table.rows[0][:2] == ['all', '4']
        assert sum(map(int, column(table, 'queries'))) == 2 * 4
        assert column(table, 'm_vIoU')[0] == '57.1'
    # 8 frames of 12 a second, 400 of 4096 pixels.
    assert tables[0].rows[1][0] == '1 to 3 s'
    assert tables[1].rows[1][0] == '5 to 20 % of the picture'


def test_the_items(annotation, predictions):
    report = build_analysis('run', annotation, predictions)
    rows = list(csv.DictReader(io.StringIO(report.files[ITEMS_FILE])))
    assert [row['query_id'] for row in rows] == list('0123')
    assert float(rows[1]['viou']) == pytest.approx(5 / 7, abs=1e-6)
    assert float(rows[1]['viou_true_span']) == 1
    assert float(rows[3]['viou_true_boxes']) == pytest.approx(2 / 7, abs=1e-6)
    assert rows[0]['text'] == 'the <b>0</b> | one'
    assert rows[0]['has_prediction'] == '1' and 'other_viou' not in rows[0]
    assert {row['protocol'] for row in rows} == {'tubedetr'}


def test_the_protocol_stands_beside_every_number(
    annotation, predictions, better
):
    label = 'stcat without interpolation'
    report = build_analysis(
        'one',
        annotation,
        predictions,
        None,
        'stcat',
        ('two', better),
        interpolate=False,
    )
    assert report.facts['protocol'] == label
    # Which object is followed is a count of its own.
    own = {'Which object is boxed inside the true span, in percent'}
    titles = {table.title for table in report.tables} - own
    assert len(titles) == len(report.tables) - 1
    assert [
        title for title in titles if f'protocol {label}' not in title
    ] == []
    assert set(report.charts) == {'viou', 'tiou', 'gt_viou', 'difference'}
    for svg in report.charts.values():
        assert f', protocol {label}<' in svg
    rows = csv.DictReader(io.StringIO(report.files[ITEMS_FILE]))
    assert {row['protocol'] for row in rows} == {label}


def test_frames_between_boxes_as_chosen(annotation, predictions):
    for item in predictions.values():
        item['boxes'] = {'2': item['boxes']['2']}

    def first(interpolate, other=None):
        report = build_analysis(
            'one',
            annotation,
            predictions,
            None,
            'stcat',
            other,
            interpolate=interpolate,
        )
        rows = report.files[ITEMS_FILE].splitlines()
        return next(csv.DictReader(io.StringIO('\n'.join(rows))))

    both = first(False, ('two', predictions))
    assert float(both['viou']) == float(both['other_viou']) == 0.125
    assert float(first(None)['viou']) == 1


def test_two_files(annotation, predictions, better):
    report = build_analysis(
        'one', annotation, predictions, other=('two', better)
    )
    means = table_of(report, 'Scores, protocol tubedetr')
    assert means.head[1:4] == ['one', 'two', 'difference']
    (row,) = (row for row in means.rows if row[0] == 'm_vIoU')
    # Both change by two of seven frames, one up and one down.
    assert row[1:4] == ['57.1', '57.1', '+0.0']
    assert row[-1] == 'no'
    assert 'over 4 videos' in means.note and 'narrower' in means.note
    counts = table_of(report, 'Queries for which two')
    assert counts.title.endswith('worse: vIoU, protocol tubedetr, in percent')
    assert counts.rows == [
        ['better', '1', '25.0'],
        ['the same', '2', '50.0'],
        ['worse', '1', '25.0'],
    ]
    gains = table_of(report, 'Where two is better')
    assert gains.rows == [
        ['the <b>1</b> | one', '1', '71.4', '100.0', '+28.6']
    ]
    losses = table_of(report, 'Where two is worse')
    assert column(losses, 'query') == ['0']
    rows = list(csv.DictReader(io.StringIO(report.files[ITEMS_FILE])))
    assert float(rows[1]['other_viou']) == 1
    assert 'difference' in report.charts


def test_groups_of_two_files(annotation, predictions, better):
    report = build_analysis(
        'one', annotation, predictions, other=('two', better)
    )
    table = table_of(report, 'm_vIoU by group')
    kinds = [row for row in table.rows if row[0] == 'sentence']
    assert [row[1] for row in kinds] == ['declarative', 'interrogative']
    assert [row[4] for row in kinds] == ['-14.3', '+14.3']


def test_a_single_video_gets_an_honest_note(annotation, predictions, better):
    truths = annotation.ground_truths()
    pair = score_tubes(truths, predictions), score_tubes(truths, better)
    means = comparison_tables(*pair, ['v'] * 4, [], ('one', 'two'))[0]
    assert 'all of one video' in means.note
    # Drawn query by query.
    assert '–' not in means.rows[1]


def test_alike_files_change_nothing(annotation, predictions):
    truths = annotation.ground_truths()
    scores = score_tubes(truths, predictions)
    texts = dict.fromkeys('0123', 'x')
    for better in (True, False):
        names = ('one', 'two')
        assert changed_table(scores, scores, texts, names, 5, better) is None
    report = build_analysis(
        'one', annotation, predictions, other=('two', predictions)
    )
    for row in table_of(report, 'Scores, protocol').rows:
        assert row[3:] == ['+0.0', '+0.0 to +0.0', 'no']


def test_accuracies_are_quoted_by_their_mean(annotation, predictions):
    report = build_analysis(
        'run', annotation, predictions, None, 'vid_sentence'
    )
    table = table_of(report, 'Error in time and error in space')
    assert column(table, 'acc_avg') == ['75.0', '75.0', '100.0', '100.0']
    assert 'points of acc_avg' in table.note
    scores = score_tubes(
        annotation.ground_truths(), predictions, 'vid_sentence'
    )
    assert main_key(scores) == 'acc_avg'


def test_cases_are_ranked_by_what_the_protocol_scores(annotation, predictions):
    # The boxes of query 2 are right and its span is wrong, which accuracy
    # does not see.
    predictions['2']['span'] = [0, 1]
    predictions['0']['boxes'] = {
        frame: [12, 10, 30, 30] for frame in predictions['0']['boxes']
    }
    truths, videos = annotation.ground_truths(), {k: k for k in '0123'}
    scores = score_tubes(truths, predictions, 'vid_sentence')
    assert choose_cases(scores, videos, 3)[0] == ['1', '2', '0']
    scores = score_tubes(truths, predictions)
    assert choose_cases(scores, videos, 3)[0] == ['0', '1', '3']


def test_a_missing_prediction_is_told(annotation, predictions):
    del predictions['0']
    with pytest.warns(UserWarning, match='1 of 4'):
        report = build_analysis('run', annotation, predictions)
    assert report.facts['without a prediction'] == '1'
    note = report.sections['Scores'][0].note
    assert '1 queries without a prediction' in note
    with pytest.raises(ValueError, match="'0'"):
        build_analysis('run', annotation, predictions, strict=True)


def test_a_prediction_without_boxes_scores_and_is_shown(
    folder, annotation, predictions, tmp_path
):
    predictions['2']['boxes'] = {}
    report = build_analysis(
        'run', annotation, predictions, folder / 'videos', count=2
    )
    write_report(report, tmp_path)
    assert [case.query_id for case in report.cases['Worst cases']] == [
        '3',
        '2',
    ]
    assert (tmp_path / 'cases' / 'worst_1_2.mp4').is_file()


def test_without_videos_the_cases_are_told_only(
    annotation, predictions, tmp_path
):
    report = build_analysis('run', annotation, predictions, count=2)
    html, markdown = write_report(report, tmp_path)
    assert not (tmp_path / 'cases').exists()
    for page in (html.read_text(), markdown.read_text()):
        assert 'Best cases' in page and 'Not drawn' not in page
        assert '<video' not in page and '![frames]' not in page
    assert (tmp_path / ITEMS_FILE).read_text() == report.files[ITEMS_FILE]
    assert (tmp_path / 'charts' / 'viou.svg').is_file()


def test_the_pages_show_every_table(annotation, predictions, better):
    report = build_analysis(
        'one', annotation, predictions, other=('two', better)
    )
    html, markdown = render_html(report), render_markdown(report)
    for heading in report.sections:
        assert f'<h2>{heading}</h2>' in html
        assert f'\n## {heading}\n' in markdown
    for table in report.tables:
        assert f'<caption>{table.title}</caption>' in html
        assert f'**{table.title}**' in markdown
    # Of the comparison no row stands for the others.
    assert html.count('<table class="total">') == sum(
        table.total for table in report.tables
    )


def test_a_table_for_the_terminal(annotation, predictions):
    truths = annotation.ground_truths()
    table = error_table(split_errors(truths, predictions))
    lines = text_table(table).splitlines()
    assert lines[0] == table.title and lines[-1] == table.note
    assert len({len(line) for line in lines[1:-1]}) == 1
    assert lines[2] == '-' * len(lines[1])


def test_an_interval_is_shown_where_there_is_one():
    assert interval(Difference('x', 0, 0.1, 0.02, 0.2)) == '+2.0 to +20.0'
    assert interval(Difference('x', 0, 0.1, np.nan, np.nan)) == '–'
