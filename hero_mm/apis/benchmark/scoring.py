"""How long scoring takes, beside evaluators that go through the frames."""

import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Callable

import numpy as np

from hero_mm.evaluation import dump_predictions, load_predictions
from hero_mm.evaluation.functional import (
    PROTOCOLS,
    sampled_grid,
    score_tubes,
)

from .timing import Rows, time_of

Item = dict[str, Any]
Overlap = Callable[[Sequence[float], Sequence[float]], float]

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


def scoring_rows(args: Namespace) -> Rows:
    """Scoring, beside loops over frames."""
    truths, guesses = make_queries(args.queries)
    some = list(truths)[: args.loop_queries]
    few = as_dicts({key: truths[key] for key in some})
    few_guesses = as_dicts({key: guesses[key] for key in some})

    def loop(protocol: str, overlap: Overlap) -> None:
        for key, truth in few.items():
            loop_scores(protocol, truth, few_guesses[key], overlap)

    ways: dict[str, tuple[int, Callable[..., Any]]] = {
        'boxes as arrays': (
            len(truths),
            partial(score_tubes, truths, guesses),
        ),
        'boxes by frame': (len(few), partial(score_tubes, few, few_guesses)),
        'loop of Python': (len(few), partial(loop, overlap=plain_overlap)),
        'loop with numpy': (len(few), partial(loop, overlap=array_overlap)),
    }
    rows = [['protocol', 'queries', 's', 'ms a query', 'ratio']]
    for name in PROTOCOLS:
        base = 0.0
        for what, (count, action) in ways.items():
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
