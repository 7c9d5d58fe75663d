"""Without the family: what needs it says so, and the rest runs."""

import json
import os
import subprocess
import sys

import pytest

MISSING = ('mmdet', 'mmaction', 'mmcv', 'mmpretrain', 'transformers')
SCRIPT = """
import json
import sys

missing, config = sys.argv[1].split(), eval(sys.argv[2])


class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in missing:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)


sys.meta_path.insert(0, Nowhere())
import hero_mm
import hero_mm.evaluation
import hero_mm.models
import hero_mm.structures
import torch
from mmengine.registry import init_default_scope
from hero_mm.registry import MODELS

init_default_scope('hero_mm')
told = {}
model = MODELS.build(config).eval()
with torch.no_grad():
    regions = model.encode_video(
        dict(
            imgs=torch.randn(1, 2, 3, 16, 24),
            frame_mask=torch.ones(1, 2, dtype=torch.bool),
            pixel_mask=torch.ones(1, 16, 24, dtype=torch.bool),
        )
    )
    told['shape'] = list(regions.features_BTND.shape)
for package, kind in dict(
    mmdet='ResNet', mmaction='MViT', mmpretrain='ConvNeXt'
).items():
    for role in ('backbone', 'neck'):
        part = dict(type=f'{package}.{kind}')
        own = dict(type='ShiftConvNet')
        parts = dict(backbone=own)
        parts[role] = part
        try:
            MODELS.build(dict(type='VideoEncoder', embed_dims=8, **parts))
        except ValueError as error:
            told[f'{package} {role}'] = str(error)
for part in (
    dict(type='DenseHeadProposals', head=dict(type='mmdet.RPNHead')),
    dict(type='DetectorProposals', detector=dict(type='FasterRCNN')),
):
    try:
        MODELS.build(part)
    except ValueError as error:
        told[part['type']] = str(error)
told['imported'] = [name for name in missing if name in sys.modules]
print(json.dumps(told))
"""


@pytest.fixture(scope='module')
def told(hero_config, repo_root):
    """What a process without these packages finds."""
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, ' '.join(MISSING), repr(hero_config())],
        env={**os.environ, 'PYTHONPATH': str(repo_root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_what_is_ours_runs(told):
    assert told['imported'] == []
    assert told['shape'][:2] == [1, 2] and told['shape'][-1] == 16


@pytest.mark.parametrize('role', ['backbone', 'neck'])
@pytest.mark.parametrize(
    ('package', 'kind', 'cure'),
    [
        ('mmdet', 'ResNet', '"hero-mm[mmdet]"'),
        ('mmaction', 'MViT', '"hero-mm[mmaction]"'),
        ('mmpretrain', 'ConvNeXt', 'mmpretrain'),
    ],
)
def test_a_missing_package_is_told_with_its_cure(
    told, package, kind, cure, role
):
    words = told[f'{package} {role}']
    assert words.startswith(f'the {role} {package}.{kind} needs {package}, ')
    assert f"No module named '{package}" in words
    assert f'pip install {cure} (' in words


@pytest.mark.parametrize(
    ('generator', 'part'),
    [
        ('DenseHeadProposals', 'proposal head mmdet.RPNHead'),
        ('DetectorProposals', 'detector mmdet.FasterRCNN'),
    ],
)
def test_a_generator_without_mmdet_is_told(told, generator, part):
    assert told[generator].startswith(f'the {part} needs mmdet, ')
    assert 'pip install "hero-mm[mmdet]" (' in told[generator]
