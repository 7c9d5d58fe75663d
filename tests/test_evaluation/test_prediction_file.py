"""The prediction file: what is written can be read, errors name places."""

import json
import tracemalloc

import numpy as np
import pytest

from hero_mm.evaluation import dump_predictions, load_predictions

BOX = [1.23456, 2, 30, 40.5]


def test_round_trip(tmp_path):
    path = tmp_path / 'new' / 'predictions.json'
    frames = np.arange(3, 6)
    items = {
        'a': dict(span=(3.5, 5.25), score=0.75, boxes={4: BOX}, text='x'),
        'b': dict(span=[3, 6], boxes=(frames, np.ones((3, 4)))),
    }
    # A name of the metainfo may be that of a prediction.
    about = dict(model='hero', boxes={'4': [1, 2, 3, 4]})
    dump_predictions(path, items, about)
    predictions, metainfo = load_predictions(path)
    assert metainfo == about
    written = json.loads(path.read_text())['predictions']
    assert written['a'] == {
        'text': 'x',
        'span': [3.5, 5.25],
        'score': 0.75,
        'boxes': {'4': [1.235, 2.0, 30.0, 40.5]},
    }
    assert list(written['b']['boxes']) == ['3', '4', '5']
    assert 'score' not in predictions['b']
    assert predictions['a']['span'] == [3.5, 5.25]
    for query_id, item in written.items():
        frames, boxes = predictions[query_id]['boxes']
        assert frames.tolist() == list(map(int, item['boxes']))
        assert boxes.tolist() == list(item['boxes'].values())
    dump_predictions(path, {})
    assert load_predictions(path) == ({}, {})


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


@pytest.mark.parametrize('key', ['span', 'score'])
def test_failed_dump_keeps_the_old_file(tmp_path, key):
    path = tmp_path / 'predictions.json'
    good = dict(span=[0, 1], boxes={})
    dump_predictions(path, {'a': good})
    before = path.read_text()
    value = dict(span=[0, float('nan')], score=float('nan'))[key]
    with pytest.raises(ValueError, match=f"'b': {key} must be finite"):
        dump_predictions(path, {'a': good, 'b': {**good, key: value}})
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ['predictions.json']


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'gone\.json.*--dump'):
        load_predictions(tmp_path / 'gone.json')


GOOD = '{"span": [0, 2], "boxes": {"0": [1, 1, 9, 9]}}'


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"predictions": {', 'not valid JSON'),
        ('{"metainfo": {}}', r"no mapping \"predictions\".*'metainfo'"),
        ('{"predictions": {}, "metainfo": [1]}', r'"metainfo" .*\[1\]'),
        (
            '{"predictions": {}, "metainfo": {"format": "hero_mm/2"}}',
            "format 'hero_mm/2' .* not known",
        ),
        (
            f'{{"predictions": {{"b": {GOOD}, "b": {GOOD}}}}}',
            "'predictions': the key 'b' stands twice",
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
    ('entry', 'message'),
    [
        ('null', "no 'span', found None"),
        ('{"span": [0, 1]}', "no 'boxes'"),
        ('{"span": [0, 1], "boxes": []}', 'boxes must be a mapping'),
        ('{"span": ["0", 2], "boxes": {}}', "span must be .* found '0'"),
        ('{"span": [5, 2], "boxes": {}}', 'ends before it starts'),
        ('{"span": [0, 2], "boxes": {}, "score": "x"}', "score .*'x'"),
        ('{"span": [0, 2], "boxes": {}, "video": 3}', "'video' must be text"),
        (
            '{"span": [0, 2], "boxes": {"4": [0, 0, 1, 1], "4": []}}',
            "'boxes': the key '4' stands twice",
        ),
        (
            '{"span": [0, 2], "boxes": {"4": [0, 0, 1, 1], "04": [0,0,1,1]}}',
            'frame 4 has two boxes',
        ),
        ('{"span": [0, 2], "boxes": {"4": [1, 1, NaN, 9]}}', 'frame 4 must'),
        ('{"span": [0, 2], "boxes": {"4.5": [1, 1, 9, 9]}}', "'4.5'"),
    ],
)
def test_a_wrong_entry_names_file_and_query(tmp_path, entry, message):
    path = tmp_path / 'predictions.json'
    path.write_text(f'{{"predictions": {{"a": {GOOD}, "q7": {entry}}}}}')
    with pytest.raises(ValueError, match=message) as error:
        load_predictions(path)
    assert str(error.value).startswith(str(path))
    assert "'q7'" in str(error.value)
