"""The large config at the size of its pictures: losses at the start, and soon.

Random weights, made videos, three frames and one clip a step, nothing drawn at
random, on the CPU:
``HERO_MM_REAL_STEPS=20 pytest -s -m slow tests/test_models/test_real_size.py``
prints each step, and holds that the losses fall; by itself it takes two.
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

# A step takes some twenty seconds of a core.
STEPS = int(os.environ.get('HERO_MM_REAL_STEPS', 2))
FRAMES, CLIP = 3, 35.0
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
CONFIG = """
_base_ = '{root}/configs/hero_vidstg.py'
data_root = 'data/'
video_root = 'data/video'
num_frames = {frames}
max_epochs = 1
model = dict(
    video_encoder=dict(backbone=dict(init_cfg=None)),
    text_encoder=dict(name='roberta', pretrained=False),
    # Of so few frames none is left out,
    retrieval=dict(train_prob=0.0),
    # and the targets of 64 would be alike.
    tube_head=dict(loss_span=dict(sigma=0.5)))
train_dataloader = dict(
    batch_size=1, num_workers=0, persistent_workers=False)
val_dataloader = val_cfg = val_evaluator = None
# The rate of a whole step of 16 clips, after a warm-up of five.
auto_scale_lr = dict(enable=False)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=5)]
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
    """RoBERTa-base as its config has it, but for its vocabulary."""
    transformers = pytest.importorskip('transformers')
    said = {
        word for boxes in VIDEOS for box in boxes for word in box[3].split()
    }
    words = ['<s>', '<pad>', '</s>', '<unk>', 'the', 'box', *sorted(said)]
    words += COLOURS
    save_tokenizer(folder, words, **ROBERTA)
    transformers.RobertaConfig(
        vocab_size=len(words), max_position_embeddings=514
    ).save_pretrained(folder)


@pytest.mark.slow
def test_losses_are_alike_and_fall_in_twenty_steps(tmp_path, repo_root):
    make_data(tmp_path / 'data')
    make_roberta(tmp_path / 'roberta')
    text = CONFIG.format(root=repo_root, frames=FRAMES)
    (tmp_path / 'real.py').write_text(text)
    words = ['real.py', '--seed', '0', '--work-dir', 'out']
    done = subprocess.run(
        [sys.executable, str(repo_root / 'tools/train.py'), *words]
        + ['--cfg-options', *PLAIN],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(repo_root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (log,) = tmp_path.glob('out/*/vis_data/scalars.json')
    steps = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(steps) == STEPS
    names = [name for name in steps[0] if name.startswith('loss_')]
    for number, step in enumerate(steps, 1):
        parts = ' '.join(f'{n[5:]} {step[n]:.2f}' for n in names)
        norm = f'gradient {step["grad_norm"]:.0f}'
        loss = f'{number:2} loss {step["loss"]:.2f}'
        sys.stdout.write(f'{loss} {norm} {parts}\n')
    first = [steps[0][name] for name in names]
    assert len(names) == 12 and max(first) <= 10 * min(first)
    assert steps[0]['grad_norm'] <= 10 * CLIP
    if STEPS < 20:
        return
    before, after = (
        np.mean([step['loss'] for step in part])
        for part in (steps[:5], steps[-5:])
    )
    assert after < 0.9 * before
