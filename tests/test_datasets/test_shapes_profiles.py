"""Profiles of the renderer, and probes: their bytes, what they are about."""

import hashlib
import json

import numpy as np
import pytest
from mmengine.config import Config
from test_datasets import shapes_grammar as grammar
from test_datasets.shapes_things import (
    contents,
    draw,
    draw_scenes,
    sentences_of,
)

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.shapes import build_probes, build_shapes
from hero_mm.datasets.shapes.profiles import PROBES
from hero_mm.datasets.shapes.questions import read_questions
from hero_mm.registry import DATASETS

# By split, number and seed of a video.
BYTES = {
    ('train', 0, 0): 'a278b1fcb18b9438',
    ('train', 4499, 7): '8bf7bdc50233072f',
    ('val', 3, 0): '1e2a2fa619d23129',
    ('test', 1, 7): 'e7b757ae60dda27a',
    ('test', 2, 0): '644d88e1d64e2ff4',
    ('long', 0, 0): '31830c6417e88754',
    ('long', 7, 3): '7a21a48ea9ce7ffc',
    ('1min', 0, 0): '723e776cca4a44cb',
    ('tiny', 1, 0): 'd46bbbe27efff3c9',
    ('huge', 1, 0): 'f5b0c798c2346e20',
    ('crowded', 1, 0): '71df85b659fd2944',
    ('fast', 1, 0): '7d52c285d45b0a9e',
    ('long-actions', 1, 0): '3e7497a56cce1159',
    ('order', 1, 0): '0e6b7d404d2cc58b',
    ('look-alikes', 1, 0): 'c72c6cbc76e6031f',
    ('relations', 1, 0): '9dec38b02d0757fa',
}


@pytest.mark.parametrize('which', BYTES, ids=str)
def test_a_profile_keeps_its_bytes(which):
    """Whoever changes them changes ``build.VERSION``, too."""
    video = draw(*which)
    notes = [video.annotation(), video.vidstg_entries(), video.meanings()]
    digest = hashlib.sha256(json.dumps(notes).encode())
    for scene in video.scenes:
        world = scene.world
        drawn = world.order, world.bar, world.backdrop_seed
        digest.update(repr(drawn).encode())
        for item in world.things:
            for path in (item.centre, item.radius, item.angle):
                # No -0.0, and no last digit of a sine.
                digest.update((np.round(path, 6) + 0.0).tobytes())
            digest.update(item.white.tobytes())
    assert digest.hexdigest()[:16] == BYTES[which]


@pytest.mark.parametrize('name', ['train', 'long', *PROBES])
def test_every_sentence_is_true_for_one_event_only(name):
    """Checked by the tests' own grammar and truth, not the package's."""
    for scene in draw_scenes(name, 8, seed=2):
        for sentence, meant in sentences_of(scene):
            parsed = grammar.parse(sentence.text)
            for thing in scene.world.things:
                for event in thing.events:
                    verdict = grammar.truth(parsed, scene.world, thing, event)
                    assert verdict is (event == meant), sentence.text
        assert len(list(sentences_of(scene))) >= 5


def test_ids_and_folders_never_meet():
    seen = {}
    for name in ('train', 'val', 'test', *PROBES):
        for index in (0, 999, 1000, 99_999):
            video = draw(name, index, 0)
            assert len(video.vid) == 10 and len(video.subdir) == 4
            assert seen.setdefault(video.vid, name) == name
            assert seen.setdefault(video.subdir, name) == name


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('profiles')
    long = dict(train=1, val=0, test=2)
    build_shapes(folder / 'long', long, workers=1, profile='long')
    probes = {**dict.fromkeys(PROBES, 0), 'tiny': 3, 'order': 2}
    build_probes(folder, probes, workers=1)
    return folder


def test_layout_of_the_probes(root):
    found = {name for name in contents(root / 'probes') if '/' not in name}
    made = {'tiny.json', 'tiny.tracks.npy', 'order.json', 'order.tracks.npy'}
    assert found == {'shapes.json', *made}
    annotation = load_annotation(root / 'probes/tiny.json')
    assert annotation.metainfo['dataset'] == 'shapes-probes'
    assert annotation.metainfo['split'] == 'tiny'
    assert len(annotation.videos) == 3
    for video in annotation.videos.values():
        assert (root / 'probes/vidor/video' / video.path).is_file()
    kinds = {one.kind for one in read_questions(root / 'probes', 'order')}
    assert kinds == {'temporal'}
    with pytest.raises(FileNotFoundError, match='--profile and --probes'):
        read_questions(root, 'order')


@pytest.mark.parametrize(
    'config, folder, split, shape',
    [
        ('shapes-long', 'long', 'train', (48, 3, 96, 96)),
        ('shapes-long', 'long', 'test', (48, 3, 96, 96)),
        # The options of docs/benchmark_shapes.md.
        ('shapes', 'probes', 'tiny', (16, 3, 64, 64)),
    ],
)
def test_configs_read_them(root, repo_root, config, folder, split, shape):
    path = repo_root / f'configs/_base_/datasets/{config}.py'
    cfg = Config.fromfile(path)
    loader = 'train' if split == 'train' else 'test'
    dataset = cfg[f'{loader}_dataloader'].dataset
    dataset.ann_file = str(root / folder / f'{split}.json')
    dataset.data_prefix = dict(video=str(root / folder / 'vidor/video'))
    assert DATASETS.build(dataset)[0]['inputs'].shape == shape


@pytest.mark.slow
def test_the_tool_renders_probes_and_profiles(tmp_path, run_tool):
    words = 'dataset_converters/shapes', '--workers=1', f'--out={tmp_path}'
    done = run_tool(*words, '--probes=1')
    assert done.returncode == 0, done.stderr
    assert '"profile": "probes"' in done.stdout
    assert not (tmp_path / 'shapes.json').exists()
    sizes = ['--train=1', '--val=0', '--test=0']
    done = run_tool(*words, '--profile=long', *sizes)
    assert done.returncode == 0, done.stderr
    assert '"profile": "long"' in done.stdout
    done = run_tool(*words, '--train=-5')
    assert done.returncode == 1 and 'error: num_videos' in done.stderr
    done = run_tool(*words, '--probes', '--train=3')
    assert done.returncode == 2
    assert '--probes renders nothing else' in done.stderr
