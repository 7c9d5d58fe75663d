"""docs/proposals.md: its snippets are configs, its names exist."""

import copy
import re

import pytest
from mmengine.config import Config
from torch import nn

from hero_mm.models.proposals import detector_building, detector_proposals
from hero_mm.registry import MODELS, TRANSFORMS


@pytest.fixture(scope='module')
def page(repo_root):
    return (repo_root / 'docs/proposals.md').read_text()


@pytest.fixture(scope='module')
def snippets(page):
    """The python blocks, run."""
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


def generators(snippets) -> list[dict]:
    """The generators of the snippets that are configs."""
    found = [
        copy.deepcopy(names['model']['proposal_generator'])
        for names in snippets
        if 'model' in names
    ]
    # It speaks to MMEngine's configs alone.
    assert all(config.pop('_delete_') for config in found)
    return found


class Detector(nn.Module):
    def __init__(self, with_language):
        super().__init__()
        if with_language:
            self.language_model = nn.Identity()


def test_snippets_are_generators(snippets, monkeypatch):
    read = []

    def build_detector(path, *_):
        read.append(detector_building._read_config(path))
        return Detector('language_model' in read[-1].model)

    monkeypatch.setattr(detector_proposals, 'build_detector', build_detector)
    kinds = [
        type(MODELS.build(config)).__name__ for config in generators(snippets)
    ]
    assert kinds == [
        'ObjectProposals',
        'DenseHeadProposals',
        'DetectorProposals',
        'DetectorProposals',
        'FileProposals',
    ]
    # By their names, they come from mmdet itself.
    assert [config.model.type for config in read] == [
        'FasterRCNN',
        'GroundingDINO',
    ]


def test_the_joint_head_is_that_of_the_config(snippets, repo_root):
    config = Config.fromfile(repo_root / 'configs/hero_rpn_shapes.py')
    assert generators(snippets)[1] == config.model.proposal_generator.to_dict()


def test_a_generator_of_ones_own(
    snippets, proposing_config, make_clip, propose
):
    """Its boxes are the regions; all the rest is HERO's."""
    model = MODELS.build(proposing_config(dict(type='WholeFrames')))
    regions, _ = propose(model, make_clip(2), make_clip(1, (24, 40), seed=1))
    assert regions.boxes_BTN4[0, :, 0].tolist() == [[0, 0, 32, 32]] * 2
    assert regions.boxes_BTN4[1, 0, 0].tolist() == [0, 0, 24, 40]
    assert regions.mask_BTN.tolist() == [[[True], [True]], [[True], [False]]]


def test_the_pipeline_can_be_built(snippets):
    steps = [TRANSFORMS.build(s) for s in snippets[-2]['test_pipeline']]
    assert [type(step).__name__ for step in steps][-2:] == [
        'LoadProposals',
        'PackGroundingInputs',
    ]


def test_what_is_named_exists(page, repo_root):
    for path in re.findall(r'(?:configs|tools)/[\w/.-]+\.py', page):
        assert (repo_root / path).is_file(), path
    tool = (repo_root / 'tools/extract_proposals.py').read_text()
    options = set(re.findall(r'`(--[\w-]+)', page))
    assert len(options) > 5
    for option in options:
        assert f"'{option}'" in tool, option


def test_defaults_are_those_of_the_code(page):
    import inspect

    code = inspect.signature(detector_proposals.DetectorProposals).parameters
    rows = re.findall(r'^\| `(\w+)` \| `?([\w.]+)`? \|', page, re.MULTILINE)
    assert len(rows) >= 5
    for name, default in rows:
        assert str(code[name].default) == default, name
