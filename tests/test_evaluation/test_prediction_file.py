"""The prediction file: written, read, and of which annotation it is."""

import json
import tracemalloc

import numpy as np
import pytest

from hero_mm.datasets.annotation import GroundingAnnotation
from hero_mm.evaluation import check_match, dump_predictions, load_predictions

BOX = [1.23456, 2, 30, 40.5]


def test_round_trip(tmp_path):
    path = tmp_path / 'new' / 'predictions.json'
    items = {
        'a': dict(span=(3.5, 5.25), score=0.75, boxes={4: BOX}, text='x'),
        'b': dict(span=[3, 6], boxes=(np.arange(3, 6), np.ones((3, 4)))),
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
    boxes = np.random.default_rng(0).uniform(0, 500, (2000, 4))
    item = dict(span=[0, 9], boxes=(np.arange(2000), boxes))
    dump_predictions(path, {str(index): item for index in range(20)})
    tracemalloc.start()
    try:
        load_predictions(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The text twice, as bytes and as characters; as lists 6 times more.
    assert peak < 4 * path.stat().st_size


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


GOOD = '{"span": [0, 2], "boxes": {"0": [1, 1, 9, 9]}}'


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"predictions": {', 'not valid JSON'),
        ('{"metainfo": {}}', r"no mapping \"predictions\".*'metainfo'"),
        ('{"predictions": {}, "metainfo": [1]}', r'"metainfo" .*\[1\]'),
        (
            '{"predictions": {}, "metainfo": {"format": "hero_mm/2"}}',
            "'hero_mm/1' .*'hero_mm/2'",
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
    with pytest.raises(FileNotFoundError, match=r'gone\.json.*--dump'):
        load_predictions(tmp_path / 'gone.json')


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        ('null', "no 'span', found None"),
        ('{"span": [0, 1], "boxes": []}', 'boxes must be a mapping'),
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
    ],
)
def test_a_wrong_entry_names_file_and_query(tmp_path, entry, message):
    path = tmp_path / 'predictions.json'
    path.write_text(f'{{"predictions": {{"a": {GOOD}, "q7": {entry}}}}}')
    with pytest.raises(ValueError, match=message) as error:
        load_predictions(path)
    assert str(error.value).startswith(str(path))
    assert "'q7'" in str(error.value)


@pytest.fixture
def annotation():
    queries = [dict(query_id=number) for number in '012345678']
    clip = dict(video_id='v', segment=[0, 9], queries=queries)
    about = dict(dataset='hcstvg-v2', split='val', query_ids='official')
    return GroundingAnnotation(about, {}, [clip], 'val.json')


def check(annotation, predictions='012345678', force=False, **metainfo):
    items = dict.fromkeys(predictions)
    check_match('p.json', items, metainfo, annotation, force)


@pytest.mark.parametrize(
    ('metainfo', 'found'),
    [
        (dict(dataset='hcstvg'), "data set 'hcstvg' and 'hcstvg-v2'"),
        (dict(split=1, dataset='x'), "data set 'x' and .*, split 1 and 'val'"),
        (dict(query_ids='tubedetr'), "query ids 'tubedetr' and 'official'"),
    ],
)
def test_what_differs_is_named(annotation, metainfo, found):
    with pytest.raises(ValueError, match=found) as error:
        check(annotation, **metainfo)
    assert 'p.json and val.json do not belong' in str(error.value)
    check(annotation, force=True, **metainfo)
    # What is alike, or not given on either side.
    check(annotation, dataset='HC-STVG_v2', split='Val', query_ids=None)
    annotation.metainfo.clear()
    check(annotation, **metainfo)


def test_not_one_query_in_common(annotation):
    found = r"its 7 queries \('a', .* and 4 more\) is in val.json \('0', '1'"
    for force in (False, True):
        with pytest.raises(ValueError, match=found):
            check(annotation, 'abcdefg', force)
    check(annotation, 'a8')
    # Nothing predicted is nothing right, and counted as missing.
    check(annotation, '')
