"""The tools in tools/model_converters, as users call them."""

import argparse
import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from hero_mm.errors import TRACEBACK
from hero_mm.pretrained.command_line import model_shapes, run_converter

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools/model_converters'


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
        if kind == 'stcat':
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


def test_the_moving_average_or_what_is_asked_for(
    saved, run, config_file, tmp_path
):
    name = 'video_encoder.backbone.conv1.weight'
    for options, entry in (((), 'model_ema'), (['--weights', 'model'],) * 2):
        out = tmp_path / f'{entry[-1]}.pth'
        words = [saved('stcat'), '--config', config_file, '--out', out]
        code, told, _ = run('stcat', *words, *options)
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
    out = tmp_path / 'out.pth'
    code, told, _ = run(
        'mm_grounding_dino',
        saved('mm_grounding_dino'),
        *('--config', config_file, '--out', out),
        '--cfg-options',
        f'model.text_encoder.name={language_model("bert")}',
    )
    assert code == 0 and 'goes with' not in told
    text = 'language_model.language_backbone.body.model.embeddings.'
    listed = (tmp_path / 'out.conversion.txt').read_text()
    assert f'loaded\t{text}LayerNorm.bias\ttext_encoder' in listed


def test_options_without_a_config(run, capsys):
    with pytest.raises(SystemExit):
        run('mdetr', 'a', '--out', 'b', '--cfg-options', 'a=1')
    assert 'give --config too' in capsys.readouterr().err


def test_a_broken_file_ends_in_words(saved, run, tmp_path):
    path, out = tmp_path / 'mdetr.pth', tmp_path / 'out.pth'
    path.write_bytes(Path(saved('resnet')).read_bytes()[:-999])
    code, written, error = run('mdetr', path, '--out', out)
    assert (code, written) == (1, '')
    # A paragraph and the line about the traceback.
    assert error.startswith(f'\nerror: {path} is not a readable checkpoint')
    assert error.count('\n') == 3 and not list(tmp_path.glob('out*'))


def words(case, saved, folder, config):
    """The command line of a mistake."""
    file = saved('stcat')
    plain = [file, '--out', folder / 'out.pth']
    return {
        # Told before a model is built.
        'wrong tool': [*plain, '--config', 'nowhere.py'],
        'onto itself': [file, '--out', file],
        'folder': [file, '--out', folder],
        'entry': [*plain, '--weights', 'net'],
        'config': [*plain, '--config', 'nowhere.py'],
        'no model': [*plain, '--config', config],
        'no config': plain,
        'name': ['hf://a/b', '--out', folder / 'out.pth'],
    }[case]


@pytest.mark.parametrize(
    ('tool', 'case', 'told'),
    [
        ('mdetr', 'wrong tool', 'STCAT: tools/model_converters/stcat.py'),
        ('stcat', 'onto itself', 'is the checkpoint itself; give another na'),
        ('stcat', 'folder', 'is a folder; give the name of a file'),
        ('stcat', 'entry', 'those with weights model, model_ema'),
        ('stcat', 'config', "config 'nowhere.py' does not exist; give"),
        ('stcat', 'no model', 'has no entry model'),
        ('stcat', 'no config', 'depends on the model: give its config by -'),
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
