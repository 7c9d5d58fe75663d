"""Without the family: what needs it says so, and the rest runs."""

import json
import os
import subprocess
import sys

MISSING = ('mmdet', 'mmaction', 'mmcv', 'mmpretrain', 'transformers')
PARTS = {
    'backbone mmdet.ResNet': '"hero-mm[mmdet]"',
    'backbone mmaction.MViT': '"hero-mm[mmaction]"',
    'neck mmpretrain.ConvNeXt': 'mmpretrain',
    'proposal head mmdet.RPNHead': '"hero-mm[mmdet]"',
    'detector mmdet.FasterRCNN': '"hero-mm[mmdet]"',
}
SCRIPT = """
import json
import sys

missing, config, parts = sys.argv[1].split(), *map(eval, sys.argv[2:])


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
model = MODELS.build(config).eval()
with torch.no_grad():
    regions = model.encode_video(
        dict(
            imgs=torch.randn(1, 2, 3, 16, 24),
            frame_mask=torch.ones(1, 2, dtype=torch.bool),
            pixel_mask=torch.ones(1, 16, 24, dtype=torch.bool),
        )
    )
found = dict(shape=list(regions.features_BTND.shape))
for part in parts:
    role, kind = part.rsplit(' ', 1)
    named = dict(type=kind)
    own = dict(type='ShiftConvNet')
    whole = {
        'backbone': dict(type='VideoEncoder', backbone=named, embed_dims=8),
        'neck': dict(
            type='VideoEncoder', backbone=own, neck=named, embed_dims=8
        ),
        'proposal head': dict(type='DenseHeadProposals', head=named),
        'detector': dict(type='DetectorProposals', detector=named),
    }
    try:
        MODELS.build(whole[role])
    except ValueError as error:
        found[part] = str(error)
found['imported'] = [name for name in missing if name in sys.modules]
print(json.dumps(found))
"""


def test_what_is_ours_runs_and_the_rest_says_what_is_missing(
    hero_config, repo_root
):
    given = ' '.join(MISSING), repr(hero_config()), repr([*PARTS])
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, *given],
        env={**os.environ, 'PYTHONPATH': str(repo_root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found['imported'] == []
    assert found['shape'][:2] == [1, 2] and found['shape'][-1] == 16
    for part, cure in PARTS.items():
        package = part.split()[-1].partition('.')[0]
        assert found[part].startswith(f'the {part} needs {package}, ')
        assert f"No module named '{package}" in found[part]
        assert f'pip install {cure} (' in found[part]
