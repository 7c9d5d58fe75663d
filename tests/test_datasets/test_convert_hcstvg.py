"""HC-STVG's official files, version 1 and 2, to the one format."""

import json

import numpy as np
import pytest
from test_datasets import raw_files as made
from test_datasets.raw_files import ONE, TWO, first_version, second_version

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.checks import NOTES
from hero_mm.datasets.converters import ConversionError
from hero_mm.datasets.converters.conversion import RAISED
from hero_mm.datasets.converters.hcstvg import (
    EXCLUDED,
    MORE_BOXES,
    STCAT_LEFT_OUT,
)

MISSING = 'frames in spans without a box'


@pytest.fixture
def case(tmp_path):
    return made.HCSTVG(tmp_path)


def test_both_versions_give_the_same_tube(case):
    annotation, summary = case.convert()
    about = dict(dataset='hcstvg', split='test', query_ids='official')
    # Nobody annotated the other objects.
    about['tracks_complete'] = False
    assert about.items() <= annotation.metainfo.items()
    (clip,) = annotation.data_list
    query = dict(
        query_id=ONE,
        type='declarative',
        text='The man in brown clothes turns his head.',
        # Frame 157 from 1 is frame 156 from 0.
        span=[156, 287],
        track_id='0',
        category='person',
    )
    assert clip == dict(
        video_id=ONE, segment=[0, made.IMG_NUM], queries=[query]
    )
    video = annotation.videos[ONE]
    assert not video.predicates and video.tracks['0'].predicates == ()
    assert (video.path, video.frame_count, video.fps) == (ONE, 600, 30.0)
    assert (video.width, video.height) == (480, 360)
    boxes, valid = video.track_boxes('0', [155, 156, 286, 287])
    assert valid.tolist() == [False, True, True, False]
    assert boxes[1:3].tolist() == [[0, 4, 20, 34], [130, 4, 150, 34]]
    assert not summary.notes and summary.official['sentences'] == 1160
    # Version 2, in which the size is [height, width].
    case.raw = {ONE: second_version()}
    second, summary = case.convert('valv2.json')
    about.update(dataset='hcstvg-v2', split='val')
    assert about.items() <= second.metainfo.items()
    assert second.data_list == annotation.data_list
    found = second.videos[ONE]
    assert (found.width, found.height) == (480, 360)
    np.testing.assert_array_equal(found.rows('0'), video.rows('0'))
    assert not summary.notes and summary.official['sentences'] == 2000
    # With the keys of version 1 its name is given.
    case.raw = {ONE: first_version()}
    third, _ = case.convert('x.json', dataset='hcstvg-v2', split='val')
    assert about.items() <= third.metainfo.items()


@pytest.mark.parametrize(
    ('entry', 'kind', 'span', 'last', 'count'),
    [
        (second_version(bbox=made.boxes_of(130)), MISSING, 287, 285, 600),
        (second_version(bbox=made.boxes_of(140)), MORE_BOXES, 287, 286, 600),
        (first_version(591, 12), RAISED, 602, 601, 602),
        (first_version(591, 11), RAISED, 601, 600, 601),
    ],
)
def test_boxes_and_frames_that_disagree(case, entry, kind, span, last, count):
    case.raw = {ONE: entry}
    annotation, summary = case.convert()
    assert summary.notes == {kind: 1}
    video, truth = annotation.videos[ONE], annotation.ground_truths()[ONE]
    assert truth['span'][1] == span and max(truth['boxes']) == last
    assert video.frame_count == count
    assert annotation.data_list[0]['segment'] == [0, count]


def test_a_video_with_two_sentences(case):
    """JSON readers keep the last of them."""
    said = first_version(10, 5), first_version(590, 15), first_version()
    text = ', '.join(f'"{ONE}": {json.dumps(one)}' for one in said)
    annotation, summary = case.convert(text=f'{{{text}}}')
    (clip,) = annotation.data_list
    assert [(q['query_id'], q['track_id']) for q in clip['queries']] == [
        (ONE, '0'),
        (f'{ONE}#2', '1'),
        (f'{ONE}#3', '2'),
    ]
    # The second one has raised the number of frames for all.
    assert clip['segment'] == [0, 604]
    assert summary.notes == {RAISED: 1}
    boxes, _ = annotation.videos[ONE].track_boxes('1', [589])
    assert boxes.tolist() == [[0, 4, 20, 34]]
    text += f', "{ONE}": {json.dumps(first_version(img_num=500))}'
    with pytest.raises(ConversionError, match='#4.*not those of an entry b'):
        case.convert(text=f'{{{text}}}')


def test_a_video_that_ends_early(case, tmp_path, toy_tools):
    """Frames count those of the file: 58 there, 60 and 61 annotated."""
    films = tmp_path / 'films'
    films.mkdir()
    toy_tools.write_video(films / ONE, count=58, fps=3, container='mp4')
    size = dict(width=64, height=48, img_num=60)
    case.raw = {ONE: first_version(41, 21, **size)}
    annotation, summary = case.convert(videos=films)
    video, (clip,) = annotation.videos[ONE], annotation.data_list
    assert video.frame_count == 58 and clip['segment'] == [0, 58]
    assert clip['queries'][0]['span'] == [40, 58]
    _, valid = video.track_boxes('0', np.arange(40, 59))
    assert valid.tolist() == [True] * 18 + [False]
    assert summary.notes[NOTES['length']] == 1
    assert sum('61 to 58' in line for line in summary.repaired) == 1
    case.raw[TWO] = first_version(5, 6, **size)
    with pytest.raises(ConversionError, match=f'{TWO}: no such file'):
        case.convert(videos=films)
    _, summary = case.convert(videos=films, skip_bad=True)
    assert summary.notes['sentences of skipped videos'] == 1


def test_command_line_and_excluded_videos(case, run_tool, tmp_path):
    raw = tmp_path / 'train.json'
    names = (ONE, *STCAT_LEFT_OUT)
    raw.write_text(json.dumps({name: first_version() for name in names}))
    words = ['dataset_converters/hcstvg', raw, '--out', tmp_path / 'o.json']
    done = run_tool(*words, '--exclude', 'stcat', ONE)
    assert done.returncode == 1
    assert 'not one sentence is left' in done.stderr
    done = run_tool(*words, '--exclude', 'stcat')
    assert done.returncode == 0, done.stderr
    assert '1 of 4,500 published (-4,499)' in done.stdout
    assert list(load_annotation(tmp_path / 'o.json').videos) == [ONE]
    listed = (tmp_path / 'o.conversion.txt').read_text()
    assert f'repaired: {EXCLUDED}: {STCAT_LEFT_OUT[1]}' in listed
