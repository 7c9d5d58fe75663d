"""What an annotation file says of objects that nobody asks for."""

import json
import pickle

import pytest

from hero_mm.datasets.annotation import (
    AnnotationError,
    Track,
    VideoInfo,
    load_annotation,
    save_annotation,
)

BOX = [1, 2, 30, 40]


def _raw(**metainfo):
    """Two videos with two tracks each, written by hand."""
    boxes = {str(frame): BOX for frame in range(4)}
    video = dict(frame_count=9, fps=5, width=64, height=48)
    tracks = {name: dict(category='dog', boxes=boxes) for name in 'ab'}
    query = dict(
        query_id='0',
        text='a dog runs',
        type='declarative',
        span=[0, 3],
        track_id='a',
    )
    return dict(
        metainfo=dict(dataset='toy', split='test', **metainfo),
        videos={
            name: dict(path=f'{name}.mp4', **video, tracks=dict(tracks))
            for name in 'vw'
        },
        data_list=[dict(video_id='v', segment=[0, 9], queries=[query])],
    )


def _load(folder, raw):
    path = folder / 'hand.json'
    path.write_text(json.dumps(raw))
    return load_annotation(path)


def _complete(annotation):
    return [video.tracks_complete for video in annotation.videos.values()]


def test_who_says_nothing_has_incomplete_tracks(tmp_path):
    annotation = _load(tmp_path, _raw())
    assert _complete(annotation) == [False, False]
    assert annotation.videos['v'].tracks['a'].predicates == ()


def test_metainfo_speaks_for_videos_that_do_not(tmp_path):
    raw = _raw(tracks_complete=True)
    assert _complete(_load(tmp_path, raw)) == [True, True]
    raw['videos']['w']['tracks_complete'] = False
    assert _complete(_load(tmp_path, raw)) == [True, False]
    raw = _raw(tracks_complete=False)
    raw['videos']['v']['tracks_complete'] = True
    assert _complete(_load(tmp_path, raw)) == [True, False]


@pytest.mark.parametrize('default', [None, True, False])
def test_there_and_back(tmp_path, default):
    track = Track.from_boxes('dog', range(4), [BOX] * 4, ('run', 'watch'))
    infos = {
        name: VideoInfo(
            name,
            f'{name}.mp4',
            9,
            5.0,
            64,
            48,
            dict(a=track, b=Track.from_boxes('cat', [2], [BOX])),
            predicates=('kick',),
            tracks_complete=name == 'v',
        )
        for name in 'vw'
    }
    about = dict(dataset='toy', split='test')
    if default is not None:
        about['tracks_complete'] = default
    path = tmp_path / 'a.json'
    save_annotation(path, about, infos, _raw()['data_list'])
    entries = json.loads(path.read_text())['videos']
    # Said only where it differs from what the file says of all.
    told = [name for name in 'vw' if 'tracks_complete' in entries[name]]
    assert told == (['w'] if default else ['v'])
    assert 'predicates' not in entries['v']['tracks']['b']
    loaded = load_annotation(path)
    assert _complete(loaded) == [True, False]
    again = tmp_path / 'b.json'
    save_annotation(again, loaded.metainfo, loaded.videos, loaded.data_list)
    loaded = load_annotation(again)
    assert _complete(loaded) == [True, False]
    video = pickle.loads(pickle.dumps(loaded.videos['v']))
    assert video.tracks_complete is True and video.predicates == ('kick',)
    assert video.tracks['a'].predicates == ('run', 'watch')
    assert video.tracks['b'].predicates == ()


def test_each_name_is_once_in_memory(tmp_path):
    raw = _raw()
    for video in raw['videos'].values():
        for track in video['tracks'].values():
            track['predicates'] = ['lean on something']
    raw = json.loads(json.dumps(raw))
    videos = _load(tmp_path, raw).videos.values()
    names = [
        t.predicates[0] for video in videos for t in video.tracks.values()
    ]
    assert len(names) == 4 and len(set(map(id, names))) == 1


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda r: r['metainfo'].update(tracks_complete='yes'),
            "metainfo: 'tracks_complete' is 'yes'. Cure: give true or false",
        ),
        (
            lambda r: r['videos']['w'].update(tracks_complete=1),
            "video 'w': 'tracks_complete' is 1. Cure: give true or false",
        ),
        (
            lambda r: r['videos']['w'].update(tracks_complete=None),
            "video 'w': 'tracks_complete' is None. Cure: give true",
        ),
        (
            lambda r: r['videos']['v']['tracks']['b'].update(predicates='run'),
            "video 'v', track 'b': 'predicates' is 'run'. Cure: give a list",
        ),
        (
            lambda r: r['videos']['v']['tracks']['b'].update(predicates=[3]),
            "video 'v', track 'b': a predicate is 3. Cure: give text",
        ),
    ],
)
def test_wrong_kinds_are_refused(tmp_path, change, message):
    raw = _raw()
    raw['videos']['v']['tracks'] = {
        name: dict(track)
        for name, track in raw['videos']['v']['tracks'].items()
    }
    change(raw)
    with pytest.raises(AnnotationError) as error:
        _load(tmp_path, raw)
    assert message in str(error.value)


def test_nothing_wrong_is_written(tmp_path):
    track = Track.from_boxes('dog', range(4), [BOX] * 4, (3,))
    video = VideoInfo('v', 'v.mp4', 9, 5.0, 64, 48, dict(a=track))
    with pytest.raises(AnnotationError, match='a predicate is 3'):
        save_annotation(
            tmp_path / 'a.json',
            dict(dataset='toy', split='test'),
            dict(v=video),
            _raw()['data_list'],
        )
    assert not list(tmp_path.iterdir())
