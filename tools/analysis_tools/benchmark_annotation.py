"""Time a conversion, and measure what a training process holds of it.

RAW is a folder of make_vidor_sized.py. Memory is the proportional set size
(PSS) of the process and of its workers together, in which a page that is
shared counts once. Videos are not decoded; all else is as in training.

Example:
    python tools/analysis_tools/benchmark_annotation.py data/sized
    python tools/analysis_tools/benchmark_annotation.py \
        --ann data/vidstg/train.json
"""

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hero_mm.errors import explained

CONVERTER = Path(__file__).parents[1] / 'dataset_converters' / 'vidstg.py'
MEGABYTE = 1 << 20


def parse_args() -> argparse.Namespace:
    """Read the command line.

    Returns:
        argparse.Namespace: The arguments.
    """
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('raw', nargs='?', help='folder to convert first')
    parser.add_argument(
        '--ann', help='annotation file to load (default: RAW/train.json)'
    )
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), help='that convert'
    )
    parser.add_argument('--loaders', type=int, default=4, help='that load')
    parser.add_argument(
        '--items', type=int, default=4000, help='clips to read at random'
    )
    parser.add_argument(
        '--start',
        choices=('fork', 'spawn'),
        default='fork',
        help='how loaders are started (default: %(default)s)',
    )
    args = parser.parse_args()
    if args.raw is None and args.ann is None:
        parser.error('give a folder of raw files, or --ann')
    return args


def convert(raw: Path, out: Path, workers: int) -> dict[str, Any]:
    """Run the converter.

    Args:
        raw (Path): Folder of raw files.
        out (Path): Annotation file to write.
        workers (int): Processes that read boxes.

    Returns:
        dict: Seconds, of the clock and of all processors, the memory of the
        largest process, and the size of the raw files.

    Raises:
        SystemExit: The converter failed.
    """
    words = [raw / 'train_annotations.json', raw / 'vidor', '--out', out]
    words += ['--files', raw / 'train_files.json', '--workers', workers]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, CONVERTER, *map(str, words)], check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.returncode)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    size = sum(path.stat().st_size for path in raw.glob('vidor/**/*.json'))
    return dict(
        raw_megabytes=size // MEGABYTE,
        convert_seconds=round(seconds, 1),
        convert_processor_seconds=round(used.ru_utime + used.ru_stime, 1),
        convert_megabytes=used.ru_maxrss // 1024,
    )


def load(
    ann_file: str, loaders: int, items: int, start: str
) -> dict[str, Any]:
    """Load an annotation file as a training process does.

    Args:
        ann_file (str): The file.
        loaders (int): Worker processes.
        items (int): Clips to read, at random.
        start (str): How workers are started.

    Returns:
        dict: Seconds and megabytes.
    """
    import torch
    from torch.utils.data import DataLoader

    from hero_mm.datasets import GroundingDataset

    before = proportional_size()
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        dataset = GroundingDataset(
            ann_file=ann_file,
            data_prefix=dict(video=folder),
            max_queries=8,
            pipeline=[
                dict(
                    type='SampleClipFrames',
                    num_frames=64,
                    jitter=True,
                    crop_prob=0.5,
                    min_frames=64,
                ),
                no_pixels,
                dict(type='LoadTubes'),
                dict(type='SwapActionPhrase', num_negatives=2),
                drop_video,
            ],
        )
    seconds = time.perf_counter() - begin
    after = proportional_size()
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=torch.randint(len(dataset), (items,)).tolist(),
        num_workers=loaders,
        multiprocessing_context=start if loaders else None,
    )
    begin, sentences, most = time.perf_counter(), 0, after
    for number, item in enumerate(loader):
        sentences += len(item['queries'])
        if number % 500 == 499 or number == items - 1:
            most = max(most, proportional_size())
    return dict(
        clips=len(dataset),
        load_seconds=round(seconds, 1),
        items_a_second=round(items / (time.perf_counter() - begin)),
        sentences_read=sentences,
        megabytes_before=before,
        megabytes_loaded=after,
        megabytes_with_loaders=most,
        loaders=loaders,
        start=start,
    )


def no_pixels(results: dict) -> dict:
    """Tell sizes in place of decoding.

    Args:
        results (dict): Of the pipeline.

    Returns:
        dict: The same, with what later steps ask for.
    """
    size = results['height'], results['width']
    results.update(ori_shape=size, img_shape=size, flip=False)
    results['crop_box'] = (0.0, 0.0, float(size[1]), float(size[0]))
    return results


def drop_video(results: dict) -> dict:
    """Keep what is not sent to the training process.

    Args:
        results (dict): Of the pipeline.

    Returns:
        dict: The sentences and their boxes.
    """
    return {key: results[key] for key in ('queries', 'gt_bboxes', 'gt_valid')}


def proportional_size() -> int:
    """PSS of this process and its workers.

    Returns:
        int: In megabytes.
    """
    workers = [worker.pid for worker in multiprocessing.active_children()]
    kilobytes = 0
    for process in ('self', *workers):
        with open(f'/proc/{process}/smaps_rollup', encoding='ascii') as file:
            told = dict(line.split(':', 1) for line in list(file)[1:])
        kilobytes += int(told['Pss'].split()[0])
    return kilobytes // 1024


def main() -> int:
    """Convert, load and print the figures.

    Returns:
        int: Exit status.
    """
    args = parse_args()
    figures: dict[str, Any] = {}
    ann_file = args.ann or str(Path(args.raw, 'train.json'))
    if args.raw is not None:
        figures = convert(Path(args.raw), Path(ann_file), args.workers)
    figures.update(load(ann_file, args.loaders, args.items, args.start))
    sys.stdout.write(json.dumps(figures, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    with explained():
        sys.exit(main())
