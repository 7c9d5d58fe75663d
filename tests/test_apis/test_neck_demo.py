"""The neck on the regions of a detector that HERO knows nothing of."""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from hero_mm.models import HierarchicalReasoningNeck
from hero_mm.visualization import VideoWriter

ROOT = Path(__file__).resolve().parents[2]


def test_it_reasons_on_what_the_detector_found(tmp_path, monkeypatch):
    path = ROOT / 'demo/neck_on_a_detector.py'
    spec = importlib.util.spec_from_file_location('neck_demo', path)
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    rng = np.random.default_rng(0)
    video = str(tmp_path / 'clip.mp4')
    with VideoWriter(video, 8.0) as writer:
        for _ in range(12):
            writer.write(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    # It is sure of what it sees, untrained as it is.
    cfg = Config.fromfile(ROOT / 'configs/_base_/models/shapes_detector.py')
    cfg.detector.test_cfg.score_thr = 0.0
    config = str(tmp_path / 'detector.py')
    cfg.dump(config)

    class Trained(HierarchicalReasoningNeck):
        """Untrained, its layers add nothing."""

        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            for parameter in self.parameters():
                parameter.data += 0.1 * torch.randn_like(parameter)

    monkeypatch.setattr(demo, 'HierarchicalReasoningNeck', Trained)
    pixels = torch.randint(0, 256, (3, 3, 64, 64))
    boxes, scores, level = demo.detect(config, pixels, 4)
    assert boxes.shape == (1, 3, 4, 4) and scores.min() > 0
    assert level.shape[:2] == (3, 32)
    torch.manual_seed(0)
    regions, frames = demo.reason(video, 'a red square', config)
    assert regions.shape == (1, 16, 8, 32) and frames.shape == (1, 16, 32)
    torch.manual_seed(0)
    other, _ = demo.reason(video, 'the blue circle grows', config)
    assert (regions - other).abs().max() > 1e-3
    # It learns outside of HERO as well.
    regions.square().mean().backward()
