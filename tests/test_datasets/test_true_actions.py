"""What may be true of the videos and objects of a data set."""

from hero_mm.datasets.tracks import Track, VideoInfo
from hero_mm.datasets.true_actions import true_actions


def _video(name, predicates=(), **tracks):
    tracks = {
        track_id: Track.from_boxes('dog', [0], [[0, 0, 5, 5]], true)
        for track_id, true in tracks.items()
    }
    facts = (f'{name}.mp4', 9, 5.0, 64, 48)
    return VideoInfo(name, *facts, tracks, predicates=predicates)


def _clip(name, *said):
    queries = [
        dict(track_id=track_id, predicate=predicate)
        for track_id, predicate in said
    ]
    return dict(video_id=name, queries=queries)


def test_what_is_asked_annotated_or_said_alike_may_be_true():
    videos = dict(
        v=_video('v', ('kick',), a=('hug',), b=()),
        w=_video('w', a=('above',)),
    )
    data_list = [
        _clip('v', ('b', 'ride'), ('a', 'watch'), ('a', None)),
        _clip('v', ('b', 'spin')),
        _clip('w', ('a', 'hold'), ('a', '')),
    ]
    predicates, ((first, in_first), (_, in_second)) = true_actions(
        videos, data_list
    )
    # What may take the place of another: only what the data set has.
    names = ['above', 'hold', 'hug', 'kick', 'ride', 'spin', 'watch']
    assert predicates == names
    assert in_first == ['hold', 'hug', 'kick', 'ride', 'spin', 'watch']
    assert in_second == ['above', 'beneath', 'hold', 'hug']
    tracks = first.tracks
    assert tracks['a'].predicates == ('hold', 'hug', 'watch')
    assert tracks['b'].predicates == ('ride', 'spin')
    assert videos['v'].tracks['b'].predicates == ()
    assert tracks['b'].runs is videos['v'].tracks['b'].runs
