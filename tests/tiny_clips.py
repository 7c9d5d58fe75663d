"""Pyramids, regions and clips of few cells, for tests of the models."""

from dataclasses import replace

import numpy as np
import torch
from mmengine.structures import InstanceData

from hero_mm.models import Pyramid, Regions, TextFeatures
from hero_mm.structures import GroundingDataSample


def make_pyramid(
    *levels, frames=None, sizes=None, stride: float = 8.0, picture=None
) -> Pyramid:
    """A pyramid of levels, the finest first, zero on padding.

    Each level has shape (B, T, D, H, W); a cell of the last one is a square
    of ``stride`` pixels. ``frames`` are the real ones of each clip, ``sizes``
    their (width, height).
    """
    clips, num_frames, _, height, width = levels[-1].shape
    lengths = torch.tensor(frames or [num_frames] * clips)[:, None]
    whole = [(width * stride, height * stride)] * clips
    strides = [stride * width / one.shape[-1] for one in levels]
    pyramid = Pyramid(
        levels=levels,
        strides=tuple((side, side) for side in strides),
        frame_mask_BT=torch.arange(num_frames) < lengths,
        sizes_B2=torch.tensor(sizes or whole).float(),
        picture_BT3HW=picture,
    )
    real = pyramid.frame_mask_BT[:, :, None, None, None]
    pyramid.levels = tuple(
        level * real * pyramid.real_cells(number)[:, None, None]
        for number, level in enumerate(levels)
    )
    return pyramid


def annotated_clip(tracks, valid=None, complete=None) -> GroundingDataSample:
    """A clip whose tracks are M times T boxes."""
    tracks = torch.tensor(tracks, dtype=torch.float32)
    if valid is None:
        valid = torch.ones(tracks.shape[:2], dtype=torch.bool)
    sample = GroundingDataSample(
        metainfo=dict(video_id='v', frame_inds=np.arange(tracks.shape[1]))
    )
    sample.gt_tracks = InstanceData(
        bboxes=tracks, valid=torch.as_tensor(valid)
    )
    if complete is not None:
        sample.set_metainfo(dict(tracks_complete=complete))
    return sample


def make_regions(
    clips: int = 1,
    frames: int = 4,
    regions: int = 3,
    dims: int = 16,
    sizes: int = 3,
    real=None,
    seed: int = 0,
    **given,
) -> Regions:
    """Regions, random but for what is given.

    ``real`` are the numbers of real frames of the clips.
    """
    rng = torch.Generator().manual_seed(seed)
    shape = (clips, frames, regions)
    frame_mask = torch.ones(clips, frames, dtype=torch.bool)
    for clip, number in enumerate(real or []):
        frame_mask[clip, number:] = False
    mask = given.pop('mask', torch.ones(shape, dtype=torch.bool))
    mask = mask & frame_mask[..., None]
    low = 24 * torch.rand(*shape, 2, generator=rng)
    boxes = given.get('boxes', torch.cat([low, low + 8], -1))
    scores = given.get('scores', torch.rand(shape, generator=rng))
    made = Regions.from_boxes(
        boxes * mask[..., None], scores * mask, mask, frame_mask
    )
    features = torch.randn(*shape, dims, generator=rng)
    looks = torch.randn(*shape, sizes, dims, generator=rng)
    return replace(
        made,
        features_BTND=given.get('features', features) * mask[..., None],
        looks_BTNSD=given.get('looks', looks),
    )


def make_text(action, words: int = 3) -> TextFeatures:
    """Features of sentences from their action vectors."""
    queries = len(action)
    mask = torch.ones(queries, words, dtype=torch.bool)
    return TextFeatures(
        words_QLD=action[:, None].expand(-1, words, -1),
        word_mask_QL=mask,
        sentence_QD=action,
        action_QD=action,
        action_weights_QL=mask / words,
    )
