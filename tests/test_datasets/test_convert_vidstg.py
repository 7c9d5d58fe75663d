"""Official VidSTG and VidOR files to the one format."""

import codecs
import copy
import gzip
import json
import pickle

import pytest
from test_datasets import raw_files as made

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.converters import (
    ConversionError,
    convert_vidstg,
)


@pytest.fixture
def case(tmp_path):
    return made.VidSTG(tmp_path)


def test_one_entry(case):
    annotation, summary = case.convert()
    assert annotation.metainfo['dataset'] == 'vidstg'
    assert annotation.metainfo['split'] == 'val'
    assert annotation.metainfo['query_ids'] == 'official'
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
    assert clip['queries'][0] == dict(
        query_id='0',
        type='declarative',
        text='he watches it.',
        span=[4, 9],
        track_id='0',
        predicate='watch',
        category='adult',
    )
    assert clip['queries'][2] == dict(
        query_id='2',
        type='interrogative',
        text='what is watched?',
        span=[4, 9],
        track_id='2',
        predicate='watch',
        category='ball/sports_ball',
    )
    assert (summary.videos, summary.clips) == (1, 1)
    assert summary.sentences == dict(declarative=1, interrogative=2)
    assert not summary.skipped and not summary.notes


def test_sentences_of_a_segment_stand_together(case):
    case.entries = [
        made.entry(),
        made.entry('12'),
        made.entry(truth=(5, 20)),
        made.entry(segment=(2, 19)),
    ]
    case.vidor['annotation/validation/0001/12.json'] = made.vidor('12')
    annotation, summary = case.convert(split='test', workers=1)
    clips = annotation.data_list
    assert [(c['video_id'], c['segment']) for c in clips] == [
        ('11', [0, 20]),
        ('12', [0, 20]),
        ('11', [2, 20]),
    ]
    ids = [[q['query_id'] for q in c['queries']] for c in clips]
    assert ids == [
        ['0', '1', '2', '6', '7', '8'],
        ['3', '4', '5'],
        ['9', '10', '11'],
    ]
    assert annotation.metainfo['split'] == 'test'
    # One past the segment's last frame is the end of the video.
    assert clips[0]['queries'][3]['span'] == [5, 20]
    assert (summary.videos, summary.clips) == (2, 3)


def test_processes_give_the_same(case, tmp_path):
    for number in range(20, 26):
        case.vidor[f'{number}.json'] = made.vidor(str(number))
        case.entries.append(made.entry(str(number)))
    one, _ = case.convert()
    two, summary = case.convert(workers=2)
    assert one.data_list == two.data_list and summary.videos == 7
    assert list(one.videos) == list(two.videos)


def test_flat_folder_and_a_list_of_videos(case, tmp_path):
    case.vidor = {'11.json': made.vidor(), '12.json': made.vidor('12')}
    case.entries = [made.entry('12'), made.entry('11')]
    files = tmp_path / 'val_files.json'
    files.write_text(json.dumps(['11', '13']))
    annotation, summary = case.convert(files=files)
    assert list(annotation.videos) == ['11']
    # Ids count what is left out.
    assert annotation.data_list[0]['queries'][0]['query_id'] == '3'
    assert summary.notes == {
        'entries whose video is not in the file list': 1,
        'listed videos without a sentence': 1,
    }


def test_boxes_at_two_places_are_counted(case):
    case.vidor['old/11.json'] = made.vidor(fps=5)
    annotation, summary = case.convert()
    assert annotation.videos['11'].fps == 10.0
    (told,) = summary.repaired
    assert told.startswith('VidOR files found at several places')
    assert 'training/0000/11.json, ' in told and 'old/11.json' in told


def test_more_boxes_than_frames(case):
    raw = case.vidor[case.first]
    raw['frame_count'] = made.COUNT - 2
    annotation, summary = case.convert()
    assert annotation.videos['11'].frame_count == made.COUNT
    name = 'videos with boxes past frame_count, which was raised'
    assert summary.notes[name] == 1


def test_videos_that_are_told_differently(case):
    case.entries = [
        made.entry(fps=10.005),
        made.entry('12', fps=12.5, frame_count=21, width=32, height=24),
        made.entry('13', fps=None, frame_count=True),
    ]
    for key in ('fps', 'frame_count', 'width', 'height'):
        del case.entries[0][key]
    case.entries.insert(1, made.entry(fps=10.005))
    for name in ('12', '13'):
        case.vidor[f'{name}.json'] = made.vidor(name)
    annotation, summary = case.convert()
    # VidOR's: on its frames the boxes were drawn.
    video = annotation.videos['12']
    assert (video.fps, video.frame_count) == (10.0, 20)
    kind = 'videos on which VidSTG and VidOR disagree (VidOR taken)'
    assert summary.notes == {kind: 2}
    assert summary.repaired == [
        f'{kind}: 12: fps 12.5 and 10.0, width 32 and 64, height 24 and 48, '
        f'frame_count 21 and 20 (VidSTG and VidOR)',
        f'{kind}: 13: fps None and 10.0, frame_count True and 20 (VidSTG and '
        f'VidOR)',
    ]


def test_frame_rates_are_compared_as_they_are_rounded(case):
    for fps, told in ((10.009, 0), (10.011, 1), (9.989, 1)):
        case.entries = [made.entry(fps=fps)]
        _, summary = case.convert()
        assert sum(summary.notes.values()) == told


def test_ends_in_two_conventions(case):
    # The last frame of the segment is 9, the span's is 9 as well.
    case.entries = [
        made.entry(segment=(2, 9), truth=(4, 10)),
        made.entry(segment=(2, 9), truth=(4, 9)),
    ]
    annotation, summary = case.convert()
    (clip,) = annotation.data_list
    assert clip['segment'] == [2, 10]
    spans = [query['span'] for query in clip['queries']]
    assert spans == [[4, 10]] * 3 + [[4, 9]] * 3
    assert summary.notes == {
        'entries whose temporal_gt ends one past used_segment.end_fid '
        '(kept)': 1,
        "sentences whose span ends one past their segment's last frame "
        '(kept)': 3,
    }
    # Two past it is wrong.
    case.entries = [made.entry(segment=(2, 9), truth=(4, 11))]
    with pytest.raises(ConversionError, match=r'\[4, 11\) .* \[2, 10\)'):
        case.convert()


def test_the_last_box_of_a_tube_is_missing(case):
    # Object 2 has no box on frame 10, the last of the span.
    case.entries = [made.entry(truth=(4, 11))]
    annotation, summary = case.convert()
    query = annotation.data_list[0]['queries'][2]
    assert (query['track_id'], query['span']) == ('2', [4, 11])
    # Kept as it is, and no box is made up.
    truth = annotation.ground_truths()['2']
    assert sorted(truth['boxes']) == [4, 5, 6, 7, 8, 9, 11]
    assert summary.notes == {
        'frames in spans without a box': 1,
        'sentences with such frames': 1,
    }
    assert summary.repaired == [
        "sentences with such frames: sentence 2, entry 0 (vid '11'): 10"
    ]


def test_sentences_that_share_segment_and_text(case):
    case.entries = [made.entry(truth=(2, 7)), made.entry(truth=(11, 18))]
    for item in case.entries:
        item['questions'] = item['questions'][:1]
    case.entries[1]['captions'][0]['target_id'] = 2
    annotation, summary = case.convert()
    (clip,) = annotation.data_list
    told = [
        (q['query_id'], q['text'], q['span'], q['track_id'])
        for q in clip['queries']
    ]
    assert told == [
        ('0', 'he watches it.', [2, 7], '0'),
        ('1', 'who watches it?', [2, 7], '0'),
        ('2', 'he watches it.', [11, 18], '2'),
        ('3', 'who watches it?', [11, 18], '0'),
    ]
    assert not summary.notes


def test_a_track_without_a_category_is_counted(case):
    case.vidor[case.first]['subject/objects'].pop()
    annotation, summary = case.convert()
    assert annotation.videos['11'].tracks['2'].category == ''
    assert summary.notes['tracks without a category'] == 1


def test_missing_video_file(case, tmp_path):
    (tmp_path / 'films').mkdir()
    with pytest.raises(ConversionError, match="video_path '0000/11.mp4'"):
        case.convert(videos=tmp_path / 'films')
    case.entries.append(made.entry('12'))
    case.vidor['12.json'] = made.vidor('12')
    (tmp_path / 'films' / '12.mp4').touch()
    annotation, summary = case.convert(
        videos=tmp_path / 'films', skip_bad=True
    )
    assert list(annotation.videos) == ['12']
    assert summary.notes['sentences of skipped videos'] == 3
    assert len(summary.skipped) == 1


def test_entries_that_are_no_list(case):
    case.entries = dict(a=1)
    with pytest.raises(ConversionError, match='of entries, found dict'):
        case.convert()


@pytest.mark.parametrize('told', [None, 3, {'a': 1}])
def test_a_list_of_videos_that_is_none(case, tmp_path, told):
    files = tmp_path / 'val_files.json'
    files.write_text(json.dumps(told))
    with pytest.raises(ConversionError, match='expected a list of video ids'):
        case.convert(files=files)


def test_no_path_and_no_relations(case):
    for key in ('video_path', 'relation_instances', 'subject/objects'):
        del case.vidor[case.first][key]
    annotation, _ = case.convert()
    video = annotation.videos['11']
    assert (video.path, video.predicates) == ('11.mp4', ())


def test_missing_and_broken_files(case, tmp_path):
    with pytest.raises(FileNotFoundError, match='none.json does not exist'):
        convert_vidstg(tmp_path / 'none.json', tmp_path, tmp_path / 'o')
    case.write()
    with pytest.raises(FileNotFoundError, match='folder of VidOR'):
        convert_vidstg(case.path, tmp_path / 'none', tmp_path / 'o')
    (tmp_path / 'bare').mkdir()
    with pytest.raises(FileNotFoundError, match='no JSON file in'):
        convert_vidstg(case.path, tmp_path / 'bare', tmp_path / 'o')
    case.path.write_text('[{"vid": ')
    with pytest.raises(ConversionError, match='9 bytes: not valid JSON'):
        convert_vidstg(case.path, tmp_path / 'vidor', tmp_path / 'o')


@pytest.mark.parametrize('workers', [1, 2])
def test_a_broken_file_of_a_video_is_skipped_and_counted(case, workers):
    for number in range(20, 26):
        case.vidor[f'{number}.json'] = made.vidor(str(number))
        case.entries.append(made.entry(str(number)))
    case.vidor['22.json'] = made.vidor('22', frame_count='many')
    case.write()
    (case.folder / 'vidor' / '21.json').write_text('{"video_id": ')
    case.write = lambda: None
    with pytest.raises(ConversionError, match='21.json, 13 bytes: not valid'):
        case.convert(workers=workers)
    annotation, summary = case.convert(workers=workers, skip_bad=True)
    assert set(annotation.videos) == {'11', '20', '23', '24', '25'}
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


@pytest.mark.parametrize('pack', ['gzip', 'mark'])
def test_raw_files_may_be_packed_or_marked(case, pack):
    case.write()
    for path in (case.path, *case.folder.glob('vidor/**/*.json')):
        data = path.read_bytes()
        path.unlink()
        if pack == 'gzip':
            path = path.with_name(f'{path.name}.gz')
        dress = gzip.compress if pack == 'gzip' else codecs.BOM_UTF8.__add__
        path.write_bytes(dress(data))
    case.write = lambda: None
    annotation, _ = case.convert()
    assert list(annotation.videos) == ['11']


def test_errors_travel_between_processes():
    error = ConversionError('a.json', 'frame 3', 'no box', 'add it')
    copied = pickle.loads(pickle.dumps(copy.copy(error)))
    assert str(copied) == 'a.json, frame 3: no box. Cure: add it.'


def test_command_line(case, tmp_path, run_tool):
    case.write()
    out = tmp_path / 'a.json'
    words = ['dataset_converters/vidstg', case.path, tmp_path / 'vidor']
    words += ['--out', out, '--workers', '1']
    done = run_tool(*words)
    assert done.returncode == 0, done.stderr
    assert 'interrogative' in done.stdout and str(out) in done.stdout
    assert len(load_annotation(out).data_list) == 1
    case.entries[0]['captions'][0]['target_id'] = 5
    case.write()
    done = run_tool(*words)
    assert done.returncode == 1 and done.stdout == ''
    assert done.stderr.startswith('error: ')
    assert len(done.stderr.splitlines()) == 1


def test_a_list_file_names_everything(case, tmp_path, run_tool):
    case.entries.append(made.entry(truth=(10, 20)))
    case.entries.append(made.entry(truth=(10, 11)))
    case.vidor[case.first]['trajectories'][5][0] = made.box(5, 0, xmin=-4)
    case.write()
    out, listed = tmp_path / 'a.json', tmp_path / 'listed.txt'
    words = ['dataset_converters/vidstg', case.path, tmp_path / 'vidor']
    words += ['--out', out, '--workers', '1']
    done = run_tool(*words, '--list', listed)
    assert done.returncode == 0, done.stderr
    assert f'all by name: {listed}' in done.stdout
    assert 'of 8,956 published (-8,948)' in done.stdout
    lines = listed.read_text().splitlines()
    place = tmp_path / 'vidor/annotation/training/0000/11.json'
    boxes = 'boxes cut to the picture'
    assert f'repaired: {boxes}: {place}, tid 0, frames 5' in lines
    end = "sentences whose span ends one past their segment's last frame"
    assert f"repaired: {end} (kept): sentence 4, entry 1 (vid '11')" in lines
    frames = 'sentences with such frames'
    assert f"repaired: {frames}: sentence 5, entry 1 (vid '11'): 10" in lines
    (skipped,) = [x for x in lines if x.startswith('skipped: ')]
    assert 'sentence 8: track 2' in skipped
    # By default the list lies beside the annotation file.
    assert run_tool(*words).returncode == 0
    assert (tmp_path / 'a.conversion.txt').read_text().splitlines() == lines


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
    raw = json.loads((folder / 'vidor' / '02_cups.json').read_bytes())
    video = annotation.videos['02_cups']
    boxes, valid = video.track_boxes('4', range(300))
    for frame, told in enumerate(raw['trajectories']):
        found = [box['bbox'] for box in told if box['tid'] == 4]
        assert valid[frame] == bool(found)
        if found:
            corners = ('xmin', 'ymin', 'xmax', 'ymax')
            assert boxes[frame].tolist() == [found[0][key] for key in corners]
    # All that is true of an object, also what no sentence says of it.
    assert annotation.metainfo['tracks_complete'] is True
    juggle = annotation.videos['05_default_juggle'].tracks
    true = ('above', 'in_front_of', 'kick', 'next_to', 'throw')
    assert juggle['0'].predicates == juggle['1'].predicates == true
    for clip in annotation.data_list:
        tracks = annotation.videos[clip['video_id']].tracks
        for query in clip['queries']:
            track = tracks[query['track_id']]
            assert query['predicate'] in track.predicates
