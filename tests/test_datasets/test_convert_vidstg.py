"""Official VidSTG and VidOR files to the one format."""

import gzip
import json

import numpy as np
import pytest
from test_datasets import raw_files as made

from hero_mm.datasets import GroundingDataset
from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.converters import ConversionError, convert_vidstg
from hero_mm.datasets.converters.conversion import TWICE
from hero_mm.structures import actions


def _black(results):
    """In the place of decoding."""
    return {**results, 'imgs': np.zeros((4, 48, 64, 3), np.uint8)}


PIPELINE = [
    dict(type='SampleClipFrames', num_frames=4),
    _black,
    dict(type='LoadTubes'),
    dict(type='SwapActionPhrase', num_negatives=9),
    dict(type='PackGroundingInputs'),
]


@pytest.fixture
def case(tmp_path):
    return made.VidSTG(tmp_path)


def add_videos(case, *names):
    for name in names:
        case.vidor[f'{name}.json'] = made.vidor(name)
        case.entries.append(made.entry(name))


def test_one_entry(case):
    annotation, summary = case.convert()
    about = dict(dataset='vidstg', split='val', query_ids='official')
    assert about.items() <= annotation.metainfo.items()
    video = annotation.videos['11']
    assert video.path == '0000/11.mp4'
    assert (video.frame_count, video.fps) == (made.COUNT, 10.0)
    assert (video.width, video.height) == (64, 48)
    assert video.predicates == ('above', 'watch')
    assert video.store.array.dtype == 'int16'
    assert {t: k.category for t, k in video.tracks.items()} == {
        '0': 'adult',
        '2': 'ball/sports_ball',
    }
    boxes, valid = video.track_boxes('2', [9, 10, 11])
    assert valid.tolist() == [True, False, True]
    assert boxes[0].tolist() == [9, 3, 19, 30]
    # The segment's end is inclusive in the raw file, the span's is not.
    (clip,) = annotation.data_list
    assert clip['segment'] == [0, 20]
    first = dict(
        query_id='0',
        type='declarative',
        text='he watches it.',
        span=[4, 9],
        track_id='0',
        predicate='watch',
        category='adult',
    )
    asked = dict(
        query_id='2',
        type='interrogative',
        text='what is watched?',
        track_id='2',
        category='ball/sports_ball',
    )
    assert clip['queries'][0] == first
    assert clip['queries'][2] == {**first, **asked}
    assert (summary.videos, summary.clips) == (1, 1)
    assert summary.sentences == dict(declarative=1, interrogative=2)
    assert not summary.skipped and not summary.notes


def test_sentences_of_a_segment_stand_together(case):
    add_videos(case, '12')
    for frame in case.vidor[case.first]['trajectories']:
        frame.insert(0, made.box(3, 10))
    case.entries.append(made.entry(truth=(15, 20)))
    case.entries.append(made.entry(segment=(2, 9), truth=(5, 10)))
    annotation, summary = case.convert(split='test', dataset='own')
    clips = annotation.data_list
    # In the order of their numbers; the last has no category.
    assert list(annotation.videos['11'].tracks) == ['0', '2', '10']
    assert [(c['video_id'], c['segment']) for c in clips] == [
        ('11', [0, 20]),
        ('12', [0, 20]),
        ('11', [2, 10]),
    ]
    assert [[q['query_id'] for q in c['queries']] for c in clips] == [
        ['0', '1', '2', '6', '7', '8'],
        ['3', '4', '5'],
        ['9', '10', '11'],
    ]
    about = dict(split='test', dataset='own')
    assert about.items() <= annotation.metainfo.items()
    # One past the last frame of the segment is its end.
    assert clips[0]['queries'][3]['span'] == [15, 20]
    assert clips[2]['queries'][0]['span'] == [5, 10]
    assert (summary.videos, summary.clips) == (2, 3)
    assert summary.notes == {'tracks without a category': 1}


def test_folder_flat_and_a_list_of_videos(case, tmp_path):
    case.vidor = {'11.json': made.vidor(), 'old/11.json': made.vidor(fps=5)}
    case.entries.insert(0, made.entry('12'))
    case.vidor['12.json'] = made.vidor('12')
    files = tmp_path / 'val_files.json'
    files.write_text(json.dumps(['11', '13']))
    annotation, summary = case.convert(files=files)
    assert list(annotation.videos) == ['11']
    assert annotation.videos['11'].fps == 10.0
    # Ids count what is left out.
    assert annotation.data_list[0]['queries'][0]['query_id'] == '3'
    assert summary.notes == {TWICE: 1}
    assert f'{TWICE}: 11: 11.json, old/11.json' in summary.repaired


def test_what_is_missing_in_a_file_of_vidor_is_counted(case):
    raw = case.vidor[case.first]
    raw['frame_count'] = made.COUNT - 2
    annotation, summary = case.convert()
    video = annotation.videos['11']
    assert video.frame_count == made.COUNT
    raised = 'videos with boxes past frame_count, which was raised'
    assert summary.notes == {raised: 1}
    for key in ('video_path', 'relation_instances', 'subject/objects'):
        del raw[key]
    video = case.convert()[0].videos['11']
    assert (video.path, video.predicates) == ('11.mp4', ())


def test_the_last_box_of_a_tube_is_missing(case):
    # Object 2 has no box on frame 10, the last of the span.
    case.entries = [made.entry(truth=(4, 11)), made.entry(truth=(10, 11))]
    annotation, summary = case.convert()
    query = annotation.data_list[0]['queries'][2]
    assert (query['track_id'], query['span']) == ('2', [4, 11])
    # Kept as it is, and no box is made up.
    truth = annotation.ground_truths()['2']
    assert sorted(truth['boxes']) == [4, 5, 6, 7, 8, 9, 11]
    assert summary.notes == {'frames in spans without a box': 1}
    # Without a single box there is nothing to score.
    (line,) = summary.skipped
    assert 'sentence 5' in line and 'track 2' in line


def _film(name, *relations):
    """VidOR's file of a video with two adults and a ball."""
    return made.vidor(
        name,
        trajectories=[
            [made.box(frame, tid) for tid in (0, 1, 2)]
            for frame in range(made.COUNT)
        ],
        relation_instances=[
            made.relation(*relation) for relation in relations
        ],
    )


def _said(name, subject, predicate, caption, *asked):
    """VidSTG's entry of a relation to object 2."""
    return made.entry(
        name,
        used_relation=made.relation(subject, predicate, 2, 4, 9),
        captions=[dict(description=caption, target_id=subject)],
        questions=[dict(description=text, target_id=2) for text in asked],
    )


@pytest.fixture
def films(case):
    """Two videos in both of which somebody kicks and somebody holds."""
    kicks = (0, 'kick', 2), (1, 'hold', 2), (0, 'watch', 1, 10, 19)
    holds = (0, 'hold', 2), (0, 'kick', 2), (1, 'ride', 2)
    case.vidor = {
        '0000/11.json': _film('11', *kicks),
        '0000/12.json': _film('12', *holds),
    }
    case.entries = [
        _said('11', 0, 'kick', 'an adult kicks a ball.'),
        _said('11', 1, 'hold', 'an adult holds a ball.'),
        _said('12', 0, 'hold', 'a man holds a ball.'),
        _said('12', 1, 'ride', 'a woman rides a ball.'),
    ]
    return case


def _predicates(case):
    """Those of the tracks, by video."""
    videos = case.convert()[0].videos.items()
    return {
        name: [track.predicates for track in video.tracks.values()]
        for name, video in videos
    }


def test_what_is_true_of_an_object(films):
    annotation, _ = films.convert()
    assert annotation.metainfo['tracks_complete'] is True
    assert annotation.videos['11'].predicates == ('hold', 'kick', 'watch')
    # The whole video, not what the sentence or its segment says.
    assert _predicates(films) == {
        '11': [('kick', 'watch'), ('hold',), ()],
        '12': [('hold', 'kick'), ('ride',), ()],
    }
    # Objects have it where a question asks for them.
    asked = 'what is kicked?'
    films.entries[0] = _said('11', 0, 'kick', 'an adult kicks it.', asked)
    found = [('kick', 'watch'), ('hold', 'watch'), ('hold', 'kick')]
    assert _predicates(films)['11'] == found


def test_a_place_is_of_both(films):
    films.vidor['0000/11.json'] = _film('11', (0, 'above', 1), (1, 'kick', 2))
    found = [('above',), ('above', 'kick'), ()]
    assert _predicates(films)['11'] == found
    # In the data set also what follows from it.
    true = _samples(films)[0].gt_tracks.predicates[1]
    assert true == ['above', 'beneath', 'hold', 'kick']


def _samples(case):
    """Loaded and packed; no frame is decoded."""
    dataset = GroundingDataset(
        str(case.folder / 'out' / 'a.json'),
        dict(video=str(case.folder)),
        pipeline=PIPELINE,
    )
    return [item['data_samples'] for item in dataset]


def test_no_co_true_caption_is_a_negative(films):
    films.convert()
    samples = _samples(films)
    assert [sample.video_id for sample in samples] == ['11', '12']
    numbers = actions.action_numbers(samples)
    # Captions: kick and hold of the first clip, hold and ride of the second.
    assert actions.true_in_clip(numbers, samples).tolist() == [
        [True, True],
        [True, True],
        [True, True],
        [False, True],
    ]
    # Targets: who kicks, who holds; who holds and also kicks, who rides.
    assert actions.true_of_query(numbers, samples).tolist() == [
        [True, False, True, False],
        [False, True, True, False],
        [False, True, True, False],
        [False, False, False, True],
    ]


def test_a_dropped_box_leaves_the_tracks_incomplete(films):
    bad = made.box(3, 1, xmax=0)
    films.vidor['0000/12.json']['trajectories'][3][1] = bad
    annotation, _ = films.convert(skip_bad=True)
    assert annotation.metainfo['tracks_complete'] is False
    complete = {n: v.tracks_complete for n, v in annotation.videos.items()}
    assert complete == {'11': True, '12': False}


def test_missing_and_broken_files(case, tmp_path):
    with pytest.raises(FileNotFoundError, match='none.json'):
        convert_vidstg(tmp_path / 'none.json', tmp_path, tmp_path / 'o')
    case.write()
    with pytest.raises(FileNotFoundError, match='none does not exist'):
        convert_vidstg(case.path, tmp_path / 'none', tmp_path / 'o')
    files = case.path.with_name('f.json')
    files.write_text('null')
    with pytest.raises(ConversionError, match='expected a list of video ids'):
        case.convert(files=files)
    case.path.write_text('[{"vid": ')
    with pytest.raises(ValueError, match='9 bytes: not valid JSON'):
        convert_vidstg(case.path, tmp_path / 'vidor', tmp_path / 'o')


@pytest.mark.parametrize('workers', [1, 2])
def test_a_broken_file_of_a_video_is_skipped_and_counted(case, workers):
    add_videos(case, *'abcdef')
    case.vidor['c.json']['frame_count'] = 'many'
    case.write()
    (case.folder / 'vidor' / 'b.json').write_text('{"video_id": ')
    case.write = lambda: None
    with pytest.raises(ConversionError, match='b.json, 13 by|c.json, top l'):
        case.convert(workers=workers)
    annotation, summary = case.convert(workers=workers, skip_bad=True)
    # The order is that of the file.
    assert list(annotation.videos) == ['11', 'a', 'd', 'e', 'f']
    assert [line.split(': ')[0] for line in summary.skipped] == ['video'] * 2
    assert summary.notes['sentences of skipped videos'] == 6
    # Sentences are numbered as if nothing were skipped.
    assert annotation.data_list[2]['queries'][0]['query_id'] == '12'


def test_a_broken_entry_is_skipped_and_counted(case):
    case.entries = [made.entry(), made.entry(captions=None), made.entry()]
    with pytest.raises(ConversionError, match='entry 1, captions'):
        case.convert()
    annotation, summary = case.convert(skip_bad=True)
    ids = [q['query_id'] for q in annotation.data_list[0]['queries']]
    assert ids == ['0', '1', '2', '5', '6', '7']
    assert summary.skipped[0].startswith('entry 1: ')


def test_raw_files_may_be_packed(case):
    case.write()
    for path in (case.path, *case.folder.glob('vidor/**/*.json')):
        data = gzip.compress(path.read_bytes())
        path.with_name(f'{path.name}.gz').write_bytes(data)
        path.unlink()
    raw, out = (
        case.path.with_name('val_annotations.json.gz'),
        case.folder / 'a',
    )
    convert_vidstg(raw, case.folder / 'vidor', out)
    annotation = load_annotation(out)
    assert list(annotation.videos) == ['11']
    assert annotation.metainfo['split'] == 'val'


def test_command_line(case, tmp_path, run_tool):
    case.entries.append(made.entry(truth=(10, 20)))
    case.entries.append(made.entry(truth=(10, 11)))
    case.vidor[case.first]['trajectories'][5][0] = made.box(5, 0, xmin=-4)
    case.write()
    out = tmp_path / 'a.json'
    words = ['dataset_converters/vidstg', case.path, tmp_path / 'vidor']
    words += ['--out', out, '--workers', '1']
    done = run_tool(*words)
    assert done.returncode == 0, done.stderr
    assert 'of 8,956 published (-8,948)' in done.stdout
    assert f'all by name: {tmp_path / "a.conversion.txt"}' in done.stdout
    lines = (tmp_path / 'a.conversion.txt').read_text().splitlines()
    place = tmp_path / 'vidor/annotation/training/0000/11.json'
    boxes = 'boxes cut to the picture'
    assert f'repaired: {boxes}: {place}, tid 0, frames 5 to 5' in lines
    frames = 'frames in spans without a box'
    place = "sentence 5, entry 1 (vid '11')"
    assert f'repaired: {frames}: {place}: 10 to 10' in lines
    assert any(x.startswith('skipped: sentence 8, ') for x in lines)
    case.entries[0]['captions'][0]['target_id'] = 5
    case.write()
    done = run_tool(*words)
    assert done.returncode == 1 and done.stdout == ''
    assert 'error: ' in done.stderr and 'Traceback' not in done.stderr


def test_real_clips(shared_data, tmp_path):
    folder = shared_data / 'real'
    summary = convert_vidstg(
        folder / 'vidstg' / 'open_annotations.json',
        folder / 'vidor',
        tmp_path / 'open.json',
        files=folder / 'vidstg' / 'open_files.json',
        videos=folder / 'videos',
    )
    assert sum(summary.sentences.values()) == 34 and summary.videos == 3
    annotation = load_annotation(tmp_path / 'open.json')
    assert annotation.metainfo['num_boxes'] == 2136
    assert annotation.metainfo['split'] == 'open'
    raw = json.loads((folder / 'vidor' / '02_cups.json').read_bytes())
    boxes, valid = annotation.videos['02_cups'].track_boxes('4', range(300))
    for frame, said in enumerate(raw['trajectories']):
        found = [[*b['bbox'].values()] for b in said if b['tid'] == 4]
        assert found == [boxes[frame].tolist()] * int(valid[frame])
    # All that is true of an object, also what no sentence says of it.
    assert annotation.metainfo['tracks_complete'] is True
    juggle = annotation.videos['05_default_juggle'].tracks
    true = ('above', 'in_front_of', 'kick', 'next_to', 'throw')
    assert juggle['0'].predicates == juggle['1'].predicates == true
