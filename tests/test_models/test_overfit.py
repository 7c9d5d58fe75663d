"""A tiny HERO learns a few clips by heart: every part pulls the same way."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample

COLOURS = {'red': (230, 40, 40), 'green': (40, 220, 60), 'blue': (50, 70, 230)}
NUM_FRAMES, SIZE, WIDTH = 8, 48, 32


def draw_clip(seed: int) -> dict:
    """Two squares of two colours; each moves in its part of the time.

    One goes down in the first half of the clip, the other goes right in the
    second, so that colour tells where and motion tells when.
    """
    rng = np.random.default_rng(seed)
    names = rng.permutation(list(COLOURS))[:2]
    cut = int(rng.integers(3, 6))
    clip = np.full((NUM_FRAMES, SIZE, SIZE, 3), 110, dtype=np.uint8)
    clip += rng.integers(0, 20, clip.shape, dtype=np.uint8)
    side = rng.integers(10, 15, 2)
    boxes = np.zeros((2, NUM_FRAMES, 4), dtype=np.float32)
    corner = np.array([[2.0, 4.0], [4.0, 28.0]])
    corner += rng.uniform(0, 4, (2, 2))
    for frame in range(NUM_FRAMES):
        if frame:
            corner[0] += (0, 3) if frame < cut else (0, 0)
            corner[1] += (0, 0) if frame < cut else (5, 0)
        for k in range(2):
            x, y = corner[k].round().astype(int)
            clip[frame, y : y + side[k], x : x + side[k]] = COLOURS[names[k]]
            boxes[k, frame] = [x, y, x + side[k], y + side[k]]
    inds = np.arange(NUM_FRAMES) * 3 + 1
    edge = float(3 * cut)
    spans = np.array([[0.0, edge], [edge, 3.0 * NUM_FRAMES]])
    sample = GroundingDataSample(
        metainfo=dict(
            frame_inds=inds,
            segment=(0, 3 * NUM_FRAMES),
            ori_shape=(SIZE, SIZE),
            img_shape=(SIZE, SIZE),
            crop_box=(0.0, 0.0, float(SIZE), float(SIZE)),
            flip=False,
            tracks_complete=True,
            video_predicates=['down', 'right'],
        )
    )
    texts = [f'the {names[0]} square goes down', f'what {names[1]} goes right']
    sample.queries = InstanceData(
        texts=texts,
        query_ids=['0', '1'],
        query_types=['declarative', 'interrogative'],
        predicates=['down', 'right'],
        negative_texts=[
            [texts[0].replace('down', 'right')],
            [texts[1].replace('right', 'down')],
        ],
    )
    valid = (inds >= spans[:, :1]) & (inds < spans[:, 1:])
    sample.gt_queries = InstanceData(
        spans=torch.tensor(spans, dtype=torch.float32),
        bboxes=torch.tensor(boxes),
        valid=torch.tensor(valid),
        track_index=torch.arange(2),
    )
    sample.gt_tracks = InstanceData(
        bboxes=torch.tensor(boxes),
        valid=torch.ones(2, NUM_FRAMES, dtype=torch.bool),
        predicates=[['down'], ['right']],
    )
    inputs = torch.from_numpy(clip.transpose(0, 3, 1, 2).copy())
    return dict(inputs=inputs, data_samples=sample)


def viou(sample) -> list[float]:
    """vIoU of each query on the sampled frames, as VidSTG defines it."""
    inds = sample.frame_inds
    scores = []
    for k in range(len(sample.gt_queries)):
        true, pred = sample.gt_queries[k], sample.pred_queries[k]
        real = true.valid[0].numpy()
        start, end = pred.spans[0].tolist()
        shown = (inds >= start) & (inds < end)
        a, b = true.bboxes[0].numpy(), pred.bboxes[0].numpy()
        low = np.maximum(a[:, :2], b[:, :2])
        high = np.minimum(a[:, 2:], b[:, 2:])
        inter = np.prod((high - low).clip(0), -1)
        area = [np.prod(x[:, 2:] - x[:, :2], -1) for x in (a, b)]
        iou = inter / (area[0] + area[1] - inter)
        scores.append(iou[real & shown].sum() / (real | shown).sum())
    return scores


def learn_by_heart(config, collate, steps: int = 120) -> float:
    """Mean vIoU of a model on the four clips that it was trained on."""
    torch.manual_seed(0)
    clips = [draw_clip(seed) for seed in range(4)]
    words = sorted({t for c in clips for t in c['data_samples'].queries.texts})
    config['text_encoder']['vocabulary'] = words
    for part in config.values():
        if isinstance(part, dict) and 'embed_dims' in part:
            part['embed_dims'] = WIDTH
    config['video_encoder']['backbone'].update(
        stem_channels=16, channels=(24, 32)
    )
    model = MODELS.build(config)
    model.init_weights()
    batch = collate(model, *clips)
    optimizer = torch.optim.AdamW(model.parameters(), lr=8e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 8e-3, total_steps=steps
    )
    model.train()
    for _ in range(steps):
        total, _ = model.parse_losses(model(**batch, mode='loss'))
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    samples = model.eval()(**batch, mode='predict')
    return np.mean([score for sample in samples for score in viou(sample)])


@pytest.mark.slow
def test_eight_sentences_by_heart(hero_config, collate):
    assert learn_by_heart(hero_config(), collate) > 0.9
