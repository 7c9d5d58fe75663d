"""Guesses with perfect boxes: what they score, and that they fail."""

import json

import pytest
from test_datasets.shapes_things import make_question, read_table

from hero_mm.datasets.shapes import build_shapes
from hero_mm.datasets.shapes.questions import read_questions
from hero_mm.evaluation import evaluate_tubes
from hero_mm.visualization.report_tables import read_oracles


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('oracles')
    sizes = {'train': 0, 'val': 8, 'test': 60}
    build_shapes(folder, sizes, workers=1, progress=False)
    return folder


@pytest.fixture(scope='module')
def questions(root):
    return read_questions(root, 'test')


@pytest.fixture(scope='module')
def rows(oracles, questions):
    return oracles.score_oracles(questions)


@pytest.mark.slow
def test_neither_part_of_the_sentence_is_enough(rows, best_of):
    """The bounds of the benchmark, on the first test videos."""
    assert best_of(rows, 'blind') < 0.20
    assert best_of(rows, 'appearance') < 0.35
    assert best_of(rows, 'action') < 0.50
    assert best_of(rows, 'time') < 0.50
    # What is hard is possible: the relation and the span matter too.
    assert best_of(rows, 'relation') < 0.85
    assert rows['right object, whole clip']['vIoU@0.5'] < 0.05


def test_relations_decide_where_they_are_told(oracles, questions):
    told = [q for q in questions if q.kind != 'basic']
    guess = oracles.GUESSES['right look and action, no relation'][1]
    assert oracles.score_guess(told, guess)['m_vIoU'] < 0.55
    plain = [q for q in questions if q.kind == 'basic']
    assert oracles.score_guess(plain, guess)['m_vIoU'] == pytest.approx(1)


def test_rows_are_complete(oracles, rows):
    assert list(EXPECTED) == list(oracles.GUESSES)
    for name, row in rows.items():
        assert list(row) == ['group', *oracles.METRICS]
        assert all(0 <= row[metric] <= 1 for metric in oracles.METRICS), name
    assert rows['right span, random object']['m_tIoU'] == pytest.approx(1)
    assert rows['right object, whole clip']['gt_m_vIoU'] == pytest.approx(1)
    assert rows['right object, any of its spans']['gt_m_vIoU'] > 0.999


def test_every_guess_can_be_right_or_is_a_whole_clip(oracles, questions):
    for name, (_, guess) in oracles.GUESSES.items():
        right = [q.answer in list(guess(q)) for q in questions]
        assert any(right) == ('whole clip' not in name), name
        assert all(len(guess(q)) for q in questions), name


EXPECTED = {
    'random object, any of its spans': [
        (0, (0, 8)),
        (0, (20, 30)),
        (1, (0, 8)),
        (2, (4, 12)),
    ],
    'random object, its longest span': [
        (0, (20, 30)),
        (1, (0, 8)),
        (2, (4, 12)),
    ],
    'random object, its middle span': [
        (0, (20, 30)),
        (1, (0, 8)),
        (2, (4, 12)),
    ],
    'busiest object, any of its spans': [(0, (0, 8)), (0, (20, 30))],
    'largest object, its longest span': [(2, (4, 12))],
    'random event of an action that occurs twice': [(0, (0, 8)), (2, (4, 12))],
    'random object, whole clip': [(0, (0, 32)), (1, (0, 32)), (2, (0, 32))],
    'right look, whole clip': [(0, (0, 32)), (1, (0, 32))],
    'right look, any of its spans': [(0, (0, 8)), (0, (20, 30)), (1, (0, 8))],
    'right look, its longest span': [(0, (20, 30)), (1, (0, 8))],
    'right action, any object': [(0, (0, 8)), (2, (4, 12))],
    'right span, random object': [(0, (0, 8)), (1, (0, 8)), (2, (0, 8))],
    'right look and action, no relation': [(0, (0, 8))],
    'right object, whole clip': [(0, (0, 32))],
    'right object, any of its spans': [(0, (0, 8)), (0, (20, 30))],
}


@pytest.mark.parametrize('name', EXPECTED)
def test_what_a_guess_may_answer(oracles, name):
    question = make_question()
    question.tracks[2] = {f: [20, 0, 40, 20] for f in range(32)}
    assert list(oracles.GUESSES[name][1](question)) == EXPECTED[name]


def test_score_is_the_mean_over_what_may_be_answered(oracles):
    question = make_question()
    scores = oracles.score_guess(
        [question], oracles.GUESSES['right look, whole clip'][1]
    )
    # On the right object a quarter of the clip is right, and of the 19 frames
    # of the 5 fps grid five. The other object misses.
    assert scores['m_tIoU'] == pytest.approx(8 / 32)
    assert scores['gt_m_vIoU'] == pytest.approx(0.5)
    assert scores['m_vIoU'] == pytest.approx(0.5 * 5 / 19)
    scores = oracles.score_guess(
        [question], oracles.GUESSES['right action, any object'][1]
    )
    assert scores['m_tIoU'] == pytest.approx((1 + 4 / 12) / 2)
    assert scores['vIoU@0.5'] == pytest.approx(0.5)


def test_questions_count_alike_however_many_answers_they_have(oracles):
    one = make_question()
    two = make_question(events=[(0, 'spin', (0, 8))])
    guess = oracles.GUESSES['right action, any object'][1]
    both = oracles.score_guess([one, two], guess)['m_vIoU']
    apart = [oracles.score_guess([q], guess)['m_vIoU'] for q in (one, two)]
    assert both == pytest.approx(sum(apart) / 2)
    assert apart == pytest.approx([0.5, 1.0])


def test_scores_agree_with_the_metric(oracles, questions):
    """One answer a question: the same as scoring predictions."""
    truths, predictions = {}, {}
    for index, q in enumerate(questions):
        tid, span = q.answer
        truths[str(index)] = {
            'span': span,
            'boxes': q.tracks[tid],
            'segment': q.clip,
            'fps': q.fps,
            'query_type': q.query_type,
        }
        predictions[str(index)] = {'span': q.clip, 'boxes': q.tracks[tid]}
    expected = evaluate_tubes(truths, predictions, 'tubedetr')
    found = oracles.score_guess(
        questions, oracles.GUESSES['right object, whole clip'][1]
    )
    assert found == pytest.approx(
        {name: expected[name] for name in oracles.METRICS}
    )
    truth = oracles.score_guess(questions, lambda q: [q.answer])
    assert truth == pytest.approx(dict.fromkeys(oracles.METRICS, 1.0))


def test_constant_guess(oracles):
    questions = [
        make_question(answer=(0, (4, 12))),
        make_question(answer=(0, (4, 12))),
        make_question(answer=(1, (5, 13))),
    ]
    box, span = oracles.constant_guess(questions)
    assert span == (4, 12)
    assert box == [0, 0, 8, 8]


def test_read_questions(root, questions):
    entries = json.loads((root / 'vidstg/test_annotations.json').read_text())
    told = [
        (entry, text)
        for entry in entries
        for text in entry['captions'] + entry['questions']
    ]
    assert len(questions) == len(told)
    for question, (entry, text) in zip(questions, told):
        truth = entry['temporal_gt']
        assert question.answer == (
            text['target_id'],
            (truth['begin_fid'], truth['end_fid']),
        )
        asks = text['description'].endswith('?')
        assert (question.query_type == 'interrogative') == asks
        tid, span = question.answer
        assert (tid, question.action, span) in question.events
        assert tid in question.fitting
        assert span in question.spans(tid)
        assert set(range(*span)) <= set(question.tracks[tid])
        assert question.clip == (0, 32)


def test_kinds_by_query_id(root, questions):
    kinds = {str(i): question.kind for i, question in enumerate(questions)}
    converted = json.loads((root / 'test.json').read_text())
    for clip in converted['data_list']:
        for query in clip['queries']:
            temporal = {'after', 'before'} & set(query['text'].split())
            assert (kinds[query['query_id']] == 'temporal') == bool(temporal)


def test_a_missing_split_is_named(root):
    with pytest.raises(FileNotFoundError, match='render the benchmark'):
        read_questions(root / 'nowhere', 'test')


def test_the_tool_prints_and_writes(oracles, root, tmp_path, run_tool):
    name, path = 'analysis_tools/shapes_oracles', tmp_path / 'new/scores.json'
    words = '--split=val', '--kind=temporal', f'--json={path}'
    done = run_tool(name, root, *words)
    rows = json.loads(path.read_text())
    asked = [q for q in read_questions(root, 'val') if q.kind == 'temporal']
    assert rows == oracles.score_oracles(asked)
    # A report takes them as they are.
    read = read_oracles(path)
    assert 'right look, whole clip (appearance)' in read
    assert len(read) == len(rows)
    for guess, row in rows.items():
        assert f'| {guess} | {row["m_tIoU"]:.3f} |' in done.stdout
    done = run_tool(name, tmp_path, *words)
    assert done.returncode == 1
    assert done.stderr.lstrip().startswith('error: ')


def test_the_table_of_the_docs(oracles, rows, repo_root):
    """It has all guesses, and what a part of the split confirms."""
    page = (repo_root / 'docs' / 'benchmark_shapes.md').read_text()
    head = f'| guess with perfect boxes | {" | ".join(oracles.METRICS)} |'
    table = {
        name: dict(zip(oracles.METRICS, cells))
        for name, cells in read_table(page, head).items()
    }
    assert list(table) == list(rows)
    for name, row in rows.items():
        # 60 of 500 videos: the same but for sampling.
        assert table[name]['m_vIoU'] == pytest.approx(row['m_vIoU'], abs=0.08)
    blind = [
        t['m_vIoU'] for n, t in table.items() if rows[n]['group'] == 'blind'
    ]
    assert max(blind) < 0.20
    assert table['right look, any of its spans']['m_vIoU'] < 0.35
    assert table['right action, any object']['m_vIoU'] < 0.50
