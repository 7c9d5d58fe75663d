"""docs/proposals.md: its snippets are configs of what they say."""

import inspect
import re

import pytest

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


def test_a_generator_of_ones_own(
    snippets, proposing_config, make_clip, propose
):
    """Its boxes are the regions; all the rest is HERO's."""
    model = MODELS.build(proposing_config(dict(type='WholeFrames')))
    regions, _ = propose(model, make_clip(2), make_clip(1, (24, 40), seed=1))
    assert regions.boxes_BTN4[0, :, 0].tolist() == [[0, 0, 32, 32]] * 2
    assert regions.boxes_BTN4[1, 0, 0].tolist() == [0, 0, 24, 40]
    assert regions.mask_BTN.tolist() == [[[True], [True]], [[True], [False]]]


def test_snippets_are_generators(snippets):
    kinds = []
    for names in snippets:
        config = dict(names.get('model', {}).get('proposal_generator', {}))
        if not config:
            continue
        assert config.pop('_delete_')
        kind = MODELS.get(config['type'])
        if kind.__name__ == 'DetectorProposals':
            # Its detector is not here.
            config.pop('type')
            inspect.signature(kind).bind(**config)
        else:
            MODELS.build(config)
        kinds.append(kind.__name__)
    assert kinds == [
        *('ObjectProposals', 'DenseHeadProposals', 'DetectorProposals'),
        *('DetectorProposals', 'FileProposals'),
    ]
    (steps,) = [n['test_pipeline'] for n in snippets if 'test_pipeline' in n]
    assert TRANSFORMS.get(steps[-2]['type']).__name__ == 'LoadProposals'
