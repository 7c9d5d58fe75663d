"""The prediction file: what is written can be read, errors name places."""

import gc
import json
import tracemalloc

import numpy as np
import pytest

from hero_mm.evaluation import (
    dump_predictions,
    evaluate_tubes,
    load_predictions,
)

BOX = [1.23456, 2, 30, 40.5]


def test_round_trip(tmp_path):
    path = tmp_path / 'new' / 'predictions.json'
    frames = np.arange(3, 6)
    dump_predictions(
        path,
        {
            'a': dict(span=(3.5, 5.25), score=0.75, boxes={4: BOX}),
            'b': dict(span=[3, 6], boxes=(frames, np.ones((3, 4)))),
        },
        dict(model='hero'),
    )
    predictions, metainfo = load_predictions(path)
    assert metainfo == {'model': 'hero'}
    written = json.loads(path.read_text())['predictions']
    assert written['a'] == {
        'span': [3.5, 5.25],
        'score': 0.75,
        'boxes': {'4': [1.235, 2.0, 30.0, 40.5]},
    }
    assert list(written['b']['boxes']) == ['3', '4', '5']
    assert 'score' not in predictions['b']
    assert predictions['a']['span'] == [3.5, 5.25]
    assert predictions['a']['score'] == 0.75
    for query_id, item in written.items():
        frames, boxes = predictions[query_id]['boxes']
        assert frames.tolist() == list(map(int, item['boxes']))
        assert boxes.tolist() == list(item['boxes'].values())


def test_boxes_are_not_kept_as_lists(tmp_path):
    path = tmp_path / 'predictions.json'
    frames = np.arange(2000)
    boxes = np.random.default_rng(0).uniform(0, 500, (2000, 4))
    item = dict(span=[0, 9], boxes=(frames, boxes))
    dump_predictions(path, {str(index): item for index in range(20)})
    size = path.stat().st_size
    tracemalloc.start()
    try:
        load_predictions(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The text twice, as bytes and as characters; as lists 6 times more.
    assert peak < 4 * size


def test_scores_survive_the_file(tmp_path):
    rng = np.random.default_rng(0)
    frames = np.arange(40)
    truths, guesses = {}, {}
    for index in range(20):
        low = rng.uniform(0, 50, (40, 2))
        boxes = np.concatenate([low, low + rng.uniform(5, 50, (40, 2))], 1)
        noise = boxes + rng.normal(0, 4, boxes.shape)
        start = int(rng.integers(0, 15))
        span = [start + rng.uniform(0, 5), start + 15.0]
        query_id = str(index)
        truths[query_id] = dict(
            span=[start, start + 14],
            boxes=(frames, boxes),
            segment=[0, 40],
            fps=10,
        )
        guesses[query_id] = dict(span=span, boxes=(frames, noise))
    path = tmp_path / 'predictions.json'
    dump_predictions(path, guesses)
    again = evaluate_tubes(truths, load_predictions(path)[0])
    assert again == pytest.approx(evaluate_tubes(truths, guesses), abs=1e-4)


def test_no_predictions_at_all(tmp_path):
    path = tmp_path / 'predictions.json'
    dump_predictions(path, {})
    assert load_predictions(path) == ({}, {})


def test_failed_dump_keeps_the_old_file(tmp_path):
    path = tmp_path / 'predictions.json'
    dump_predictions(path, {'a': dict(span=[0, 1], boxes={})})
    before = path.read_text()
    bad = {
        'a': dict(span=[0, 1], boxes={}),
        'b': dict(span=[0, float('nan')], boxes={}),
    }
    with pytest.raises(ValueError, match="'b'"):
        dump_predictions(path, bad)
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ['predictions.json']


def test_file_has_the_usual_permissions(tmp_path):
    (tmp_path / 'plain').touch()
    dump_predictions(tmp_path / 'x.json', {})
    modes = {file.stat().st_mode for file in tmp_path.iterdir()}
    assert len(modes) == 1


def test_score_must_be_finite(tmp_path):
    bad = dict(span=[0, 1], boxes={}, score=float('nan'))
    with pytest.raises(ValueError, match="'b': the score must be finite"):
        dump_predictions(tmp_path / 'x.json', {'b': bad})


@pytest.mark.parametrize('is_on', [True, False])
def test_garbage_is_collected_again_after_reading(tmp_path, is_on):
    path = tmp_path / 'x.json'
    dump_predictions(path, {'a': dict(span=[0, 1], boxes={})})
    try:
        if not is_on:
            gc.disable()
        load_predictions(path)
        assert gc.isenabled() is is_on
        path.write_text('{')
        with pytest.raises(ValueError, match='not valid JSON'):
            load_predictions(path)
        assert gc.isenabled() is is_on
    finally:
        gc.enable()


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'gone\.json.*--dump'):
        load_predictions(tmp_path / 'gone.json')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"predictions": {', 'not valid JSON'),
        ('[]', 'no mapping "predictions"'),
        ('{"metainfo": {}}', r"no mapping \"predictions\".*'metainfo'"),
        ('{"predictions": []}', 'no mapping "predictions"'),
        ('{"predictions": {}, "metainfo": [1]}', r'"metainfo" .*\[1\]'),
        ('{"predictions": {}, "metainfo": "abc"}', '"metainfo" .*\'abc\''),
        (
            '{"predictions": {}, "metainfo": {"format": "hero_mm/2"}}',
            "format 'hero_mm/2' .* not known",
        ),
        (
            '{"predictions": {}, "predictions": {}}',
            "the top level: the key 'predictions' stands twice",
        ),
    ],
)
def test_broken_file(tmp_path, content, message):
    path = tmp_path / 'predictions.json'
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        load_predictions(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ('entry', 'lacking'),
    [
        (dict(boxes={}), "'span'"),
        (dict(span=[0, 1]), "'boxes'"),
        (dict(span=[0, 1], boxes=[]), "'boxes'"),
        ({}, "'span' and 'boxes'"),
        (None, "'span' and 'boxes'"),
    ],
)
def test_missing_key_names_query_and_key(tmp_path, entry, lacking):
    path = tmp_path / 'predictions.json'
    path.write_text(json.dumps({'predictions': {'q7': entry}}))
    with pytest.raises(ValueError, match=f"'q7' lacks {lacking}\\."):
        load_predictions(path)


GOOD = '{"span": [0, 2], "boxes": {"0": [1, 1, 9, 9]}}'


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        ('{"span": ["0", 2], "boxes": {}}', "span must be finite, found '0'"),
        ('{"span": [0, true], "boxes": {}}', 'span must be finite, .*True'),
        ('{"span": [5, 2], "boxes": {}}', 'ends before it starts'),
        ('{"span": [0, 2], "span": [0, 3], "boxes": {}}', "'span' stands tw"),
        ('{"span": [0, 2], "boxes": {}, "score": NaN}', 'score must be fin'),
        ('{"span": [0, 2], "boxes": {}, "score": "x"}', "score .*'x'"),
        (
            '{"span": [0, 2], "boxes": {"4": [0, 0, 1, 1], "4": []}}',
            "'boxes': the key '4' stands twice",
        ),
        (
            '{"span": [0, 2], "boxes": {"4": [0, 0, 1, 1], "04": [0,0,1,1]}}',
            'frame 4 has two boxes',
        ),
        ('{"span": [0, 2], "boxes": {"4": ["1", 1, 9, 9]}}', 'frame 4 must'),
        ('{"span": [0, 2], "boxes": {"4": [true, 1, 9, 9]}}', 'frame 4 must'),
        ('{"span": [0, 2], "boxes": {"4": [1, 1, 9]}}', 'frame 4 must'),
        ('{"span": [0, 2], "boxes": {"4": {"x": 1}}}', 'frame 4 must'),
        ('{"span": [0, 2], "boxes": {"4": [1, 1, NaN, 9]}}', 'frame 4 is'),
        ('{"span": [0, 2], "boxes": {"4.5": [1, 1, 9, 9]}}', "found '4.5'"),
        (f'{{"span": [0, 2], "boxes": {{"{10**25}": []}}}}', "found '1000"),
    ],
)
def test_a_wrong_entry_names_file_and_query(tmp_path, entry, message):
    path = tmp_path / 'predictions.json'
    path.write_text(f'{{"predictions": {{"a": {GOOD}, "q7": {entry}}}}}')
    with pytest.raises(ValueError, match=message) as error:
        load_predictions(path)
    assert str(error.value).startswith(str(path))
    assert "'q7'" in str(error.value)


def test_a_query_that_stands_twice(tmp_path):
    path = tmp_path / 'predictions.json'
    path.write_text(
        f'{{"predictions": {{"a": {GOOD}, "b": {GOOD}, "b": {GOOD}}}}}'
    )
    with pytest.raises(ValueError, match="'predictions': the key 'b' st"):
        load_predictions(path)


def test_names_of_the_metainfo_may_be_those_of_predictions(tmp_path):
    path = tmp_path / 'predictions.json'
    about = '{"boxes": {"4": [1, 2, 3, 4]}}'
    path.write_text(f'{{"metainfo": {about}, "predictions": {{}}}}')
    _, metainfo = load_predictions(path)
    assert metainfo['boxes'] == {'4': [1, 2, 3, 4]}
