"""What may be true of the videos and objects of a data set."""

from hero_mm.datasets.tracks import Track, VideoInfo
from hero_mm.datasets.true_actions import TrueActions


def _video(name, predicates=(), **tracks):
    return VideoInfo(
        name,
        f'{name}.mp4',
        9,
        5.0,
        64,
        48,
        {
            track_id: Track.from_boxes('dog', [0], [[0, 0, 5, 5]], true)
            for track_id, true in tracks.items()
        },
        predicates=predicates,
    )


def _clip(name, *told):
    queries = [
        dict(text=text, track_id=track_id, predicate=predicate)
        for text, track_id, predicate in told
    ]
    return dict(video_id=name, segment=[0, 9], queries=queries)


def test_what_is_told_annotated_or_said_alike_may_be_true():
    videos = dict(
        v=_video('v', ('kick',), a=('hug',), b=()),
        w=_video('w', a=('above',)),
    )
    data_list = [
        _clip('v', ('it rides', 'b', 'ride'), ('it watches', 'a', 'watch')),
        _clip('v', ('it spins', 'b', 'spin')),
        _clip('w', ('it holds', 'a', 'hold')),
    ]
    true = TrueActions(videos, data_list)
    # What may take the place of another: only what the data set has.
    told = ['above', 'hold', 'hug', 'kick', 'ride', 'spin', 'watch']
    assert true.predicates == told
    first = true.of_video('v')['video_predicates']
    assert first == ['hold', 'hug', 'kick', 'ride', 'spin', 'watch']
    second = true.of_video('w')['video_predicates']
    assert second == ['above', 'beneath', 'hold', 'hug']
    tracks = true.video(videos['v']).tracks
    assert tracks['a'].predicates == ('hold', 'hug', 'watch')
    assert tracks['b'].predicates == ('ride', 'spin')
    assert videos['v'].tracks['b'].predicates == ()
    assert tracks['b'].runs is videos['v'].tracks['b'].runs
    assert true.verbs == {}


def test_verbs_of_sentences_without_a_predicate():
    videos = dict(v=_video('v', a=()), w=_video('w', a=()))
    data_list = [
        _clip('v', ('the man turns and walks away.', 'a', None)),
        _clip('v', ('the man walked', 'a', ''), ('it kicks', 'a', 'kick')),
        _clip('w', ('a cup', 'a', None)),
    ]
    true = TrueActions(videos, data_list)
    assert true.verbs == dict(turn=1, walk=2)
    assert true.of_video('v') == dict(
        video_predicates=['kick'], video_verbs=['turn', 'walk']
    )
    assert true.of_video('w') == dict(video_predicates=[], video_verbs=[])
