"""Checkpoints are read as our tools read them."""

import pytest
from mmengine.runner.checkpoint import CheckpointLoader

from hero_mm.pretrained.fetching import replace_loaders


@pytest.fixture
def our_loaders(monkeypatch):
    """MMEngine reads checkpoints as ``hero_mm.pretrained.loaders`` lets it."""
    monkeypatch.setattr(
        CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes)
    )
    replace_loaders()
