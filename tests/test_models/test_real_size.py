"""The large config at the size of its pictures: its losses, and its gradients.

Random weights, made videos, three frames and one clip a step, without random
crops, on the CPU. ``pytest -s -m slow tests/test_models/test_real_size.py``
prints each step; HERO_MM_REAL_FRAMES and HERO_MM_REAL_SEED choose others.
"""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from made_tokenizer import ROBERTA, save_tokenizer

from hero_mm.visualization import VideoWriter

STEPS, CLIP = 20, 35.0
FRAMES = int(os.environ.get('HERO_MM_REAL_FRAMES', 3))
SEED = os.environ.get('HERO_MM_REAL_SEED', '0')
WIDTH, HEIGHT, LENGTH, SEGMENT = 640, 480, 60, 48
# Two boxes a video: colour, where it begins and ends, and what it does.
VIDEOS = [
    [
        ('red', (60, 80), (380, 200), 'moves right'),
        ('blue', (420, 330), (400, 60), 'moves up'),
    ],
    [
        ('green', (480, 90), (150, 220), 'moves left'),
        ('white', (100, 40), (140, 330), 'moves down'),
    ],
]
COLOURS = dict(
    red=(220, 40, 40),
    blue=(40, 60, 220),
    green=(30, 160, 60),
    white=(250,) * 3,
)
# Before training the last norm of each block is zero, and it is frozen: what
# its shortcuts compute is what the ResNet does, in a fifth of the time.
BACKBONE = """
from hero_mm.registry import MODELS
from mmdet.models.backbones.resnet import Bottleneck, ResNet


@MODELS.register_module()
class ShortcutResNet(ResNet):
    arch_settings = {101: (Bottleneck, (1, 1, 1, 1))}

    def forward(self, x):
        x = self.maxpool(self.relu(self.norm1(self.conv1(x))))
        levels = []
        for name in self.res_layers:
            (block,) = getattr(self, name)
            assert not block.norm3.weight.any() or not self.training
            x = block.downsample(x).relu()
            levels.append(x)
        return tuple(levels[number] for number in self.out_indices)
"""
CONFIG = """
_base_ = '{root}/configs/hero_vidstg.py'
custom_imports = dict(
    imports=['hero_mm', 'shortcut_resnet'], allow_failed_imports=False)
data_root = 'data/'
video_root = 'data/video'
num_frames = {frames}
max_epochs = 1
model = dict(
    video_encoder=dict(backbone=dict(type='ShortcutResNet', init_cfg=None)),
    text_encoder=dict(name='roberta', pretrained=False),
    # Of so few frames none is left out,
    retrieval=dict(train_prob=0.0),
    # and the targets of 64 would be alike.
    tube_head=dict(loss_span=dict(sigma=0.5)))
train_dataloader = dict(
    batch_size=1, num_workers=0, persistent_workers=False)
val_dataloader = val_cfg = val_evaluator = None
# The rate of a whole step of 16 clips, after a warm-up of 15 in place of 500.
auto_scale_lr = dict(enable=False)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=15)]
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(interval=-1, save_last=False))
log_processor = dict(window_size=1)
"""
# The whole segment, neither flipped nor cropped.
PLAIN = [
    f'train_dataloader.dataset.pipeline.{step}=0.0'
    for step in ('0.crop_prob', '4.prob', '5.prob')
]


def make_video(path, boxes, seed):
    """Boxes that move over a smooth ground; gives their tracks."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(60, 190, (12, 16, 3)).astype(np.float32)
    ground = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    ground = ground.clip(0, 255).astype(np.uint8)
    tracks = {}
    for number, (_, first, last, _) in enumerate(boxes):
        low = np.linspace(first, last, LENGTH)
        sides = np.array([70, 110]) + 40 * number
        tracks[str(number)] = np.concatenate([low, low + sides], 1).round()
    with VideoWriter(path, fps=10) as writer:
        for frame in range(LENGTH):
            picture = ground.copy()
            for (colour, *_), track in zip(boxes, tracks.values()):
                x0, y0, x1, y1 = track[frame].astype(int)
                picture[y0:y1, x0:x1] = COLOURS[colour]
            writer.write(picture)
    return {
        number: dict(
            category='box',
            boxes={str(k): box.tolist() for k, box in enumerate(track)},
        )
        for number, track in tracks.items()
    }


def make_data(folder):
    """As many clips as steps, of two videos by turns."""
    (folder / 'video').mkdir(parents=True)
    videos = {}
    for number, boxes in enumerate(VIDEOS):
        path = folder / f'video/v{number}.mp4'
        videos[f'v{number}'] = dict(
            path=path.name,
            frame_count=LENGTH,
            fps=10.0,
            width=WIDTH,
            height=HEIGHT,
            tracks=make_video(path, boxes, number),
            tracks_complete=True,
        )
    clips = []
    for step in range(STEPS):
        boxes, start = VIDEOS[step % 2], step // 2
        spans = [[start + 6, start + 30], [start + 20, start + 42]]
        queries = [
            dict(
                query_id=f'{2 * step + place}',
                type='declarative',
                text=f'the {colour} box {action}',
                span=spans[place],
                track_id=str(place),
                predicate=action,
            )
            for place, (colour, _, _, action) in enumerate(boxes)
        ]
        segment = [start, start + SEGMENT]
        clips.append(
            dict(video_id=f'v{step % 2}', segment=segment, queries=queries)
        )
    about = dict(format='hero_mm/1', dataset='made', split='train')
    content = dict(metainfo=about, videos=videos, data_list=clips)
    (folder / 'train.json').write_text(json.dumps(content))


def make_roberta(folder):
    """RoBERTa-base, but for its vocabulary and with 2 of its 12 layers."""
    transformers = pytest.importorskip('transformers')
    said = {
        word for boxes in VIDEOS for box in boxes for word in box[3].split()
    }
    words = ['<s>', '<pad>', '</s>', '<unk>', 'the', 'box', *sorted(said)]
    words += COLOURS
    save_tokenizer(folder, words, **ROBERTA)
    transformers.RobertaConfig(
        vocab_size=len(words),
        max_position_embeddings=514,
        num_hidden_layers=2,
    ).save_pretrained(folder)


@pytest.mark.slow
def test_losses_are_alike_and_fall_in_twenty_steps(tmp_path, repo_root):
    make_data(tmp_path / 'data')
    make_roberta(tmp_path / 'roberta')
    text = CONFIG.format(root=repo_root, frames=FRAMES)
    (tmp_path / 'real.py').write_text(text)
    (tmp_path / 'shortcut_resnet.py').write_text(BACKBONE)
    words = ['real.py', '--seed', SEED, '--work-dir', 'out']
    done = subprocess.run(
        [sys.executable, str(repo_root / 'tools/train.py'), *words]
        + ['--cfg-options', *PLAIN],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': f'{repo_root}:{tmp_path}'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (log,) = tmp_path.glob('out/*/vis_data/scalars.json')
    steps = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(steps) == STEPS
    names = {name for name in steps[0] if name.startswith('loss_')}
    # A step is one clip: there is no other one.
    names = sorted(names - {'loss_elsewhere'})
    for number, step in enumerate(steps, 1):
        parts = ' '.join(f'{n[5:]} {step[n]:.2f}' for n in names)
        norm = f'gradient {step["grad_norm"]:.0f}'
        loss = f'{number:2} loss {step["loss"]:.2f}'
        sys.stdout.write(f'{loss} {norm} {parts}\n')
    first = [steps[0][name] for name in names]
    assert len(names) == 12 and max(first) <= 10 * min(first)
    assert max(step['grad_norm'] for step in steps) <= 10 * CLIP
    before, after = (
        np.mean([step['loss'] for step in part])
        for part in (steps[:5], steps[-5:])
    )
    assert after < 0.95 * before
