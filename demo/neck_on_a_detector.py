r"""HERO's reasoning on the regions of a detector that HERO knows nothing of.

The neck takes tensors and gives tensors. Here boxes and features come from a
detector of mmdet, by its own ``test_step`` and its own feature pyramid::

    python demo/neck_on_a_detector.py clip.mp4 "the red circle spins" \
        --config configs/_base_/models/shapes_detector.py
"""

import argparse

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

from hero_mm.datasets.video_reader import open_video
from hero_mm.models import (
    HierarchicalReasoningNeck,
    Pyramid,
    RegionLinker,
    Regions,
    WordTextEncoder,
)
from hero_mm.models.regions import read_centres


@torch.no_grad()
def detect(config: str, frames: Tensor, number: int) -> tuple:
    """Boxes, scores and feature maps of frames (T, 3, H, W), by mmdet."""
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample

    init_default_scope('mmdet')
    detector = MODELS.build(Config.fromfile(config).detector).eval()
    size = tuple(frames.shape[-2:])
    meta = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
    samples = [DetDataSample(metainfo=meta) for _ in frames]
    data = dict(inputs=list(frames), data_samples=samples)
    found = detector.test_step(data)
    maps = detector.extract_feat(
        detector.data_preprocessor(data, False)['inputs']
    )
    boxes = torch.zeros(1, len(frames), number, 4)
    scores = torch.zeros(1, len(frames), number)
    for frame, sample in enumerate(found):
        best = sample.pred_instances[:number]
        boxes[0, frame, : len(best)] = best.bboxes
        scores[0, frame, : len(best)] = best.scores
    return boxes, scores, maps[0]


def reason(
    video: str, text: str, config: str, number: int = 8, num_frames: int = 16
) -> tuple[Tensor, Tensor]:
    """Regions (1, T, S, D) and frame tokens (1, T, D) that know the text."""
    with open_video(video) as reader:
        places = torch.linspace(0, reader.frame_count - 1, num_frames)
        images = reader.get_frames(places.long().tolist())
    frames = torch.stack(
        [torch.from_numpy(i).permute(2, 0, 1) for i in images]
    )
    boxes, scores, level = detect(config, frames, number)
    real = torch.ones(1, len(frames), dtype=torch.bool)
    stride = tuple(frames.shape[-axis] / level.shape[-axis] for axis in (1, 2))
    size = torch.tensor([frames.shape[:-3:-1]]).float()
    pyramid = Pyramid((level[None],), (stride,), real, size)
    regions = Regions.from_boxes(boxes, scores, scores > 0, real)
    slots = RegionLinker(num_slots=number)(regions, pyramid)
    features = read_centres(pyramid, slots.boxes_BTN4)
    dims = features.shape[-1]
    words = WordTextEncoder(dims, vocabulary=(text,), num_heads=2)([text])
    neck = HierarchicalReasoningNeck(dims, num_heads=2, num_sizes=1)
    return neck(
        features,
        slots.mask_BTN,
        words.words_QLD,
        words.word_mask_QL,
        words.sentence_QD,
    )


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('video')
    parser.add_argument('text')
    parser.add_argument(
        '--config', default='configs/_base_/models/shapes_detector.py'
    )
    args = parser.parse_args()
    regions, frames = reason(args.video, args.text, args.config)
    print('regions', tuple(regions.shape), 'frame tokens', tuple(frames.shape))
