"""What a clip costs at test time: parameters, FLOPs, milliseconds.

Runs as a process of its own: ``python -m hero_mm.apis.ablation.cost CONFIG
CHECKPOINT --out FILE``. Counted and timed are real clips of the test split
with all the sentences of an item, as retrieval depends on what is seen.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional, Union

import torch
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import init_default_scope

from hero_mm.apis.benchmark.timing import time_of
from hero_mm.apis.checkpoint import load_weights
from hero_mm.apis.complexity import count_flops, count_parameters
from hero_mm.config import read_config
from hero_mm.errors import run_tool
from hero_mm.registry import DATASETS, MODELS

from .folder import write_json

CLIPS = 16
REPEAT = 3


def measure_cost(
    config: Union[str, Path],
    checkpoint: Optional[Union[str, Path]] = None,
    clips: int = CLIPS,
    repeat: int = REPEAT,
) -> dict[str, Any]:
    """Measure the cost of a prediction."""
    cfg = read_config(config)
    init_default_scope(cfg.get('default_scope', 'hero_mm'))
    model = MODELS.build(cfg.model)
    if checkpoint is not None:
        load_weights(model, checkpoint)
    model.eval()
    counts = count_parameters(model).values()
    found: dict[str, Any] = dict(
        params=sum(whole for whole, _ in counts),
        trained_params=sum(trained for _, trained in counts),
        flops=None,
        ms=None,
        errors={},
    )
    items = _tried(found, 'clips', lambda: _items(cfg, clips))
    if items is None:
        return found
    found['clips'] = len(items)
    found['sentences'] = sum(_sentences(item) for item in items)
    parts = _tried(found, 'flops', lambda: count_flops(model, items))
    if parts is not None:
        found['flops'] = sum(parts.values()) / len(items)
        found['flops_parts'] = {k: v / len(items) for k, v in parts.items()}
    found['ms'] = _tried(found, 'ms', lambda: _time(model, items, repeat))
    return found


def _tried(
    found: dict[str, Any], name: str, action: Callable[[], Any]
) -> Optional[Any]:
    """What an action gives; None where it fails, and why is kept."""
    try:
        return action()
    except Exception as error:  # The table says it; the score counts.
        found['errors'][name] = f'{type(error).__name__}: {error}'
        return None


def _items(cfg: Any, count: int) -> list[dict[str, Any]]:
    """Items of the test split, spread over it."""
    dataset: Any = DATASETS.build(cfg.test_dataloader.dataset)
    count = min(count, len(dataset))
    return [dataset[place * len(dataset) // count] for place in range(count)]


def _sentences(item: dict[str, Any]) -> int:
    queries = getattr(item.get('data_samples'), 'queries', None)
    return 0 if queries is None else len(queries)


def _time(
    model: torch.nn.Module, items: Sequence[dict[str, Any]], repeat: int
) -> float:
    """Milliseconds of an item on average."""
    device = get_device()
    tester: Any = model.to(device)
    with torch.no_grad():
        batches = [pseudo_collate([item]) for item in items]
        tester.test_step(batches[0])
        seconds = [
            time_of(partial(tester.test_step, batch), repeat, device)
            for batch in batches
        ]
    return 1000 * statistics.mean(seconds)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Measure by the command line."""
    parser = argparse.ArgumentParser(description='Measure what a clip costs')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file')
    parser.add_argument('--out', type=Path, required=True, help='JSON file')
    parser.add_argument('--clips', type=int, default=CLIPS)
    args = parser.parse_args(argv)
    found = measure_cost(args.config, args.checkpoint, args.clips)
    write_json(args.out, found)


if __name__ == '__main__':
    sys.exit(run_tool(main))
