"""How long scoring takes."""

import tempfile
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any, Callable

import numpy as np

from hero_mm.evaluation import dump_predictions, load_predictions
from hero_mm.evaluation.functional import PROTOCOLS, score_tubes

from .timing import Rows, time_of

Item = dict[str, Any]

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

    By query id, as ``score_tubes`` takes them, with boxes as arrays;
    predictions have one on each native frame of the segment.
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


def scoring_rows(args: Namespace) -> Rows:
    """Scoring generated queries, and reading a file of predictions."""
    truths, guesses = make_queries(args.queries)
    rows = [['protocol', 'queries', 's', 'ms a query']]

    def add(name: str, action: Callable[[], Any]) -> None:
        seconds = time_of(action, args.repeat)
        cells = [f'{seconds:.2f}', f'{1000 * seconds / args.queries:.3f}']
        rows.append([name, str(args.queries), *cells])

    for name in PROTOCOLS:
        add(name, partial(score_tubes, truths, guesses, protocol=name))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'predictions.json'
        by_frame = {
            key: dict(item, boxes=dict(zip(*map(np.ndarray.tolist, boxes))))
            for key, item in guesses.items()
            for boxes in [item['boxes']]
        }
        dump_predictions(path, by_frame)
        add('reading the file', partial(load_predictions, path))
    return rows
