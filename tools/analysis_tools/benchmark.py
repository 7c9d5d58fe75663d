r"""Measure speed as ratios within one run: scoring, decoding, the model.

Examples::

    python tools/analysis_tools/benchmark.py --parts evaluation
    python tools/analysis_tools/benchmark.py --parts data --video clip.mp4
    python tools/analysis_tools/benchmark.py --parts model \
        --config configs/hero_vidstg.py --device cuda --amp \
        --frames 64 --size 588 420 --batch 1
"""

import argparse
import copy
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

from hero_mm.errors import explained, run_tool

with explained():
    from hero_mm.apis.random_clips import config_without_data, make_item
    from hero_mm.evaluation import dump_predictions, load_predictions
    from hero_mm.evaluation.functional import (
        PROTOCOLS,
        sampled_grid,
        score_tubes,
    )
    from hero_mm.evaluation.functional.table import align_rows

Item = dict[str, Any]
Overlap = Callable[[Sequence[float], Sequence[float]], float]
Rows = list[list[str]]

QUERIES = 10303
"""Sentences of VidSTG's test split."""
# Seconds of VidSTG's test: median and mean of the part that is searched, with
# its longest, and of the true span.
SEGMENT_SECONDS = (19.3, 27.7, 134.0)
SPAN_SECONDS = (3.7, 9.3)
FRAME_RATES = (29.97, 25.0, 15.0)
RATE_SHARES = (0.7, 0.2, 0.1)


def _log_normal(rng: np.random.Generator, median: float, mean: float) -> float:
    """A number of a distribution with a long tail."""
    sigma = np.sqrt(2 * np.log(mean / median))
    return float(rng.lognormal(np.log(median), sigma))


def make_queries(
    count: int, seed: int = 0
) -> tuple[dict[str, Item], dict[str, Item]]:
    """True and predicted tubes, as long as those of VidSTG's test.

    Args:
        count (int): Number of queries.
        seed (int): Of what is drawn.

    Returns:
        tuple[dict, dict]: By query id, as ``score_tubes`` takes them, with
        boxes as arrays; predictions have one on each native frame of the
        segment.
    """
    rng = np.random.default_rng(seed)
    truths, guesses = {}, {}
    for place in range(count):
        fps = float(rng.choice(FRAME_RATES, p=RATE_SHARES))
        seconds = min(_log_normal(rng, *SEGMENT_SECONDS[:2]), 134.0)
        length = max(int(seconds * fps), 8)
        span = min(max(int(_log_normal(rng, *SPAN_SECONDS) * fps), 2), length)
        start = int(rng.integers(0, length - span + 1))
        # A predicted span that overlaps the true one as a fair model's does.
        edges = start + np.array([0, span]) + rng.normal(0, span / 3, 2)
        first, stop = np.sort(edges.round().astype(int).clip(0, length))
        frames = np.arange(length, dtype=np.int64)
        boxes = _moving_boxes(rng, length)
        near = boxes + rng.normal(0, 12, (length, 4))
        query_id = str(place)
        inside = slice(start, min(start + span + 1, length))
        truths[query_id] = dict(
            span=(start, start + span),
            segment=(0, length),
            fps=fps,
            query_type='declarative' if place % 2 else 'interrogative',
            boxes=(frames[inside], boxes[inside]),
        )
        guesses[query_id] = dict(
            span=(int(first), int(stop)), boxes=(frames, near)
        )
    return truths, guesses


def _moving_boxes(rng: np.random.Generator, length: int) -> np.ndarray:
    """Boxes of an object that wanders over a picture of 640 x 480."""
    ends = rng.uniform(0, 300, (2, 2))
    low = np.linspace(ends[0], ends[1], length)
    return np.concatenate([low, low + rng.uniform(40, 180, 2)], axis=1)


def as_dicts(items: Mapping[str, Item]) -> dict[str, Item]:
    """The same tubes with boxes by frame, as a prediction file has them.

    Args:
        items (Mapping): With boxes as arrays.

    Returns:
        dict: With boxes as ``{frame: [x1, y1, x2, y2]}``.
    """
    return {
        key: dict(
            item,
            boxes=dict(
                zip(item['boxes'][0].tolist(), item['boxes'][1].tolist())
            ),
        )
        for key, item in items.items()
    }


def plain_overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Overlap of two boxes with numbers of Python alone."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return inter / (areas - inter)


def array_overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Overlap of two boxes by a function for arrays, called for one pair."""
    one, two = np.array([a]), np.array([b])
    low = np.maximum(one[:, None, :2], two[None, :, :2])
    high = np.minimum(one[:, None, 2:], two[None, :, 2:])
    inter = (high - low).clip(min=0).prod(-1)
    areas = (one[:, 2:] - one[:, :2]).prod(-1)[:, None]
    others = (two[:, 2:] - two[:, :2]).prod(-1)[None]
    return float((inter / (areas + others - inter))[0, 0])


def loop_scores(
    protocol: str, truth: Item, guess: Item, overlap: Overlap
) -> tuple[float, float, float]:
    """Score a query frame by frame, as evaluators are commonly written.

    Stands in for other evaluators in a comparison of time; gives the scores
    of ``score_tubes`` where predictions have a box on every frame and spans
    are whole frames.

    Args:
        protocol (str): Name of a protocol.
        truth (dict): True tube with boxes by frame.
        guess (dict): Predicted tube with boxes by frame.
        overlap (Callable): Of two boxes.

    Returns:
        tuple[float, float, float]: tIoU, vIoU and gt_vIoU.
    """
    (start, end), (first, stop) = truth['span'], guess['span']
    wanted = end
    if protocol == 'stcat':
        end = max(start, min(end, truth['segment'][1] - 1))
        wanted = end + 1
    if protocol == 'tubedetr':
        frames = sampled_grid(truth['segment'], truth['fps']).tolist()
    else:
        frames = range(min(start, first), max(wanted, stop))
    hull = graded = both = 0
    inside = total = 0.0
    for frame in frames:
        if min(start, first) <= frame < max(end, stop):
            hull += 1
        if not start <= frame < wanted:
            continue
        graded += 1
        true_box = truth['boxes'].get(frame) or truth['boxes'][frame - 1]
        value = overlap(guess['boxes'].get(frame, (0, 0, 0, 0)), true_box)
        total += value
        if first <= frame < stop and frame < end:
            both += 1
            inside += value
    common = max(min(end, stop) - max(start, first), 0)
    union = (end - start) + (stop - first) - common
    tiou = both / hull if protocol == 'hcstvg' else common / max(union, 1)
    return tiou, inside / max(hull, 1), total / max(graded, 1)


def evaluation_part(args: argparse.Namespace) -> Rows:
    """Scoring, beside loops over frames.

    Args:
        args (Namespace): ``queries`` and ``loop_queries``.

    Returns:
        list[list[str]]: A table.
    """
    truths, guesses = make_queries(args.queries)
    boxes = sum(len(item['boxes'][0]) for item in guesses.values())
    print(
        f'{args.queries} queries, {boxes:,} predicted boxes: one on every '
        f'native frame. Loops: over the frames of each query, with an '
        f'overlap of numbers of Python, or of numpy for each frame'
    )
    some = list(truths)[: args.loop_queries]
    few = as_dicts({key: truths[key] for key in some})
    few_guesses = as_dicts({key: guesses[key] for key in some})

    def by_loop(protocol: str, overlap: Overlap) -> None:
        for key, truth in few.items():
            loop_scores(protocol, truth, few_guesses[key], overlap)

    rows = [['protocol', 'queries', 's', 'ms a query', 'ratio']]
    for name in PROTOCOLS:
        base = 0.0
        for what, count, action in (
            ('arrays', len(truths), partial(score_tubes, truths, guesses)),
            (
                'boxes by frame',
                len(few),
                partial(score_tubes, few, few_guesses),
            ),
            (
                'loop of Python',
                len(few),
                partial(by_loop, overlap=plain_overlap),
            ),
            (
                'loop with numpy',
                len(few),
                partial(by_loop, overlap=array_overlap),
            ),
        ):
            seconds = time_of(partial(action, protocol=name), args.repeat)
            base = base or seconds / count
            cells = [f'{seconds:.2f}', f'{1000 * seconds / count:.3f}']
            ratio = f'{seconds / count / base:.1f}'
            rows.append([f'{name}, {what}', str(count), *cells, ratio])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'predictions.json'
        dump_predictions(path, few_guesses)
        seconds = time_of(partial(load_predictions, path), args.repeat)
    cells = [f'{seconds:.2f}', f'{1000 * seconds / len(few):.3f}', '–']
    return [*rows, ['reading the file', str(len(few)), *cells]]


def write_clip(path: Path, frames: int, size: tuple[int, int]) -> None:
    """A video that is not trivial to decode: smooth noise that moves.

    Args:
        path (Path): File to write.
        frames (int): Number of frames, 30 a second.
        size (tuple[int, int]): (width, height).
    """
    from hero_mm.visualization import VideoWriter

    rng = np.random.default_rng(0)
    width, height = size
    small = rng.integers(0, 255, (height // 8 + 1, width // 8 + 1, 3))
    picture = np.kron(small, np.ones((8, 8, 1))).astype(np.uint8)
    picture = picture[:height, :width]
    with VideoWriter(path, fps=30) as writer:
        for frame in range(frames):
            writer.write(np.roll(picture, (frame, 2 * frame), (0, 1)))


def data_part(args: argparse.Namespace) -> Rows:
    """Decoding the frames that are used, beside decoding all.

    Args:
        args (Namespace): ``video``, ``video_frames``, ``video_size`` and
            ``frames``.

    Returns:
        list[list[str]]: A table.
    """
    from hero_mm.datasets.video_reader import open_video

    with tempfile.TemporaryDirectory() as folder:
        path = args.video
        if path is None:
            path = Path(folder) / 'clip.mp4'
            write_clip(path, args.video_frames, tuple(args.video_size))
        with open_video(path) as reader:
            total, (width, height) = reader.frame_count, reader.size
        count = min(args.frames, total)
        wanted = ((np.arange(count) + 0.5) * total / count).astype(np.int64)
        print(f'{path}: {total} frames of {width} x {height}')
        rows = [['decoded', 'frames', 's', 'MB of pixels', 'ratio']]
        base = 0.0
        for name, indices in (
            ('frames in equal steps', wanted),
            ('the whole clip', np.arange(total)),
        ):

            def decode(indices: np.ndarray = indices) -> None:
                with open_video(path) as reader:
                    reader.get_frames(indices)

            seconds = time_of(decode, args.repeat)
            base = base or seconds
            size = len(indices) * width * height * 3 / 1e6
            cells = [f'{seconds:.3f}', f'{size:.0f}', f'{seconds / base:.1f}']
            rows.append([name, str(len(indices)), *cells])
    return rows


def _variants(cfg: Any) -> Iterator[tuple[str, Any]]:
    """The model as configured, and with fully connected attention.

    Both again with twice the regions a frame, where they are HERO's own
    proposals.
    """
    yield 'as configured', cfg.model
    neck = cfg.model.get('neck')
    if not neck or neck.get('attention', 'hierarchical') != 'hierarchical':
        return
    yield 'joint attention', _joint(cfg.model)
    if 'num_proposals' in cfg.model.get('proposal_generator', {}):
        more = copy.deepcopy(cfg.model)
        more.max_regions *= 2
        more.proposal_generator.num_proposals *= 2
        if more.get('linker'):
            more.linker.num_slots *= 2
        yield 'twice the regions', more
        yield 'joint attention, twice the regions', _joint(more)


def _joint(model: Any) -> Any:
    """The same model with fully connected attention, once a clip too."""
    changed = copy.deepcopy(model)
    for part in ('neck', 'region_encoder'):
        changed[part].attention = 'joint'
    return changed


def model_part(args: argparse.Namespace) -> Rows:
    """Training step, inference, and what sharing and decoupling save.

    Args:
        args (Namespace): ``config``, ``cfg_options``, ``device``, ``amp``,
            ``batch``, ``queries_a_clip``, ``frames`` and ``size``.

    Returns:
        list[list[str]]: A table.
    """
    import torch
    from mmengine.optim import build_optim_wrapper

    from hero_mm.apis.inputs import pick_device
    from hero_mm.registry import MODELS

    cfg = config_without_data(args.config, args.cfg_options)
    device = pick_device(args.device)
    items = [
        make_item(args.frames, tuple(args.size), args.queries_a_clip, seed)
        for seed in range(args.batch)
    ]
    print(
        f'{args.config} on {device}{" in bfloat16" if args.amp else ""}: '
        f'{args.batch} clips of {args.frames} frames, {args.size[0]} x '
        f'{args.size[1]}, {args.queries_a_clip} sentences each'
    )
    rows = [['model', 'ms a clip', 'peak MB', 'ratio']]
    base: dict[str, float] = {}
    kind = 'hero_mm.BFloat16OptimWrapper' if args.amp else 'OptimWrapper'
    optimizer = dict(type='SGD', lr=1e-6)
    for name, model_cfg in _variants(cfg):
        torch.manual_seed(0)
        # Pretrained weights change no time: none are fetched.
        model = MODELS.build(model_cfg).to(device)
        wrapper = build_optim_wrapper(
            model, dict(type=kind, optimizer=optimizer)
        )
        for what, action in _model_actions(model, wrapper, items, args):
            millis, peak = _measure(action, device, args)
            base.setdefault(what, millis)
            cells = ['no memory', '–', '–']
            if np.isfinite(millis):
                cells[0] = f'{millis:.1f}'
                cells[2] = f'{millis / base[what]:.2f}'
            if peak:
                cells[1] = f'{peak:.0f}'
            rows.append([f'{name}: {what}', *cells])
        del model, wrapper
    return rows


def _model_actions(
    model: Any, wrapper: Any, items: list[Item], args: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is timed of a model, by name."""
    import torch
    from mmengine.dataset import pseudo_collate

    def batch_of(parts: list[Item]) -> Any:
        copies = [
            dict(part, data_samples=part['data_samples'].clone())
            for part in parts
        ]
        return pseudo_collate(copies)

    device = next(model.parameters()).device.type

    def infer(parts: list[Item]) -> None:
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, args.amp):
            model.eval().test_step(batch_of(parts))

    def train() -> None:
        model.train().train_step(batch_of(items), wrapper)

    yield 'training step', train
    yield 'inference', lambda: infer(items)
    one = make_item(args.frames, tuple(args.size), 1, 0)
    apart = [one] * (args.batch * args.queries_a_clip)
    yield 'inference, clip encoded for each sentence', lambda: infer(apart)


def _measure(
    action: Callable[[], Any], device: Any, args: argparse.Namespace
) -> tuple[float, float]:
    """Milliseconds a clip and peak megabytes, 0 where they are unknown."""
    import torch

    is_cuda = device.type == 'cuda'
    if is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def run() -> None:
        action()
        if is_cuda:
            torch.cuda.synchronize()

    try:
        run()
        seconds = time_of(run, args.repeat)
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return float('inf'), 0.0
    peak = torch.cuda.max_memory_allocated() / 1e6 if is_cuda else 0.0
    return 1000 * seconds / args.batch, peak


PARTS: dict[str, Callable[[argparse.Namespace], Rows]] = {
    'evaluation': evaluation_part,
    'data': data_part,
    'model': model_part,
}


def time_of(action: Callable[[], Any], repeat: int) -> float:
    """Median of the seconds that an action takes.

    Args:
        action (Callable): What is timed.
        repeat (int): How often.

    Returns:
        float: Seconds.
    """
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to those of the
            process.
    """
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(
        description='Measure speed as ratios within one run.'
    )
    add = parser.add_argument
    add('--parts', nargs='+', default=list(PARTS), choices=list(PARTS))
    add('--repeat', type=int, default=3, help='the median is told')
    add('--queries', type=int, default=QUERIES, help='that are scored')
    add('--loop-queries', type=int, default=300, help='that loops score')
    add('--video', type=Path, help='to decode; default: one is made')
    add('--video-frames', type=int, default=900, help='of the one made')
    add('--video-size', type=int, nargs=2, default=[640, 360])
    add('--config', default='configs/hero_shapes.py', help='of the model')
    add('--cfg-options', nargs='+', action=DictAction)
    add('--device', help='cpu, cuda or cuda:N')
    add('--amp', action='store_true', help='the model in bfloat16')
    add('--batch', type=int, default=4, help='clips')
    add('--queries-a-clip', type=int, default=6, help='sentences')
    add('--frames', type=int, default=16, help='of a clip, sampled')
    add('--size', type=int, nargs=2, default=[64, 64], help='width height')
    args = parser.parse_args(argv)
    for name in ('repeat', 'queries', 'batch', 'queries_a_clip', 'frames'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} must be 1 or more')
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Measure the parts and print their tables.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to those of the
            process.
    """
    args = parse_args(argv)
    print(f'{platform.platform()}, Python {platform.python_version()}')
    for name in args.parts:
        print(f'\n## {name}')
        print('\n'.join(align_rows(PARTS[name](args))))


if __name__ == '__main__':
    sys.exit(run_tool(main))
