"""The tools in tools/model_converters, as users call them."""

import argparse
import importlib.util
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.logging import HistoryBuffer

from hero_mm.errors import TRACEBACK
from hero_mm.pretrained.command_line import model_shapes, run_converter

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools/model_converters'
# Of each tool a maker of checkpoints and how many tensors arrive; that of the
# projection is left out behind a neck.
LOADED = dict(
    mdetr=('mdetr', 721),
    tubedetr=('tubedetr', 721),
    stcat=('stcat', 721),
    mmdetection=('faster_rcnn', 632),
    mm_grounding_dino=('mm_grounding_dino', 624),
    resnet=('resnet', 520),
)


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    monkeypatch.delenv(TRACEBACK, raising=False)


@pytest.fixture(scope='module')
def saved(layouts, tmp_path_factory):
    """Function: path of a checkpoint as its authors would save it."""
    folder = tmp_path_factory.mktemp('saved')

    def make(kind):
        path = folder / f'{kind}.pth'
        if path.is_file():
            return str(path)
        weights = layouts.fill(getattr(layouts, kind)())
        entries = dict(state_dict=weights, meta=dict(epoch=12))
        if kind in ('mdetr', 'tubedetr', 'stcat'):
            entries = dict(
                model=layouts.fill(getattr(layouts, kind)(), seed=1),
                model_ema=weights,
                optimizer=dict(state={}, param_groups=[]),
                epoch=39,
                args=argparse.Namespace(output_dir=Path('/out')),
            )
        elif kind == 'resnet':
            entries = weights
        torch.save(entries, path)
        return str(path)

    return make


@pytest.fixture
def run(capsys):
    """Function: exit code of a converter, what it wrote and its errors."""

    def call(tool, *words):
        code = run_converter(tool, 'A tool.', [str(word) for word in words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.mark.slow
@pytest.mark.parametrize('tool', LOADED)
def test_tools(tool, saved, config_file, tmp_path, monkeypatch, capsys):
    kind, count = LOADED[tool]
    out = tmp_path / 'sub/out.pth'
    words = [saved(kind), '--config', config_file, '--out', str(out)]
    monkeypatch.setattr(sys, 'argv', [tool, *words])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(TOOLS / f'{tool}.py'), run_name='__main__')
    told = capsys.readouterr().out
    assert done.value.code == 0
    found = torch.load(out, weights_only=True)
    source = torch.load(saved(kind), weights_only=False)
    loaded = f'loaded: {len(found["state_dict"])} of '
    assert loaded in told and 'unexpected, not in the layout' in told
    assert f'the model of {config_file} got nothing for' in told
    assert f'written: {out}, all by name: {tmp_path}/sub/out.conv' in told
    listed = (tmp_path / 'sub/out.conversion.txt').read_text()
    assert listed.count('\nloaded\t') == len(found['state_dict'])
    meta = found['meta']
    assert (meta['layout'], meta['config']) == (tool, config_file)
    assert meta['converted_from'] == f'{kind}.pth'
    assert meta['container'] in (*source, None)
    if tool != 'mm_grounding_dino':
        assert len(found['state_dict']) == count
    # Its BERT does not fit the RoBERTa of the config.
    assert ('goes with language_model' in told) == (
        tool == 'mm_grounding_dino'
    )


def test_the_moving_average_or_what_is_asked_for(saved, run, tmp_path):
    name = 'video_encoder.backbone.conv1.weight'
    for options, entry in (((), 'model_ema'), (['--weights', 'model'],) * 2):
        out = tmp_path / f'{entry[-1]}.pth'
        code, told, _ = run('stcat', saved('stcat'), '--out', out, *options)
        assert code == 0
        entry = options[1] if options else entry
        assert f"STCAT, weights of '{entry}'" in told
        source = torch.load(saved('stcat'), weights_only=False)[entry]
        found = torch.load(out, weights_only=True)['state_dict']
        assert torch.equal(
            found[name], source['vis_encoder.0.body.conv1.weight']
        )


def test_options_of_the_config(
    saved, run, config_file, language_model, tmp_path
):
    out, listed = tmp_path / 'out.pth', tmp_path / 'sub/list.txt'
    code, told, _ = run(
        'mm_grounding_dino',
        saved('mm_grounding_dino'),
        *('--config', config_file, '--out', out, '--list', listed),
        '--cfg-options',
        f'model.text_encoder.name={language_model("bert")}',
    )
    assert code == 0 and 'goes with' not in told
    text = 'language_model.language_backbone.body.model.embeddings.'
    assert f'loaded\t{text}LayerNorm.bias\ttext_encoder' in listed.read_text()
    assert not (tmp_path / 'out.conversion.txt').exists()


def test_options_without_a_config(run, capsys):
    with pytest.raises(SystemExit):
        run('mdetr', 'a', '--out', 'b', '--cfg-options', 'a=1')
    assert 'give --config too' in capsys.readouterr().err


class Hostile:
    def __reduce__(self):
        return (exec, ('raise SystemExit("ran")',))


def broken(kind, saved, folder):
    """A file that the converter of MDETR has to refuse."""
    path = folder / 'mdetr.pth'
    data = Path(saved('mdetr')).read_bytes()
    if kind == 'hostile':
        torch.save(dict(model={'a': torch.ones(1)}, args=Hostile()), path)
    elif kind == 'list':
        torch.save([torch.ones(1)], path)
    elif kind == 'nothing':
        torch.save(dict(model={}, epoch=1), path)
    elif kind != 'missing':
        path.write_bytes(dict(empty=b'', cut=data[:-999])[kind])
    return path


@pytest.mark.parametrize(
    ('kind', 'told'),
    [
        ('missing', 'mdetr.pth does not exist; give a checkpoint file, a U'),
        ('empty', 'mdetr.pth is not a readable checkpoint (EOFError'),
        ('cut', 'it is truncated or of another kind. Copy it again'),
        ('hostile', 'to read it would be to run exec'),
        ('list', 'holds a list where a dict of weights is expected'),
        ('nothing', 'its entries are model, epoch. Give the checkpoint as'),
    ],
)
def test_broken_files(kind, told, saved, run, tmp_path):
    path = broken(kind, saved, tmp_path)
    out = tmp_path / 'out.pth'
    code, written, error = run('mdetr', path, '--out', out)
    assert (code, written) == (1, '')
    assert told in error and str(path) in error
    # A paragraph and the line about the traceback.
    assert error.startswith('\nerror: ') and error.count('\n') == 3
    assert not out.exists() and len(list(tmp_path.glob('out*'))) == 0


def words(case, saved, folder, config):
    """The command line of a mistake."""
    file = saved('stcat')
    plain = [file, '--out', folder / 'out.pth']
    return {
        # Told before a model is built.
        'wrong tool': [*plain, '--config', 'nowhere.py'],
        'onto itself': [file, '--out', file],
        'list onto itself': [*plain, '--list', file],
        'list onto out': [*plain, '--list', folder / 'out.pth'],
        'folder': [file, '--out', folder],
        'entry': [*plain, '--weights', 'net'],
        'config': [*plain, '--config', 'nowhere.py'],
        'no model': [*plain, '--config', config],
        'name': ['hf://a/b', '--out', folder / 'out.pth'],
    }[case]


@pytest.mark.parametrize(
    ('tool', 'case', 'told'),
    [
        ('mdetr', 'wrong tool', 'STCAT: tools/model_converters/stcat.py'),
        ('stcat', 'onto itself', 'is the checkpoint itself; give another na'),
        ('stcat', 'list onto itself', 'is a checkpoint; give the name of a t'),
        ('stcat', 'list onto out', 'is a checkpoint; give the name of a text'),
        ('stcat', 'folder', 'is a folder; give the name of a file'),
        ('stcat', 'entry', 'it has them under model, model_ema'),
        ('stcat', 'config', "config 'nowhere.py' does not exist; give"),
        ('stcat', 'no model', 'has no entry model'),
        ('stcat', 'name', 'give hf://OWNER/NAME/FILE'),
    ],
)
def test_mistakes(tool, case, told, saved, run, tmp_path):
    config = tmp_path / 'empty.py'
    config.write_text('a = 1\n')
    before = Path(saved('stcat')).read_bytes()
    code, written, error = run(tool, *words(case, saved, tmp_path, config))
    assert (code, written) == (1, '')
    assert told in error and error.count('\n') == 3
    assert Path(saved('stcat')).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ['empty.py']


def test_a_cached_download_is_not_written_over(
    saved, run, tmp_path, monkeypatch
):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    kept = tmp_path / 'hub/checkpoints/r101.pth'
    kept.parent.mkdir(parents=True)
    kept.write_bytes(Path(saved('resnet')).read_bytes())
    url = 'http://127.0.0.1:9/r101.pth'
    code, _, error = run('resnet', url, '--out', kept)
    assert code == 1 and 'is the checkpoint itself' in error
    assert run('resnet', url, '--out', tmp_path / 'out.pth')[0] == 0


def test_the_model_is_built_without_weights_of_the_hub(
    config_file, language_model
):
    """The folder of the language model holds no weights."""
    assert not list(Path(language_model()).glob('*.safetensors'))
    options = {'model.text_encoder.pretrained': True}
    shapes = model_shapes(config_file, options)
    name = 'text_encoder.language_model.embeddings.word_embeddings.weight'
    assert shapes[name] == (40, 8)


def test_no_tool_hides_a_package(monkeypatch):
    """Its folder comes first on the path of a tool."""
    own = {str(TOOLS), ''}
    monkeypatch.setattr(sys, 'path', [p for p in sys.path if p not in own])
    for tool in TOOLS.glob('*.py'):
        assert importlib.util.find_spec(tool.stem) is None, tool


@pytest.mark.slow
def test_a_tool_in_a_process_of_its_own(layouts, config_file, tmp_path):
    """What MMEngine stores beside the weights is read there too."""
    weights = layouts.fill(layouts.faster_rcnn())
    history = dict(loss=HistoryBuffer([1.0], [1]))
    entries = dict(state_dict=weights, message_hub=history)
    torch.save(entries, tmp_path / 'frcnn.pth')
    words = ['frcnn.pth', '--config', config_file, '--out', 'out.pth']
    done = subprocess.run(
        [sys.executable, str(TOOLS / 'mmdetection.py'), *words],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'loaded: 632 of 654 tensors' in done.stdout
    assert (tmp_path / 'out.pth').is_file()
