"""How long decoding, the loader and the model take."""

import copy
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional

import av
import cv2
import numpy as np
import torch
from mmengine.optim import build_optim_wrapper

from hero_mm.apis.complexity import collate_copies
from hero_mm.apis.inputs import pick_device
from hero_mm.apis.random_clips import config_without_data, make_item
from hero_mm.config import read_config
from hero_mm.datasets.source import missing_data
from hero_mm.datasets.transforms import DecodeFrames, ResizeClip
from hero_mm.datasets.video_reader import open_video
from hero_mm.registry import DATASETS, MODELS

from .timing import Rows, time_of

Item = dict[str, Any]
SHORT_SIDE = 224


def write_clip(
    path: Path, frames: int, size: tuple[int, int], keys: int = 250
) -> None:
    """A video that is not trivial to decode: smooth noise that moves.

    ``size`` is (width, height); each of ``keys`` frames is a key frame.
    """
    rng = np.random.default_rng(0)
    width, height = size
    small = rng.integers(0, 255, (height // 8 + 1, width // 8 + 1, 3))
    picture = np.kron(small, np.ones((8, 8, 1))).astype(np.uint8)
    picture = picture[:height, :width]
    with av.open(str(path), 'w') as container:
        options = dict(preset='veryfast', g=str(keys))
        stream = container.add_stream('libx264', rate=30, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = 'yuv420p'
        for number in range(frames):
            moved = np.roll(picture, (number, 2 * number), (0, 1))
            frame = av.VideoFrame.from_ndarray(moved, format='rgb24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def decoding_rows(args: Namespace) -> Rows:
    """Decoding the frames that are used, with and beside a resize."""
    if args.video is not None:
        return _decoding_of(args.video, args)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for keys in args.video_keys:
            path = Path(folder) / f'{keys}.mp4'
            write_clip(path, args.video_frames, tuple(args.video_size), keys)
            rows += _decoding_of(path, args)
    return rows


def _decoding_of(path: Path, args: Namespace) -> Rows:
    with open_video(path) as reader:
        total, (width, height) = reader.frame_count, reader.size
    count = min(args.frames, total)
    some = ((np.arange(count) + 0.5) * total / count).astype(np.int64)
    factor = SHORT_SIDE / min(width, height)
    small = round(width * factor), round(height * factor)

    def decode(frames: np.ndarray) -> None:
        with open_video(path) as reader:
            reader.get_frames(frames)

    def pipeline(side: Optional[int]) -> None:
        results = dict(video_path=str(path), frame_inds=some)
        step = DecodeFrames(max_side=side)
        ResizeClip(short_side=SHORT_SIDE)(step(results))

    actions = {
        'in equal steps': partial(decode, some),
        'the whole clip': partial(decode, np.arange(total)),
        f'resized to a short side of {SHORT_SIDE}': partial(pipeline, None),
        'the same, reduced while decoded': partial(pipeline, max(small)),
        **_by_decord(path, some, small),
    }
    name = f'decoded of {total} frames of {width} x {height}'
    rows = [[name, 'frames', 's', 'ratio']]
    base = 0.0
    for name, action in actions.items():
        seconds = time_of(action, args.repeat)
        base = base or seconds
        number = total if name == 'the whole clip' else count
        cells = [f'{seconds:.3f}', f'{seconds / base:.2f}']
        rows.append([name, str(number), *cells])
    return rows


def _by_decord(
    path: Path, frames: np.ndarray, size: tuple[int, int]
) -> dict[str, Any]:
    """The same by decord, where it is installed."""
    try:
        import decord
    except ImportError:
        return {}

    def read(**size: int) -> Any:
        reader = decord.VideoReader(str(path), num_threads=1, **size)
        return reader.get_batch(frames).asnumpy()

    def resized() -> None:
        for frame in read():
            cv2.resize(frame, size, interpolation=cv2.INTER_AREA)

    inside = partial(read, width=size[0], height=size[1])
    return {
        'decord, and a resize': resized,
        'decord, with its resize': inside,
    }


def loader_rows(args: Namespace) -> Rows:
    """What a clip takes in the loader and in a training step."""
    cfg = read_config(args.config, args.cfg_options)
    loader = cfg.train_dataloader
    head = ['a clip', 'ms', 'workers that keep up']
    missing = [*missing_data(loader.dataset)]
    if missing:
        return [head, ['no data: ' + missing[0].splitlines()[0], '–', '–']]
    dataset: Any = DATASETS.build(loader.dataset)
    number = args.batch * args.repeat
    places = np.linspace(0, len(dataset) - 1, number).astype(int).tolist()
    items: list[Item] = []
    dataset[places[0]]
    load = time_of(lambda: items.extend(dataset[p] for p in places), 1)
    device = pick_device(args.device)
    model = MODELS.build(cfg.model).to(device).train()
    wrapper = _wrapper(model, args.amp)

    def steps(number: int) -> None:
        for at in range(0, number, args.batch):
            batch = collate_copies(items[at : at + args.batch])
            model.train_step(batch, wrapper)

    steps(args.batch)
    seconds = time_of(lambda: steps(number), 1, device)
    workers = max(1, int(np.ceil(load / seconds)))
    loaded, trained = (f'{1000 * s / number:.1f}' for s in (load, seconds))
    return [
        head,
        ['loader, one worker', loaded, '–'],
        [f'training step on {device.type}', trained, str(workers)],
    ]


def _wrapper(model: Any, in_bfloat16: bool) -> Any:
    """An optimizer that changes little."""
    kind = 'hero_mm.BFloat16OptimWrapper' if in_bfloat16 else 'OptimWrapper'
    optimizer = dict(type='SGD', lr=1e-6)
    return build_optim_wrapper(model, dict(type=kind, optimizer=optimizer))


def variants(cfg: Any) -> Iterator[tuple[str, Any]]:
    """Names and models: as configured, and with fully connected attention."""
    yield 'as configured', cfg.model
    neck = cfg.model.get('neck')
    if neck and neck.get('attention', 'hierarchical') == 'hierarchical':
        joint = copy.deepcopy(cfg.model)
        for part in ('neck', 'region_encoder'):
            joint[part].attention = 'joint'
        yield 'joint attention', joint


def model_rows(args: Namespace) -> Rows:
    """Training step, inference, and what sharing and decoupling save."""
    cfg = config_without_data(args.config, args.cfg_options)
    device = pick_device(args.device)
    items = [
        make_item(args.frames, tuple(args.size), args.queries_a_clip, seed)
        for seed in range(args.batch)
    ]
    rows = [['model', 'ms a clip', 'peak MB', 'ratio']]
    base: dict[str, float] = {}
    for name, model_cfg in variants(cfg):
        torch.manual_seed(0)
        # Pretrained weights change no time: none are fetched.
        model = MODELS.build(model_cfg).to(device)
        for what, action in _model_actions(model, items, args):
            millis, peak = _measure(action, device, args)
            row = [f'{name}: {what}', 'no memory', '–', '–']
            if millis:
                ratio = millis / base.setdefault(what, millis)
                row[1:] = [f'{millis:.1f}', peak, f'{ratio:.2f}']
            rows.append(row)
        del model
    return rows


def _model_actions(
    model: Any, items: list[Item], args: Namespace
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is timed of a model, by name."""
    device = next(model.parameters()).device.type
    wrapper = _wrapper(model, args.amp)

    def infer(parts: list[Item]) -> None:
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, args.amp):
            model.eval().test_step(collate_copies(parts))

    def train() -> None:
        model.train().train_step(collate_copies(items), wrapper)

    yield 'training step', train
    yield 'inference', lambda: infer(items)
    one = make_item(args.frames, tuple(args.size), 1, 0)
    apart = [one] * (args.batch * args.queries_a_clip)
    yield 'inference, clip encoded for each sentence', lambda: infer(apart)


def _measure(
    action: Callable[[], Any], device: Any, args: Namespace
) -> tuple[Optional[float], str]:
    """Milliseconds a clip, None without memory, and peak megabytes."""
    if device.type != 'cuda':
        action()
        return 1000 * time_of(action, args.repeat) / args.batch, '–'
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        action()
        seconds = time_of(action, args.repeat, device)
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None, ''
    peak = torch.cuda.max_memory_allocated() / 1e6
    return 1000 * seconds / args.batch, f'{peak:.0f}'
