"""Tiny HEROs and tiny clips for the tests of the models.

The fixtures give functions, so that a test says in one line what it needs.
"""

import copy
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from zoo import small_hero

from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample

TEXTS = (
    'the red square moves left',
    'the blue circle that is beside the square turns and stops .',
    'what grows ?',
    'the green square shrinks and moves up',
)
PREDICATES = ('moves', 'turns', 'grows', 'shrinks')
WORDS = (*TEXTS, 'a stops down right who turns')


def _config() -> dict:
    config = copy.deepcopy(small_hero(max_regions=5))
    config['text_encoder'].update(vocabulary=WORDS)
    config['proposal_generator'].update(num_proposals=8)
    config['region_encoder'].update(points=(3, 3, 1))
    config['neck'].update(num_layers=2)
    return config


@pytest.fixture(scope='session', autouse=True)
def _quiet():
    """init_weights of MMEngine tells each of hundreds of parameters."""
    MMLogger.get_current_instance().setLevel('WARNING')


@pytest.fixture(scope='session')
def hero_config():
    """Function: the config of a tiny HERO, with some entries replaced.

    A dict without a type is merged into the entry, all else replaces it.
    """

    def make(**changes) -> dict:
        config = _config()
        for name, change in changes.items():
            if isinstance(change, dict) and 'type' not in change:
                config[name].update(change)
            else:
                config[name] = change
        return copy.deepcopy(config)

    return make


def _shake(model: torch.nn.Module, amount: float) -> None:
    """Move every weight and statistic, so that no part is silent."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * amount)
        for name, buffer in model.named_buffers():
            if name.endswith('running_mean'):
                buffer.add_(torch.randn_like(buffer) * amount)
            elif name.endswith('running_var'):
                buffer.mul_(torch.rand_like(buffer) + 0.5)


@pytest.fixture(scope='session')
def build_hero(hero_config):
    """Function: a tiny HERO in evaluation mode, all weights random."""

    def build(seed: int = 0, shake: float = 0.15, **changes):
        torch.manual_seed(seed)
        model = MODELS.build(hero_config(**changes))
        model.init_weights()
        _shake(model, shake)
        return model.eval()

    return build


def _pixels(rng, num_frames: int, height: int, width: int) -> np.ndarray:
    """Squares of 8 pixels, half of them still; noise alone looks flat."""
    rows, columns = -(-height // 8), -(-width // 8)
    still = rng.integers(0, 128, (1, 3, rows, columns))
    moving = rng.integers(0, 128, (num_frames, 3, rows, columns))
    clip = np.kron(still + moving, np.ones((8, 8), dtype=int))
    return clip[..., :height, :width].astype(np.uint8)


def _tracks(rng, num_frames: int, size, number: int) -> torch.Tensor:
    """Boxes of objects that drift, xyxy in pixels, (M, T, 4)."""
    width, height = size
    low = rng.uniform(0, 0.5, (number, 1, 2))
    drift = np.cumsum(rng.uniform(-0.04, 0.04, (number, num_frames, 2)), 1)
    side = rng.uniform(0.2, 0.45, (number, 1, 2))
    low = np.clip(low + drift, 0, 1 - side)
    boxes = np.concatenate([low, low + side], -1)
    boxes = boxes * np.array([width, height] * 2)
    return torch.tensor(boxes, dtype=torch.float32)


def _truth(rng, tracks_MT4, target_K, end: int) -> InstanceData:
    """Tubes of objects, each in a part of the clip."""
    starts = rng.uniform(0, end / 3, len(target_K))
    spans = np.stack([starts, starts + end / 2], -1)
    inds = np.arange(tracks_MT4.shape[1]) * 5 + 2
    valid = torch.tensor((inds >= spans[:, :1]) & (inds < spans[:, 1:]))
    return InstanceData(
        spans=torch.tensor(spans, dtype=torch.float32),
        bboxes=tracks_MT4[target_K] * valid[..., None],
        valid=valid,
        track_index=target_K,
    )


@pytest.fixture(scope='session')
def make_clip():
    """Function: a random clip as the pipeline packs it.

    Every fifth frame of a video is sampled, from frame 2 on.
    """

    def make(
        num_frames: int = 4,
        size: tuple[int, int] = (32, 32),
        texts=TEXTS[:2],
        seed: int = 0,
        negatives: bool = True,
        tracks: bool = True,
        truth: bool = True,
        complete: bool = True,
    ) -> dict:
        rng = np.random.default_rng(seed)
        width, height = size
        end = 5 * num_frames + 3
        clip = _pixels(rng, num_frames, height, width)
        sample = GroundingDataSample(
            metainfo=dict(
                video_id=f'v{seed}',
                frame_inds=np.arange(num_frames) * 5 + 2,
                segment=(0, end),
                fps=10.0,
                frame_count=end,
                # Far from the border of the original, so that no
                # predicted box is clipped.
                ori_shape=(201 * height, 201 * width),
                img_shape=(height, width),
                crop_box=tuple(
                    float(part * side) for part in (100, 101) for side in size
                ),
                flip=False,
            )
        )
        places = [TEXTS.index(t) if t in TEXTS else 0 for t in texts]
        sample.queries = InstanceData(
            texts=list(texts),
            query_ids=[f'{seed}-{k}' for k in range(len(texts))],
            query_types=['declarative'] * len(texts),
            predicates=[PREDICATES[place] for place in places],
        )
        if negatives:
            sample.queries.negative_texts = [
                [f'the red square {word}' for word in ('stops', 'grows')][
                    : 1 + place % 2
                ]
                for place in places
            ]
        boxes = _tracks(rng, num_frames, size, 3)
        target = torch.arange(len(texts)) % len(boxes)
        if truth:
            sample.gt_queries = _truth(rng, boxes, target, end)
            sample.set_metainfo(
                dict(
                    tracks_complete=complete,
                    video_predicates=sorted(set(sample.queries.predicates)),
                )
            )
        if tracks:
            sample.gt_tracks = InstanceData(
                bboxes=boxes,
                valid=torch.ones(len(boxes), num_frames, dtype=torch.bool),
                predicates=[
                    [
                        PREDICATES[place]
                        for place in places[track :: len(boxes)]
                    ]
                    for track in range(len(boxes))
                ],
            )
        return dict(inputs=torch.from_numpy(clip), data_samples=sample)

    return make


@pytest.fixture(scope='session')
def collate():
    """Function: clips to what the data preprocessor of a model gives."""

    def make(model, *clips) -> dict:
        batch = dict(
            inputs=[clip['inputs'] for clip in clips],
            data_samples=[
                copy.deepcopy(clip['data_samples']) for clip in clips
            ],
        )
        return model.data_preprocessor(batch)

    return make


@pytest.fixture(scope='session')
def predict(collate):
    """Function: ``pred_queries`` of each clip."""

    @torch.no_grad()
    def run(model, *clips) -> list[InstanceData]:
        samples = model(**collate(model, *clips), mode='predict')
        return [sample.pred_queries for sample in samples]

    return run


@pytest.fixture(scope='session')
def total_loss(collate):
    """Function: losses of clips and their sum, as MMEngine sums them."""

    def run(model, *clips):
        losses = model(**collate(model, *clips), mode='loss')
        return losses, model.parse_losses(losses)[0]

    return run


@pytest.fixture(scope='session')
def same_predictions():
    """Function: assert that two predictions are equal."""

    def check(one, other, rows=slice(None), atol: float = 1e-4) -> None:
        assert set(one.keys()) == set(other.keys())
        for name in other.keys():  # noqa: SIM118
            # Consistency may be small all over; boxes lie far from zero.
            scale = other[name].abs().max().item()
            torch.testing.assert_close(
                one[name][rows],
                other[name],
                atol=min(1.0, scale) * atol,
                rtol=1e-6 if name == 'bboxes' else 1e-4,
                msg=name,
            )

    return check


@pytest.fixture
def run_twice():
    """Function: what two processes of a script write into a folder.

    It is called with the folder, and writes ``RANK.json``.
    """

    def run(script: str, folder) -> list[dict]:
        (folder / 'script.py').write_text(script)
        words = '-m torch.distributed.run --standalone --nproc_per_node=2'
        done = subprocess.run(
            [sys.executable, *words.split(), folder / 'script.py', folder],
            capture_output=True,
            text=True,
            timeout=900,
            env=dict(os.environ, OMP_NUM_THREADS='1'),
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return [
            json.loads((folder / f'{rank}.json').read_text())
            for rank in (0, 1)
        ]

    return run


SCRIPT = """
import json, os, pickle, sys
import torch
from torch.nn.parallel import DistributedDataParallel
from hero_mm.registry import MODELS

torch.distributed.init_process_group('gloo')
rank = torch.distributed.get_rank()
folder = sys.argv[1]
with open(os.path.join(folder, 'setting.pkl'), 'rb') as file:
    config, clips = pickle.load(file)
torch.manual_seed(rank)
model = MODELS.build(config)
model.init_weights()
batch = model.data_preprocessor(
    dict(
        inputs=[clips[rank]['inputs']],
        data_samples=[clips[rank]['data_samples']],
    )
)
wrapped = DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(2):
    # A second step fails where a weight of the first one had no gradient.
    losses = wrapped(**batch, mode='loss')
    total, _ = model.parse_losses(losses)
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
weights = sum(p.abs().sum().item() for p in model.parameters())
losses = {key: value.item() for key, value in losses.items()}
with open(os.path.join(folder, f'{rank}.json'), 'w') as file:
    json.dump(dict(weights=weights, losses=losses), file)
# Who leaves first would take the other one's connection away.
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.fixture
def train_twice(run_twice, tmp_path):
    """Function: losses of a model after two steps, by two processes."""

    def train(config, clips) -> list[dict]:
        (tmp_path / 'setting.pkl').write_bytes(pickle.dumps((config, clips)))
        one, two = run_twice(SCRIPT, tmp_path)
        # The gradients were averaged: both hold the same weights.
        assert one['weights'] == two['weights']
        assert one['losses'].keys() == two['losses'].keys()
        return [one['losses'], two['losses']]

    return train
