"""Guesses with perfect boxes: what they score, and that they fail."""

import json

import numpy as np
import pytest

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.shapes import build_shapes
from hero_mm.datasets.shapes.meaning import Description
from hero_mm.datasets.shapes.questions import Question, read_questions
from hero_mm.datasets.shapes.world import Look
from hero_mm.evaluation import evaluate_tubes
from hero_mm.visualization.report_tables import read_oracles


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('oracles')
    sizes = {'train': 0, 'val': 0, 'test': 60}
    build_shapes(folder, sizes, workers=1)
    return folder


@pytest.fixture(scope='module')
def questions(root):
    return read_questions(root, 'test')


@pytest.fixture(scope='module')
def rows(oracles, questions):
    return oracles.score_oracles(questions)


def make_question(answer=(0, (0, 8)), **changes):
    """Two red stars and a large blue one; two of them spin."""
    frames = np.arange(32)
    tracks = [
        (frames, np.tile([10 * tid, 0, 14 * tid + 8, 8], (32, 1)))
        for tid in range(3)
    ]
    tid, span = answer
    fields = dict(
        kind='basic',
        look=Description(colour='red'),
        action='spin',
        answer=answer,
        truth=dict(span=span, boxes=tracks[tid], segment=(0, 32), fps=8),
        looks=[Look('plain', c, 'star') for c in ('red', 'red', 'blue')],
        events=[
            (0, 'spin', (0, 8)),
            (0, 'grow', (20, 30)),
            (1, 'blink', (0, 8)),
            (2, 'spin', (4, 12)),
        ],
        tracks=tracks,
    )
    return Question(**{**fields, **changes})


# Of each object: its first span, and its only other one.
A, B, C, D = (0, (0, 8)), (0, (20, 30)), (1, (0, 8)), (2, (4, 12))
WHOLE = [(tid, (0, 32)) for tid in range(3)]
EXPECTED = {
    'random object, any of its spans': [A, B, C, D],
    'random object, its longest span': [B, C, D],
    'random object, its middle span': [B, C, D],
    'busiest object, any of its spans': [A, B],
    'largest object, its longest span': [D],
    'random event of an action that occurs twice': [A, D],
    'random object, whole clip': WHOLE,
    'right look, whole clip': WHOLE[:2],
    'right look, any of its spans': [A, B, C],
    'right look, its longest span': [B, C],
    'right action, any object': [A, D],
    'right span, random object': [A, C, (2, (0, 8))],
    'right look and action, no relation': [A],
    'right object, whole clip': WHOLE[:1],
    'right object, any of its spans': [A, B],
}


def test_what_a_guess_may_answer(oracles):
    found = {
        name: list(guess(make_question()))
        for name, (_, guess) in oracles.GUESSES.items()
    }
    assert found == EXPECTED


def test_score_is_the_mean_over_what_may_be_answered(oracles):
    question = make_question()
    guess = oracles.GUESSES['right look, whole clip'][1]
    scores = oracles.score_guess([question], guess)
    # On the right object a quarter of the clip is right, and of the 19 frames
    # of the 5 fps grid five. The other object misses.
    assert scores['m_tIoU'] == pytest.approx(8 / 32)
    assert scores['gt_m_vIoU'] == pytest.approx(0.5)
    assert scores['m_vIoU'] == pytest.approx(0.5 * 5 / 19)
    guess = oracles.GUESSES['right action, any object'][1]
    scores = oracles.score_guess([question], guess)
    assert scores['m_tIoU'] == pytest.approx((1 + 4 / 12) / 2)
    # Questions count alike however many answers they have.
    two = make_question(events=[(0, 'spin', (0, 8))])
    both = oracles.score_guess([question, two], guess)['m_vIoU']
    assert both == pytest.approx((0.5 + 1.0) / 2)


def test_scores_agree_with_the_metric(oracles, questions):
    """One answer a question: the same as scoring predictions."""
    truths = {str(index): q.truth for index, q in enumerate(questions)}
    predictions = {
        str(index): dict(boxes=q.tracks[q.answer[0]], span=q.clip)
        for index, q in enumerate(questions)
    }
    expected = evaluate_tubes(truths, predictions, 'tubedetr')
    guess = oracles.GUESSES['right object, whole clip'][1]
    found = oracles.score_guess(questions, guess)
    assert found == pytest.approx({k: expected[k] for k in oracles.METRICS})


def test_constant_guess(oracles):
    answers = [(0, (4, 12)), (0, (4, 12)), (1, (5, 13))]
    asked = [make_question(answer=answer) for answer in answers]
    assert oracles.constant_guess(asked) == ([0, 0, 8, 8], (4, 12))
    # Of a long video not all pairs of frames are tried.
    for question in asked:
        question.truth['segment'] = (0, 10**6)
    assert oracles.constant_guess(asked)[1] == (4, 12)


def test_read_questions(root, questions):
    annotation = load_annotation(root / 'test.json')
    truths = annotation.ground_truths()
    queries = [q for clip in annotation.data_list for q in clip['queries']]
    for question, query in zip(questions, queries, strict=True):
        assert question.truth == truths[query['query_id']]
        tid, span = question.answer
        assert (tid, question.action, span) in question.events
        assert tid in question.fitting
        assert set(range(*span)) <= {*question.tracks[tid][0].tolist()}
        temporal = {'after', 'before'} & {*query['text'].split()}
        assert (question.kind == 'temporal') == bool(temporal)


def test_the_tool_prints_and_writes(
    oracles, root, questions, tmp_path, run_tool
):
    name, path = 'analysis_tools/shapes_oracles', tmp_path / 'new/scores.json'
    words = '--split=test', '--kind=temporal', f'--json={path}'
    done = run_tool(name, root, *words)
    rows = json.loads(path.read_text())
    asked = [q for q in questions if q.kind == 'temporal']
    assert rows == oracles.score_oracles(asked)
    # A report takes them as they are.
    assert 'right look, whole clip (appearance)' in read_oracles(path)
    for guess, row in rows.items():
        assert f'| {guess} | {row["m_tIoU"]:.3f} |' in done.stdout
    done = run_tool(name, tmp_path, *words)
    assert done.returncode == 1
    assert 'render the benchmark' in done.stderr


def best_of(rows, group):
    return max(r['m_vIoU'] for r in rows.values() if r['group'] == group)


def test_the_table_of_the_docs(oracles, rows, repo_root):
    """It has all guesses, and what a part of the split confirms."""
    page = (repo_root / 'docs' / 'benchmark_shapes.md').read_text()
    head = f'| guess with perfect boxes | {" | ".join(oracles.METRICS)} |\n'
    table = {}
    for line in page.partition(head)[2].splitlines()[1 : len(rows) + 1]:
        name, *cells = (cell.strip() for cell in line.strip('|').split('|'))
        scores = map(float, cells)
        table[name] = dict(rows[name], **dict(zip(oracles.METRICS, scores)))
        # 60 of 500 videos: the same but for sampling.
        about = pytest.approx(rows[name]['m_vIoU'], abs=0.08)
        assert table[name]['m_vIoU'] == about
    assert list(table) == list(rows)
    # Neither part of the sentence is enough.
    for found in (table, rows):
        assert best_of(found, 'blind') < 0.20
        assert best_of(found, 'appearance') < 0.35
        assert best_of(found, 'action') < 0.50
        assert best_of(found, 'time') < 0.50
        assert best_of(found, 'relation') < 0.85
