"""docs/configs.md: its switches switch, its options and defaults exist."""

import argparse
import inspect
import re
import shlex

import pytest
import torch
from mmengine.config import Config, DictAction

from hero_mm.models.heads.tube_losses import TubeLosses
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
    assert len(rows) >= 14
    torch.manual_seed(0)
    for line in rows:
        name = 'rpn_shapes' if 'proposal' in line else 'shapes'
        cfg = Config.fromfile(repo_root / f'configs/hero_{name}.py')
        before = cfg.model.to_dict()
        cfg.merge_from_dict(options_of(line))
        # The defaults of the page may be those of the config.
        assert cfg.model.to_dict() != before or 'keep_ratio' in line, line
        model = MODELS.build(cfg.model)
        if 'proposal' in line:
            grid = MODELS.build(
                Config.fromfile(repo_root / 'configs/hero_shapes.py').model
            )
            assert set(model.state_dict()) == set(grid.state_dict())


def test_what_is_refused_is_refused(page, repo_root):
    cfg = Config.fromfile(repo_root / 'configs/hero_rpn_shapes.py')
    cfg.merge_from_dict(options_of('model.proposal_generator=None'))
    with pytest.raises(ValueError, match='give a proposal_generator too'):
        MODELS.build(cfg.model)
    told = set(re.findall(r'`(hero_\S+_vidstg\.py)`', page))
    without = {
        path.name
        for path in (repo_root / 'configs/hero').glob('*.py')
        if Config.fromfile(path).model.region_detail is None
    }
    assert told == without
    for name in told:
        cfg = Config.fromfile(repo_root / 'configs/hero' / name)
        with pytest.raises(TypeError, match='cannot inherit from base'):
            cfg.merge_from_dict(options_of('model.region_detail.shift_div=0'))


def test_options_and_defaults_are_those_of_the_code(page):
    # A line that names a class of a part, and the table below it.
    tables = re.findall(
        r'^`\w+` \(`(\w+)`[^\n]*\n\n\| option [^\n]*\n\|[^\n]*\n'
        r'((?:\|[^\n]*\n)+)',
        page,
        re.MULTILINE,
    )
    assert len(tables) == 8
    widths = {'embed_dims', 'in_dims', 'init_cfg', 'data_preprocessor'}
    for kind, table in tables:
        code = inspect.signature(MODELS.get(kind)).parameters
        told = dict(re.findall(r'^\| `(\w+)` \| `([^`]+)` \|', table, re.M))
        wanted = {
            name: repr(option.default)
            for name, option in code.items()
            if name not in widths and option.default is not option.empty
        }
        assert told == wanted, kind


def test_weights_are_those_of_the_code(page):
    (table,) = re.findall(r'^\| weight [^\n]*\n((?:\|[^\n]*\n)+)', page, re.M)
    told = re.findall(r'^\| `(\w+)` \| `([\d.]+)` \|', table, re.MULTILINE)
    weights = TubeLosses(0.25, 0.5, 1.0).weights
    assert {name: float(value) for name, value in told} == weights
