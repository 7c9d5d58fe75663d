"""Files of the benchmark: official layout, the same bytes, resumable."""

import json
import os
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest
from test_datasets.shapes_things import contents

from hero_mm.datasets import progress
from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.shapes import build, build_shapes
from hero_mm.datasets.shapes.profiles import DEFAULT
from hero_mm.datasets.shapes.scene import ACTIONS, SHAPES
from hero_mm.datasets.shapes.video import draw_video

NUM_FRAMES, SIDE = DEFAULT.num_frames, DEFAULT.side
SIZES = {'train': 27, 'val': 3, 'test': 4}
OFFICIAL_ENTRY = [
    'vid',
    'fps',
    'frame_count',
    'used_segment',
    'width',
    'height',
    'subject/objects',
    'used_relation',
    'temporal_gt',
    'captions',
    'questions',
]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes') / 'deep' / 'out'
    build_shapes(folder, SIZES, seed=7, workers=1, progress=False)
    return folder


def read(path):
    return json.loads(path.read_text())


def test_layout(root):
    found = {name for name in contents(root) if 'vidor' not in name}
    assert found == {
        'shapes.json',
        *(f'{split}.json' for split in SIZES),
        *(f'{split}.tracks.npy' for split in SIZES),
        *(
            f'vidstg/{split}_{name}.json'
            for split in SIZES
            for name in ('annotations', 'files', 'meta')
        ),
    }
    annotation = root / 'vidor' / 'annotation'
    training = {path.stem for path in (annotation / 'training').glob('*/*')}
    validation = {
        path.stem for path in (annotation / 'validation').glob('*/*')
    }
    files = {s: read(root / f'vidstg/{s}_files.json') for s in SIZES}
    assert training == {*files['train'], *files['val']}
    assert validation == {*files['test']}
    assert {split: len(vids) for split, vids in files.items()} == SIZES
    films = {path.stem for path in (root / 'vidor/video').glob('*/*.mp4')}
    assert films == training | validation


def test_entries_are_as_published(root):
    for split in SIZES:
        entries = read(root / f'vidstg/{split}_annotations.json')
        files = read(root / f'vidstg/{split}_files.json')
        assert {entry['vid'] for entry in entries} == set(files)
        for entry in entries:
            assert list(entry) == OFFICIAL_ENTRY
            assert entry['used_segment'] == {
                'begin_fid': 0,
                'end_fid': NUM_FRAMES - 1,
            }
            relation, truth = entry['used_relation'], entry['temporal_gt']
            assert list(relation) == [
                'subject_tid',
                'object_tid',
                'predicate',
                'begin_fid',
                'end_fid',
            ]
            assert relation['predicate'] in ACTIONS
            assert relation['subject_tid'] != relation['object_tid']
            assert truth == {
                key: relation[key] for key in ('begin_fid', 'end_fid')
            }
            assert 0 <= truth['begin_fid'] < truth['end_fid'] <= NUM_FRAMES
            assert len(entry['captions']) == 1
            assert len(entry['questions']) <= 2
            tids = [item['tid'] for item in entry['subject/objects']]
            assert tids == list(range(len(tids)))
            for told in entry['captions'] + entry['questions']:
                assert list(told) == ['description', 'type', 'target_id']
                assert told['type'] == 'object'
                assert told['target_id'] == relation['subject_tid']
            assert entry['captions'][0]['description'].endswith('.')
            for question in entry['questions']:
                assert question['description'].endswith('?')


def test_vidor_files_have_the_keys_of_real_ones(root, shared_data):
    real = read(shared_data / 'real' / 'vidor' / 'bedroom.json')
    ours = read(next((root / 'vidor/annotation').glob('*/*/*.json')))
    assert list(ours) == list(real)
    box = next(box for frame in ours['trajectories'] for box in frame)
    assert list(box) == list(real['trajectories'][0][0])
    assert set(ours['relation_instances'][0]) == set(
        real['relation_instances'][0]
    )


def test_vidor_files_are_sound(root):
    for path in (root / 'vidor/annotation').glob('*/*/*.json'):
        video = read(path)
        assert video['video_id'] == path.stem
        assert video['video_path'] == f'{path.parent.name}/{path.stem}.mp4'
        assert (root / 'vidor/video' / video['video_path']).is_file()
        assert len(video['trajectories']) == video['frame_count']
        assert (video['width'], video['height']) == (SIDE, SIDE)
        tids = [item['tid'] for item in video['subject/objects']]
        shapes = {item['category'] for item in video['subject/objects']}
        assert shapes <= set(SHAPES)
        for frame in video['trajectories']:
            present = [item['tid'] for item in frame]
            assert len(set(present)) == len(present)
            assert set(present) <= set(tids)
            for item in frame:
                box = item['bbox']
                assert 0 <= box['xmin'] < box['xmax'] <= SIDE - 1
                assert 0 <= box['ymin'] < box['ymax'] <= SIDE - 1
                assert all(type(side) is int for side in box.values())
        for relation in video['relation_instances']:
            assert relation['subject_tid'] in tids
            assert relation['object_tid'] in tids
            assert relation['object_tid'] != relation['subject_tid']


def test_every_told_event_is_a_relation_of_its_video(root):
    for split in SIZES:
        for entry in read(root / f'vidstg/{split}_annotations.json'):
            (path,) = (root / 'vidor').glob(f'*/*/*/{entry["vid"]}.json')
            video = read(path)
            assert entry['used_relation'] in video['relation_instances']
            assert entry['subject/objects'] == video['subject/objects']


def test_meta_says_what_the_sentences_mean(root):
    entries = read(root / 'vidstg/test_annotations.json')
    meta = read(root / 'vidstg/test_meta.json')
    assert len(entries) == len(meta)
    for entry, item in zip(entries, meta):
        assert item['vid'] == entry['vid']
        shapes = [look['shape'] for look in item['looks']]
        assert shapes == [o['category'] for o in entry['subject/objects']]
        for key in ('captions', 'questions'):
            assert len(item[key]) == len(entry[key])
            for meaning in item[key]:
                assert meaning['action'] == entry['used_relation']['predicate']
                spatial = {'kind': 'basic', 'relation': None}
                if meaning['relation']:
                    timed = meaning['relation']['action'] is not None
                    spatial['kind'] = 'temporal' if timed else 'spatial'
                assert meaning['kind'] == spatial['kind']


def test_ids_and_folders_of_splits_never_meet():
    seen = set()
    for split in ('train', 'val', 'test'):
        videos = [draw_video(split, i, seed=0) for i in (0, 999, 1000)]
        assert [len(video.vid) for video in videos] == [10] * 3
        assert all(len(video.subdir) == 4 for video in videos)
        assert videos[0].subdir == videos[1].subdir != videos[2].subdir
        names = {(video.subdir, video.vid) for video in videos}
        assert not names & seen
        seen |= names


def test_converted_splits_are_read(root):
    for split, number in SIZES.items():
        annotation = load_annotation(root / f'{split}.json')
        assert len(annotation.videos) == number
        entries = read(root / f'vidstg/{split}_annotations.json')
        texts = [
            told['description']
            for entry in entries
            for told in entry['captions'] + entry['questions']
        ]
        queries = [q for clip in annotation.data_list for q in clip['queries']]
        assert [query['text'] for query in queries] == texts
        assert [query['query_id'] for query in queries] == [
            str(number) for number in range(len(texts))
        ]
        for truth in annotation.ground_truths().values():
            frames = {int(frame) for frame in truth['boxes']}
            assert set(range(*truth['span'])) <= frames
            assert np.isfinite(list(truth['boxes'].values())).all()
        for video in annotation.videos.values():
            assert (root / 'vidor/video' / video.path).is_file()


def test_a_second_call_returns_at_once(root, monkeypatch):
    before = contents(root)

    def fail(*args):
        raise AssertionError('drawn again')

    monkeypatch.setattr(build, 'draw_video', fail)
    monkeypatch.setattr(build, 'convert_vidstg', fail)
    summary = build_shapes(root, SIZES, seed=7, workers=1)
    assert summary['rendered'] == 0
    assert contents(root) == before
    counts = {s: part['videos'] for s, part in summary['splits'].items()}
    assert counts == SIZES


def test_summary_counts(root):
    summary = build_shapes(root, SIZES, seed=7, workers=1, progress=False)
    for split, part in summary['splits'].items():
        entries = read(root / f'vidstg/{split}_annotations.json')
        assert part['entries'] == part['captions'] == len(entries)
        questions = sum(len(entry['questions']) for entry in entries)
        assert part['questions'] == questions
        told = part['captions'] + part['questions']
        assert sum(part['kinds'].values()) == told


@pytest.mark.slow
def test_workers_do_not_change_a_byte(root, tmp_path):
    summary = build_shapes(tmp_path, SIZES, 7, workers=2, progress=False)
    assert summary['rendered'] == sum(SIZES.values())
    assert contents(tmp_path) == contents(root)


def test_an_interrupted_rendering_goes_on(root, tmp_path, monkeypatch):
    encode, calls = build.encode_mp4, []

    def stop_after_ten(*args):
        if len(calls) == 10:
            raise KeyboardInterrupt
        calls.append(1)
        return encode(*args)

    monkeypatch.setattr(build, 'encode_mp4', stop_after_ten)
    with pytest.raises(KeyboardInterrupt):
        build_shapes(tmp_path, SIZES, seed=7, workers=1, progress=False)
    assert not (tmp_path / 'train.json').exists()
    assert len(list(tmp_path.rglob('*.mp4'))) == 10
    monkeypatch.setattr(build, 'encode_mp4', encode)
    summary = build_shapes(tmp_path, SIZES, seed=7, workers=1, progress=False)
    assert summary['rendered'] == sum(SIZES.values()) - 10
    assert contents(tmp_path) == contents(root)


@pytest.mark.slow
def test_a_killed_rendering_goes_on(root, tmp_path, repo_root):
    """SIGKILL in the middle of it: no file that is there is broken."""
    command = [
        sys.executable,
        str(repo_root / 'tools/dataset_converters/shapes.py'),
        f'--out={tmp_path}',
        '--workers=1',
        '--seed=7',
        *(f'--{split}={number}' for split, number in SIZES.items()),
    ]
    env = {**os.environ, 'PYTHONPATH': str(repo_root)}
    process = subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 180
    while len(list(tmp_path.rglob('*.mp4'))) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for path in tmp_path.rglob('*.mp4'):
        with av.open(str(path)) as container:
            frames = sum(1 for _ in container.decode(video=0))
        assert frames == NUM_FRAMES
    result = subprocess.run(
        command, env=env, capture_output=True, text=True, check=True
    )
    summary = json.loads(result.stdout)
    assert 0 < summary['rendered'] < sum(SIZES.values())
    # What was being written when it was killed is left under another name.
    found = contents(tmp_path)
    whole = {name for name in found if not name.endswith('.part')}
    assert {name: found[name] for name in whole} == contents(root)


def test_missing_files_are_made_again(tmp_path):
    sizes = {'train': 3, 'val': 0, 'test': 2}
    build_shapes(tmp_path, sizes, workers=1, progress=False)
    before = contents(tmp_path)
    next((tmp_path / 'vidor').rglob('*.mp4')).unlink()
    summary = build_shapes(tmp_path, sizes, workers=1, progress=False)
    assert summary['rendered'] == 1
    assert contents(tmp_path) == before
    for name in ('train.json', 'test.tracks.npy', 'vidstg/test_meta.json'):
        (tmp_path / name).unlink()
        summary = build_shapes(tmp_path, sizes, workers=1, progress=False)
        assert summary['rendered'] == 0
        assert contents(tmp_path) == before


def test_a_split_can_grow_and_shrink(tmp_path):
    sizes = {'train': 2, 'val': 0, 'test': 1}
    build_shapes(tmp_path, sizes, workers=1, progress=False)
    first = read(tmp_path / 'vidstg/train_annotations.json')
    assert not (tmp_path / 'val.json').exists()
    more = {'train': 4, 'val': 1, 'test': 1}
    summary = build_shapes(tmp_path, more, workers=1, progress=False)
    assert summary['rendered'] == 3
    grown = read(tmp_path / 'vidstg/train_annotations.json')
    assert grown[: len(first)] == first
    assert len(load_annotation(tmp_path / 'train.json').videos) == 4
    build_shapes(tmp_path, sizes, workers=1, progress=False)
    assert read(tmp_path / 'vidstg/train_annotations.json') == first
    assert len(load_annotation(tmp_path / 'train.json').videos) == 2
    assert not (tmp_path / 'val.json').exists()


def test_another_seed_or_version_is_refused(root, tmp_path):
    with pytest.raises(ValueError, match='seed 7, not version .* seed 8'):
        build_shapes(root, SIZES, seed=8, workers=1)
    (tmp_path / 'shapes.json').write_text('{"version": 1}')
    with pytest.raises(ValueError, match=r'shapes\.json is not a summary'):
        build_shapes(tmp_path, SIZES)
    (tmp_path / 'shapes.json').write_text('{"vers')
    with pytest.raises(ValueError, match='delete the folder'):
        build_shapes(tmp_path, SIZES)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(num_videos={'dev': 3}), "split 'dev'; there are train, val"),
        (dict(num_videos={'val': -1}), r"num_videos\['val'\] is -1"),
        (dict(num_videos={'val': 2.0}), r'is 2\.0; give a whole number'),
        (dict(num_videos={'val': True}), 'is True'),
        (dict(num_videos={'val': 10**7}), 'from 0 to 1000000'),
        (dict(seed=-1), 'seed is -1'),
        (dict(seed='a'), "seed is 'a'"),
        (dict(workers=0), 'workers is 0; give a whole number from 1'),
    ],
)
def test_unusable_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_shapes(tmp_path / 'out', **arguments)
    assert not (tmp_path / 'out').exists()


def test_out_is_a_file(tmp_path):
    (tmp_path / 'out').write_text('')
    with pytest.raises(ValueError, match='is a file; give a folder'):
        build_shapes(tmp_path / 'out')


def test_the_tool_says_what_is_wrong(tmp_path, run_tool):
    words = 'dataset_converters/shapes', f'--out={tmp_path}', '--train=-5'
    done = run_tool(*words)
    assert done.returncode == "error: num_videos['train'] is -5; " + (
        'give a whole number from 0 to 1000000.'
    )


def test_how_far_the_rendering_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, 'LINE_SECONDS', 0.0)
    build_shapes(tmp_path, {'train': 2, 'val': 0, 'test': 0}, workers=1)
    assert capsys.readouterr().err.splitlines() == [
        'rendering shapes: 2 of 2',
        f'converting train to {tmp_path / "train.json"}',
    ]
