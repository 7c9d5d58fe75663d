"""tools/model_converters/to_hero.py, as docs/pretrained.md calls it."""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import torch

from hero_mm.errors import TRACEBACK
from hero_mm.pretrained import fetching
from hero_mm.pretrained.conversion import convert

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / 'docs/pretrained.md').read_text(encoding='utf-8')
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r'```bash\n(.*?)```', TEXT, re.DOTALL)
    for line in block.replace('\\\n', ' ').splitlines()
    if line.startswith('python ')
]
CONVERTERS = [c[1:] for c in COMMANDS if 'model_converters' in c[1]]
# Of the files of the page.
KINDS = {
    'pretrained_resnet101_checkpoint.pth': 'mdetr',
    'checkpoint.pth': 'tubedetr',
    'model_final.pth': 'stcat',
    'faster_rcnn_r101_fpn_1x_coco_20200130-f513f705.pth': 'mmdetection',
}


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    monkeypatch.delenv(TRACEBACK, raising=False)


@pytest.fixture
def run(capsys, monkeypatch):
    """Function: exit code of the converter, what it wrote and its errors."""
    path = str(ROOT / 'tools/model_converters/to_hero.py')

    def call(*words):
        monkeypatch.setattr(sys, 'argv', [path, *map(str, words)])
        with pytest.raises(SystemExit) as done:
            runpy.run_path(path, run_name='__main__')
        said = capsys.readouterr()
        return done.value.code, said.out, said.err

    return call


@pytest.mark.parametrize('command', CONVERTERS, ids=lambda c: c[1])
def test_the_commands_of_the_page(
    command, source, config_file, language_model, run, tmp_path, monkeypatch
):
    """On tiny files of the names of the published ones, in a tiny HERO."""
    _, file, *words = command
    kind = KINDS.get(file, 'mm_grounding_dino')
    torch.save(dict(model=source(kind).weights), tmp_path / 'tiny.pth')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetching, 'fetch', lambda name: 'tiny.pth')
    name = 'model.text_encoder.name='
    words[words.index('--config') + 1] = config_file
    if name + 'bert-base-uncased' in words:
        words[-1] = name + language_model('bert')
    code, said, _ = run(file, *words)
    assert code == 0
    (out,) = (tmp_path / 'checkpoints').glob('*.pth')
    assert f'written: checkpoints/{out.name}' in said
    found = torch.load(out, weights_only=True)
    assert f'{file}: {found["meta"]["layout"]}' in said
    assert f'loaded: {len(found["state_dict"])} of ' in said


def test_what_the_page_names_exists(source, shapes_of):
    names = re.findall(r'`((?:hf|torchvision|file|https)://[^`]+)`', TEXT)
    assert len(names) >= 5
    assert all(name.startswith(fetching.FETCHED) for name in names)
    # Its output, of what HERO shares; the rest of the file is a selection.
    block = re.search(r'```\n(pretrained_res.*?)```', TEXT, re.DOTALL)[1]
    name = 'pretrained_resnet101_checkpoint.pth'
    file = source('mdetr')._replace(path=name, container='model_ema')
    said = convert(file, shapes_of(None), 'tiny.py').summary()
    for line in block.splitlines():
        assert re.sub(r'(of|own:) \d+.*', r'\1', line) in said


@pytest.fixture(scope='module')
def stcat(source, tmp_path_factory):
    """Path of a checkpoint as its authors would save it."""
    path = tmp_path_factory.mktemp('saved') / 'stcat.pth'
    weights = source('stcat').weights
    entries = dict(
        model={name: value + 1 for name, value in weights.items()},
        model_ema=weights,
        optimizer=dict(state={}, param_groups=[]),
        args=argparse.Namespace(output_dir=Path('/out')),
    )
    torch.save(entries, path)
    return str(path)


@pytest.mark.parametrize('entry', ['model_ema', 'model'])
def test_the_moving_average_or_what_is_asked_for(
    entry, stcat, run, config_file, tmp_path
):
    out = tmp_path / 'out.pth'
    words = [stcat, '--config', config_file, '--out', out]
    options = [] if entry == 'model_ema' else ['--weights', entry]
    code, said, _ = run(*words, *options)
    assert code == 0 and f"STCAT, weights of '{entry}'" in said
    source = torch.load(stcat, weights_only=False)[entry]
    found = torch.load(out, weights_only=True)['state_dict']
    assert torch.equal(
        found['video_encoder.backbone.conv1.weight'],
        source['vis_encoder.0.body.conv1.weight'],
    )


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (('--out', 'FILE'), 'is the checkpoint itself; give another'),
        (('--weights', 'net'), 'those with weights model, model_ema'),
        (('--config', 'no.py'), "config 'no.py' does not exist"),
        ((), 'has no entry model'),
    ],
)
def test_mistakes(options, said, stcat, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('empty.py').write_text('a = 1\n')
    before = Path(stcat).read_bytes()
    options = [stcat if word == 'FILE' else word for word in options]
    plain = ['--out', 'out.pth', '--config', 'empty.py']
    code, written, error = run(stcat, *plain, *options)
    assert (code, written) == (1, '')
    # A paragraph and the line about the traceback.
    assert said in error and error.count('\n') == 3
    assert Path(stcat).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ['empty.py']


def test_a_cached_download_is_not_written_over(
    source, run, config_file, tmp_path, monkeypatch
):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    kept = tmp_path / 'hub/checkpoints/r101.pth'
    kept.parent.mkdir(parents=True)
    torch.save(source('mmdetection').weights, kept)
    words = ['http://127.0.0.1:9/r101.pth', '--config', config_file, '--out']
    code, _, error = run(*words, kept)
    assert code == 1 and 'is the checkpoint itself' in error
    assert run(*words, tmp_path / 'out.pth')[0] == 0


def test_the_model_is_built_without_weights_of_the_hub(
    config_file, language_model, load_tool
):
    """The folder of the language model holds no weights."""
    assert not list(Path(language_model()).glob('*.safetensors'))
    options = {'model.text_encoder.pretrained': True}
    tool = load_tool('model_converters/to_hero')
    shapes = tool.model_shapes(config_file, options)
    name = 'text_encoder.language_model.embeddings.word_embeddings.weight'
    assert shapes[name] == (40, 8)
