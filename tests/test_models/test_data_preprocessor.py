"""The data preprocessor: normalise, pad, and say what is padding."""

import pytest
import torch
from mmengine.logging import MMLogger

from hero_mm.models import GroundingDataPreprocessor, ShiftConvNet
from hero_mm.registry import MODELS


def clip(num_frames: int, height: int, width: int, value: int = 100):
    return torch.full((num_frames, 3, height, width), value, dtype=torch.uint8)


def test_pads_to_the_longest_and_largest():
    run = GroundingDataPreprocessor(mean=(0, 0, 0), std=(100, 50, 25))
    out = run(dict(inputs=[clip(2, 4, 6), clip(5, 3, 7)], data_samples=None))
    imgs = out['inputs']['imgs']
    assert imgs.shape == (2, 5, 3, 4, 7)
    assert imgs.dtype == torch.float32
    assert out['inputs']['frame_mask'].tolist() == [
        [True, True, False, False, False],
        [True] * 5,
    ]
    pixels = out['inputs']['pixel_mask']
    assert pixels[0, :, :6].all()
    assert not pixels[0, :, 6].any()
    assert pixels[1, :3].all()
    assert not pixels[1, 3].any()
    # Real pixels are normalised a channel, padding is zero.
    assert imgs[0, 0, :, 0, 0].tolist() == [1, 2, 4]
    real = out['inputs']['frame_mask'][:, :, None, None] & pixels[:, None]
    assert (imgs * ~real[:, :, None] == 0).all()
    assert (imgs[:, :, 0][real] == 1).all()


def test_channels_of_a_backbone_of_the_style_caffe():
    """Mean and deviation are in the order that it sees."""
    frames = torch.tensor([10, 20, 30], dtype=torch.uint8)
    frames = frames.view(1, 3, 1, 1).expand(1, 3, 2, 2)
    run = GroundingDataPreprocessor(
        mean=(3, 2, 1), std=(1, 2, 1), rgb_to_bgr=True
    )
    imgs = run(dict(inputs=[frames]))['inputs']['imgs']
    assert imgs[0, 0, :, 0, 0].tolist() == [27, 9, 9]


@pytest.mark.parametrize(
    'size, padded', [((8, 16), (8, 16)), ((9, 15), (16, 16)), ((1, 1), (8, 8))]
)
def test_divisor(size, padded):
    run = GroundingDataPreprocessor(pad_size_divisor=8)
    out = run(dict(inputs=[clip(1, *size)]))['inputs']
    assert out['imgs'].shape[-2:] == padded
    assert out['pixel_mask'].shape[-2:] == padded
    assert out['pixel_mask'].sum() == size[0] * size[1]


def test_a_backbone_of_the_style_caffe_that_gets_rgb(
    hero_config, monkeypatch, caplog
):
    monkeypatch.setattr(ShiftConvNet, 'style', 'caffe', raising=False)
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    config = hero_config()
    try:
        MODELS.build(config)
        assert 'rgb_to_bgr=True' in caplog.text
        caplog.clear()
        config['data_preprocessor'].update(rgb_to_bgr=True)
        MODELS.build(config)
        assert 'rgb_to_bgr' not in caplog.text
    finally:
        logger.removeHandler(caplog.handler)
