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
    """Function: one clip as the data preprocessor gives it, all of it real.

    Args:
        frames (int): T.
        size (tuple[int, int]): (height, width).
        values (str): 'noise', or 'ramp': each frame holds its number.
    """

    def make(frames=6, size=(32, 48), values='noise', clips=1, seed=1):
        shape = (clips, frames, 3, *size)
        if values == 'ramp':
            numbers = torch.arange(frames, dtype=torch.float32)
            imgs = numbers[:, None, None, None].expand(shape)
        else:
            random = torch.Generator().manual_seed(seed)
            imgs = torch.randn(shape, generator=random)
        return dict(
            imgs=imgs,
            frame_mask=torch.ones(shape[:2], dtype=torch.bool),
            pixel_mask=torch.ones(clips, *size, dtype=torch.bool),
        )

    return make
