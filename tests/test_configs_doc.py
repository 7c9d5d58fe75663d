"""docs/configs.md: its switches switch, its options and defaults exist."""

import argparse
import inspect
import re
import shlex

import pytest
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate

from hero_mm.apis.random_clips import WORDS, make_item
from hero_mm.registry import MODELS


@pytest.fixture(scope='module')
def page(repo_root):
    return (repo_root / 'docs/configs.md').read_text()


def options_of(line):
    """What ``--cfg-options`` makes of a line of the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(['--cfg-options', *shlex.split(line)]).cfg_options


def test_every_switch_fits_a_config(page, repo_root):
    rows = re.findall(r'^\| [^|]+ \| `(model\.[^`]+=[^`]*)`', page, re.M)
    assert len(rows) >= 12
    torch.manual_seed(0)
    for line in rows:
        cfg = Config.fromfile(repo_root / 'configs/hero_shapes.py')
        cfg.model.text_encoder.update(ann_file=None, vocabulary=[WORDS])
        # Untrained, it is sure of nothing.
        cfg.model.proposal_generator.min_score = 0.0
        before = cfg.model.to_dict()
        cfg.merge_from_dict(options_of(line))
        assert cfg.model.to_dict() != before, line
        model = MODELS.build(cfg.model).eval()
        item = make_item(4, (32, 32), 1, 0)
        with torch.no_grad():
            (sample,) = model.test_step(pseudo_collate([item]))
        assert sample.pred_queries.bboxes.isfinite().all(), line


def test_what_is_refused_is_refused(repo_root):
    cfg = Config.fromfile(repo_root / 'configs/hero_shapes.py')
    cfg.merge_from_dict(options_of('model.action_head=None'))
    with pytest.raises(ValueError, match='retrieval chooses frames by'):
        MODELS.build(cfg.model)


def test_variants_of_one_level_are_named(page, repo_root):
    told = set(re.findall(r'`(hero_[^_`]+_vidstg\.py)`', page))
    without = {
        path.name
        for path in (repo_root / 'configs/hero').glob('hero_*_vidstg.py')
        if 'finer_levels' not in Config.fromfile(path).model.video_encoder
    }
    assert told == without


def test_options_and_defaults_are_those_of_the_code(page):
    # A line that names a class of a part, and the table below it.
    tables = re.findall(
        r'^`\w+` \(`(\w+)`[^\n]*\n\n\| option [^\n]*\n\|[^\n]*\n'
        r'((?:\|[^\n]*\n)+)',
        page,
        re.MULTILINE,
    )
    assert len(tables) == 10
    widths = {'embed_dims', 'in_dims', 'init_cfg', 'data_preprocessor'}
    for kind, table in tables:
        code = inspect.signature(MODELS.get(kind)).parameters
        told = dict(re.findall(r'^\| `(\w+)` \| `([^`]+)` \|', table, re.M))
        wanted = {
            name: repr(option.default)
            for name, option in code.items()
            if name not in widths
            and not name.startswith('loss_')
            and option.default is not option.empty
        }
        assert told == wanted, kind


PARTS = {
    'proposal_generator': 'ObjectProposals',
    'region_encoder': 'RegionEncoder',
    'action_head': 'ContrastiveActionHead',
    'tube_head': 'TubeHead',
}


def test_losses_are_those_of_the_code(page):
    told = re.findall(
        r'^\| `(\w+\.loss_\w+)` \| `(\w+)` \| `([\d.]+)` \|', page, re.M
    )
    found = set()
    for part, kind in PARTS.items():
        module = MODELS.build(dict(type=kind, embed_dims=8))
        for name in inspect.signature(MODELS.get(kind)).parameters:
            if name.startswith('loss_'):
                loss = getattr(module, name)
                weight = f'{float(loss.loss_weight)}'
                found.add((f'{part}.{name}', type(loss).__name__, weight))
    # What differs, in full.
    assert sorted(set(told) ^ found) == []
