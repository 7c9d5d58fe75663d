"""Files that TubeDETR's preprocessing writes, to the one format."""

import json

import numpy as np
import pytest
from test_datasets import raw_files as made

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


@pytest.fixture
def case(tmp_path):
    return made.TubeDETR(tmp_path)


def test_vidstg(case):
    annotation, summary = case.convert()
    told = annotation.metainfo
    assert (told['dataset'], told['split']) == ('vidstg', 'val')
    assert told['query_ids'] == 'tubedetr'
    # Nobody annotated the other objects.
    assert told['tracks_complete'] is False
    video = annotation.videos['11']
    assert not video.tracks_complete and not video.predicates
    assert video.tracks['0'].predicates == ()
    assert (video.path, video.frame_count) == ('training/0000/11.mp4', 20)
    assert (video.fps, video.width, video.height) == (10.0, 64, 48)
    assert video.store.array.dtype == 'int16'
    boxes, valid = video.track_boxes('2', [2, 3, 8, 9])
    assert valid.tolist() == [False, True, True, False]
    # xywh in the file.
    assert boxes[1].tolist() == [20, 5, 30, 25]
    (clip,) = annotation.data_list
    # end_frame is the last frame, tube_end_frame is one past the last.
    assert clip['segment'] == [2, 16]
    assert clip['queries'][1] == dict(
        query_id='1',
        type='interrogative',
        text='who watches it?',
        span=[4, 9],
        track_id='2',
    )
    assert summary.sentences == dict(declarative=1, interrogative=2)
    assert not summary.notes and not summary.skipped
    assert 'of 8,956 published' in summary.table()


def test_a_tube_that_ends_one_past_the_segment(case):
    for told in case.raw['videos']:
        told.update(tube_end_frame=16)
    annotation, summary = case.convert()
    assert annotation.data_list[0]['queries'][0]['span'] == [4, 16]
    kind = (
        "sentences whose span ends one past their segment's last frame (kept)"
    )
    assert summary.notes[kind] == 3
    case.raw['videos'][0].update(tube_end_frame=17)
    with pytest.raises(ConversionError, match=r'\[4, 17\) .* \[2, 16\)'):
        case.convert()


def test_missing_boxes_are_counted(case):
    for told in case.raw['videos']:
        told.update(tube_end_frame=10)
    annotation, summary = case.convert()
    # Track 2 ends one frame before the tube.
    assert sorted(annotation.ground_truths()['1']['boxes']) == [4, 5, 6, 7, 8]
    assert summary.notes['frames in spans without a box'] == 1
    case.raw['trajectories']['11']['2'] = {}
    with pytest.raises(ConversionError, match="unknown track id '2'"):
        case.convert()
    annotation, summary = case.convert(skip_bad=True)
    assert set(annotation.ground_truths()) == {'0', '2'}
    assert len(summary.skipped) == 1


def test_boxes_past_the_video(case):
    case.raw['trajectories']['11']['0'].update(made.trajectory([22]))
    annotation, summary = case.convert()
    assert annotation.videos['11'].frame_count == 23
    assert summary.notes[RAISED] == 1


def test_ids_as_in_the_official_file(case):
    """Each moment: its caption, then its questions."""
    later = dict(tube_start_frame=10, tube_end_frame=12)
    third = dict(tube_start_frame=11, tube_end_frame=14)
    case.raw['videos'] += [
        made.caption(3, **later),
        made.question(4, **third, caption='who sits?'),
        made.caption(5, **third),
    ]
    annotation, _ = case.convert(query_ids='official')
    assert annotation.metainfo['query_ids'] == 'official'
    told = {
        query['query_id']: (query['type'][:3], query['span'], query['text'])
        for query in annotation.data_list[0]['queries']
    }
    assert told == {
        '0': ('dec', [4, 9], 'he watches it.'),
        '1': ('int', [4, 9], 'who watches it?'),
        '2': ('int', [4, 9], 'who watches it?'),
        '3': ('dec', [10, 12], 'he watches it.'),
        '4': ('dec', [11, 14], 'he watches it.'),
        '5': ('int', [11, 14], 'who sits?'),
    }
    # Only a whole file tells them.
    del case.raw['videos'][1]
    with pytest.raises(ConversionError, match=r'videos\[1\] .*not in the ord'):
        case.convert(query_ids='official')
    assert len(case.convert()[0].ground_truths()) == 5
    case.raw['videos'] = [made.question(0), made.caption(1), made.question(2)]
    with pytest.raises(ConversionError, match='last 1 .* without a caption'):
        case.convert(query_ids='official')


def test_the_official_files_give_the_same(tmp_path):
    """Through the preprocessing, done once more here, and directly."""
    official = made.VidSTG(tmp_path / 'official')
    official.vidor['12.json'] = made.vidor('12')
    official.entries = [
        made.entry(name, segment, truth)
        for name, segment, truth in [
            ('12', (0, 19), (10, 20)),
            ('11', (2, 15), (4, 9)),
            ('11', (2, 15), (4, 16)),
            ('12', (0, 19), (3, 8)),
        ]
    ]
    direct, _ = official.convert()
    videos, tracks = [], {}
    for entry in official.entries:
        for told in entry['questions'] + entry['captions']:
            kind = told in entry['captions']
            videos.append(
                made.caption(
                    len(videos),
                    original_video_id=entry['vid'],
                    frame_count=entry['frame_count'],
                    fps=entry['fps'],
                    width=entry['width'],
                    height=entry['height'],
                    start_frame=entry['used_segment']['begin_fid'],
                    end_frame=entry['used_segment']['end_fid'],
                    tube_start_frame=entry['temporal_gt']['begin_fid'],
                    tube_end_frame=entry['temporal_gt']['end_fid'],
                    video_path=f'0000/{entry["vid"]}.mp4',
                    caption=told['description'],
                    target_id=told['target_id'],
                    qtype='declarative' if kind else 'interrogative',
                )
            )
    for raw in official.vidor.values():
        found = tracks[raw['video_id']] = {}
        for frame, boxes in enumerate(raw['trajectories']):
            for box in boxes:
                x1, y1, x2, y2 = (
                    box['bbox'][key]
                    for key in ('xmin', 'ymin', 'xmax', 'ymax')
                )
                found.setdefault(str(box['tid']), {})[str(frame)] = dict(
                    bbox=[x1, y1, x2 - x1, y2 - y1], generated=0
                )
    case = made.TubeDETR(tmp_path)
    case.name = 'train.json'
    case.raw = dict(videos=videos, trajectories=tracks)
    annotation, summary = case.convert(query_ids='official')
    mine, theirs = annotation.ground_truths(), direct.ground_truths()
    assert len(mine) == 12 and not summary.skipped
    assert dict(mine) == dict(theirs)
    assert _texts(annotation) == _texts(direct)


def _texts(annotation):
    return {
        query['query_id']: (clip['video_id'], query['text'])
        for clip in annotation.data_list
        for query in clip['queries']
    }


def test_videos_are_looked_for(case, tmp_path):
    films = tmp_path / 'films' / 'a'
    films.mkdir(parents=True)
    with pytest.raises(ConversionError, match='no such file in'):
        case.convert(videos=tmp_path / 'films')
    (films / '11.mp4').touch()
    annotation, _ = case.convert(videos=tmp_path / 'films')
    assert annotation.videos['11'].path == 'a/11.mp4'


def test_a_video_without_a_path(case):
    for entry in case.raw['videos']:
        entry['video_path'] = ''
    annotation, _ = case.convert()
    assert annotation.videos['11'].path == '11.mp4'


def test_bad_words(case):
    with pytest.raises(ValueError, match='query_ids must be one of'):
        case.convert(query_ids='mine')
    case.raw = 3
    with pytest.raises(ConversionError, match='found int'):
        case.convert()
    with pytest.raises(FileNotFoundError, match='none.json does not exist'):
        convert_tubedetr(case.folder / 'none.json', case.folder / 'o.json')


def test_command_line(case, tmp_path, run_tool):
    case.write()
    out = tmp_path / 'a.json'
    words = ['dataset_converters/tubedetr', case.path, '--out', out]
    words += ['--query-ids', 'official']
    done = run_tool(*words)
    assert done.returncode == 0, done.stderr
    assert 'of 8,956 published' in done.stdout
    assert load_annotation(out).metainfo['query_ids'] == 'official'
    case.raw['trajectories']['11']['0'].update(made.trajectory([-1]))
    case.write()
    done = run_tool(*words)
    assert done.returncode == 1 and done.stderr.startswith('error: ')


def test_large_tracks_are_small_in_memory(case, monkeypatch):
    """A track is an array as soon as it is read, not dictionaries."""
    from hero_mm.datasets.converters import tubedetr

    seen = []
    make = tubedetr.make_track

    def spy(entry, numbers, boxes, *args):
        seen.append(boxes)
        return make(entry, numbers, boxes, *args)

    monkeypatch.setattr(tubedetr, 'make_track', spy)
    case.convert()
    assert [type(boxes) for boxes in seen] == [np.ndarray] * 2
    assert {boxes.dtype for boxes in seen} == {np.dtype(np.int32)}


# HC-STVG ---------------------------------------------------------------------


@pytest.fixture
def persons(tmp_path):
    return made.Persons(tmp_path)


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
    persons.raw.append(made.person(2, caption='she stands.'))
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
    persons.raw.append(made.person(2, tube_start_frame=58, tube_end_frame=63))
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
            width=64,
            height=48,
        )
        for entry in persons.raw
    }
    path = tmp_path / 'test.json'
    path.write_text(json.dumps(raw))
    convert_hcstvg(path, tmp_path / 'direct.json')
    direct = load_annotation(tmp_path / 'direct.json').ground_truths()
    annotation, _ = persons.convert(query_ids='official')
    assert dict(annotation.ground_truths()) == dict(direct)


def test_a_video_that_ends_early(persons, tmp_path, toy_tools):
    """Its sentences end with it, and that is told."""
    films = tmp_path / 'films'
    films.mkdir()
    toy_tools.write_video(films / '7_abc.mp4', count=58, fps=3)
    persons.raw = [
        made.person(0, tube_start_frame=56, tube_end_frame=61),
        made.person(1),
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
