"""The annotation file: written, read, checked."""

import codecs
import gzip
import json
import pickle

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


def _video(boxes, frames=None, predicates=(), **facts):
    frames = range(len(boxes)) if frames is None else frames
    track = Track.from_boxes('dog', frames, boxes, predicates)
    size = (100, 10.0, 640, 480)
    return VideoInfo('v', 'a.mp4', *size, {'0': track}, **facts)


def _clip(**changes):
    clip = dict(video_id='v', segment=[0, 9], queries=[query()])
    return {**clip, **changes}


def test_written_by_hand(tmp_path):
    raw = written()
    # What is optional may be null.
    raw['data_list'][0]['queries'][0].update(predicate=None, category=None)
    loaded = load_annotation(_store(tmp_path, raw))
    video = loaded.videos['v']
    assert (video.width, video.height, video.fps) == (64, 48, 5.0)
    boxes, valid = video.track_boxes('0', [0, 2, 4, 5, 6, 7, 8, 99])
    assert ''.join(str(int(one)) for one in valid) == '01100100'
    assert boxes.dtype == np.float32
    assert boxes[1].tolist() == BOX and boxes[0].tolist() == [0] * 4
    assert loaded.data_list == raw['data_list']
    assert video.tracks_complete is False
    assert video.tracks['0'].predicates == ()
    with pytest.raises(KeyError, match="no track '5'.*'0'"):
        video.track_boxes('5', [0])


def test_tracks():
    frames = [9, 3, 4, 5, 20]
    video = _video([[f, 0, f + 5, 5] for f in frames], frames)
    runs = video.tracks['0'].runs
    assert runs[:, :2].tolist() == [[3, 6], [9, 10], [20, 21]]
    got, valid = video.track_boxes('0', [20, 5, 6, 9, 2])
    assert valid.tolist() == [True, True, False, True, False]
    assert got[:, 0].tolist() == [20, 5, 0, 9, 0]
    boxes, valid = _video(np.zeros((0, 4)), []).track_boxes('0', [1, 2])
    assert not valid.any() and boxes.shape == (2, 4)


@pytest.mark.parametrize(
    ('frames', 'boxes', 'message'),
    [
        ([3, 4, 3], [BOX] * 3, 'frame 3 occurs twice'),
        ([3, 4], [BOX], r'2 frames of a track need .* \(2, 4'),
        ([3, 4], BOX, '2 frames'),
        ([3, 4], [BOX[:3]] * 2, '2 frames'),
    ],
)
def test_a_track_has_one_box_a_frame(frames, boxes, message):
    with pytest.raises(ValueError, match=message):
        Track.from_boxes('dog', frames, boxes)


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
    assert track.frames.tolist() == frames
    boxes = dict(zip(frames, track.boxes.tolist()))
    assert boxes[2] == [2, 0, 12, 8] and boxes[6] == [6, 2, 16, 10]
    assert boxes[max(frames)] == BOX


def test_key_frames_where_the_file_says_so(tmp_path):
    raw = written()
    track = raw['videos']['v']['tracks']['0']
    track.update(boxes={'2': BOX, '6': [5, 2, 15, 22]}, key_frames=True)
    video = load_annotation(_store(tmp_path, raw)).videos['v']
    boxes, valid = video.track_boxes('0', [1, 2, 3, 6, 7])
    assert valid.tolist() == [False, True, True, True, False]
    assert boxes[2].tolist() == [2, 2, 12, 22]


@pytest.mark.parametrize(
    ('boxes', 'dtype'),
    [
        ([[1.0, 2.0, 3.0, 4.0]] * 9, 'int16'),
        ([[1.5, 2, 3, 4]] * 9, 'float32'),
        ([[1, 2, 3, 40000]] * 9, 'float32'),
        ([[-5, 2, 32767, 4]] * 9, 'int16'),
    ],
)
def test_saved_and_loaded_again(tmp_path, boxes, dtype):
    path = tmp_path / 'new' / 'ann.json'
    meta = dict(dataset='toy', split='train')
    save_annotation(path, meta, dict(v=_video(boxes)), [_clip()])
    loaded = load_annotation(path)
    video = loaded.videos['v']
    assert video.store.array.dtype == dtype
    assert loaded.metainfo['tracks_file'] == 'ann.tracks.npy'
    assert loaded.metainfo['dataset'] == 'toy'
    assert video.tracks['0'].category == 'dog'
    got, valid = video.track_boxes('0', np.arange(12))
    assert valid.tolist() == [True] * 9 + [False] * 3
    np.testing.assert_array_equal(got[:9], np.float32(boxes))
    assert loaded.data_list == [_clip()]
    names = sorted(p.name for p in path.parent.iterdir())
    assert names == ['ann.json', 'ann.tracks.npy']
    # What was loaded can be saved again, from the memory map.
    again = tmp_path / 'again.json'
    save_annotation(again, loaded.metainfo, loaded.videos, loaded.data_list)
    assert load_annotation(again).videos['v'].rows('0').tolist() == boxes


def test_boxes_are_mapped_and_pickles_hold_the_path(tmp_path):
    path = tmp_path / 'ann.json'
    # A file that changes is mapped again.
    for box in (BOX, [2, 3, 30, 40]):
        save_annotation(path, {}, dict(v=_video([box] * 90)), [_clip()])
        video = load_annotation(path).videos['v']
        assert isinstance(video.store.array, np.memmap)
        data = pickle.dumps(video)
        assert len(data) < 1200
        boxes, valid = pickle.loads(data).track_boxes('0', [89, 90])
        assert boxes[0].tolist() == box and valid.tolist() == [True, False]


def test_saving_fails_before_it_writes(tmp_path):
    path = tmp_path / 'ann.json'
    holes = np.full((9, 4), [0.5, 1, 2, 3])
    holes[4, 2] = np.nan
    bad = _clip(queries=[query(track_id='9')])
    for wrong, clip, message in (
        (_video(holes), _clip(), 'frame 4: box'),
        (_video([BOX] * 9, predicates=(3,)), _clip(), 'a predicate is no'),
        (_video([BOX] * 9), bad, 'unknown track id'),
    ):
        with pytest.raises(AnnotationError, match=message):
            save_annotation(path, {}, dict(v=wrong), [clip])
    assert not list(tmp_path.iterdir())


def test_ground_truths(tmp_path):
    raw = written()
    truths = load_annotation(_store(tmp_path, raw)).ground_truths()
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
    # With the frame after the span.
    raw['data_list'][0]['queries'][0]['span'] = [2, 4]
    truth = load_annotation(_store(tmp_path, raw)).ground_truths()['7']
    assert sorted(truth['boxes']) == [2, 3, 4]


# Where, what stands there (nothing: ...), and what the error says.
CASES = [
    ('metainfo tracks_complete', 'yes', "metainfo, tracks_comp.*'yes'"),
    ('metainfo format', 'hero_mm/2', "'hero_mm/2' is not known"),
    ('metainfo', None, 'metainfo: expected an object, found None'),
    ('videos', ..., "key 'videos' is missing"),
    ('videos v fps', ..., "video 'v': key 'fps' is missing"),
    ('videos v fps', 0, 'fps: expected a number'),
    ('videos v height', 9.5, 'height: expected a whole number'),
    ('videos v frame_count', 10**9, 'frame_count: expected a whole number up'),
    ('videos v predicates', [3], 'a predicate is no text'),
    ('TRACK boxes', ..., "track '0': key 'boxes' is missing"),
    ('TRACK boxes 3', [9, 2, 9, 22], r"track '0', frame 3: box .*x2 > x1"),
    ('TRACK boxes 3', [1, 2, 3], 'frame 3: box'),
    ('TRACK boxes 3', [1, 2, 10**400, 4], 'frame 3: box'),
    ('TRACK boxes 10', BOX, "frame '10'. Cure: give a number from 0 to 9"),
    (f'TRACK boxes {"9" * 5000}', BOX, r"a box on frame '9+. Cure"),
    ('TRACK boxes \u00b2', BOX, "a box on frame '\u00b2'"),
    ('data_list', [], 'data_list is empty'),
    ('CLIP video_id', 'w', "unknown video id 'w'"),
    ('CLIP segment', [1, 11], r'segment \[1, 11\] is empty or not in the 10'),
    ('CLIP segment', [1.0, 9.0], 'no pair of whole .* without decimals'),
    ('CLIP queries', [], 'no queries'),
    ('CLIP queries', ['a dog'], 'a query: expected an object'),
    ('QUERY text', ..., "query '7': key 'text' is missing"),
    ('QUERY text', '  ', r"the sentence \('text'\) is empty"),
    ('QUERY type', 'caption', "'type' is 'caption', not one of"),
    ('QUERY span', [2.0, 5.0], r'span \[2.0, 5.0\] is no pair'),
    ('QUERY span', [3, 3], r'\[3, 3\] is empty or outside its .*\[1, 9\]'),
    ('QUERY span', [5, 7], r'no box in the span \[5, 7\)'),
    # Of several faults the one that says most comes first.
    (
        'data_list 0 queries 0',
        query(span=[3, 3], track_id='5'),
        r'\[3, 3\] is empty or out',
    ),
    ('QUERY track_id', '5', r"unknown track id '5', the video has \['0'\]"),
    ('CLIP queries 1', query(), "query '7': another sentence has the same"),
    ('data_list 1', _clip(segment=[1, 9]), r"data_list\[1\].*query '7'"),
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


@pytest.fixture
def saved(tmp_path):
    """A saved file, with boxes on frames 0 to 9 and 40 to 49."""
    frames = [*range(10), *range(40, 50)]
    boxes = [[f, 2, f + 9, 30] for f in frames]
    path = tmp_path / 'ann.json'
    save_annotation(path, {}, dict(v=_video(boxes, frames)), [_clip()])
    return path


@pytest.mark.parametrize(
    'runs',
    [
        [[5, 5, 0]],
        [[0, 5, 0], [4, 8, 5]],
        [[95, 105, 0]],
        [[0, 20, 3]],
        [[0, 20]],
        [[0, 5.0, 0]],
    ],
)
def test_bad_runs(saved, runs):
    raw = json.loads(saved.read_text())
    raw['videos']['v']['tracks']['0']['runs'] = runs
    saved.write_text(json.dumps(raw))
    with pytest.raises(AnnotationError, match='run .* sorted runs .begin, en'):
        load_annotation(saved)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (lambda whole: whole[:-9], 'no whole array of boxes'),
        (lambda whole: b'', 'no whole array of boxes'),
        (np.full((20, 4), 'x'), 'found <U1 of shape'),
        # Of another conversion.
        (np.ones((30, 4), np.int16), r'of shape .20, 4., found int16 of'),
        (13, "'v', track '0', frame 43: box"),
        (None, 'copy it beside the JSON'),
    ],
)
@pytest.mark.parametrize('backend_args', [None, dict(backend='local')])
def test_bad_files_of_tracks(saved, content, message, backend_args):
    tracks = saved.with_name('ann.tracks.npy')
    if content is None:
        tracks.unlink()
    elif isinstance(content, np.ndarray):
        np.save(tracks, content)
    elif content == 13:
        boxes = np.load(tracks)
        boxes[13] = [50, 2, 50, 9]
        np.save(tracks, boxes)
    else:
        tracks.write_bytes(content(tracks.read_bytes()))
    kind = FileNotFoundError if content is None else AnnotationError
    with pytest.raises(kind, match=message):
        load_annotation(saved, backend_args)


def test_not_an_annotation(tmp_path):
    path = tmp_path / 'x.json'
    for content, message in (('{', 'not valid JSON'), ('[1]', 'found list')):
        path.write_text(content)
        with pytest.raises(AnnotationError, match=message):
            load_annotation(path)
    with pytest.raises(FileNotFoundError, match='tools/dataset_converters'):
        load_annotation(tmp_path / 'none.json')


@pytest.mark.parametrize('backend_args', [None, dict(backend='local')])
def test_a_packed_file_with_a_mark(saved, backend_args):
    """Also through a storage backend, which maps nothing."""
    raw = json.loads(saved.read_text())
    packed = saved.with_name('ann.json.gz')
    packed.write_bytes(gzip.compress(codecs.BOM_UTF8 + saved.read_bytes()))
    loaded = load_annotation(packed, backend_args)
    assert loaded.data_list == raw['data_list']
    video = pickle.loads(pickle.dumps(loaded.videos['v']))
    assert isinstance(video.store.array, np.memmap) == (backend_args is None)
    boxes, _ = video.track_boxes('0', [3])
    assert boxes[0].tolist() == [3, 2, 12, 30]


@pytest.mark.parametrize('default', [None, True, False])
def test_complete_tracks_and_predicates(tmp_path, default):
    """Said only where it differs from what the file says of all."""
    video = _video([BOX] * 9, predicates=('run', 'watch'))
    video.predicates = ('kick',)
    video.tracks['b'] = Track.from_boxes('cat', [2], [BOX])
    other = _video([BOX], predicates=('run',))
    video.tracks_complete = True
    about = {} if default is None else dict(tracks_complete=default)
    path = tmp_path / 'a.json'
    save_annotation(path, about, dict(v=video, w=other), [_clip()])
    entries = json.loads(path.read_text())['videos']
    differ = [name for name in 'vw' if 'tracks_complete' in entries[name]]
    assert differ == (['w'] if default else ['v'])
    assert 'predicates' not in entries['v']['tracks']['b']
    for _ in range(2):
        loaded = load_annotation(path)
        found, second = loaded.videos.values()
        assert (found.tracks_complete, second.tracks_complete) == (True, False)
        assert found.predicates == ('kick',)
        assert found.tracks['0'].predicates == ('run', 'watch')
        assert found.tracks['b'].predicates == ()
        # Each name is once in memory.
        names = [one.tracks['0'].predicates[0] for one in (found, second)]
        assert names[0] is names[1]
        save_annotation(path, loaded.metainfo, loaded.videos, loaded.data_list)


def test_ids_are_looked_up_and_not_searched(tmp_path, monkeypatch):
    """Else many sentences would take a time that grows with their square."""
    kinds, check = [], module._check_clip

    def noted(clip, videos, seen):
        kinds.append(type(seen))
        check(clip, videos, seen)

    monkeypatch.setattr(module, '_check_clip', noted)
    load_annotation(_store(tmp_path, written()))
    assert kinds == [set]
