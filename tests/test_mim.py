"""What MIM finds: the index of models, configs and tools by their names.

MIM itself is asked too, where it is installed and imports.
"""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.fileio import load

ROOT = Path(__file__).resolve().parent.parent
INDEX = load(str(ROOT / 'model-index.yml'))
METAFILES = [load(str(ROOT / name)) for name in INDEX['Import']]
MODELS = [model for meta in METAFILES for model in meta['Models']]
ARCHITECTURES = {'mmdet.ResNet': 'ResNet', 'ShiftConvNet': 'ShiftConvNet'}
FOLDERS = {
    'Shapes': 'shapes',
    'Shapes, long': 'shapes-long',
    'own footage': 'own',
    'VidSTG': 'vidstg',
    'HC-STVG v1': 'hcstvg',
    'HC-STVG v2': 'hcstvg-v2',
    'VID-sentence': 'vid_sentence',
}


def name_of(model):
    return model['Name']


def test_every_main_config_has_an_entry():
    """Under the name that users type; its file is the real one."""
    found = {model['Name']: model['Config'] for model in MODELS}
    assert len(found) == len(MODELS)
    on_disk = {path.stem: path for path in ROOT.glob('configs/*.py')}
    assert found.keys() == on_disk.keys(), 'see configs/metafile.yml'
    for name, path in on_disk.items():
        real = found[name].removeprefix('configs/')
        assert path.read_text() == f"_base_ = './{real}'\n"
        assert Path(real).parts[0] == 'hero'


@pytest.mark.parametrize('model', MODELS, ids=name_of)
def test_an_entry_says_what_the_config_says(model):
    # MIM looks names up in small letters.
    assert model['Name'] == model['Name'].lower()
    assert model['In Collection'] == 'HERO'
    cfg = Config.fromfile(ROOT / model['Config'])
    data = model['Metadata']
    if 'train_dataloader' not in cfg:
        sample = cfg.test_dataloader.dataset.pipeline[0]
        assert data['Frames'] == sample.max_frames
        assert data['Training Data'] == 'no tubes'
        assert not {'Epochs', 'Batch Size'} & data.keys()
        assert 'Weights' not in model
        return
    dataset = cfg.train_dataloader.dataset
    parts = dataset.get('datasets', [dataset])
    sample = next(
        step for step in parts[0].pipeline if step.type == 'SampleClipFrames'
    )
    assert data['Frames'] == sample.get('num_frames', sample.get('max_frames'))
    batch = cfg.train_dataloader.batch_size
    assert data['Batch Size'] == batch
    # Processes and clips of each, where the name of the file says them.
    sizes = re.search(r'_(\d+)xb(\d+)-', model['Config'])
    assert batch == int(sizes[2])
    if 'auto_scale_lr' in cfg:
        step = int(sizes[1]) * batch
        times = cfg.optim_wrapper.get('accumulative_counts', 1)
        assert cfg.auto_scale_lr.base_batch_size == step * times
        assert cfg.train_dataloader.drop_last
    assert data['Epochs'] == cfg.train_cfg.max_epochs
    backbone = cfg.model.video_encoder.backbone
    depth = f'-{backbone.depth}' if 'depth' in backbone else ''
    first = ARCHITECTURES[backbone.type] + depth
    assert data['Architecture'][0] == first
    pretrained = cfg.model.text_encoder.get('name', 'words from scratch')
    assert data['Architecture'][1].lower() == pretrained
    names = data['Training Data'].split(' and ')
    assert [part.ann_file for part in parts] == [
        f'data/{FOLDERS[name]}/train.json' for name in names
    ]
    # Nothing of ours can be downloaded yet.
    assert 'Weights' not in model


def test_results_are_those_that_were_measured():
    """The row of all sentences in docs/benchmarks.md."""
    (model,) = [model for model in MODELS if 'Results' in model]
    (found,) = model['Results']
    assert model['Name'] == 'hero_shapes'
    assert found['Task'] == 'Video Object Grounding'
    assert found['Dataset'] == model['Metadata']['Training Data']
    text = (ROOT / 'docs/benchmarks.md').read_text()
    section = text.partition('## The embedded benchmark: HERO\n')[2]
    head, _, row, *_ = re.findall(r'^\| ?(.*)\|$', section, re.MULTILINE)
    names = [cell.strip() for cell in head.split('|')[1:]]
    first, *values = (cell.strip() for cell in row.split('|'))
    assert first.startswith('all')
    assert found['Metrics'] == dict(zip(names, map(float, values)))


def test_a_config_is_found_by_its_name():
    """MIM searches the whole package, and refuses a name that comes twice."""
    folders = (ROOT / 'hero_mm', ROOT / 'configs', ROOT / 'tools')
    names = Counter(
        path.name
        for folder in folders
        for path in folder.rglob('*.py')
        if '.mim' not in path.relative_to(ROOT).parts
    )
    configs = [
        path.name
        for path in (ROOT / 'configs').rglob('*.py')
        # Suites of ablations are no configs.
        if not {'_base_', 'ablations'} & set(path.parts)
    ]
    assert [name for name in configs if names[name] > 1] == []


@pytest.mark.parametrize('name', ['train', 'test'])
def test_flags_are_those_that_mim_gives(name, load_tool, monkeypatch, capsys):
    """It takes a ``--gpus`` in the help for a tool of OpenMMLab 1."""
    tool = load_tool(name)
    monkeypatch.setattr(sys, 'argv', [name, '-h'])
    with pytest.raises(SystemExit, match='0'):
        tool.parse_args()
    shown = capsys.readouterr().out
    assert '--gpus' not in shown and '--launcher' in shown


def test_mim_finds_models_configs_and_tools():
    pytest.importorskip('mim', reason='openmim, with setuptools < 82')
    from mim.commands.search import get_model_info
    from mim.utils import get_installed_path

    folder = Path(get_installed_path('hero_mm'))
    if not (folder / '.mim').is_dir():
        # An editable install whose checkout is not on the path.
        pytest.skip(f'MIM looks in {folder}; see docs/install.md')
    found = get_model_info('hero_mm', to_dict=True)
    assert found.keys() == {model['Name'] for model in MODELS}
    assert found['hero_shapes']['shapes/m_viou'] > 0.4
    assert found['hero_vidstg']['training_data'] == 'vidstg'
    for entry in found.values():
        assert (folder / '.mim' / entry['config']).is_file()
    assert (folder / '.mim/tools/analysis_tools/print_config.py').is_file()
