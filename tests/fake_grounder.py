"""A model that answers at once, for tests of what asks it."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from hero_mm.registry import MODELS
from hero_mm.visualization import VideoWriter


@MODELS.register_module(name='FakeGrounder', force=True)
class FakeGrounder(BaseModel):
    """Says 'the middle half of the segment, a box that moves right'."""

    def __init__(self, width=2):
        super().__init__(MODELS.build(dict(type='GroundingDataPreprocessor')))
        self.layer = torch.nn.Linear(width, 1)
        self.encoded = 0
        self.asked = []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        raise AssertionError('the inferencer encodes and grounds')

    def encode_video(self, inputs, data_samples):
        assert not torch.is_grad_enabled() and not self.training
        self.encoded += 1
        self.input_shape = tuple(inputs['imgs'].shape)
        return inputs['imgs'].mean()

    def ground(self, features, data_samples):
        self.asked.append(list(data_samples[0].queries.texts))
        return [self.answer(sample) for sample in data_samples]

    @staticmethod
    def answer(sample):
        assert '_gt_queries' not in sample
        count, steps = len(sample.queries.texts), len(sample.frame_inds)
        start, end = sample.segment
        quarter = (end - start) / 4
        left = torch.linspace(0, 30, steps)
        boxes = torch.stack(
            [left, torch.full_like(left, 10), left + 20, left * 0 + 30], -1
        )
        lengths = torch.tensor([float(len(t)) for t in sample.queries.texts])
        sample.pred_queries = InstanceData(
            spans=torch.tensor([[start + quarter, end - quarter]] * count),
            bboxes=boxes.expand(count, steps, 4),
            scores=torch.ones(count, steps),
            span_scores=lengths / 100,
            action_consistency=torch.rand(count, steps),
        )
        return sample


CONFIG = dict(
    default_scope='hero_mm',
    model=dict(type='FakeGrounder'),
    test_dataloader=dict(
        dataset=dict(
            type='GroundingDataset',
            pipeline=[
                dict(type='SampleClipFrames', num_frames=8),
                dict(type='DecodeFrames'),
                dict(type='LoadTubes'),
                dict(type='SwapActionPhrase'),
                dict(type='ResizeClip', scale=(32, 24)),
                dict(type='PackGroundingInputs'),
            ],
        )
    ),
)


def save_weights(path, width=2):
    state = FakeGrounder(width).state_dict()
    torch.save(dict(meta={}, state_dict=state), path)


def save_work(folder, config=CONFIG):
    """A work dir of the model, as a training leaves it."""
    Path(folder).mkdir(exist_ok=True)
    Config(config).dump(str(Path(folder, 'fake.py')))
    save_weights(Path(folder, 'epoch_1.pth'))
    return folder


def write_video(path, greys, fps=10):
    """A video of 64 x 48, each frame of one grey."""
    with VideoWriter(path, fps=fps) as writer:
        for grey in greys:
            writer.write(np.full((48, 64, 3), grey, np.uint8))
    return path
