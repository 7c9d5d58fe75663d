"""A report from small files."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import av
import numpy as np
import pytest
from mmengine.config import Config

from hero_mm.evaluation import score_tubes
from hero_mm.visualization.report import (
    build_analysis,
    case_view,
    choose_cases,
    write_report,
)
from hero_mm.visualization.report_page import render_html, render_markdown
from hero_mm.visualization.report_tables import (
    oracle_table,
    read_oracles,
    score_table,
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
