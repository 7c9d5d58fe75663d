"""HC-STVG's official files, version 1 and 2, to the one format."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_datasets.raw_files import (
    HCSTVG,
    IMG_NUM,
    ONE,
    TWO,
    boxes_of,
    first_version,
    second_version,
)

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.converters import (
    ConversionError,
    VideoCheck,
)
from hero_mm.datasets.converters.hcstvg import (
    EXCLUDED,
    FEWER_BOXES,
    MORE_BOXES,
    NO_LAST_BOX,
    OTHER_TIMES,
    SHARED,
    STCAT_LEFT_OUT,
)
from hero_mm.datasets.converters.videos import SHORTER


@pytest.fixture
def case(tmp_path):
    return HCSTVG(tmp_path)


def test_version_1(case):
    annotation, summary = case.convert()
    assert annotation.metainfo['dataset'] == 'hcstvg'
    assert annotation.metainfo['split'] == 'test'
    # Nobody annotated the other objects.
    assert annotation.metainfo['tracks_complete'] is False
    (clip,) = annotation.data_list
    assert clip == dict(
        video_id=ONE,
        segment=[0, IMG_NUM],
        queries=[
            dict(
                query_id=ONE,
                type='declarative',
                text='The man in brown clothes turns his head.',
                # Frame 157 from 1 is frame 156 from 0.
                span=[156, 287],
                track_id='0',
                category='person',
            )
        ],
    )
    video = annotation.videos[ONE]
    assert not video.tracks_complete and not video.predicates
    assert video.tracks['0'].predicates == ()
    assert (video.path, video.frame_count, video.fps) == (ONE, IMG_NUM, 30.0)
    assert (video.width, video.height) == (480, 360)
    boxes, valid = video.track_boxes('0', [155, 156, 286, 287])
    assert valid.tolist() == [False, True, True, False]
    assert boxes[1:3].tolist() == [[0, 4, 20, 34], [130, 4, 150, 34]]
    assert not summary.notes and not summary.skipped
    assert summary.official['sentences'] == 1160


def test_version_2_is_the_same_tube(case):
    query, video, _ = case.only()
    case.raw = {ONE: second_version()}
    annotation, summary = case.convert('val.json')
    assert annotation.metainfo['dataset'] == 'hcstvg-v2'
    assert annotation.metainfo['split'] == 'val'
    (clip,) = annotation.data_list
    assert clip['queries'] == [query] and clip['segment'] == [0, IMG_NUM]
    found = annotation.videos[ONE]
    # The size is [height, width] there.
    assert (found.width, found.height) == (video.width, video.height)
    np.testing.assert_array_equal(found.rows('0'), video.rows('0'))
    assert not summary.notes and summary.official['sentences'] == 2000


def test_version_2_with_the_keys_of_version_1(case):
    annotation, _ = case.convert(dataset='hcstvg-v2', split='val')
    assert annotation.metainfo['dataset'] == 'hcstvg-v2'
    assert annotation.metainfo['split'] == 'val'


@given(
    start=st.integers(1, IMG_NUM),
    length=st.integers(1, 40),
    width=st.integers(40, 2000),
)
def test_tubes_of_both_versions(tmp_path_factory, start, length, width):
    """The first box lies on st_frame, the last on ed_frame."""
    folder = tmp_path_factory.mktemp('any')
    size = dict(width=width, height=100)
    entries = [
        first_version(start, length, **size),
        second_version(start, start + length - 1, img_size=[100, width]),
    ]
    found = []
    for number, entry in enumerate(entries):
        case = HCSTVG(folder / str(number))
        case.folder.mkdir()
        case.raw = {ONE: entry}
        query, video, _ = case.only()
        assert query['span'] == [start - 1, start - 1 + length]
        frames = np.arange(start - 1, start - 1 + length)
        boxes, valid = video.track_boxes('0', frames)
        assert valid.all() and boxes[0, 0] == 0
        assert video.frame_count == max(IMG_NUM, start - 1 + length)
        found.append(boxes)
    np.testing.assert_array_equal(*found)


def test_a_missing_last_box_stays_missing(case):
    case.raw = {ONE: second_version()}
    del case.raw[ONE]['bbox'][-1]
    query, video, summary = case.only()
    assert query['span'] == [156, 287]
    _, valid = video.track_boxes('0', [285, 286])
    assert valid.tolist() == [True, False]
    assert summary.notes == {
        NO_LAST_BOX: 1,
        'frames in spans without a box': 1,
        'sentences with such frames': 1,
    }


@pytest.mark.parametrize(
    ('count', 'kind', 'kept'),
    [(120, FEWER_BOXES, 120), (140, MORE_BOXES, 131)],
)
def test_boxes_and_frames_of_different_number(case, count, kind, kept):
    case.raw = {ONE: second_version(bbox=boxes_of(count))}
    query, video, summary = case.only()
    assert query['span'] == [156, 287]
    frames = np.arange(IMG_NUM)
    _, valid = video.track_boxes('0', frames)
    assert frames[valid].tolist() == list(range(156, 156 + kept))
    assert summary.notes[kind] == 1
    (line,) = [text for text in summary.repaired if kind in text]
    assert f'{count} boxes, 131 frames' in line


def test_a_tube_past_img_num(case):
    """Its boxes were drawn on frames, so these are there."""
    case.raw[ONE]['img_num'] = 280
    query, video, summary = case.only()
    assert video.frame_count == 287 and video.fps == 14.0
    assert query['span'] == [156, 287]
    name = 'videos with boxes past frame_count, which was raised'
    assert summary.notes[name] == 1
    # The frame rate follows from img_num, and no longer fits the times.
    assert summary.notes[OTHER_TIMES] == 1


@pytest.mark.parametrize(
    ('change', 'noted'), [(0.4, 0), (-0.4, 0), (0.6, 1), (-0.6, 1)]
)
@pytest.mark.parametrize('key', ['st_time', 'ed_time'])
def test_times_that_differ_from_the_frames(case, key, change, noted):
    case.raw[ONE][key] += change
    query, _, summary = case.only()
    assert query['span'] == [156, 287]
    assert summary.notes[OTHER_TIMES] == noted


def test_times_may_be_left_out(case):
    del case.raw[ONE]['st_time'], case.raw[ONE]['ed_time']
    _, _, summary = case.only()
    assert not summary.notes


def test_sentences_that_share_a_video(case):
    """A name that stands twice would lose all but its last entry."""
    first, second = (
        first_version(),
        first_version(10, 5, caption='She sits down.'),
    )
    text = f'{{"{ONE}": {json.dumps(first)}, "{ONE}": {json.dumps(second)}}}'
    annotation, summary = case.convert(text=text)
    (clip,) = annotation.data_list
    told = [(q['query_id'], q['track_id'], q['span']) for q in clip['queries']]
    assert told == [
        (ONE, '0', [156, 287]),
        (f'{ONE}#2', '1', [9, 14]),
    ]
    video = annotation.videos[ONE]
    assert video.track_boxes('1', [9])[0].tolist() == [[0, 4, 20, 34]]
    assert summary.notes == {SHARED: 1}
    assert summary.videos == 1 and summary.sentences == {'declarative': 2}


def test_sentences_of_a_video_must_agree_on_it(case):
    text = (
        f'{{"{ONE}": {json.dumps(first_version())}, '
        f'"{ONE}": {json.dumps(first_version(img_num=500))}}}'
    )
    with pytest.raises(ConversionError, match='in the entry before'):
        case.convert(text=text)
    annotation, summary = case.convert(text=text, skip_bad=True)
    assert len(annotation.ground_truths()) == 1 and len(summary.skipped) == 1


def test_excluded_videos_are_listed(case):
    case.raw = {name: first_version() for name in (ONE, *STCAT_LEFT_OUT)}
    annotation, summary = case.convert(exclude=(*STCAT_LEFT_OUT, 'no.mp4'))
    assert list(annotation.videos) == [ONE]
    assert summary.notes == {
        EXCLUDED: 2,
        'excluded videos that are not in the file': 1,
    }
    assert f'{EXCLUDED}: {STCAT_LEFT_OUT[0]}' in summary.repaired
    assert any('no.mp4' in line for line in summary.repaired)


def test_a_missing_video(case, tmp_path):
    (tmp_path / 'films').mkdir()
    (tmp_path / 'films' / TWO).touch()
    case.raw[TWO] = first_version()
    with pytest.raises(ConversionError, match=ONE):
        case.convert(videos=tmp_path / 'films')
    annotation, summary = case.convert(
        videos=tmp_path / 'films', skip_bad=True
    )
    assert list(annotation.videos) == [TWO]
    assert summary.notes == {'sentences of skipped videos': 1}


def test_img_num_that_disagrees_with_the_video(case, tmp_path, toy_tools):
    """Frames count those of the file: 58 there, 60 and 61 annotated."""
    toy_tools.write_video(tmp_path / 'films.mp4', count=58, fps=3)
    (tmp_path / 'films').mkdir()
    (tmp_path / 'films.mp4').rename(tmp_path / 'films' / ONE)
    size = dict(width=64, height=48, img_num=60)
    case.raw = {ONE: first_version(41, 21, st_time=13.3, ed_time=20.3, **size)}
    query, video, summary = case.only(videos=VideoCheck(tmp_path / 'films'))
    assert video.frame_count == 58 and query['span'] == [40, 58]
    _, valid = video.track_boxes('0', np.arange(40, 59))
    assert valid.tolist() == [True] * 18 + [False]
    assert summary.notes[SHORTER] == 1
    assert summary.notes['sentences whose span was cut to the video'] == 1
    assert any('58, annotated 61' in line for line in summary.repaired)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[]', 'expected an object with a video each, found list'),
        ('{}', 'expected an object with a video each'),
        ('{"a.mp4": 3}', "'a.mp4': expected an object, found int"),
        ('{"a.mp4": {"bbox": []}}', "key 'img_num' is missing"),
        ('{"a.mp4"', 'not valid JSON'),
    ],
)
def test_files_of_another_kind(case, text, message):
    with pytest.raises(ConversionError, match=message):
        case.convert(text=text)


def test_command_line(case, run_tool, tmp_path):
    case.raw = {name: first_version() for name in (ONE, *STCAT_LEFT_OUT)}
    raw = tmp_path / 'train.json'
    raw.write_text(json.dumps(case.raw))
    words = ['dataset_converters/hcstvg', raw, '--out', tmp_path / 'o.json']
    words += ['--exclude', 'stcat', ONE]
    done = run_tool(*words)
    assert done.returncode == 1
    assert 'not one sentence is left' in done.stderr
    done = run_tool(*words[:-1])
    assert done.returncode == 0, done.stderr
    assert '1 of 4,500 published (-4,499)' in done.stdout
    assert list(load_annotation(tmp_path / 'o.json').videos) == [ONE]
    listed = (tmp_path / 'o.conversion.txt').read_text()
    assert f'repaired: {EXCLUDED}: {STCAT_LEFT_OUT[1]}' in listed
