"""Backbones of the tests, known to the registry by their class names."""

import pytest
import torch

from hero_mm.registry import MODELS


@pytest.fixture
def register(monkeypatch):
    """Function: let configs name these classes, for one test."""

    def add(*classes):
        known = {cls.__name__: cls for cls in classes}
        monkeypatch.setattr(
            MODELS, '_module_dict', {**MODELS.module_dict, **known}
        )

    return add


@pytest.fixture(scope='session')
def clip_of():
    """Function: clips as the data preprocessor gives them, all of it real.

    With ``ramp`` each frame holds its number.
    """

    def make(frames=6, size=(32, 48), ramp=False, clips=1):
        shape = (clips, frames, 3, *size)
        imgs = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        if ramp:
            numbers = torch.arange(frames, dtype=torch.float32)
            imgs = numbers[:, None, None, None].expand(shape)
        return dict(
            imgs=imgs,
            frame_mask=torch.ones(shape[:2], dtype=torch.bool),
            pixel_mask=torch.ones(clips, *size, dtype=torch.bool),
        )

    return make
