"""Guesses with perfect boxes: what they score, and that they fail."""

import json

import pytest
from test_datasets.shapes_things import read_table

from hero_mm.datasets.shapes import build_shapes
from hero_mm.datasets.shapes.meaning import Description
from hero_mm.datasets.shapes.questions import Question, read_questions
from hero_mm.datasets.shapes.scene import Look
from hero_mm.evaluation import evaluate_tubes
from hero_mm.visualization.report_tables import read_oracles


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('oracles')
    sizes = {'train': 0, 'val': 0, 'test': 60}
    build_shapes(folder, sizes, workers=1, progress=False)
    return folder


@pytest.fixture(scope='module')
def questions(root):
    return read_questions(root, 'test')


@pytest.fixture(scope='module')
def rows(oracles, questions):
    return oracles.score_oracles(questions)


def make_question(**changes):
    """Two red stars and a large blue one; two of them spin."""
    tracks = [
        {f: [10 * tid, 0, 10 * tid + 8 + 4 * tid, 8] for f in range(32)}
        for tid in range(3)
    ]
    fields = dict(
        kind='basic',
        look=Description(colour='red'),
        action='spin',
        answer=(0, (0, 8)),
        looks=[Look('plain', c, 'star') for c in ('red', 'red', 'blue')],
        events=[
            (0, 'spin', (0, 8)),
            (0, 'grow', (20, 30)),
            (1, 'blink', (0, 8)),
            (2, 'spin', (4, 12)),
        ],
        tracks=tracks,
        clip=(0, 32),
        fps=8,
        query_type='declarative',
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
    truths, predictions = {}, {}
    for index, q in enumerate(questions):
        tid, span = q.answer
        about = dict(boxes=q.tracks[tid], segment=q.clip, fps=q.fps)
        truths[str(index)] = dict(about, span=span)
        predictions[str(index)] = dict(about, span=q.clip)
    expected = evaluate_tubes(truths, predictions, 'tubedetr')
    guess = oracles.GUESSES['right object, whole clip'][1]
    found = oracles.score_guess(questions, guess)
    assert found == pytest.approx({k: expected[k] for k in oracles.METRICS})


def test_constant_guess(oracles):
    answers = [(0, (4, 12)), (0, (4, 12)), (1, (5, 13))]
    asked = [make_question(answer=answer) for answer in answers]
    assert oracles.constant_guess(asked) == ([0, 0, 8, 8], (4, 12))


def test_read_questions(root, questions):
    entries = json.loads((root / 'vidstg/test_annotations.json').read_text())
    told = [
        (entry, text)
        for entry in entries
        for text in entry['captions'] + entry['questions']
    ]
    for question, (entry, text) in zip(questions, told, strict=True):
        truth = entry['temporal_gt']
        tid, span = question.answer
        assert tid == text['target_id']
        assert span == (truth['begin_fid'], truth['end_fid'])
        asks = text['description'].endswith('?')
        assert (question.query_type == 'interrogative') == asks
        assert (tid, question.action, span) in question.events
        assert tid in question.fitting
        assert set(range(*span)) <= set(question.tracks[tid])
        assert question.clip == (0, 32)
        words = set(text['description'].split())
        temporal = bool({'after', 'before'} & words)
        assert (question.kind == 'temporal') == temporal


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
    read = read_oracles(path)
    assert 'right look, whole clip (appearance)' in read
    for guess, row in rows.items():
        assert f'| {guess} | {row["m_tIoU"]:.3f} |' in done.stdout
    done = run_tool(name, tmp_path, *words)
    assert done.returncode == 1
    assert 'render the benchmark' in done.stderr


def test_the_table_of_the_docs(oracles, rows, best_of, repo_root):
    """It has all guesses, and what a part of the split confirms."""
    page = (repo_root / 'docs' / 'benchmark_shapes.md').read_text()
    head = f'| guess with perfect boxes | {" | ".join(oracles.METRICS)} |'
    table = {
        name: dict(zip(oracles.METRICS, cells), group=rows[name]['group'])
        for name, cells in read_table(page, head).items()
    }
    assert list(table) == list(rows)
    for name, row in rows.items():
        # 60 of 500 videos: the same but for sampling.
        assert table[name]['m_vIoU'] == pytest.approx(row['m_vIoU'], abs=0.08)
    # Neither part of the sentence is enough.
    for found in (table, rows):
        assert best_of(found, 'blind') < 0.20
        assert best_of(found, 'appearance') < 0.35
        assert best_of(found, 'action') < 0.50
        assert best_of(found, 'time') < 0.50
        assert best_of(found, 'relation') < 0.85
