"""What is known of the queries of an annotation."""

import numpy as np

from hero_mm.datasets.annotation import GroundingAnnotation, load_annotation
from hero_mm.datasets.query_traits import query_traits


def test_traits(toy):
    annotation = load_annotation(toy / 'ann.json')
    ball = annotation.data_list[0]['queries'][1]
    # That of the track is taken.
    del ball['category']
    annotation.data_list[0]['queries'][2].pop('predicate')
    traits = query_traits(annotation)
    assert len(traits) == 15
    assert traits.query_ids == list(annotation.ground_truths())
    assert traits.video_ids[3:6] == ['v0', 'v0', 'v1']
    assert traits.types[:2] == ['declarative', 'interrogative']
    assert traits.texts[1] == 'what rides next to the child?'
    assert traits.words[:3].tolist() == [9, 6, 3]
    assert traits.categories[:3] == ['child', 'ball', 'child']
    assert traits.predicates[:3] == ['watch', 'ride', '']
    np.testing.assert_allclose(traits.span_seconds[:3], [0.75, 1, 2.25])
    np.testing.assert_allclose(traits.segment_seconds[2:4], [3, 1.5])
    np.testing.assert_allclose(traits.video_seconds[2:4], [3, 3])
    np.testing.assert_allclose(traits.area[:2], 10 * 20 / (64 * 48))
    # The ball is hidden for three frames.
    assert traits.frames[:2].tolist() == [6, 8]
    assert traits.boxes[:2].tolist() == [6, 5]


def test_an_annotation_without_queries():
    traits = query_traits(GroundingAnnotation({}, {}, []))
    assert len(traits) == 0 and traits.area.shape == (0,)
    assert traits.texts == [] and traits.words.shape == (0,)
