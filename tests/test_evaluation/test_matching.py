"""Predictions are scored with the annotation that they were made for."""

import pytest

from hero_mm.datasets.annotation import GroundingAnnotation
from hero_mm.evaluation import check_match

NUMBERS = [str(number) for number in range(9)]


@pytest.fixture
def annotation():
    queries = [dict(query_id=number) for number in NUMBERS]
    clip = dict(video_id='v', segment=[0, 9], queries=queries)
    about = dict(dataset='hcstvg-v2', split='val', query_ids='official')
    return GroundingAnnotation(about, {}, [clip], 'val.json')


def check(annotation, predictions=NUMBERS, force=False, **metainfo):
    items = dict.fromkeys(predictions)
    check_match('p.json', items, metainfo, annotation, force)


def test_what_is_alike_or_not_given(annotation):
    check(annotation, split='val', model='x', query_ids=None)
    check(annotation, dataset='HC-STVG_v2', split='Val', query_ids='official')
    annotation.metainfo.clear()
    check(annotation, dataset='vidstg', split='test', query_ids='tubedetr')


@pytest.mark.parametrize(
    ('metainfo', 'found'),
    [
        (dict(dataset='hcstvg'), "data set 'hcstvg' and 'hcstvg-v2'"),
        (dict(split='test'), "split 'test' and 'val'"),
        (dict(query_ids='tubedetr'), "query ids 'tubedetr' and 'official'"),
        (dict(split=1, dataset='x'), "data set 'x' and .*, split 1 and 'val'"),
    ],
)
def test_what_differs_is_named(annotation, metainfo, found):
    with pytest.raises(ValueError, match=found) as error:
        check(annotation, **metainfo)
    assert 'p.json and val.json do not belong' in str(error.value)
    check(annotation, force=True, **metainfo)


def test_not_one_query_in_common(annotation):
    found = r"its 7 queries \('a', .*, \.\.\.\) is in val.json \('0', '1'"
    for force in (False, True):
        with pytest.raises(ValueError, match=found):
            check(annotation, 'abcdefg', force)
    check(annotation, 'a8')
    # Nothing predicted is nothing right, and counted as missing.
    check(annotation, '')
