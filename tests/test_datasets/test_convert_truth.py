"""What converters say of objects that no sentence asks for, and its use.

Objects that nobody annotated are unknown, and no negative is true.
"""

import numpy as np
import pytest
from test_datasets import raw_files as raw

from hero_mm.datasets import GroundingDataset
from hero_mm.structures import action_numbers, true_in_clip, true_of_query


def _black(results):
    """In the place of decoding."""
    return {**results, 'imgs': np.zeros((4, 48, 64, 3), np.uint8)}


PIPELINE = [
    dict(type='SampleClipFrames', num_frames=4),
    _black,
    dict(type='LoadTubes'),
    dict(type='SwapActionPhrase', num_negatives=9),
    dict(type='PackGroundingInputs'),
]


def _film(name, *relations):
    """VidOR's file of a video with two adults and a ball."""
    return raw.vidor(
        name,
        trajectories=[
            [raw.box(frame, tid) for tid in (0, 1, 2)]
            for frame in range(raw.COUNT)
        ],
        relation_instances=[raw.relation(*relation) for relation in relations],
    )


def _said(name, subject, predicate, caption, *asked):
    """VidSTG's entry of a relation to object 2."""
    return raw.entry(
        name,
        used_relation=raw.relation(subject, predicate, 2, 4, 9),
        captions=[dict(description=caption, target_id=subject)],
        questions=[dict(description=text, target_id=2) for text in asked],
    )


@pytest.fixture
def films(tmp_path):
    """Two videos in both of which somebody kicks and somebody holds."""
    case = raw.VidSTG(tmp_path)
    kicks = (0, 'kick', 2), (1, 'hold', 2), (0, 'watch', 1, 10, 19)
    holds = (0, 'hold', 2), (0, 'kick', 2), (1, 'ride', 2)
    case.vidor = {
        '0000/11.json': _film('11', *kicks),
        '0000/12.json': _film('12', *holds),
    }
    case.entries = [
        _said('11', 0, 'kick', 'an adult kicks a ball.'),
        _said('11', 1, 'hold', 'an adult holds a ball.'),
        _said('12', 0, 'hold', 'a man holds a ball.'),
        _said('12', 1, 'ride', 'a woman rides a ball.'),
    ]
    return case


def _samples(case):
    """Converted, loaded and packed; no frame is decoded."""
    case.convert()
    dataset = GroundingDataset(
        str(case.folder / 'out' / 'a.json'),
        dict(video=str(case.folder)),
        pipeline=PIPELINE,
    )
    return [item['data_samples'] for item in dataset]


def _predicates(case):
    """Those of the tracks, by video."""
    videos = case.convert()[0].videos.items()
    return {
        name: [track.predicates for track in video.tracks.values()]
        for name, video in videos
    }


def test_what_is_true_of_an_object(films):
    annotation, _ = films.convert()
    assert annotation.metainfo['tracks_complete'] is True
    assert annotation.videos['11'].predicates == ('hold', 'kick', 'watch')
    # The whole video, not what the sentence or its segment says.
    assert _predicates(films) == {
        '11': [('kick', 'watch'), ('hold',), ()],
        '12': [('hold', 'kick'), ('ride',), ()],
    }
    # Objects have it where a question asks for them.
    asked = 'what is kicked?'
    films.entries[0] = _said('11', 0, 'kick', 'an adult kicks it.', asked)
    found = [('kick', 'watch'), ('hold', 'watch'), ('hold', 'kick')]
    assert _predicates(films)['11'] == found


def test_a_place_is_of_both(films):
    films.vidor['0000/11.json'] = _film('11', (0, 'above', 1), (1, 'kick', 2))
    found = [('above',), ('above', 'kick'), ()]
    assert _predicates(films)['11'] == found
    # In the data set also what follows from it.
    true = _samples(films)[0].gt_tracks.predicates[1]
    assert true == ['above', 'beneath', 'hold', 'kick']


def test_a_dropped_box_leaves_the_tracks_incomplete(films):
    bad = raw.box(3, 1, xmax=0)
    films.vidor['0000/12.json']['trajectories'][3][1] = bad
    annotation, _ = films.convert(skip_bad=True)
    assert annotation.metainfo['tracks_complete'] is False
    complete = {n: v.tracks_complete for n, v in annotation.videos.items()}
    assert complete == {'11': True, '12': False}


def test_no_co_true_caption_is_a_negative(films):
    samples = _samples(films)
    assert [sample.video_id for sample in samples] == ['11', '12']
    assert all(sample.tracks_complete for sample in samples)
    assert samples[1].video_predicates == ['hold', 'kick', 'ride']
    numbers = action_numbers(samples)
    # Captions: kick and hold of the first clip, hold and ride of the second.
    assert true_in_clip(numbers, samples).tolist() == [
        [True, True],
        [True, True],
        [True, True],
        [False, True],
    ]
    # Targets: who kicks, who holds; who holds and also kicks, who rides.
    assert true_of_query(numbers, samples).tolist() == [
        [True, False, True, False],
        [False, True, True, False],
        [False, True, True, False],
        [False, False, False, True],
    ]
