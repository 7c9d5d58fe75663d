"""The annotation file: written, read, checked."""

import codecs
import gzip
import json
import os
import pickle
import time

import numpy as np
import pytest
from test_datasets.raw_files import BOX, query, written

from hero_mm.datasets import annotation as module
from hero_mm.datasets.annotation import (
    AnnotationError,
    Track,
    VideoInfo,
    load_annotation,
    save_annotation,
)


def _store(tmp_path, raw):
    path = tmp_path / 'hand.json'
    path.write_text(json.dumps(raw))
    return path


def _video(boxes, frames=None, **changes):
    frames = range(len(boxes)) if frames is None else frames
    video = VideoInfo(
        'v',
        'a.mp4',
        100,
        10.0,
        640,
        480,
        {'0': Track.from_boxes('dog', frames, boxes)},
    )
    for key, value in changes.items():
        setattr(video, key, value)
    return video


def _clip(**changes):
    return {
        **dict(video_id='v', segment=[0, 9], queries=[query()]),
        **changes,
    }


def test_written_by_hand(tmp_path):
    loaded = load_annotation(_store(tmp_path, written()))
    video = loaded.videos['v']
    assert (video.width, video.height, video.fps) == (64, 48, 5.0)
    boxes, valid = video.track_boxes('0', [0, 2, 4, 5, 6, 7, 8, 99])
    assert valid.tolist() == [False, True, True, False] + [
        False,
        True,
        False,
        False,
    ]
    assert boxes.dtype == np.float32
    assert boxes[1].tolist() == BOX and boxes[0].tolist() == [0] * 4
    assert loaded.data_list[0]['queries'][0]['text'] == 'a dog runs'


def test_runs_are_found_for_frames_in_any_order():
    frames = [9, 3, 4, 5, 20]
    boxes = [[f, 0, f + 5, 5] for f in frames]
    track = Track.from_boxes('dog', frames, boxes)
    assert track.runs[:, :2].tolist() == [[3, 6], [9, 10], [20, 21]]
    video = _video(boxes, frames)
    got, valid = video.track_boxes('0', [20, 5, 6, 9, 2])
    assert valid.tolist() == [True, True, False, True, False]
    assert got[:, 0].tolist() == [20, 5, 0, 9, 0]


def test_empty_track_has_no_box():
    video = _video(np.zeros((0, 4)), [])
    boxes, valid = video.track_boxes('0', [1, 2])
    assert not valid.any() and boxes.shape == (2, 4)


def test_a_frame_twice_is_refused():
    with pytest.raises(ValueError, match='frame 3 occurs twice'):
        Track.from_boxes('dog', [3, 4, 3], [BOX] * 3)


@pytest.mark.parametrize('boxes', [[BOX], [BOX] * 3, BOX, [BOX[:3]] * 2])
def test_a_track_has_one_box_a_frame(boxes):
    with pytest.raises(
        ValueError, match=r'2 frames of a track need .* \(2, 4'
    ):
        Track.from_boxes('dog', [3, 4], boxes)
    assert len(Track.from_boxes('dog', [], []).runs) == 0


KEYS = ([4, 0, 8, 12], [[4, 0, 14, 8], [0, 0, 10, 8], [8, 4, 18, 12], BOX])


@pytest.mark.parametrize(
    ('shown', 'runs_on', 'end', 'frames'),
    [
        (None, None, None, list(range(13))),
        (None, None, 15, list(range(15))),
        # The key frame 8 is outside, as CVAT has it.
        ([1, 1, 0, 1], None, None, [*range(8), 12]),
        # It is the last one shown, as Label Studio has it.
        (None, [1, 1, 0, 1], 14, [*range(9), 12, 13]),
    ],
)
def test_key_frames(shown, runs_on, end, frames):
    track = Track.from_key_frames('dog', *KEYS, shown, runs_on, end)
    found = [f for begin, end, _ in track.runs for f in range(begin, end)]
    assert found == frames
    boxes = dict(zip(found, track.boxes.tolist()))
    assert boxes[2] == [2, 0, 12, 8] and boxes[6] == [6, 2, 16, 10]
    assert boxes[max(found)] == BOX


def test_key_frames_where_the_file_says_so(tmp_path):
    raw = written()
    track = raw['videos']['v']['tracks']['0']
    track.update(boxes={'2': BOX, '6': [5, 2, 15, 22]}, key_frames=True)
    video = load_annotation(_store(tmp_path, raw)).videos['v']
    boxes, valid = video.track_boxes('0', [1, 2, 3, 6, 7])
    assert valid.tolist() == [False, True, True, True, False]
    assert boxes[2].tolist() == [2, 2, 12, 22]


def test_many_sentences_of_a_clip_take_no_longer_each(tmp_path):
    queries = [query(query_id=str(n)) for n in range(30_000)]
    raw = written()
    raw['data_list'][0]['queries'] = queries
    path = _store(tmp_path, raw)
    start = time.process_time()
    load_annotation(path)
    assert time.process_time() - start < 10
    queries.append(query(query_id='7'))
    with pytest.raises(AnnotationError, match="'7' is already in"):
        load_annotation(_store(tmp_path, raw))


def test_unknown_track_names_the_known_ones():
    with pytest.raises(KeyError, match="no track '5'.*'0'"):
        _video([BOX]).track_boxes('5', [0])


@pytest.mark.parametrize(
    ('boxes', 'dtype'),
    [
        ([[1, 2, 3, 4]] * 9, 'int16'),
        ([[1.0, 2.0, 3.0, 4.0]] * 9, 'int16'),
        ([[1.5, 2, 3, 4]] * 9, 'float32'),
        ([[1, 2, 3, 40000]] * 9, 'float32'),
        ([[-5, 2, 32767, 4]] * 9, 'int16'),
    ],
)
def test_saved_and_loaded_again(tmp_path, boxes, dtype):
    path = tmp_path / 'new' / 'ann.json'
    meta = dict(dataset='toy', split='train')
    videos = dict(v=_video(boxes, predicates=('run',)))
    save_annotation(path, meta, videos, [_clip()])
    loaded = load_annotation(path)
    video = loaded.videos['v']
    assert video.store.array.dtype == dtype
    assert loaded.metainfo['tracks_file'] == 'ann.tracks.npy'
    assert loaded.metainfo['dataset'] == 'toy'
    assert video.predicates == ('run',)
    assert video.tracks['0'].category == 'dog'
    got, valid = video.track_boxes('0', np.arange(12))
    assert valid.tolist() == [True] * 9 + [False] * 3
    np.testing.assert_array_equal(got[:9], np.float32(boxes))
    assert loaded.data_list == [_clip()]
    assert sorted(p.name for p in path.parent.iterdir()) == [
        'ann.json',
        'ann.tracks.npy',
    ]
    # What was loaded can be saved again, from the memory map.
    again = tmp_path / 'again.json'
    save_annotation(again, loaded.metainfo, loaded.videos, loaded.data_list)
    assert load_annotation(again).videos['v'].rows('0').tolist() == boxes


def test_boxes_are_mapped_and_pickles_hold_the_path(tmp_path):
    path = tmp_path / 'ann.json'
    videos = dict(v=_video([BOX] * 90))
    save_annotation(path, {}, videos, [_clip()])
    video = load_annotation(path).videos['v']
    assert isinstance(video.store.array, np.memmap)
    data = pickle.dumps(video)
    assert len(data) < 1200
    boxes, valid = pickle.loads(data).track_boxes('0', [89, 90])
    assert boxes[0].tolist() == BOX and valid.tolist() == [True, False]


def test_a_file_that_changes_is_mapped_again(tmp_path):
    path = tmp_path / 'ann.json'
    for box in (BOX, [2, 3, 30, 40]):
        save_annotation(path, {}, dict(v=_video([box] * 9)), [_clip()])
        os.utime(tmp_path / 'ann.tracks.npy', ns=(0, sum(box)))
        boxes, _ = load_annotation(path).videos['v'].track_boxes('0', [0])
        assert boxes[0].tolist() == box


def test_saving_fails_before_it_writes(tmp_path, monkeypatch):
    path = tmp_path / 'ann.json'
    save_annotation(path, {}, dict(v=_video([BOX] * 9)), [_clip()])
    before = path.read_bytes()
    with pytest.raises(AnnotationError, match='unknown track id'):
        bad = _clip(queries=[query(track_id='9')])
        save_annotation(path, {}, dict(v=_video([BOX] * 9)), [bad])

    def fail(*unused):
        raise OSError('disk full')

    monkeypatch.setattr(module.os, 'replace', fail)
    with pytest.raises(OSError, match='disk full'):
        save_annotation(path, {}, dict(v=_video([BOX] * 9)), [_clip()])
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_ground_truths(tmp_path):
    truths = load_annotation(_store(tmp_path, written())).ground_truths()
    assert list(truths) == ['7'] and len(truths) == 1
    assert '7' in truths and '8' not in truths
    assert truths['7'] == dict(
        span=(2, 5),
        boxes={2: BOX, 3: BOX, 4: BOX},
        segment=(1, 9),
        fps=5.0,
        query_type='declarative',
    )
    with pytest.raises(KeyError):
        truths['8']


def test_ground_truth_has_the_frame_after_the_span(tmp_path):
    raw = written()
    raw['data_list'][0]['queries'][0]['span'] = [2, 4]
    truth = load_annotation(_store(tmp_path, raw)).ground_truths()['7']
    assert sorted(truth['boxes']) == [2, 3, 4]


# Where, what stands there (nothing: ...), and what the error says.
CASES = [
    (
        'metainfo tracks_complete',
        'yes',
        "metainfo: 'tracks_complete' is 'yes'",
    ),
    ('videos v tracks_complete', 1, "video 'v': 'tracks_complete' is 1"),
    ('TRACK predicates', 'run', "track '0': 'predicates' is 'run'"),
    ('videos', ..., "key 'videos' is missing"),
    ('metainfo', None, "top level: 'metainfo' is None. Cure: give an object"),
    ('data_list', [], 'data_list: is empty: there is nothing to learn'),
    (
        'metainfo tracks_file',
        5,
        "metainfo: 'tracks_file' is 5. Cure: give text",
    ),
    ('videos v', [], r"video 'v': its entry is \[\]. Cure: give an object"),
    ('videos v fps', ..., "video 'v': key 'fps' is missing"),
    ('videos v fps', 0, "'fps' is 0. Cure: give a number above 0"),
    (
        'videos v fps',
        float('inf'),
        "'fps' is inf. Cure: give a number above 0",
    ),
    ('videos v width', '64', "'width' is '64'"),
    ('videos v frame_count', 10**9, "'frame_count' is 1000000000"),
    ('videos v predicates', [3], 'a predicate is 3. Cure: give text'),
    ('TRACK boxes', ..., "track '0': neither 'runs' nor 'boxes'"),
    ('TRACK runs', None, "track '0': 'runs' is None. Cure: give a list"),
    ('TRACK key_frames', 'yes', "'key_frames' is 'yes'"),
    (
        'TRACK boxes 3',
        [9, 2, 9, 22],
        r"track '0', frame 3: box \[9, 2, 9, 22\]. Cure: .*x2 > x1",
    ),
    ('TRACK boxes 3', [1, 22, 9, 2], 'frame 3: box'),
    ('TRACK boxes 3', [1, 2, 3], 'frame 3: box'),
    (
        'TRACK boxes 10',
        BOX,
        "a box on frame '10'. Cure: give a number from 0 to 9",
    ),
    (f'TRACK boxes {"9" * 5000}', BOX, r"a box on frame '9+. Cure"),
    ('videos v height', 9.5, "'height' is 9.5. Cure: give a whole number"),
    ('TRACK boxes \u00b2', BOX, "a box on frame '\u00b2'"),
    ('data_list 0', 5, r'data_list\[0\]: the clip is 5'),
    ('CLIP video_id', 'w', "unknown video id 'w'"),
    ('CLIP video_id', ['v'], r"'video_id' is \['v'\]. Cure: give text"),
    (
        'CLIP segment',
        [1, 11],
        r'segment \[1, 11\] is empty or not in the 10 frames',
    ),
    (
        'CLIP segment',
        [1.5, 9],
        r'segment \[1.5, 9\] is no pair of whole numbers',
    ),
    (
        'CLIP segment',
        [1.0, 9.0],
        r'segment \[1.0, 9.0\] is no pair .* without decimals',
    ),
    ('CLIP queries', 5, "video 'v'.: 'queries' is 5. Cure: give a list"),
    ('CLIP queries', [], 'no queries'),
    ('CLIP queries', ['a dog'], "a query is 'a dog'. Cure: give an object"),
    ('QUERY text', ..., "query '7': key 'text' is missing"),
    ('QUERY predicate', 5, "query '7': 'predicate' is 5. Cure: give text"),
    ('QUERY text', '  ', r"the sentence \('text'\) is empty"),
    ('QUERY type', 'caption', "'type' is 'caption'. Cure: use one of"),
    (
        'QUERY span',
        [2.0, 5.0],
        r'span \[2.0, 5.0\] is no pair of whole numbers',
    ),
    (
        'QUERY span',
        [3, 3],
        r'span \[3, 3\] is empty or outside its segment \[1, 9\]',
    ),
    ('QUERY span', [3, 10], r'span \[3, 10\]'),
    ('QUERY span', [5, 7], r'no box in the span \[5, 7\)'),
    (
        'QUERY track_id',
        '5',
        r"unknown track id '5'. Cure: the video has the tracks \['0'\]",
    ),
    ('CLIP queries 1', query(), "query id '7' is already in"),
    (
        'data_list 1',
        _clip(segment=[1, 9]),
        r"data_list\[1\].*query id '7' is already in data_list\[0\]",
    ),
]
_PLACES = dict(
    TRACK='videos v tracks 0',
    CLIP='data_list 0',
    QUERY='data_list 0 queries 0',
)


@pytest.mark.parametrize(('place', 'value', 'message'), CASES)
def test_errors_name_file_entry_and_cure(tmp_path, put, place, value, message):
    raw = written()
    first, _, rest = place.partition(' ')
    put(raw, f'{_PLACES.get(first, first)} {rest}', value)
    with pytest.raises(AnnotationError, match=message) as caught:
        load_annotation(_store(tmp_path, raw))
    assert 'hand.json' in str(caught.value)
    assert 'Cure: ' in str(caught.value)


def _saved_raw(tmp_path, frames=range(20)):
    path = tmp_path / 'ann.json'
    boxes = [[f, 2, f + 9, 30] for f in frames]
    save_annotation(path, {}, dict(v=_video(boxes, frames)), [_clip()])
    return path, json.loads(path.read_text())


@pytest.mark.parametrize(
    ('runs', 'message'),
    [
        ([[5, 5, 0]], 'is empty'),
        ([[0, 5, 0], [4, 8, 5]], 'overlaps'),
        ([[95, 105, 0]], 'leaves the 100 frames'),
        ([[0, 20, 3]], r'needs rows up to 23, the file of tracks has 20'),
        ([[0, 20]], 'give .begin, end, row.'),
    ],
)
def test_bad_runs(tmp_path, runs, message):
    path, raw = _saved_raw(tmp_path)
    raw['videos']['v']['tracks']['0']['runs'] = runs
    path.write_text(json.dumps(raw))
    with pytest.raises(AnnotationError, match=message):
        load_annotation(path)


@pytest.mark.parametrize('value', [[50, 2, 50, 9], [0, 9, 4, 8]])
def test_bad_box_in_the_file_of_tracks_is_named(tmp_path, value):
    frames = [*range(10), *range(40, 50)]
    path, _ = _saved_raw(tmp_path, frames)
    boxes = np.load(tmp_path / 'ann.tracks.npy')
    boxes[13] = value
    np.save(tmp_path / 'ann.tracks.npy', boxes)
    with pytest.raises(AnnotationError, match="'v', track '0', frame 43"):
        load_annotation(path)


def test_nan_box_is_refused(tmp_path):
    boxes = np.full((9, 4), [0.5, 1, 2, 3])
    boxes[4, 2] = np.nan
    with pytest.raises(AnnotationError, match='frame 4: box'):
        save_annotation(
            tmp_path / 'a.json', {}, dict(v=_video(boxes)), [_clip()]
        )


def test_files_of_two_conversions_are_told(tmp_path):
    path, _ = _saved_raw(tmp_path)
    np.save(tmp_path / 'ann.tracks.npy', np.ones((30, 4), np.int16))
    with pytest.raises(
        AnnotationError, match=r'of shape .20, 4., found int16 of'
    ):
        load_annotation(path)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='tools/dataset_converters'):
        load_annotation(tmp_path / 'none.json')
    path, _ = _saved_raw(tmp_path)
    (tmp_path / 'ann.tracks.npy').unlink()
    with pytest.raises(FileNotFoundError, match='copy it beside the JSON'):
        load_annotation(path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'{"metainfo": ', 'not valid JSON'),
        (b'[1, 2]', 'found list'),
        (b'\x00\x01\xff\xfe', 'byte 2: not text, let alone JSON'),
        (b'{"videos": {}, "videos": {}}', "the key 'videos' stands twice"),
    ],
)
def test_not_an_annotation(tmp_path, content, message):
    path = tmp_path / 'x.json'
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=message):
        load_annotation(path)


def test_a_file_of_tracks_that_is_not_whole_is_told(tmp_path):
    path, _ = _saved_raw(tmp_path)
    tracks = tmp_path / 'ann.tracks.npy'
    whole = tracks.read_bytes()
    for content in (whole[:-9], whole[:20], b'', b'none of this'):
        tracks.write_bytes(content)
        message = 'tracks_file ann.tracks.npy: no whole array of boxes'
        for backend_args in (None, dict(backend='local')):
            with pytest.raises(AnnotationError, match=message):
                load_annotation(path, backend_args)
    np.save(tracks, np.full((20, 4), 'x'))
    with pytest.raises(AnnotationError, match='found <U1 of shape'):
        load_annotation(path)


def test_what_is_optional_may_be_null(tmp_path):
    raw = written()
    raw['data_list'][0]['queries'][0].update(predicate=None, category=None)
    assert load_annotation(_store(tmp_path, raw)).data_list == raw['data_list']


@pytest.mark.parametrize('found', ['hero_mm/2', 1, None])
def test_an_unknown_version_is_refused(tmp_path, found):
    raw = written()
    raw['metainfo']['format'] = found
    with pytest.raises(AnnotationError, match="'format': .* is not known"):
        load_annotation(_store(tmp_path, raw))
    del raw['metainfo']['format']
    assert load_annotation(_store(tmp_path, raw)).videos


def test_a_packed_file_with_a_mark(tmp_path):
    path, raw = _saved_raw(tmp_path)
    data = codecs.BOM_UTF8 + path.read_bytes()
    path.unlink()
    packed = tmp_path / 'ann.json.gz'
    packed.write_bytes(gzip.compress(data))
    for backend_args in (None, dict(backend='local')):
        loaded = load_annotation(packed, backend_args)
        assert loaded.data_list == raw['data_list']
        assert loaded.videos['v'].track_boxes('0', [3])[1].all()


def test_through_a_storage_backend(tmp_path):
    path, _ = _saved_raw(tmp_path)
    loaded = load_annotation(path, backend_args=dict(backend='local'))
    assert not isinstance(loaded.videos['v'].store.array, np.memmap)
    boxes, _ = loaded.videos['v'].track_boxes('0', [3])
    assert boxes[0].tolist() == [3, 2, 12, 30]
    # Without a path to map, a pickle must carry the boxes.
    copied = pickle.loads(pickle.dumps(loaded.videos['v']))
    assert copied.track_boxes('0', [3])[1].all()


# What a file says of objects that nobody asks for


def _raw(**metainfo):
    """Two videos with two tracks each."""
    raw = written(**metainfo)
    video = raw['videos'].pop('v')
    tracks = dict.fromkeys('ab', video['tracks']['0'])
    for name in 'vw':
        raw['videos'][name] = {**video, 'tracks': tracks}
    raw['data_list'][0]['queries'][0]['track_id'] = 'a'
    return raw


def _complete(annotation):
    return [video.tracks_complete for video in annotation.videos.values()]


def test_who_says_nothing_has_incomplete_tracks(tmp_path):
    annotation = load_annotation(_store(tmp_path, _raw()))
    assert _complete(annotation) == [False, False]
    assert annotation.videos['v'].tracks['a'].predicates == ()


def test_metainfo_speaks_for_videos_that_do_not(tmp_path):
    raw = _raw(tracks_complete=True)
    assert _complete(load_annotation(_store(tmp_path, raw))) == [True, True]
    raw['videos']['w']['tracks_complete'] = False
    assert _complete(load_annotation(_store(tmp_path, raw))) == [True, False]
    raw = _raw(tracks_complete=False)
    raw['videos']['v']['tracks_complete'] = True
    assert _complete(load_annotation(_store(tmp_path, raw))) == [True, False]


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
    videos = load_annotation(_store(tmp_path, raw)).videos.values()
    names = [
        t.predicates[0] for video in videos for t in video.tracks.values()
    ]
    assert len(names) == 4 and len(set(map(id, names))) == 1


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
