"""VID-sentence's official lists and tracks to the one format."""

import json

import cv2
import numpy as np
import pytest

from hero_mm.datasets import open_video
from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.converters import (
    ConversionError,
    VideoCheck,
    convert_vid_sentence,
)
from hero_mm.datasets.converters.vid_sentence import (
    LATIN,
    NO_LENGTH,
    NO_SENTENCE,
)
from hero_mm.datasets.converters.videos import RESIZED, SHORTER
from hero_mm.evaluation import evaluate_tubes

ONE = 'ILSVRC2015_val_00118001'
TWO = 'ILSVRC2015_val_00007010'
FAR = 'ILSVRC2015_VID_train_0003/ILSVRC2015_train_01073002'


def _track(track_id='0', frames=range(1, 21), name='elephant', **changes):
    """A track as the files have it; frames count from 1."""
    boxes = [
        {
            'generated': 0,
            'class_index': 1,
            'bbox': [frame, 3, frame + 10, 30],
            'occluded': 0,
            'frame': frame,
            'frame_size': [48, 64],
            'class': name,
            'name': 'n02504013',
            **changes,
        }
        for frame in frames
    ]
    return dict(track=boxes, id=track_id)


class Case:
    """The folder ILSVRC, and its conversion."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / 'ILSVRC'
        # Tubes count from 0: the second one here is number 1.
        self.tubes = [f'{TWO},0', f'{ONE},0', f'{ONE},1']
        self.told = [
            '1, A large elephant runs, from left to right ',
            '2, the bird is flying',
        ]
        self.tracks = {
            f'val/{ONE}': [
                _track('0'),
                _track('1', [4, 5, 6, 9, 10], 'bird'),
            ],
            f'val/{TWO}': [_track('0', range(3, 9), 'airplane')],
        }

    def write(self, split='test'):
        lists = self.root / 'Data/VID/annSamples'
        lists.mkdir(parents=True, exist_ok=True)
        text = '\n'.join(self.tubes) + '\n'
        (lists / f'{split}_valid_list.txt').write_text(text)
        told = '\n'.join(self.told) + '\n'
        (lists / f'{split}_ann_list_v2.txt').write_bytes(
            told.encode('latin-1')
        )
        for name, tracks in self.tracks.items():
            path = self.root / f'Annotations/VID/tubeGt/{name}.js'
            path.parent.mkdir(parents=True, exist_ok=True)
            raw = dict(video=name.split('/')[-1], annotations=tracks)
            path.write_text(json.dumps(raw))

    def convert(self, split='test', **options):
        self.write(split)
        out = self.folder / 'out' / 'o.json'
        summary = convert_vid_sentence(self.root, out, split, **options)
        return load_annotation(out), summary

    def pictures(self, toy_tools, name=f'val/{ONE}', count=25, **options):
        folder = self.folder / 'VID' / name
        folder.mkdir(parents=True)
        for number in range(count):
            image = toy_tools.draw_frame(number, **options)[..., ::-1]
            path = str(folder / f'{number:06d}.JPEG')
            assert cv2.imwrite(path, image, [cv2.IMWRITE_JPEG_QUALITY, 98])
        return self.folder / 'VID'


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def test_test_is_taken_from_val(case):
    annotation, summary = case.convert()
    assert annotation.metainfo['dataset'] == 'vid-sentence'
    assert annotation.metainfo['split'] == 'test'
    assert annotation.metainfo['query_ids'] == 'official'
    # Nobody annotated the other objects.
    assert annotation.metainfo['tracks_complete'] is False
    assert list(annotation.videos) == [ONE]
    video = annotation.videos[ONE]
    assert not video.tracks_complete and not video.predicates
    assert video.tracks['0'].predicates == ()
    assert video.path == f'val/{ONE}' and video.frame_count == 20
    assert (video.width, video.height, video.fps) == (64, 48, 30.0)
    # Frame 1 is picture 0.
    boxes, valid = video.track_boxes('0', [0, 19])
    assert valid.all() and boxes[:, 0].tolist() == [1, 20]
    assert annotation.data_list[0] == dict(
        video_id=ONE,
        segment=[0, 20],
        queries=[
            dict(
                query_id='1',
                type='declarative',
                text='A large elephant runs, from left to right',
                span=[0, 20],
                track_id='0',
                category='elephant',
            )
        ],
    )
    assert summary.official['sentences'] == 536
    assert summary.notes[NO_LENGTH] == 1
    assert summary.notes[NO_SENTENCE] == 1
    assert f'{NO_SENTENCE}: 0' in summary.repaired


def test_a_track_with_a_hole(case):
    annotation, summary = case.convert()
    clip = annotation.data_list[1]
    (query,) = clip['queries']
    assert clip['segment'] == query['span'] == [3, 10]
    video = annotation.videos[ONE]
    _, valid = video.track_boxes('1', np.arange(3, 10))
    assert valid.tolist() == [True] * 3 + [False] * 2 + [True] * 2
    assert summary.notes['frames in spans without a box'] == 2
    # Scored is where there are boxes.
    truths = annotation.ground_truths()
    predictions = {
        name: dict(span=truth['span'], boxes=truth['boxes'])
        for name, truth in truths.items()
    }
    scores = evaluate_tubes(truths, predictions, 'vid_sentence')
    assert scores['acc_avg'] == 1.0


def test_the_whole_video_may_be_searched(case, toy_tools):
    videos = case.pictures(toy_tools)
    annotation, _ = case.convert(videos=videos, segment='video')
    (clip,) = annotation.data_list
    assert clip['segment'] == [0, 25] and len(clip['queries']) == 2
    assert annotation.metainfo['searched'] == 'video'


def test_pictures_tell_the_length(case, toy_tools):
    videos = case.pictures(toy_tools)
    annotation, summary = case.convert(videos=videos, fps=25)
    video = annotation.videos[ONE]
    assert video.frame_count == 25 and video.fps == 25.0
    assert annotation.data_list[0]['segment'] == [0, 20]
    assert NO_LENGTH not in summary.notes
    assert not any('more frames' in name for name in summary.notes)
    # The box of a frame lies on its picture.
    with open_video(videos / video.path) as reader:
        assert toy_tools.is_frame(reader.get_frames([7])[0], 7)


def test_pictures_that_are_fewer_than_the_boxes(case, toy_tools):
    videos = case.pictures(toy_tools, count=19)
    annotation, summary = case.convert(videos=VideoCheck(videos))
    assert annotation.videos[ONE].frame_count == 19
    assert annotation.data_list[0]['queries'][0]['span'] == [0, 19]
    assert summary.notes[SHORTER] == 1


def test_pictures_that_are_missing_or_others(case, toy_tools):
    case.told = ['0, a plane', '1, a large elephant']
    case.pictures(toy_tools, f'val/{TWO}', width=32, height=24)
    videos = case.pictures(toy_tools)
    (videos / f'val/{ONE}/000007.JPEG').unlink()
    with pytest.raises(ConversionError, match='picture 7 is missing'):
        case.convert(videos=videos)
    annotation, summary = case.convert(videos=videos, skip_bad=True)
    assert list(annotation.videos) == [TWO]
    assert summary.notes[RESIZED] == 1
    assert summary.notes['sentences of skipped videos'] == 1
    (line,) = summary.skipped
    assert 'picture 7 is missing' in line


def test_train_videos_lie_in_parts(case):
    case.tubes, case.told = [f'{FAR},2'], ['0,The red car']
    case.tracks = {f'train/{FAR}': [_track('2')]}
    annotation, summary = case.convert('train', workers=2)
    assert annotation.videos[FAR].path == f'train/{FAR}'
    assert annotation.metainfo['split'] == 'train'
    assert summary.official['sentences'] == 6582


def test_more_than_one_sentence_a_tube(case):
    case.told = ['1, one', '2, two', '1, three']
    annotation, _ = case.convert()
    ids = [q['query_id'] for c in annotation.data_list for q in c['queries']]
    assert ids == ['1', '1#2', '2']


def test_lines_in_another_encoding(case):
    case.told = ['1, the baby\x92s face']
    _, summary = case.convert()
    assert summary.notes[LATIN] == 1


def _elephant(case):
    return case.tracks[f'val/{ONE}'][0]


# What is changed, what the error says, and queries left with skip_bad.
BAD = {
    'number past the list': (
        lambda c: c.told.append('3, a dog'),
        r"test_ann_list_v2.txt, line 3: .* below 3, found '3, a dog'",
        ['1', '2'],
    ),
    'no number': (
        lambda c: c.told.append('a dog'),
        'line 3: expected "number,sentence"',
        ['1', '2'],
    ),
    'empty sentence': (
        lambda c: c.told.append('0, '),
        r'sentence 0 \(video .*\): the sentence .* is empty',
        ['1', '2'],
    ),
    'another track': (
        lambda c: c.tubes.__setitem__(2, f'{ONE},7'),
        r"no boxes for the track id '7'; its video has \['0', '1'\]",
        ['1'],
    ),
    'no file': (
        lambda c: (c.told.append('0, a plane'), c.tracks.popitem()),
        rf"video '{TWO}': there is no .*tubeGt/val/{TWO}.js",
        ['1', '2'],
    ),
    'no area': (
        lambda c: _elephant(c)['track'][4].update(bbox=[9, 9, 9, 20]),
        rf'{ONE}.js, frame 4, id 0: box \[9, 9, 9, 20\]',
        ['1', '2'],
    ),
}


@pytest.mark.parametrize('kind', BAD)
def test_bad_entries_are_named_or_skipped(case, kind):
    change, message, left = BAD[kind]
    change(case)
    with pytest.raises(ConversionError, match=message):
        case.convert()
    assert not (case.folder / 'out').exists()
    annotation, summary = case.convert(skip_bad=True)
    assert sorted(annotation.ground_truths()) == left
    assert len(summary.skipped) == 1


# Bad beyond skipping: where, what stands there, and what the error says.
FATAL = [
    ('TRACK 0 frame', 0, 'id 0, frame: expected a number from 1 on, found 0'),
    ('TRACK 0 frame', 2, 'id 0: two boxes on one frame'),
    (
        'TRACK 5 frame_size',
        [48, 60],
        r'id 0, frame 6: width and height are \(60, 48\), on other .*64',
    ),
    (
        'TRACK 5 frame_size',
        48,
        r'frame_size: expected \[height, width\], found 48',
    ),
    ('TRACK', [], 'id 0: a track without boxes'),
    ('TRACK', dict(a=1), "id 0, track: expected a list, found .'a': 1"),
    (
        f'val/{ONE}',
        3,
        f'{ONE}.js, top level, annotations: expected a list, found 3',
    ),
    (
        f'val/{ONE} 0 id',
        None,
        r'annotations\[0\], id: expected text or a whole number, found None',
    ),
    (f'val/{ONE} 0 id', '1', 'id 1: stands there twice'),
    (
        'TRACK 0 class',
        None,
        'id 0, class: expected text or a whole number, found None',
    ),
    (
        'TRACK 0 frame',
        10**30,
        'id 0, frame: expected a whole number up to 10,000,000, found 1000',
    ),
    ('TRACK 5 bbox', ..., "id 0: key 'bbox' is missing"),
]


@pytest.mark.parametrize(('place', 'value', 'message'), FATAL)
def test_files_of_another_kind(case, put, place, value, message):
    put(case.tracks, place.replace('TRACK', f'val/{ONE} 0 track'), value)
    with pytest.raises(ConversionError, match=message):
        case.convert()


def test_a_list_of_another_kind(case):
    case.tubes.append(ONE)
    message = 'test_valid_list.txt, line 4: expected "video,id"'
    with pytest.raises(ConversionError, match=message):
        case.convert()


def test_what_is_not_there_or_not_known(case):
    with pytest.raises(FileNotFoundError, match='val_valid_list.txt does'):
        convert_vid_sentence(case.root, case.folder / 'o.json', 'val')
    for options in (dict(segment='all'), dict(fps=0)):
        with pytest.raises(ValueError, match='segment must be one of'):
            case.convert(**options)


def test_command_line(case, run_tool, toy_tools):
    case.write()
    videos = case.pictures(toy_tools)
    words = ['dataset_converters/vid_sentence', case.root]
    words += ['--out', case.folder / 'test.json']
    done = run_tool(*words)
    assert done.returncode == 2 and 'give --split' in done.stderr
    words += ['--split', 'test', '--videos', videos, '--workers', '1']
    done = run_tool(*words)
    assert done.returncode == 0, done.stderr
    assert '2 of 536 published (-534)' in done.stdout
    assert (case.folder / 'test.videos.jsonl').is_file()
    found = load_annotation(case.folder / 'test.json')
    assert found.videos[ONE].frame_count == 25
