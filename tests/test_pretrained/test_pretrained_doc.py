"""What docs/pretrained.md says: its commands, its names, its output."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from hero_mm.pretrained import fetching
from hero_mm.pretrained.conversion import convert
from hero_mm.pretrained.layouts import LAYOUTS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / 'docs/pretrained.md').read_text(encoding='utf-8')
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r'```bash\n(.*?)```', TEXT, re.DOTALL)
    for line in block.replace('\\\n', ' ').splitlines()
    if line.startswith('python ')
]
CONVERTERS = [c[1:] for c in COMMANDS if 'model_converters' in c[1]]
# Makers of the files that they read.
MAKERS = dict(mmdetection='faster_rcnn')


@pytest.mark.parametrize('command', CONVERTERS, ids=lambda c: c[1])
def test_converters(
    command,
    layouts,
    config_file,
    language_model,
    tmp_path,
    monkeypatch,
    capsys,
):
    """On tiny files of the names of the published ones, in a tiny HERO."""
    tool, file, *words = command
    kind = Path(tool).stem
    shapes = getattr(layouts, MAKERS.get(kind, kind))()
    torch.save(dict(model=layouts.fill(shapes)), tmp_path / 'tiny.pth')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetching, 'fetch', lambda name: 'tiny.pth')
    known = {
        'configs/hero_vidstg.py',
        'configs/hero/hero_r101-c5_vidstg.py',
        'configs/hero/hero_swin-t_vidstg.py',
    }
    stands_in = dict.fromkeys(known, config_file)
    name = 'model.text_encoder.name='
    stands_in[name + 'bert-base-uncased'] = name + language_model('bert')
    words = [stands_in.get(word, word) for word in words]
    monkeypatch.setattr(sys, 'argv', [tool, file, *words])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(ROOT / tool), run_name='__main__')
    assert done.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith(f'{file}: {LAYOUTS[kind].title}')
    (out,) = (tmp_path / 'checkpoints').glob('*.pth')
    assert f'written: checkpoints/{out.name}' in told and ': 0\n' in told
    found = torch.load(out, weights_only=True)
    assert found['meta']['layout'] == kind
    assert f'loaded: {len(found["state_dict"])} of ' in told
    listed = out.with_suffix('.conversion.txt').read_text()
    assert listed.count('\nloaded\t') == len(found['state_dict']) > 500


def test_every_tool_and_config_of_the_page_exists():
    tools = {Path(command[0]).name for command in CONVERTERS}
    there = {path.name for path in (ROOT / 'tools/model_converters').glob('*')}
    assert tools == there - {'__pycache__'}
    assert {path.removesuffix('.py') for path in tools} == set(LAYOUTS)
    for path in re.findall(r'(?:configs|tools)/[\w./-]+\.py', TEXT):
        assert (ROOT / path).is_file(), path
    # The option of the last command changes what is there.
    model = Config.fromfile(ROOT / 'configs/hero_vidstg.py').model
    assert model.video_encoder.backbone.init_cfg
    assert model.text_encoder.name == 'roberta-base'
    assert COMMANDS[-1][-1] == 'model.text_encoder.pretrained=False'


def test_the_output_of_the_page(source, shapes_of):
    """Of what HERO shares; the rest of the file made here is a selection."""
    block = re.search(r'```\n(pretrained_res.*?)```', TEXT, re.DOTALL)[1]
    file = source('mdetr')
    file.path = 'pretrained_resnet101_checkpoint.pth'
    file.container = 'model_ema'
    told = convert(
        file, LAYOUTS['mdetr'], shapes_of('none'), 'tiny.py'
    ).summary()
    for line in block.splitlines():
        assert re.sub(r'(of|not loaded:) \d+.*', r'\1', line) in told


def test_names_of_the_page():
    names = re.findall(r'`((?:hf|torchvision|file|https)://[^`]+)`', TEXT)
    assert len(names) >= 5
    assert all(name.startswith(fetching.FETCHED) for name in names)
    table = [n for n in names if n.startswith('hf://OWNER')]
    assert [fetching.parse_huggingface(name).revision for name in table] == [
        None,
        'REVISION',
    ]
