"""What a clip costs at test time: parameters, FLOPs, milliseconds.

``python -m hero_mm.apis.ablation.cost CONFIG CHECKPOINT FILE``. Counted
and timed are real clips of the test split with all the sentences of an item,
as retrieval depends on what is seen.
"""

import statistics
import sys
from functools import partial
from typing import Any

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

from .job import write_json

CLIPS = 16
REPEAT = 3


def measure_cost(
    model: torch.nn.Module, dataset: Any, clips: int = CLIPS
) -> dict[str, Any]:
    """Measure the cost of a prediction on clips spread over a data set."""
    clips = min(clips, len(dataset))
    items = [dataset[place * len(dataset) // clips] for place in range(clips)]
    counts = count_parameters(model).values()
    parts, sentences, errors = {}, None, {}
    try:
        parts = count_flops(model, items)
        sentences = sum(len(item['data_samples'].queries) for item in items)
    except Exception as error:
        # Of a model without HERO's interface, say: the rest is measured.
        errors['flops'] = str(error)
    device = get_device()
    tester: Any = model.to(device)
    with torch.no_grad():
        batches = [pseudo_collate([item]) for item in items]
        tester.test_step(batches[0])
        seconds = [
            time_of(partial(tester.test_step, batch), REPEAT, device)
            for batch in batches
        ]
    return dict(
        params=sum(whole for whole, _ in counts),
        trained_params=sum(trained for _, trained in counts),
        clips=clips,
        sentences=sentences,
        flops=sum(parts.values()) / clips if parts else None,
        flops_parts={name: value / clips for name, value in parts.items()},
        ms=1000 * statistics.mean(seconds),
        errors=errors,
    )


def main() -> None:
    """Measure by the command line."""
    config, checkpoint, out = sys.argv[1:]
    cfg = read_config(config)
    init_default_scope(cfg.get('default_scope', 'hero_mm'))
    model = MODELS.build(cfg.model).eval()
    load_weights(model, checkpoint)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    write_json(out, measure_cost(model, dataset))


if __name__ == '__main__':
    sys.exit(run_tool(main))
