"""Model packages: written, read, shipped, and what a hostile one may not."""

import json
import os
import shutil
import sys
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from made_tokenizer import save_tokenizer
from mmengine.config import Config
from mmengine.logging import MMLogger

import hero_mm
from hero_mm import cli
from hero_mm.apis import TubeInferencer
from hero_mm.apis.package import (
    SHIPPED,
    building,
    find_package,
    read_package,
    registry_module,
    write_package,
)
from hero_mm.pretrained.reading import read_weights_file
from hero_mm.visualization import VideoWriter

REVISION = 'a' * 40
TEXT = 'the red square moves left'


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp('clip') / 'clip.mp4'
    rng = np.random.default_rng(0)
    with VideoWriter(path, fps=8) as writer:
        for _ in range(24):
            writer.write(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    return str(path)


@pytest.fixture(scope='module')
def shipped():
    return TubeInferencer(device='cpu')


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory, repo_root):
    """As a training of the demo leaves it."""
    folder = tmp_path_factory.mktemp('hero_shapes')
    cfg = Config.fromfile(str(repo_root / 'configs/hero_shapes.py'))
    cfg.dump(str(folder / 'hero_shapes.py'))
    weights = read_weights_file(SHIPPED / 'model.safetensors')
    checkpoint = dict(meta=dict(epoch=2, iter=99), state_dict=weights)
    torch.save(checkpoint, folder / 'best_tube_m_vIoU_epoch_2.pth')
    log = folder / '20260101_000000/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    entries = [
        {'tube/m_vIoU': 0.1 * step, 'tube/declarative/m_vIoU': 1, 'step': step}
        for step in (1, 2, 3)
    ]
    log.write_text('\n'.join(map(json.dumps, entries)))
    return folder


def same(one, other):
    assert [t['span'] for t in one] == [t['span'] for t in other]
    for a, b in zip(one, other):
        np.testing.assert_array_equal(a['bboxes'], b['bboxes'])


def test_export_and_read_back(work_dir, tmp_path, clip, shipped, capsys):
    out = tmp_path / 'out'
    words = ['export', str(work_dir), str(out), '--licence', 'My terms']
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert 'My terms' in shown and "'val m_vIoU': 0.2" in shown
    assert {path.name for path in out.iterdir()} == {
        *('model.safetensors', 'config.json', 'label.json', 'README.md'),
        'vocabulary.txt',
    }
    label = json.loads((out / 'label.json').read_text())
    known = (out / 'vocabulary.txt').read_text().split()
    assert label['scores'] == {'val m_vIoU': 0.2}
    assert label['words'] == len(known) and {'red', 'spins'} <= set(known)
    assert 'train' in label['trained_on'] and label['licence'] == 'My terms'
    card = (out / 'README.md').read_text()
    assert '- val m_vIoU: 0.2' in card and 'My terms' in card
    texts = [TEXT, 'What spins?']
    encoded = shipped.encode_video(clip)
    packed = TubeInferencer(out, device='cpu')
    again = packed.ground(packed.encode_video(clip), texts)
    same(again, shipped.ground(encoded, texts))
    # Of eval_tubes.py: the scores, not the settings beside them.
    own = dict(protocol='tubedetr', metainfo={}, ungraded=0, m_vIoU=0.3)
    (tmp_path / 'own.json').write_text(json.dumps(own))
    words[2] = str(tmp_path / 'scored')
    assert cli.main([*words, '--scores', str(tmp_path / 'own.json')]) == 0
    label = json.loads((tmp_path / 'scored/label.json').read_text())
    assert label['scores'] == {'m_vIoU': 0.3}
    (tmp_path / 'own.json').write_text('[1]')
    words[2] = str(tmp_path / 'none')
    assert cli.main([*words, '--scores', str(tmp_path / 'own.json')]) == 1
    assert 'own.json holds no scores' in capsys.readouterr().err
    # What is written again keeps what its label says.
    again = write_package(packed, tmp_path / 'again')
    first, second = (read_package(one).label for one in (out, again))
    for key in ('scores', 'licence', 'trained_on'):
        assert first[key] == second[key]
    # What it says is not said of other weights.
    other = tmp_path / 'other.safetensors'
    other.write_bytes((out / 'model.safetensors').read_bytes())
    tuned = TubeInferencer(out, weights=other, device='cpu')
    third = read_package(write_package(tuned, tmp_path / 'third')).label
    assert not third['scores'] and third['licence'] == 'not stated'
    assert tuned.facts()['trained_on'] == third['trained_on'] == 'not stated'
    words[2] = str(out)
    # What stands there is not written over.
    assert cli.main(words) == 1
    assert 'is not empty' in capsys.readouterr().err


def test_the_shipped_model_answers_and_says_what_it_knows(capsys):
    """Without a model, a config or a training."""
    example = json.loads((SHIPPED / 'example.json').read_text())
    video, texts = str(SHIPPED / 'example.mp4'), example['texts']
    tubes = hero_mm.ground(video, texts, device='cpu', window=0, top_k=2)
    for tube, span in zip(tubes, example['spans'], strict=True):
        (start, end), (first, last) = span, tube['span']
        inter = min(end, last) - max(start, first)
        assert inter / (max(end, last) - min(start, first)) > 0.7
    # Nothing of how it is built.
    assert capsys.readouterr().out == ''
    assert cli.main(['ground', video, texts[0], 'the dog spins']) == 0
    out, err = capsys.readouterr()
    assert 'the model was trained on:' in out and 'moving shapes' in out
    assert 'was not trained with dog; it' in err
    assert 'train one on your own videos' in err
    cli.main(['ground', video, texts[0], '--format', 'json'])
    out, err = capsys.readouterr()
    assert 'train one' not in err
    assert 'moving shapes' in json.loads(out)['metainfo']['trained_on']


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A copy of the shipped package, and a function that changes it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / 'evil.py').write_text("open('ran', 'w').close()\n")
    folder = tmp_path / 'package'
    shutil.copytree(SHIPPED, folder)

    def change(action):
        path = folder / 'config.json'
        content = json.loads(path.read_text())
        action(content)
        path.write_text(json.dumps(content))
        return folder

    yield change
    sys.modules.pop('evil', None)
    assert not os.path.exists('ran'), 'code of the package was run'


TOUCH = dict(type='os.system', command='touch ran')
FOREIGN = 'not of the MM family'


def put(**values):
    """A change of the config, by parts of the model or at its top."""

    def change(config):
        for name, value in values.items():
            if name in ('neck', 'text_encoder'):
                config['model'][name].update(value)
            else:
                config[name] = value

    return change


def first_step(step):
    return lambda config: config['pipeline'].insert(0, step)


MKDIR = dict(type='mmengine.mkdir_or_exist', dir_name='ran')
DEEP = dict(x=[[dict(y=TOUCH)]])
HOSTILE = {
    'a command as a part of the model': (put(neck=TOUCH), FOREIGN),
    'a command in the pipeline': (first_step(TOUCH), FOREIGN),
    'a command deep inside': (put(text_encoder=DEEP), FOREIGN),
    'nobody registered it': (first_step(MKDIR), 'builds no model'),
    'a module of others': (put(custom_imports=['evil']), FOREIGN),
    'by its scope': (put(neck=dict(_scope_='evil')), FOREIGN),
    'by the default scope': (put(default_scope='evil'), FOREIGN),
    'by its prefix': (put(neck=dict(type='evil.Neck')), FOREIGN),
    'no name': (put(neck=dict(type=['os.system'])), 'builds no model'),
    'no list': (put(custom_imports=dict(imports='evil')), FOREIGN),
    'a file': (put(text_encoder=dict(ann_file='/etc/passwd')), 'a file'),
    'a config in Python': (put(neck=dict(config='evil.py')), 'a file'),
    'an address': (put(neck=dict(x='http://localhost/a.pth')), 'a file'),
    'an unknown argument': (put(neck=dict(surprise=1)), 'builds no model'),
    'much memory': (put(text_encoder=dict(max_words=10**13)), 'builds no m'),
    'another size': (put(text_encoder=dict(max_words=63)), 'does not fit'),
    'no model': (put(model=None), 'builds no model'),
    'no pipeline': (put(pipeline=None), 'builds no model'),
    'a list': (put(model=[TOUCH]), FOREIGN),
    'what is gone': (put(custom_imports=['hero_mm.gone']), 'update hero_mm'),
    'a number': (put(default_scope=5), 'default_scope is 5, no name'),
}


@pytest.mark.parametrize('case', HOSTILE)
def test_hostile_packages_are_refused_in_words(case, hostile):
    change, message = HOSTILE[case]
    with pytest.raises(ValueError, match=message):
        TubeInferencer(hostile(change), device='cpu')


def nested(depth):
    return b'{"pipeline": [], "model": %s}' % (
        b'{"a":' * depth + b'1' + b'}' * depth
    )


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('config.json', b'[' * 100_000, 'config.json'),
        ('config.json', nested(900), 'nested too deep'),
        ('config.json', b'[1]', 'holds no JSON object'),
        ('config.json', b'{"model": ', 'config.json'),
        ('label.json', b'{"format": "hero_mm package 9"}', 'update hero_mm'),
        ('model.safetensors', None, 'not a readable checkpoint'),
        ('model.safetensors', b'\xff' * 99, 'not a readable checkpoint'),
        ('config.json', ..., 'config.json is missing'),
    ],
)
def test_broken_packages_are_refused_in_words(
    name, content, message, hostile, tmp_path
):
    path = hostile(lambda c: None) / name
    if content is ...:
        path.unlink()
    elif content is None:
        # A pickle under the name of safetensors.
        torch.save(dict(state_dict={}), path)
    else:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        TubeInferencer(path.parent, device='cpu')


def test_trust_runs_what_is_asked_for(hostile):
    """So that the cases above could have run it, too."""
    folder = hostile(put(custom_imports=['evil']))
    TubeInferencer(folder, device='cpu', trust=True)
    os.remove('ran')
    hostile(first_step(MKDIR))
    with pytest.raises(ValueError, match='Compose|transform|callable'):
        TubeInferencer(folder, device='cpu', trust=True)
    os.rmdir('ran')


def test_a_package_of_the_hub(work_dir, tmp_path, monkeypatch, clip, shipped):
    constants = pytest.importorskip('huggingface_hub').constants
    model = tmp_path / 'hub/models--owner--name'
    (model / 'refs').mkdir(parents=True)
    (model / 'refs/main').write_text(REVISION)
    shutil.copytree(SHIPPED, model / 'snapshots' / REVISION)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    inferencer = TubeInferencer('hf://owner/name', device='cpu')
    answer = inferencer.ground(inferencer.encode_video(clip), TEXT)
    same(answer, shipped.ground(shipped.encode_video(clip), TEXT))
    assert read_package(find_package('hf://owner/name@main')).label
    with pytest.raises(OSError, match='hf download other/name --local-dir'):
        find_package('hf://other/name')
    with pytest.raises(ValueError, match='give hf://OWNER/NAME'):
        find_package('hf://owner')


def test_a_language_model_travels_along(work_dir, tmp_path, clip):
    """Its config and tokenizer: the folder of the training may be gone."""
    transformers = pytest.importorskip('transformers')
    words = ['[PAD]', '[UNK]', 'red', 'square', 'moves']
    folder = str(tmp_path / 'bert')
    save_tokenizer(folder, words, unk_token='[UNK]', pad_token='[PAD]')
    size = dict(vocab_size=5, hidden_size=8, intermediate_size=8)
    layers = dict(num_hidden_layers=1, num_attention_heads=2)
    config = transformers.BertConfig(**size, **layers)
    transformers.BertModel(config).save_pretrained(folder)
    cfg = Config.fromfile(str(work_dir / 'hero_shapes.py'))
    cfg.model.text_encoder = dict(
        type='HFTextEncoder', embed_dims=64, name=folder, max_words=16
    )
    model = hero_mm.registry.MODELS.build(dict(cfg.model, _scope_='hero_mm'))
    weights = tmp_path / 'epoch_1.pth'
    torch.save(dict(meta={}, state_dict=model.state_dict()), weights)
    cfg.dump(str(tmp_path / 'bert.py'))
    source = TubeInferencer(tmp_path / 'bert.py', weights, device='cpu')
    wanted = source.ground(source.encode_video(clip), 'red square moves')
    out = tmp_path / 'out'
    words = [str(tmp_path / 'bert.py'), str(out), '--weights', str(weights)]
    assert cli.main(['export', *words]) == 0
    shutil.rmtree(folder)
    packed = TubeInferencer(out, device='cpu')
    same(packed.ground(packed.encode_video(clip), 'red square moves'), wanted)
    assert packed.model.text_encoder.unknown_words('red dog') == ['dog']
    path = out / 'text_encoder/config.json'
    content = json.loads(path.read_text())
    for changed in (
        dict(auto_map={'AutoModel': 'evil.Model'}),
        dict(_attn_implementation='owner/kernel'),
    ):
        path.write_text(json.dumps(dict(content, **changed)))
        with pytest.raises(ValueError, match=FOREIGN):
            TubeInferencer(out, device='cpu')


def test_two_threads_leave_the_registry_as_it_was():
    """The second one puts back what MMEngine had, not what the first put."""
    module, name = registry_module, 'collections.OrderedDict'
    before, cfg = module.get_object_from_string, read_package(SHIPPED)
    level = MMLogger.get_current_instance().level
    first, second = threading.Event(), threading.Event()

    def build(mine, other):
        with building(cfg):
            mine.set()
            other.wait(0.5)
            # Of this thread nothing is found, of others all.
            assert module.get_object_from_string(name) is None

    with ThreadPoolExecutor() as pool:
        tasks = [
            pool.submit(build, first, second),
            pool.submit(build, second, first),
        ]
        first.wait()
        assert module.get_object_from_string(name) is OrderedDict
        for task in tasks:
            task.result()
    assert module.get_object_from_string is before
    assert MMLogger.get_current_instance().level == level
