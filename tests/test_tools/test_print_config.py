"""What is printed is a config, whole and changed."""

import pytest
import torch
from mmengine.config import Config


def printed(tool, capsys, *words):
    tool.main([str(word) for word in words])
    title, _, text = capsys.readouterr().out.partition('\n')
    assert title == 'Config:'
    return Config.fromstring(text, '.py')


def test_what_is_printed_is_the_config(tool, capsys, repo_root):
    path = repo_root / 'configs/hero_vidstg.py'
    found = printed(tool, capsys, path)
    assert found.to_dict() == Config.fromfile(path).to_dict()
    # Inherited over two levels.
    assert found.optim_wrapper.optimizer.type == 'AdamW'


@pytest.mark.parametrize('flag', ['--options', '--cfg-options'])
def test_options_change_it(tool, capsys, repo_root, flag):
    path = repo_root / 'configs/hero_shapes.py'
    found = printed(tool, capsys, path, flag, 'model.neck=None')
    assert found.model.neck is None


def test_a_checkpoint_gives_its_config_as_text(
    tool, explain, capsys, tmp_path
):
    """It is printed, not run."""
    path, text = tmp_path / 'published.pth', 'raise SystemExit(5)'
    torch.save(dict(state_dict={}, meta=dict(cfg=text)), path)
    tool.main([str(path)])
    assert capsys.readouterr().out == f'{text}\n'
    torch.save(dict(state_dict={}), path)
    assert 'published.pth carries no config' in explain(tool, path)
