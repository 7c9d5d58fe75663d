"""VidSTG as TubeDETR's preprocessing writes it, to the one format."""

import numpy as np
import pytest
from test_datasets import raw_files as made

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.converters import ConversionError, tubedetr
from hero_mm.datasets.converters.vidor import CORNERS, RAISED


@pytest.fixture
def case(tmp_path):
    return made.TubeDETR(tmp_path)


def test_a_file(case):
    annotation, summary = case.convert()
    about = dict(dataset='vidstg', split='val', query_ids='tubedetr')
    # Nobody annotated the other objects.
    about['tracks_complete'] = False
    assert about.items() <= annotation.metainfo.items()
    video = annotation.videos['11']
    assert not video.predicates and video.tracks['0'].predicates == ()
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


def test_ends_and_missing_boxes(case):
    for said in case.raw['videos']:
        said.update(tube_end_frame=16, video_path='')
    case.raw['trajectories']['11']['0'].update(made.trajectory([22]))
    annotation, summary = case.convert()
    video = annotation.videos['11']
    assert (video.path, video.frame_count) == ('11.mp4', 23)
    assert annotation.data_list[0]['queries'][0]['span'] == [4, 16]
    # Track 2 ends long before the tube.
    assert sorted(annotation.ground_truths()['1']['boxes']) == [4, 5, 6, 7, 8]
    assert summary.notes['frames in spans without a box'] == 7
    assert summary.notes[RAISED] == 1
    case.raw['videos'][0].update(tube_end_frame=17)
    with pytest.raises(ConversionError, match=r'\[4, 17\) .* \[2, 16\)'):
        case.convert()
    del case.raw['videos'][0]
    case.raw['trajectories']['11']['2'] = {}
    with pytest.raises(ConversionError, match="the object '2' has no boxes"):
        case.convert()
    annotation, summary = case.convert(skip_bad=True)
    assert set(annotation.ground_truths()) == {'2'}
    assert len(summary.skipped) == 1


def test_the_official_files_give_the_same(tmp_path):
    """Through the preprocessing, done once more here, and directly."""
    official = made.VidSTG(tmp_path / 'official')
    official.vidor['12.json'] = made.vidor('12')
    official.entries = [
        made.entry('12', (0, 19), (10, 20)),
        made.entry('11', (2, 15), (4, 9)),
        made.entry('11', (2, 15), (4, 16)),
    ]
    direct, _ = official.convert()
    videos, tracks, numbers = [], {}, []
    for entry in official.entries:
        segment, truth = entry['used_segment'], entry['temporal_gt']
        for said in entry['questions'] + entry['captions']:
            make = made.caption if said in entry['captions'] else made.question
            videos.append(
                make(
                    len(videos),
                    original_video_id=entry['vid'],
                    start_frame=segment['begin_fid'],
                    end_frame=segment['end_fid'],
                    tube_start_frame=truth['begin_fid'],
                    tube_end_frame=truth['end_fid'],
                    video_path=f'0000/{entry["vid"]}.mp4',
                    target_id=said['target_id'],
                )
            )
        numbers += [len(numbers) + place for place in (1, 2, 0)]
    for raw in official.vidor.values():
        found = tracks[raw['video_id']] = {}
        for frame, boxes in enumerate(raw['trajectories']):
            for box in boxes:
                x1, y1, x2, y2 = (box['bbox'][key] for key in CORNERS)
                found.setdefault(str(box['tid']), {})[str(frame)] = dict(
                    bbox=[x1, y1, x2 - x1, y2 - y1], generated=0
                )
    case = made.TubeDETR(tmp_path)
    case.raw = dict(videos=videos, trajectories=tracks)
    annotation, summary = case.convert()
    mine, theirs = annotation.ground_truths(), direct.ground_truths()
    assert len(mine) == 9 and not summary.skipped
    # Questions stand before the caption of their moment.
    for number, other in enumerate(numbers):
        assert mine[str(number)] == theirs[str(other)]


def test_files_of_another_kind(case):
    for raw, message in (
        ([made.caption(0)], 'with hcstvg.py'),
        (3, 'found int'),
    ):
        case.raw = raw
        with pytest.raises(ConversionError, match=message):
            case.convert()
    with pytest.raises(FileNotFoundError, match='none.json does not exist'):
        tubedetr.convert_tubedetr(case.folder / 'none.json', 'o.json')


def test_command_line(case, tmp_path, run_tool):
    case.write()
    out = tmp_path / 'a.json'
    words = ['dataset_converters/tubedetr', case.path, '--out', out]
    done = run_tool(*words)
    assert done.returncode == 0, done.stderr
    assert 'of 8,956 published' in done.stdout
    assert load_annotation(out).metainfo['query_ids'] == 'tubedetr'
    case.raw['trajectories']['11']['0'].update(made.trajectory([-1]))
    case.write()
    done = run_tool(*words)
    assert done.returncode == 1 and done.stderr.startswith('error: ')


def test_large_tracks_are_small_in_memory(case, monkeypatch):
    """A track is an array as soon as it is read, not dictionaries."""
    seen, corners = [], tubedetr.to_corners

    def spy(entry, numbers, boxes):
        seen.append(boxes)
        return corners(entry, numbers, boxes)

    monkeypatch.setattr(tubedetr, 'to_corners', spy)
    case.convert()
    assert [type(boxes) for boxes in seen] == [np.ndarray] * 2
    assert {boxes.dtype for boxes in seen} == {np.dtype(np.int32)}
