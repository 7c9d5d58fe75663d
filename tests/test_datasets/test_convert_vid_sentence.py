"""VID-sentence's official lists and tracks to the one format."""

import numpy as np
import pytest
from test_datasets.raw_files import ELEPHANT as ONE
from test_datasets.raw_files import PLANE as TWO
from test_datasets.raw_files import VIDSentence, track

from hero_mm.datasets import open_video
from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.checks import NOTES
from hero_mm.datasets.converters import ConversionError, convert_vid_sentence
from hero_mm.datasets.converters.vid_sentence import NO_LENGTH

FAR = 'ILSVRC2015_VID_train_0003/ILSVRC2015_train_01073002'


@pytest.fixture
def case(tmp_path):
    return VIDSentence(tmp_path)


def test_test_is_taken_from_val(case):
    annotation, summary = case.convert()
    about = dict(dataset='vid-sentence', split='test', query_ids='official')
    # Nobody annotated the other objects.
    about.update(tracks_complete=False)
    assert about.items() <= annotation.metainfo.items()
    assert list(annotation.videos) == [ONE]
    video = annotation.videos[ONE]
    assert not video.predicates and video.tracks['0'].predicates == ()
    assert video.path == f'val/{ONE}' and video.frame_count == 20
    assert (video.width, video.height, video.fps) == (64, 48, 30.0)
    # Frame 1 is picture 0.
    boxes, valid = video.track_boxes('0', [0, 19])
    assert valid.all() and boxes[:, 0].tolist() == [1, 20]
    query = dict(
        query_id='1',
        type='declarative',
        text='A large elephant runs, from left to right',
        span=[0, 20],
        track_id='0',
        category='elephant',
    )
    assert annotation.data_list[0] == dict(
        video_id=ONE, segment=[0, 20], queries=[query]
    )
    assert summary.official['sentences'] == 536
    # A track with a hole.
    clip = annotation.data_list[1]
    assert clip['segment'] == clip['queries'][0]['span'] == [3, 10]
    _, valid = video.track_boxes('1', np.arange(3, 10))
    assert valid.tolist() == [True] * 3 + [False] * 2 + [True] * 2
    assert summary.notes == {NO_LENGTH: 1, 'frames in spans without a box': 2}


@pytest.mark.parametrize(('count', 'end'), [(25, 20), (19, 19)])
def test_the_length_is_that_of_the_pictures(case, toy_tools, count, end):
    videos = case.pictures(toy_tools.draw_frame, count=count)
    annotation, summary = case.convert(videos=videos, workers=2)
    video = annotation.videos[ONE]
    assert video.frame_count == count
    assert annotation.data_list[0]['segment'] == [0, end]
    assert summary.notes[NOTES['length']] == (count < 20)
    # The box of a frame lies on its picture.
    with open_video(videos / video.path) as reader:
        assert toy_tools.is_frame(reader.get_frames([7])[0], 7)


def test_pictures_that_are_missing_or_others(case, toy_tools):
    case.raw['said'] = ['0, a plane', '1, a large elephant']
    case.pictures(toy_tools.draw_frame, f'val/{TWO}', width=32, height=24)
    videos = case.pictures(toy_tools.draw_frame)
    (videos / f'val/{ONE}/000007.JPEG').unlink()
    with pytest.raises(ConversionError, match='picture 7 is missing'):
        case.convert(videos=videos)
    annotation, summary = case.convert(videos=videos, skip_bad=True)
    assert list(annotation.videos) == [TWO]
    assert summary.notes[NOTES['size']] == 1
    assert summary.notes['sentences of skipped videos'] == 1
    (line,) = summary.skipped
    assert 'picture 7 is missing' in line


def test_lists(case):
    """Another encoding, several sentences of a tube, train in its parts."""
    case.raw['said'] = ['1, one', '2, the baby\x92s face', '1, three', '']
    annotation, _ = case.convert()
    queries = [q for c in annotation.data_list for q in c['queries']]
    texts = {'1': 'one', '1#2': 'three', '2': 'the baby\x92s face'}
    assert {q['query_id']: q['text'] for q in queries} == texts
    case.raw['tubes'], case.raw['said'] = [f'{FAR},2'], ['0,The red car']
    case.raw['tracks'] = {f'train/{FAR}': [track('2')]}
    case.split = 'train'
    annotation, summary = case.convert()
    assert annotation.videos[FAR].path == f'train/{FAR}'
    assert annotation.metainfo['split'] == 'train'
    assert summary.official['sentences'] == 6582


def test_what_is_not_there(case):
    case.raw['said'].append('0, a plane')
    case.raw['tracks'].popitem()
    with pytest.raises(ConversionError, match=rf'tubeGt/val/{TWO}.js'):
        case.convert()
    annotation, summary = case.convert(skip_bad=True)
    assert len(annotation.ground_truths()) == 2 and len(summary.skipped) == 1
    with pytest.raises(FileNotFoundError, match='val_valid_list.txt'):
        convert_vid_sentence(case.root, case.folder / 'o.json', 'val')


def test_command_line(case, run_tool, toy_tools):
    case.write()
    videos = case.pictures(toy_tools.draw_frame)
    words = ['dataset_converters/vid_sentence', case.root]
    words += ['--out', case.folder / 'test.json']
    words += ['--split', 'test', '--videos', videos, '--workers', '1']
    done = run_tool(*words)
    assert done.returncode == 0, done.stderr
    assert '2 of 536 published (-534)' in done.stdout
    found = load_annotation(case.folder / 'test.json')
    assert found.videos[ONE].frame_count == 25
