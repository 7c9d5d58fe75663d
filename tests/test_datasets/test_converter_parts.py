"""What all converters share: boxes, clips, videos, sizes, command line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hero_mm.datasets.annotation import AnnotationError, load_annotation
from hero_mm.datasets.converters.boxes import (
    CUT,
    frame_ranges,
    make_track,
    to_corners,
)
from hero_mm.datasets.converters.clips import (
    LAST_FRAME,
    ClipList,
    RawNames,
    Sentence,
)
from hero_mm.datasets.converters.command_line import (
    converter_parser,
    run_converter,
)
from hero_mm.datasets.converters.common import ConversionSummary, read_json
from hero_mm.datasets.converters.official import official_counts
from hero_mm.datasets.converters.videos import (
    TWICE,
    VideoFolder,
    place_videos,
)
from hero_mm.datasets.entries import ConversionError, Entry
from hero_mm.datasets.tracks import Track, VideoInfo

# Boxes -----------------------------------------------------------------------


def _make(numbers, boxes, skip_bad=False, size=(64, 48)):
    record = ConversionSummary('o', skip_bad)
    entry = Entry('a.json', 'tid 3')
    track = make_track(entry, numbers, boxes, size, record, 'dog')
    return track, record


def test_boxes_in_the_picture_stay():
    track, record = _make([4, 2], [[0, 0, 64, 48], [1, 2, 3, 4]])
    assert track.category == 'dog' and track.boxes.dtype == np.int16
    assert track.boxes.tolist() == [[1, 2, 3, 4], [0, 0, 64, 48]]
    assert track.runs.tolist() == [[2, 3, 0], [4, 5, 1]]
    assert not record.notes and not record.repaired


def test_boxes_that_leave_the_picture():
    boxes = [[-5, 0, 9, 9], [0, -5, 9, 9], [9, 9, 65, 9.5], [9, 9, 10, 10]]
    track, record = _make([1, 2, 7, 8], boxes)
    assert track.boxes.dtype == np.float32
    assert track.boxes[:3].tolist() == [
        [0, 0, 9, 9],
        [0, 0, 9, 9],
        [9, 9, 64, 9.5],
    ]
    assert record.notes == {CUT: 3}
    assert record.repaired == [f'{CUT}: a.json, tid 3, frames 1-2, 7']


@pytest.mark.parametrize(
    'box',
    [
        [5, 5, 5, 9],
        [5, 5, 9, 5],
        [9, 5, 5, 9],
        [64, 5, 70, 9],
        [5, 48, 9, 50],
        [-9, 5, 0, 9],
        [5, 5, float('nan'), 9],
    ],
)
def test_boxes_without_an_area(box):
    with pytest.raises(ConversionError, match='frame 7, tid 3: box .* has no'):
        _make([6, 7], [[1, 1, 2, 2], box])
    track, record = _make([6, 7], [[1, 1, 2, 2], box], skip_bad=True)
    assert track.runs.tolist() == [[6, 7, 0]]
    assert len(record.skipped) == 1 and 'frame 7' in record.skipped[0]
    # What is dropped is not cut.
    assert not record.notes
    track, record = _make([7], [box], skip_bad=True)
    assert track is None and len(record.skipped) == 1


@pytest.mark.parametrize(
    ('boxes', 'found'),
    [
        ([[1, 2, 3, 4], [1, 2, 3]], r'frame 7, .* found \[1, 2, 3\]'),
        ([[1, 2, 3, 4], [1, 2, 3, 'x']], 'frame 7'),
        ([[1, 2, 3, 4], [1, 2, 3, '4']], 'frame 7'),
        ([[1, 2, 3, 4], None], 'frame 7, .* found None'),
        ([[1, 2, 3, 4], [[1], [2], [3], [4]]], 'frame 7'),
        ([[1, 2, 3], [1, 2, 3]], 'frame 6'),
    ],
)
def test_things_that_are_no_boxes(boxes, found):
    with pytest.raises(ConversionError, match=found):
        _make([6, 7], boxes, skip_bad=True)
    with pytest.raises(ConversionError, match=found):
        to_corners(Entry('a.json', 'tid 3'), [6, 7], boxes)


def test_whole_numbers_written_as_fractions():
    corners = to_corners(
        Entry('a', 'b'), [6, 7], [[1, 2, 3, 4], [1, 2, 3.5, 4]]
    )
    assert corners.tolist() == [[1, 2, 4, 6], [1, 2, 4.5, 6]]


def test_pictures_too_large_for_small_numbers():
    track, _ = _make([1], [[0, 0, 40000, 9]], size=(50000, 50))
    assert track.boxes.tolist() == [[0, 0, 40000, 9]]


_NUMBER = st.integers(-80, 120)


@given(st.lists(st.tuples(*[_NUMBER] * 4), min_size=1, max_size=9))
def test_every_box_is_kept_cut_or_listed(boxes):
    track, record = _make(range(len(boxes)), boxes, skip_bad=True)
    kept = 0 if track is None else len(track.boxes)
    assert kept + len(record.skipped) == len(boxes)
    if track is None:
        return
    assert (track.boxes >= 0).all()
    assert (track.boxes <= [64, 48, 64, 48]).all()
    assert (track.boxes[:, :2] < track.boxes[:, 2:]).all()
    inside = [
        (x1 >= 0 and y1 >= 0 and x2 <= 64 and y2 <= 48 and x1 < x2 and y1 < y2)
        for x1, y1, x2, y2 in boxes
    ]
    assert kept - record.notes[CUT] == sum(inside)


@given(st.sets(st.integers(0, 60), min_size=1))
def test_told_frames_can_be_read_back(frames):
    told = frame_ranges(sorted(frames))
    found = set()
    for part in told.split(', '):
        first, _, last = part.partition('-')
        found |= set(range(int(first), int(last or first) + 1))
    assert found == frames
    assert frame_ranges([3, 4, 5, 9]) == '3-5, 9'


# Clips -----------------------------------------------------------------------

NAMES = RawNames('seg', 'time', 'who', 'text', 'the file', inclusive=True)


def _video(name='v', count=20, last=20):
    frames = np.arange(2, last)
    boxes = np.tile([1, 2, 30, 40], (len(frames), 1))
    track = Track.from_boxes('dog', frames, boxes)
    bare = Track.from_boxes('', frames, boxes)
    tracks = {'0': track, '1': bare}
    return VideoInfo(name, f'{name}.mp4', count, 10.0, 64, 48, tracks)


def _say(query_id='5', **changes):
    told = dict(
        where='entry 7',
        type='declarative',
        text=' a dog. ',
        segment=(2, 12),
        span=(4, 9),
        track_id='0',
    )
    return Sentence(query_id, **{**told, **changes})


def _clips(names=NAMES, skip_bad=False):
    return ClipList('a.json', names, ConversionSummary('o', skip_bad))


def _add(clips, sentence, video):
    place = sentence.query_id, sentence.where
    return clips.take(*place, lambda: sentence, video)


def test_sentences_of_a_segment_share_a_clip(tmp_path):
    clips, videos = _clips(), {'v': _video(), 'w': _video('w')}
    videos['unused'] = _video('unused')
    assert _add(clips, _say('0'), videos['v'])
    assert _add(clips, _say('1'), videos['w'])
    assert _add(
        clips, _say('2', segment=(2, 11), predicate='run'), videos['v']
    )
    assert _add(clips, _say('3', track_id='1'), videos['v'])
    out = tmp_path / 'a.json'
    summary = clips.save(out, 'vidstg', 'val', videos, note='x')
    annotation = load_annotation(out)
    assert list(annotation.videos) == ['v', 'w']
    assert annotation.metainfo['note'] == 'x'
    assert [
        (clip['video_id'], clip['segment'], len(clip['queries']))
        for clip in annotation.data_list
    ] == [('v', [2, 12], 2), ('w', [2, 12], 1), ('v', [2, 11], 1)]
    first, last = annotation.data_list[0]['queries']
    assert first['text'] == 'a dog.' and first['category'] == 'dog'
    assert 'category' not in last and 'predicate' not in last
    assert annotation.data_list[2]['queries'][0]['predicate'] == 'run'
    assert (summary.videos, summary.clips) == (2, 3)
    assert summary.official['sentences'] == 8956


def test_only_an_inclusive_segment_counts_ends_one_past():
    for names, count in ((NAMES, 1), (RawNames(*'abcde'), 0)):
        clips = _clips(names)
        _add(clips, _say(span=(4, 12)), _video())
        _add(clips, _say('6', span=(4, 11)), _video())
        assert clips.summary.notes[LAST_FRAME] == count
        assert sum(clips.summary.sentences.values()) == 2


def test_a_segment_is_cut_to_the_video():
    clips = _clips()
    _add(clips, _say(segment=(2, 25), span=(4, 20)), _video())
    kind = 'sentences whose segment was cut to the video'
    assert clips.summary.notes == {kind: 1}
    assert clips.summary.repaired == [f'{kind}: sentence 5, entry 7: 25 to 20']


def test_missing_boxes_are_named():
    clips = _clips()
    _add(clips, _say(segment=(0, 19), span=(0, 18)), _video(last=15))
    assert clips.summary.notes == {
        'frames in spans without a box': 5,
        'sentences with such frames': 1,
    }
    assert clips.summary.repaired[0].endswith('entry 7: 0-1, 15-17')
    # Without a single box there is nothing to score.
    bare = _say('8', segment=(0, 19), span=(15, 17))
    assert not _add(clips, bare, _video(last=15))
    assert 'sentence 8' in clips.summary.skipped[0]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(text=' '), r'entry 7: the sentence \(text\) is empty'),
        (dict(segment=(12, 12)), r'entry 7, seg: \[12, 11\] is empty or not'),
        (dict(segment=(-1, 12)), r'seg: \[-1, 11\] .* 20 frames'),
        (dict(segment=(20, 30)), r'seg: \[20, 29\]'),
        (dict(span=(1, 9)), r'time: \[1, 9\) .* \[2, 12\)'),
        (dict(span=(4, 13)), r'time: \[4, 13\) .* \[2, 12\)'),
        (dict(span=(9, 9)), r'time: \[9, 9\) is empty'),
        (dict(track_id='4'), r"who: .*'4'; the file has boxes for \['0', '1"),
    ],
)
def test_wrong_sentences(changes, message):
    with pytest.raises(ConversionError, match=message):
        _add(_clips(), _say(**changes), _video())
    clips = _clips(skip_bad=True)
    assert not _add(clips, _say(**changes), _video())
    assert len(clips.summary.skipped) == 1
    assert clips.summary.skipped[0].startswith('sentence 5: a.json, entry 7')
    assert not clips.summary.sentences and not clips.summary.notes
    with pytest.raises(ConversionError, match='not one sentence is left'):
        clips.save('o.json', 'x', 'val', {})


# Videos and sizes ------------------------------------------------------------


def _touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ('there', 'found'),
    [
        (['0/v.mp4', 'v.mp4'], ['0/v.mp4']),
        (['v.mp4', 'a/v.mp4'], ['v.mp4']),
        (['v.mkv'], ['v.mkv']),
        (['b/c/v.mp4'], ['b/c/v.mp4']),
        (['b/v.mp4', 'a/v.mp4'], ['a/v.mp4', 'b/v.mp4']),
        (['b/w.mp4', 'a/v.txt', 'a/vv.mp4'], []),
    ],
)
def test_where_a_video_is(tmp_path, there, found):
    _touch(tmp_path, *there)
    assert VideoFolder(tmp_path).find('0/v.mp4', 'v') == found


def test_videos_in_linked_folders(tmp_path):
    _touch(tmp_path / 'far', 'v.mp4')
    (tmp_path / 'near').mkdir()
    (tmp_path / 'near' / 'link').symlink_to(tmp_path / 'far')
    assert VideoFolder(tmp_path / 'near').find('v.mp4', 'v') == ['link/v.mp4']


def test_videos_are_placed_or_listed(tmp_path):
    infos = [_video('v'), _video('w')]
    record = ConversionSummary('o')
    told = place_videos(infos, None, 'a.json', record)
    assert [video.path for video in told.values()] == ['v.mp4', 'w.mp4']
    _touch(tmp_path, 'a/v.mp4', 'b/v.mp4')
    with pytest.raises(ConversionError, match="video_path 'w.mp4': no such"):
        place_videos(infos, tmp_path, 'a.json', record)
    record = ConversionSummary('o', skip_bad=True)
    infos = [_video('v'), _video('w')]
    found = place_videos(infos, tmp_path, 'a.json', record)
    assert list(found) == ['v'] and found['v'].path == 'a/v.mp4'
    assert record.notes == {TWICE: 1} and len(record.skipped) == 1
    with pytest.raises(FileNotFoundError, match='correct --videos'):
        place_videos(infos, tmp_path / 'none', 'a.json', record)


def test_published_sizes():
    test = official_counts('vidstg', 'test')
    assert test['sentences'] == 10303 == 4610 + 5693
    splits = [official_counts('vidstg', s) for s in ('train', 'val', 'test')]
    assert sum(split['sentences'] for split in splits) == 99943
    assert sum(split['declarative'] for split in splits) == 44808
    first = [official_counts('hcstvg', s) for s in ('train', 'test')]
    assert sum(split['sentences'] for split in first) == 5660
    names = ('train', 'val', 'test')
    second = [official_counts('hcstvg-v2', split) for split in names]
    assert sum(split['sentences'] for split in second) == 16544
    assert official_counts('vidstg', 'mine') == {}


# Numbers, the summary and the command line -----------------------------------


@pytest.mark.parametrize('value', [None, '3', True, float('nan'), [3], 0.5])
def test_what_is_no_number_from_1_on(value):
    with pytest.raises(ConversionError, match='a.json, entry 3, key: expect'):
        Entry('a.json', 'entry 3', dict(key=value)).number('key', least=1)


def test_numbers():
    entry = Entry('a', 'b', dict(whole=3.0, half=3.5))
    assert entry.whole('whole') == 3
    assert type(entry.whole('whole')) is int
    assert entry.number('half') == 3.5
    with pytest.raises(ConversionError, match='whole number, found 3.5'):
        entry.whole('half')
    with pytest.raises(ConversionError, match="key 'none' is missing"):
        entry.whole('none')
    entry = entry.at('c', dict(most=10_000_000, more=-10_000_001))
    assert entry.whole('most') == 10_000_000
    with pytest.raises(ConversionError, match='number up to 10,000,000, fou'):
        entry.whole('more')
    with pytest.raises(ConversionError, match='expected an object, found'):
        Entry('a', 'b', []).need()


def test_raw_json_names_file_and_place(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text('{"a": {"x": 1, "x": 2}, "b": []}')
    with pytest.raises(ConversionError, match=r"a.json, 'a': the key 'x'"):
        read_json(path)
    pairs = read_json(path, keep_repeated=True)['a']
    assert pairs == [('x', 1), ('x', 2)]


def test_a_summary_takes_what_parts_tell():
    whole, part = ConversionSummary('o'), ConversionSummary('p', True)
    whole.note('a', 'here')
    part.note('a', 'there', 3)
    error = ConversionError('a.json', 'b', 'c', 'd')
    part.skip(error, 'box')
    with pytest.raises(ConversionError):
        whole.skip(error, 'box')
    whole.take(part)
    assert whole.notes == dict(a=4)
    assert whole.repaired == ['a: here', 'a: there']
    assert whole.skipped == ['box: a.json, b: c. Cure: d.']


def test_ours_beside_what_is_published():
    summary = ConversionSummary('o')
    summary.videos, summary.clips = 732, 5
    summary.sentences.update(declarative=4600)
    summary.official = official_counts('vidstg', 'test')
    text = summary.table()
    assert '732 of 732 published\n' in text
    assert '4,600 of 10,303 published (-5,703)' in text
    assert '4,600 of 4,610 published (-10)' in text
    # Also what there is none of.
    assert '0 of 5,693 published (-5,693)' in text
    # Nobody tells the number of segments.
    assert text.count('published') == 4


def _options(*words):
    parser = converter_parser('A converter.')
    return parser.parse_args([str(word) for word in words])


def test_the_list_and_the_exit_status(tmp_path, capsys):
    out = tmp_path / 'sub' / 'a.json'
    summary = ConversionSummary(str(out))
    summary.note('boxes cut', 'frame 3')
    summary.skipped = [f'box {number}' for number in range(50)]
    assert run_converter(_options('--out', out), lambda: summary) == 0
    told = capsys.readouterr().out
    # The table is short, the list is whole.
    assert 'and 30 more' in told and 'box 49' not in told
    lines = (out.parent / 'a.conversion.txt').read_text().splitlines()
    assert lines[0] == str(out)
    assert 'repaired: boxes cut: frame 3' in lines
    assert lines[-1] == 'skipped: box 49'
    args = _options('--out', out, '--list', tmp_path / 'b.txt')
    assert run_converter(args, lambda: summary) == 0
    assert (tmp_path / 'b.txt').read_text().splitlines() == lines


def test_a_list_that_cannot_be_written(tmp_path, capsys):
    args = _options('--out', tmp_path / 'a.json', '--list', tmp_path)
    summary = ConversionSummary('o')
    assert run_converter(args, lambda: summary) == 1
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize(
    'error',
    [
        ConversionError('a', 'b', 'c', 'd'),
        AnnotationError('a', 'b', 'c', 'd'),
        FileNotFoundError('no such file'),
        PermissionError('not yours'),
    ],
)
def test_errors_are_one_line(error, tmp_path, capsys):
    def fail():
        raise error

    assert run_converter(_options('--out', tmp_path / 'a.json'), fail) == 1
    told = capsys.readouterr()
    assert told.out == '' and told.err == f'error: {error}\n'
    assert not list(tmp_path.iterdir())
