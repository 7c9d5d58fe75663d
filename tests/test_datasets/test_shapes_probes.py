"""Probes: small test splits, each about what its name says."""

import json

import numpy as np
import pytest
from mmengine.config import Config
from test_datasets.shapes_things import contents

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.shapes import build, build_probes
from hero_mm.datasets.shapes.profiles import DEFAULT, PROBE_VIDEOS, PROBES
from hero_mm.datasets.shapes.questions import read_questions
from hero_mm.datasets.shapes.video import draw_video
from hero_mm.registry import DATASETS

NAMES = (
    'tiny',
    'huge',
    'crowded',
    'fast',
    'long-actions',
    'order',
    'look-alikes',
    'relations',
)
MOVES = {'move_left': (-1, 0), 'move_right': (1, 0)}
MOVES.update({'move_up': (0, -1), 'move_down': (0, 1)})


@pytest.fixture(scope='module')
def videos():
    return {
        name: [draw_video(name, i, 1, PROBES[name]) for i in range(15)]
        for name in NAMES
    }


@pytest.fixture(scope='module')
def usual():
    return [draw_video('test', index, seed=1) for index in range(40)]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('probes')
    sizes = {**dict.fromkeys(NAMES, 0), 'tiny': 3, 'order': 2}
    build_probes(folder, sizes, workers=1, progress=False)
    return folder


def targets(videos):
    """Video, object and event of each sentence, and the sentence."""
    for video in videos:
        for entry in video.entries:
            for sentence in (entry.caption, *entry.questions):
                event = entry.event
                yield video, video.world.things[event.tid], event, sentence


def test_names_and_sizes():
    assert tuple(PROBES) == NAMES
    assert all(name == probe.name for name, probe in PROBES.items())
    # Each video has five sentences or more.
    assert 5 * PROBE_VIDEOS >= 500
    for name, probe in PROBES.items():
        assert probe.videos == {name: PROBE_VIDEOS}
        # A model that was trained on the default profile reads them.
        for field in ('side', 'num_frames', 'fps', 'radius'):
            assert getattr(probe, field) == getattr(DEFAULT, field)


@pytest.mark.slow
@pytest.mark.parametrize('size', ['tiny', 'huge'])
def test_targets_have_the_size(videos, size):
    for _, thing, _, _ in targets(videos[size]):
        assert thing.look.size == size


@pytest.mark.slow
def test_crowded(videos):
    for video in videos['crowded']:
        assert 7 <= len(video.world.things) <= 8


def pace(thing, event):
    """Pixels a frame, along the way."""
    moved = np.diff(thing.centre[event.begin : event.end], axis=0)
    return float(np.mean(moved @ MOVES[event.action]))


@pytest.mark.slow
def test_fast(videos, usual):
    def speeds(some):
        found = {'move': [], 'spin': [], 'loop': []}
        for _, thing, event, _ in targets(some):
            frames = slice(event.begin, event.end)
            if event.action in MOVES:
                found['move'].append(pace(thing, event))
            elif event.action == 'spin':
                turn = np.abs(np.diff(thing.angle[frames]))
                found['spin'].append(turn.mean())
            elif event.action == 'loop':
                step = np.hypot(*np.diff(thing.centre[frames], axis=0).T)
                found['loop'].append(step.mean())
        return {name: np.mean(values) for name, values in found.items()}

    quick, plain = speeds(videos['fast']), speeds(usual)
    for name, speed in quick.items():
        assert 1.5 < speed / plain[name] < 2.1, name
    told = {event.action for _, _, event, _ in targets(videos['fast'])}
    assert told <= {*MOVES, 'spin', 'loop'}
    # The sense of a turn can be seen in every second frame.
    assert 2 * PROBES['fast'].turn[1] < 180


@pytest.mark.slow
def test_long_actions(videos):
    for _, _, event, _ in targets(videos['long-actions']):
        assert 14 <= event.end - event.begin <= 24


@pytest.mark.slow
def test_order_and_relations_tell_nothing_else(videos):
    for name, kind in [('order', 'temporal'), ('relations', 'spatial')]:
        for *_, sentence in targets(videos[name]):
            assert sentence.statement.kind == kind
    for *_, sentence in targets(videos['order']):
        assert {'after', 'before'} & set(sentence.text.split())


@pytest.mark.slow
def test_look_alikes(videos):
    numbers = []
    for video in videos['look-alikes']:
        looks = [thing.look for thing in video.world.things]
        numbers.append(len(set(looks)))
        for _, thing, _, _ in targets([video]):
            assert looks.count(thing.look) >= 3
    assert set(numbers) == {1, 2}


@pytest.mark.slow
def test_no_new_words(videos, usual):
    def words(some):
        return {
            word
            for *_, sentence in targets(some)
            for word in sentence.text[:-1].split()
        }

    train = [draw_video('train', index, seed=0) for index in range(60)]
    known = words(usual) | words(train)
    assert set().union(*(words(videos[name]) for name in NAMES)) <= known


def test_ids_and_folders_never_meet():
    seen = {
        (video.subdir, video.vid)
        for split in ('train', 'val', 'test')
        for video in [draw_video(split, 0, seed=0)]
    }
    for name in NAMES:
        drawn = [draw_video(name, i, 0, PROBES[name]) for i in (0, 99_999)]
        # All that a probe can have comes after the one before.
        assert drawn[0].vid > max(vid for _, vid in seen)
        for video in drawn:
            assert len(video.vid) == 10 and len(video.subdir) == 4
            assert (video.subdir, video.vid) not in seen
            seen.add((video.subdir, video.vid))


def test_layout(root):
    found = {name for name in contents(root) if 'vidor' not in name}
    assert found == {
        'probes/shapes.json',
        *(
            f'probes/{name}.{ending}'
            for name in ('tiny', 'order')
            for ending in ('json', 'tracks.npy')
        ),
        *(
            f'probes/vidstg/{name}_{part}.json'
            for name in NAMES
            for part in ('annotations', 'files', 'meta')
        ),
    }
    annotation = load_annotation(root / 'probes/tiny.json')
    assert annotation.metainfo['dataset'] == 'shapes-probes'
    assert annotation.metainfo['split'] == 'tiny'
    assert len(annotation.videos) == 3
    for video in annotation.videos.values():
        assert (root / 'probes/vidor/video' / video.path).is_file()
        assert (video.width, video.frame_count) == (64, 32)


@pytest.mark.slow
def test_a_second_call_renders_what_is_missing(root, monkeypatch):
    sizes = {**dict.fromkeys(NAMES, 0), 'tiny': 3, 'order': 2}
    before = contents(root)
    summary = build_probes(root, sizes, workers=1, progress=False)
    assert summary['rendered'] == 0 and summary['profile'] == 'probes'
    assert summary['splits']['tiny']['videos'] == 3
    for path in list(root.rglob('*.mp4'))[:4]:
        path.unlink()
    # Several processes, for which there is too little to do otherwise.
    monkeypatch.setattr(build, '_CHUNK', 1)
    summary = build_probes(root, sizes, workers=2, progress=False)
    assert summary['rendered'] == 4
    assert contents(root) == before


def test_guesses_read_them(root, oracles, best_of):
    folder = root / 'probes'
    questions = read_questions(folder, 'order')
    assert {question.kind for question in questions} == {'temporal'}
    assert best_of(oracles.score_oracles(questions), 'blind') < 0.35
    with pytest.raises(FileNotFoundError, match='--profile and --probes'):
        read_questions(root, 'order')


def test_the_tables_of_the_docs(repo_root):
    page = (repo_root / 'docs/benchmark_shapes.md').read_text()
    lines = [line.split('|')[1:-1] for line in page.splitlines()]
    rows = [
        [cell.strip() for cell in cells]
        for cells in lines
        if cells and cells[0].strip(' `') in NAMES
    ]
    assert [row[0].strip('`') for row in rows] == [*NAMES, *NAMES]
    numbers = [[float(cell) for cell in row[1:]] for row in rows[len(NAMES) :]]
    for sentences, _, blind, look, action, both in numbers:
        assert sentences >= 500
        assert blind < 0.20 and look < 0.35 and action < 0.50 and both < 0.85


def test_a_trained_model_is_tested_on_them(root, repo_root):
    """The options of docs/benchmark_shapes.md, on the config of the demo."""
    cfg = Config.fromfile(repo_root / 'configs/_base_/datasets/shapes.py')
    options = {
        'test_dataloader.dataset.ann_file': '/tiny.json',
        'test_dataloader.dataset.data_prefix.video': '/vidor/video',
    }
    for key, end in options.items():
        cfg.merge_from_dict({key: str(root / 'probes') + end})
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    assert len(dataset) == 3
    assert dataset[0]['inputs'].shape == (16, 3, 64, 64)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(num_videos={'test': 3}), "'test'; there are tiny, huge, crow"),
        (dict(num_videos={'tiny': 10**6}), 'from 0 to 100000'),
        (dict(seed=-1), 'seed is -1'),
    ],
)
def test_unusable_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_probes(tmp_path / 'out', **arguments)
    assert not (tmp_path / 'out').exists()


def test_another_seed_is_refused(root, tmp_path):
    with pytest.raises(ValueError, match='seed 0, not version .* seed 5'):
        build_probes(root, seed=5)
    (tmp_path / 'out').write_text('')
    with pytest.raises(ValueError, match='is a file; give a folder'):
        build_probes(tmp_path / 'out')


@pytest.mark.slow
def test_the_tool_renders_probes_and_profiles(tmp_path, run_tool):
    words = 'dataset_converters/shapes', '--workers=1', f'--out={tmp_path}'
    done = run_tool(*words, '--probes=1')
    assert done.returncode == 0, done.stderr
    splits = json.loads(done.stdout)['splits']
    assert {name: part['videos'] for name, part in splits.items()} == (
        dict.fromkeys(NAMES, 1)
    )
    assert not (tmp_path / 'shapes.json').exists()
    sizes = ['--train=1', '--val=0', '--test=0']
    done = run_tool(*words, '--profile=long', *sizes)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)['profile'] == 'long'
    done = run_tool(*words, '--probes', '--train=3')
    assert done.returncode == 2
    assert '--probes renders nothing else' in done.stderr
