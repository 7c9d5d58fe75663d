"""What is known of the queries of an annotation."""

import numpy as np

from hero_mm.datasets.annotation import GroundingAnnotation
from hero_mm.datasets.query_traits import query_traits
from hero_mm.datasets.tracks import Track, VideoInfo


def make_annotation():
    """Two videos; the cup of the first is hidden for two frames."""
    frames = [2, 3, 6, 7]
    boxes = [[0, 0, 10, 10]] * 2 + [[0, 0, 30, 10]] * 2
    cup = Track.from_boxes('cup', frames, boxes)
    dog = Track.from_boxes('dog', range(40), [[5, 5, 25, 25]] * 40)
    videos = {
        'v': VideoInfo('v', 'v.mp4', 30, 10.0, 100, 50, {'0': cup}),
        'w': VideoInfo('w', 'w.mp4', 40, 4.0, 40, 20, {'7': dog}),
    }

    def query(query_id, text, kind, span, track_id, **more):
        keys = ('query_id', 'text', 'type', 'span', 'track_id')
        values = (query_id, text, kind, span, track_id)
        return {**dict(zip(keys, values)), **more}

    data_list = [
        dict(
            video_id='v',
            segment=[0, 20],
            queries=[
                query('b', 'a cup turns', 'declarative', [2, 8], '0'),
                query(
                    'a',
                    'what turns on the table ?',
                    'interrogative',
                    [6, 8],
                    '0',
                    predicate='turn',
                    category='mug',
                ),
            ],
        ),
        dict(
            video_id='w',
            segment=[0, 40],
            queries=[query('c', 'dog', 'declarative', [0, 40], '7')],
        ),
    ]
    return GroundingAnnotation({}, videos, data_list)


def test_traits():
    annotation = make_annotation()
    traits = query_traits(annotation)
    assert len(traits) == 3
    assert traits.query_ids == list(annotation.ground_truths())
    assert traits.video_ids == ['v', 'v', 'w']
    assert traits.types == ['declarative', 'interrogative', 'declarative']
    assert traits.words.tolist() == [3, 6, 1]
    # That of the query, or of the track.
    assert traits.categories == ['cup', 'mug', 'dog']
    assert traits.predicates == ['', 'turn', '']
    np.testing.assert_allclose(traits.span_seconds, [0.6, 0.2, 10])
    np.testing.assert_allclose(traits.segment_seconds, [2, 2, 10])
    np.testing.assert_allclose(traits.video_seconds, [3, 3, 10])
    # (100 + 100 + 300 + 300) / 4 of 5000 pixels; 300; 400 of 800.
    np.testing.assert_allclose(traits.area, [0.04, 0.06, 0.5])
    assert traits.frames.tolist() == [6, 2, 40]
    assert traits.boxes.tolist() == [4, 2, 40]


def test_an_annotation_without_queries():
    traits = query_traits(GroundingAnnotation({}, {}, []))
    assert len(traits) == 0 and traits.area.shape == (0,)
    assert traits.texts == [] and traits.words.shape == (0,)
