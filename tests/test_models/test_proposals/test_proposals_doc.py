"""docs/proposals.md: its snippets are configs of what they say."""

import inspect
import re

import pytest

from hero_mm.registry import MODELS


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


def test_a_generator_of_ones_own(snippets, hero_config, make_clip, propose):
    """Its boxes are the regions; all the rest is HERO's."""
    config = hero_config(proposal_generator=dict(type='WholeFrames'))
    clips = make_clip(2), make_clip(1, (24, 40), seed=1)
    regions, _ = propose(MODELS.build(config), *clips)
    assert regions.boxes_BTN4[0, :, 0].tolist() == [[0, 0, 32, 32]] * 2
    assert regions.boxes_BTN4[1, 0, 0].tolist() == [0, 0, 24, 40]
    assert regions.mask_BTN.tolist() == [[[True], [True]], [[True], [False]]]


def test_snippets_are_generators(snippets):
    models = [names['model'] for names in snippets if 'model' in names]
    assert len(models) == 5
    for model in models:
        config = dict(model['proposal_generator'])
        assert config.pop('_delete_')
        if config['type'] == 'DetectorProposals':
            # Its detector is not here.
            kind = MODELS.get(config.pop('type'))
            inspect.signature(kind).bind(**config)
        else:
            MODELS.build(config)
