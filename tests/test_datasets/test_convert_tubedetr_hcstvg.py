"""HC-STVG as TubeDETR's preprocessing writes it, to the one format."""

import json

import pytest

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.converters import (
    ConversionError,
    VideoCheck,
    convert_hcstvg,
    convert_tubedetr,
)
from hero_mm.datasets.converters.tubedetr import BOXES_COUNT
from hero_mm.datasets.converters.videos import SHORTER
from hero_mm.datasets.converters.vidor import RAISED

SIZE = dict(width=64, height=48)


def _person(number, **changes):
    """A sentence of HC-STVG; the tube is frames 5 to 9, from 1."""
    return {
        'original_video_id': '7_abc',
        'frame_count': 60,
        **SIZE,
        'tube_start_frame': 5,
        'tube_end_frame': 10,
        'tube_start_time': 1.4,
        'tube_end_time': 3.1,
        'video_path': '3/7_abc.mp4',
        'caption': 'the man sits down.',
        'video_id': number,
        'trajectory': [[number, 2 * i, 10, 12] for i in range(5)],
        **changes,
    }


class Case:
    """A raw file in a folder, and its conversion."""

    def __init__(self, folder, name, raw):
        self.folder = folder
        self.name = name
        self.raw = raw

    def write(self):
        self.path = self.folder / self.name
        self.path.write_text(json.dumps(self.raw))

    def convert(self, **options):
        self.write()
        out = self.folder / 'out' / 'a.json'
        summary = convert_tubedetr(self.path, out, **options)
        return load_annotation(out), summary


@pytest.fixture
def persons(tmp_path):
    """HC-STVG with two videos."""
    other = dict(original_video_id='8_x', video_path='3/8_x.mkv')
    return Case(tmp_path, 'test_proc.json', [_person(0), _person(1, **other)])


def test_hcstvg(persons):
    annotation, summary = persons.convert()
    told = annotation.metainfo
    assert (told['dataset'], told['split']) == ('hcstvg', 'test')
    video = annotation.videos['8_x']
    assert (video.path, video.frame_count) == ('3/8_x.mkv', 60)
    assert video.fps == 3.0
    clip = annotation.data_list[1]
    assert (clip['video_id'], clip['segment']) == ('8_x', [0, 60])
    # Frames count from 1 in the file.
    assert clip['queries'] == [
        dict(
            query_id='1',
            type='declarative',
            text='the man sits down.',
            span=[4, 9],
            track_id='1',
            category='person',
        )
    ]
    truth = annotation.ground_truths()['1']
    assert truth['boxes'][4] == [1, 0, 11, 12]
    assert truth['boxes'][8] == [1, 8, 11, 20]
    assert sorted(truth['boxes']) == [4, 5, 6, 7, 8]
    assert summary.sentences == dict(declarative=2) and not summary.notes


@pytest.mark.parametrize(
    ('name', 'dataset', 'split'),
    [
        ('trainv2_proc.json', 'hcstvg-v2', 'train'),
        ('valv2_proc.json', 'hcstvg-v2', 'val'),
        ('train_proc.json', 'hcstvg', 'train'),
        ('mine.json', 'hcstvg', 'mine'),
    ],
)
def test_the_name_tells_the_data_set(persons, name, dataset, split):
    persons.name = name
    told = persons.convert()[0].metainfo
    assert (told['dataset'], told['split']) == (dataset, split)
    told = persons.convert(dataset='own', split='all')[0].metainfo
    assert (told['dataset'], told['split']) == ('own', 'all')


def test_the_number_of_boxes_tells_the_end(persons):
    persons.raw[0].update(tube_end_frame=11)
    annotation, summary = persons.convert()
    assert annotation.ground_truths()['0']['span'] == (4, 9)
    assert summary.notes == {BOXES_COUNT: 1}
    assert '[5, 11) for 5 boxes' in summary.repaired[0]


def test_a_tube_past_the_number_of_frames(persons):
    # img_num disagrees with the boxes.
    persons.raw[0].update(frame_count=7)
    annotation, summary = persons.convert()
    video = annotation.videos['7_abc']
    assert video.frame_count == 9 and video.fps == 7 / 20
    assert annotation.data_list[0]['segment'] == [0, 9]
    assert summary.notes == {RAISED: 1}


def test_two_sentences_of_one_video(persons):
    persons.raw.append(_person(2, caption='she stands.'))
    annotation, _ = persons.convert()
    assert len(annotation.data_list) == 2
    queries = annotation.data_list[0]['queries']
    assert [q['track_id'] for q in queries] == ['0', '2']
    truths = annotation.ground_truths()
    assert truths['0']['boxes'][4] == [0, 0, 10, 12]
    assert truths['2']['boxes'][4] == [2, 0, 12, 12]
    annotation, _ = persons.convert(query_ids='official')
    assert list(annotation.ground_truths()) == [
        '7_abc.mp4',
        '7_abc.mp4#2',
        '8_x.mkv',
    ]


def test_a_later_sentence_lengthens_the_video(persons):
    persons.raw.append(_person(2, tube_start_frame=58, tube_end_frame=63))
    annotation, summary = persons.convert()
    assert summary.notes == {RAISED: 1}
    # One clip still: both sentences search the whole video.
    clip = annotation.data_list[0]
    assert clip['segment'] == [0, 62] and len(clip['queries']) == 2


def test_hcstvg_as_its_official_file(persons, tmp_path):
    raw = {
        entry['video_path'].split('/')[1]: dict(
            bbox=entry['trajectory'],
            st_time=0.2,
            ed_time=0.5,
            st_frame=entry['tube_start_frame'],
            img_num=entry['frame_count'],
            caption=entry['caption'],
            **SIZE,
        )
        for entry in persons.raw
    }
    path = tmp_path / 'test.json'
    path.write_text(json.dumps(raw))
    convert_hcstvg(path, tmp_path / 'direct.json')
    direct = load_annotation(tmp_path / 'direct.json').ground_truths()
    annotation, _ = persons.convert(query_ids='official')
    assert dict(annotation.ground_truths()) == dict(direct)


def test_videos_are_looked_for(persons, tmp_path):
    films = tmp_path / 'films'
    (films / 'a').mkdir(parents=True)
    with pytest.raises(ConversionError, match="video_path '3/7_abc.mp4'"):
        persons.convert(videos=films)
    (films / 'a' / '8_x.mkv').touch()
    annotation, summary = persons.convert(videos=films, skip_bad=True)
    assert list(annotation.videos) == ['8_x']
    assert summary.notes['sentences of skipped videos'] == 1


def test_a_video_that_ends_early(persons, tmp_path, toy_tools):
    """Its sentences end with it, and that is told."""
    films = tmp_path / 'films'
    films.mkdir()
    toy_tools.write_video(films / '7_abc.mp4', count=58, fps=3)
    persons.raw = [
        _person(0, tube_start_frame=56, tube_end_frame=61),
        _person(1),
    ]
    annotation, summary = persons.convert(videos=VideoCheck(films))
    (clip,) = annotation.data_list
    assert clip['segment'] == [0, 58]
    assert [query['span'] for query in clip['queries']] == [[55, 58], [4, 9]]
    assert summary.notes == {
        SHORTER: 1,
        'sentences whose segment was cut to the video': 2,
        'sentences whose span was cut to the video': 1,
    }


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(tube_start_frame=0), 'tube_start_frame: .* from 1 on, found 0'),
        (dict(trajectory=[]), r'trajectory: expected a list of boxes'),
        (dict(trajectory=None), r'trajectory: .* found None'),
        (dict(trajectory=[[1, 2, 0, 4]]), r'frame 4, .* \[1, 2, 1, 6\]'),
        (dict(trajectory=[[1, 2, 4]]), 'frame 4, .* a box is four numbers'),
        (dict(frame_count=0), 'frame_count: expected a number from 1 on'),
        (dict(caption=''), 'the sentence .caption. is empty'),
        (dict(caption=None), 'caption: expected text, found None'),
        (
            dict(original_video_id='8_x', height=47),
            'frame_count, fps, width, height',
        ),
    ],
)
def test_bad_persons_are_named_or_skipped(persons, change, message):
    persons.raw.append(_person(2, **change))
    with pytest.raises(ConversionError, match=message) as caught:
        persons.convert()
    assert 'entries[2]' in str(caught.value)
    annotation, summary = persons.convert(skip_bad=True)
    assert set(annotation.ground_truths()) == {'0', '1'}
    assert summary.skipped
