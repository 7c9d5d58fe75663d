r"""Measure speed as ratios within one run, and count operations and memory.

``--suite`` measures every table of docs/benchmarks.md.

Examples::

    python tools/analysis_tools/benchmark.py --suite --json benchmarks.json
    python tools/analysis_tools/benchmark.py --parts scoring
    python tools/analysis_tools/benchmark.py --parts decoding --video clip.mp4
    python tools/analysis_tools/benchmark.py --parts model \
        --config configs/hero_vidstg.py --device cuda --amp \
        --frames 64 --size 588 420 --batch 1
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Callable, Optional

from hero_mm.errors import explained, run_tool

with explained():
    import torch

    from hero_mm.apis.benchmark import counting, long, running, scoring
    from hero_mm.apis.benchmark.timing import Rows
    from hero_mm.apis.inputs import pick_device
    from hero_mm.evaluation.functional.table import align_rows
    from hero_mm.files import write_text

SMALL, LARGE = 'configs/hero_shapes.py', 'configs/hero_vidstg.py'
DENSE = 'configs/hero_r101-roberta_200f-10e_vidstg.py'
Part = Callable[[argparse.Namespace], Rows]
# What is measured, and the settings that fit it unless others are given.
PARTS: dict[str, tuple[Part, dict[str, Any]]] = {
    'scoring': (scoring.scoring_rows, {}),
    'decoding': (running.decoding_rows, dict(frames=64)),
    'loader': (running.loader_rows, dict(config=SMALL)),
    'model': (
        running.model_rows,
        dict(config=SMALL, frames=16, size=[64, 64]),
    ),
    'parts': (counting.parts_rows, {}),
    'growth': (counting.growth_rows, {}),
    'training': (counting.training_rows, {}),
    'memory': (counting.memory_rows, {}),
    'long': (long.long_rows, dict(size=[640, 360])),
    'vidstg': (counting.vidstg_rows, dict(config=DENSE)),
}
LARGE_CLIP = dict(config=LARGE, frames=64, size=[469, 352])
PACKAGES = ('torch', 'mmengine', 'numpy', 'av', 'hero-mm')


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--suite', action='store_true', help='all parts, at their settings')
    add('--parts', nargs='+', default=['scoring'], choices=list(PARTS))
    add('--json', metavar='FILE', help='the tables, machine and versions')
    add('--repeat', type=int, default=3, help='the median is reported')
    add('--queries', type=int, default=scoring.QUERIES, help='to score')
    add('--video', type=Path, help='to decode; default: some are made')
    add('--video-frames', type=int, default=900, help='of those made')
    add('--video-size', type=int, nargs=2, default=[640, 480])
    keys = 'frames from one key frame to the next (12 250)'
    add('--video-keys', type=int, nargs='+', default=[12, 250], help=keys)
    add('--minutes', type=float, nargs='+', default=[5, 60], help='long')
    add('--vidstg', type=Path, help='official annotation, for part vidstg')
    add('--config', help='of the model')
    add('--cfg-options', nargs='+', action=DictAction)
    add('--device', help='cpu, cuda or cuda:N, for parts model and loader')
    add('--amp', action='store_true', help='these parts in bfloat16')
    add('--batch', type=int, default=4, help='clips')
    add('--queries-a-clip', type=int, default=6, help='sentences')
    add('--frames', type=int, help='of a clip, sampled')
    add('--size', type=int, nargs=2, help='width height')
    args = parser.parse_args(argv)
    if args.suite:
        args.parts = list(PARTS)
    elif 'vidstg' in args.parts and args.vidstg is None:
        parser.error(
            '--parts vidstg needs --vidstg FILE, an official annotation file '
            'such as test_annotations.json'
        )
    for name in ('repeat', 'queries', 'batch', 'queries_a_clip', 'frames'):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f'--{name.replace("_", "-")} must be 1 or more')
    return args


def settings(args: argparse.Namespace, name: str) -> argparse.Namespace:
    """What is not given has the value that fits the part."""
    given = {k: v for k, v in vars(args).items() if v is not None}
    fitting = {**vars(args), **LARGE_CLIP, **PARTS[name][1], **given}
    return argparse.Namespace(**fitting)


def facts(args: argparse.Namespace) -> dict[str, Any]:
    """The machine and the versions."""
    device = pick_device(args.device)
    found = dict(
        platform=platform.platform(),
        python=platform.python_version(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        load=os.getloadavg()[0],
        device=str(device),
        **{name: version(name) for name in PACKAGES},
    )
    if device.type == 'cuda':
        found['gpu'] = torch.cuda.get_device_name(device)
    return found


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Measure the parts, print their tables and store them."""
    args = parse_args(argv)
    machine = facts(args)
    print(', '.join(f'{name} {value}' for name, value in machine.items()))
    tables = []
    for name in args.parts:
        print(f'\n## {name}')
        if name == 'vidstg' and args.vidstg is None:
            print('left out: --vidstg FILE is not given')
            continue
        chosen = settings(args, name)
        rows = PARTS[name][0](chosen)
        print('\n'.join(align_rows(rows)), flush=True)
        given = {k: str(v) for k, v in vars(chosen).items()}
        tables.append(dict(part=name, settings=given, rows=rows))
    if args.json:
        found = dict(machine=machine, tables=tables)
        write_text(args.json, json.dumps(found, indent=1))


if __name__ == '__main__':
    sys.exit(run_tool(main))
