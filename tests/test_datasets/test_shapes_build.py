"""Files of the benchmark: official layout, the same bytes, resumable."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from test_datasets.shapes_things import contents

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.shapes import build, build_probes, build_shapes

SIZES = {'train': 7, 'val': 3, 'test': 4}
HOW = dict(seed=7, workers=1)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes') / 'deep' / 'out'
    summary = build_shapes(folder, SIZES, **HOW)
    assert summary['rendered'] == sum(SIZES.values())
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
    notes = root / 'vidor' / 'annotation'
    training = {path.stem for path in (notes / 'training').glob('*/*')}
    validation = {path.stem for path in (notes / 'validation').glob('*/*')}
    files = {s: read(root / f'vidstg/{s}_files.json') for s in SIZES}
    assert training == {*files['train'], *files['val']}
    assert validation == {*files['test']}
    assert {split: len(vids) for split, vids in files.items()} == SIZES
    films = {path.stem for path in (root / 'vidor/video').glob('*/*.mp4')}
    assert films == training | validation


@pytest.mark.parametrize('split', SIZES)
def test_entries_agree_with_the_other_files(root, split):
    entries = read(root / f'vidstg/{split}_annotations.json')
    meta = read(root / f'vidstg/{split}_meta.json')
    texts = []
    for entry, item in zip(entries, meta, strict=True):
        relation = entry['used_relation']
        for key in ('captions', 'questions'):
            for told, meaning in zip(entry[key], item[key], strict=True):
                texts.append(told['description'])
                assert told['target_id'] == relation['subject_tid']
                assert meaning['action'] == relation['predicate']
    annotation = load_annotation(root / f'{split}.json')
    assert annotation.metainfo['dataset'] == 'shapes'
    assert len(annotation.videos) == SIZES[split]
    queries = [q for clip in annotation.data_list for q in clip['queries']]
    assert [query['text'] for query in queries] == texts
    counts = read(root / 'shapes.json')['splits'][split]
    assert counts['videos'] == SIZES[split]
    assert counts['entries'] == counts['captions'] == len(entries)
    told = counts['captions'] + counts['questions']
    assert sum(counts['kinds'].values()) == told == len(texts)


def test_a_second_call_returns_at_once(root, monkeypatch):
    before = contents(root)
    for name in ('draw_video', 'convert_vidstg'):
        monkeypatch.setattr(build, name, None)
    assert build_shapes(root, SIZES, **HOW)['rendered'] == 0
    assert contents(root) == before


@pytest.mark.slow
def test_a_killed_rendering_goes_on(root, tmp_path, repo_root):
    """No file that is there is broken; workers do not change a byte."""
    command = [
        sys.executable,
        str(repo_root / 'tools/dataset_converters/shapes.py'),
        f'--out={tmp_path}',
        '--workers=2',
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
    subprocess.run(command, env=env, capture_output=True, check=True)
    # What was being written when it was killed is left under another name.
    found = contents(tmp_path)
    whole = {name for name in found if not name.endswith('.part')}
    assert {name: found[name] for name in whole} == contents(root)


def test_missing_files_are_made_again(tmp_path):
    sizes = {'train': 3, 'val': 0, 'test': 2}
    build_shapes(tmp_path, sizes, **HOW)
    before = contents(tmp_path)
    film = next((tmp_path / 'vidor').rglob('*.mp4'))
    for path, rendered in (
        (film, 1),
        (tmp_path / 'train.json', 0),
        (tmp_path / 'test.tracks.npy', 0),
        (tmp_path / 'vidstg/test_meta.json', 0),
    ):
        path.unlink()
        assert build_shapes(tmp_path, sizes, **HOW)['rendered'] == rendered
        assert contents(tmp_path) == before
    # A split can grow, and shrink.
    more = {'train': 5, 'val': 1, 'test': 2}
    assert build_shapes(tmp_path, more, **HOW)['rendered'] == 3
    place = tmp_path / 'vidstg/train_annotations.json'
    first = json.loads(before['vidstg/train_annotations.json'])
    assert read(place)[: len(first)] == first
    assert len(load_annotation(tmp_path / 'train.json').videos) == 5
    build_shapes(tmp_path, sizes, **HOW)
    assert read(place) == first
    assert len(load_annotation(tmp_path / 'train.json').videos) == 3
    assert not (tmp_path / 'val.json').exists()


@pytest.mark.parametrize(
    'summary',
    [
        '{"version": 4, "seed": 8, "splits": {}}',
        '{"version": 3, "seed": 7, "splits": {}}',
        '{"version": 4, "seed": 7, "splits": {}, "profile": "long"}',
        '{"version": 4, "seed": 7}',
        '{"vers',
    ],
)
def test_another_benchmark_is_refused(tmp_path, summary):
    (tmp_path / 'shapes.json').write_text(summary)
    with pytest.raises(ValueError, match=r'shapes\.json is not .* Delete'):
        build_shapes(tmp_path, SIZES, **HOW)
    assert len(contents(tmp_path)) == 1


@pytest.mark.parametrize(
    'function, arguments, message',
    [
        (build_shapes, dict(num_videos={'dev': 3}), "split 'dev'; there are"),
        (build_shapes, dict(num_videos={'val': -1}), r"\['val'\] is -1"),
        (build_shapes, dict(seed='a'), "seed is 'a'"),
        (build_shapes, dict(profile='big'), "'big'; there are default, long"),
        (build_probes, dict(num_videos={'tiny': 10**6}), 'from 0 to 100000'),
        (build_probes, dict(seed=-1), 'seed is -1'),
    ],
)
def test_unusable_arguments(tmp_path, function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(tmp_path / 'out', **arguments)
    assert not (tmp_path / 'out').exists()
