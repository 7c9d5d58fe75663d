"""docs/proposals.md: its snippets are configs of what they say."""

import copy
import re

import pytest
from mmengine.config import Config
from torch import nn

from hero_mm.models.proposals import detector_building, detector_proposals
from hero_mm.registry import MODELS, TRANSFORMS


@pytest.fixture(scope='module')
def snippets(repo_root):
    """The python blocks, run."""
    page = (repo_root / 'docs/proposals.md').read_text()
    before = dict(MODELS.module_dict)
    blocks = []
    for code in re.findall(r'```python\n(.*?)```', page, re.DOTALL):
        names: dict = {}
        exec(code, names)
        blocks.append(names)
    yield blocks
    # Other tests run the page, too.
    for name in MODELS.module_dict.keys() - before:
        if MODELS.module_dict[name].__module__ == 'builtins':
            del MODELS.module_dict[name]


class Detector(nn.Module):
    def __init__(self, config):
        super().__init__()
        if 'language_model' in config:
            self.language_model = nn.Identity()


def test_snippets_are_generators(snippets, repo_root, monkeypatch):
    read = []

    def build_detector(path, *_):
        read.append(detector_building._read_config(path))
        return Detector(read[-1])

    monkeypatch.setattr(detector_proposals, 'build_detector', build_detector)
    configs = [
        copy.deepcopy(names['model']['proposal_generator'])
        for names in snippets
        if 'model' in names
    ]
    # It speaks to MMEngine's configs alone.
    assert all(config.pop('_delete_') for config in configs)
    rpn = Config.fromfile(repo_root / 'configs/hero_rpn_shapes.py')
    assert configs[1] == rpn.model.proposal_generator.to_dict()
    kinds = [type(MODELS.build(config)).__name__ for config in configs]
    assert kinds == [
        'ObjectProposals',
        'DenseHeadProposals',
        'DetectorProposals',
        'DetectorProposals',
        'FileProposals',
    ]
    # By their names, they come from mmdet itself.
    assert [one.type for one in read] == ['FasterRCNN', 'GroundingDINO']
    steps = [TRANSFORMS.build(s) for s in snippets[-2]['test_pipeline']]
    assert type(steps[-2]).__name__ == 'LoadProposals'


def test_a_generator_of_ones_own(
    snippets, proposing_config, make_clip, propose
):
    """Its boxes are the regions; all the rest is HERO's."""
    model = MODELS.build(proposing_config(dict(type='WholeFrames')))
    regions, _ = propose(model, make_clip(2), make_clip(1, (24, 40), seed=1))
    assert regions.boxes_BTN4[0, :, 0].tolist() == [[0, 0, 32, 32]] * 2
    assert regions.boxes_BTN4[1, 0, 0].tolist() == [0, 0, 24, 40]
    assert regions.mask_BTN.tolist() == [[[True], [True]], [[True], [False]]]
