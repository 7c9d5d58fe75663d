"""Where a data set lies, from a config or as the user says it, and what is
missing there.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from mmengine.config import Config

from hero_mm.config import read_config
from hero_mm.errors import UserError

from .entries import PathLike

SPLITS = ('train', 'val', 'test')
# Data sets that read our annotation files and videos.
READERS = ('GroundingDataset', 'FrameDetectionDataset')


@dataclass(frozen=True)
class DataSource:
    """An annotation file, the folder of its videos, and the config of the data
    set where it came from one.
    """

    ann_file: Path
    video_dir: Optional[Path]
    dataset: Optional[Mapping[str, Any]] = None


def dataset_config(cfg: Config, split: str) -> Any:
    """The data set of a config (with ``ann_file``), without its wrappers.

    Raises:
        ValueError: If the config has no such data set, or joins several.
    """
    dataset = unwrapped(cfg, split, 'ann_file')
    if 'ann_file' not in dataset:
        joined = [
            str(part.get('ann_file')) for part in dataset.get('datasets', [])
        ]
        raise UserError(
            f'{split}_dataloader of {cfg.filename or "the config"} has no '
            'data set with one ann_file; give another split, or an '
            f'annotation file itself {", ".join(joined)}'
        )
    return dataset


def unwrapped(cfg: Config, split: str, key: str) -> Mapping[str, Any]:
    """The data set of a loader, below its wrappers the first with a key.

    Of several that are tested together the pipelines are alike.
    """
    loader = cfg.get(f'{split}_dataloader') or {}
    dataset = loader.get('dataset') or {}
    while key not in dataset and 'dataset' in dataset:
        dataset = dataset['dataset']
    if key == 'pipeline' and 'datasets' in dataset:
        return dataset['datasets'][0]
    return dataset


def dataset_paths(dataset: Mapping[str, Any]) -> tuple[Path, Path]:
    """Annotation file and folder of videos, joined as the data set does."""
    root = Path(dataset.get('data_root') or '')
    prefix = dataset.get('data_prefix') or {}
    return root / dataset['ann_file'], root / prefix.get('video', '')


def find_source(
    source: PathLike,
    video_dir: Optional[PathLike] = None,
    split: str = 'test',
) -> DataSource:
    """Find the data that a user means: a config (``.py``) or an annotation.

    FileNotFoundError says how to make what is missing.
    """
    path, dataset = Path(source), None
    if path.suffix == '.py':
        dataset = dataset_config(read_config(path), split)
        path, folder = dataset_paths(dataset)
        video_dir = folder if video_dir is None else video_dir
    make_command = (dataset or {}).get('make_command', '')
    for missing in missing_paths(path, video_dir or '', make_command):
        raise FileNotFoundError(missing)
    return DataSource(
        path, None if video_dir is None else Path(video_dir), dataset
    )


def missing_paths(
    ann_file: PathLike, folder: PathLike = '', make_command: str = ''
) -> Iterator[str]:
    """What is missing of an annotation file and the folder of its videos, and
    how to make it.
    """
    usual = 'python tools/dataset_converters/<data set>.py SRC...'
    how = make_command or f'{usual} --out {ann_file}'
    if not os.path.isfile(ann_file):
        yield (
            'The annotation file is missing.\n'
            f'  expected at: {os.path.abspath(ann_file)}\n'
            f'  make it by:  {how}\n'
            '  or set `ann_file` and `data_root` of the data set in the '
            'config (see docs/data.md).'
        )
    if folder and not os.path.isdir(folder):
        yield (
            'The folder of videos is missing.\n'
            f'  expected at: {os.path.abspath(folder)}\n'
            "  put or link the videos there, or set `data_prefix['video']`"
            ' of the data set in the config (see docs/data.md).'
        )


def missing_data(dataset: Mapping[str, Any]) -> Iterator[str]:
    """All that is missing of our data sets of a config, wrappers included."""
    for part in (*dataset.get('datasets', []), dataset.get('dataset')):
        if isinstance(part, Mapping):
            yield from missing_data(part)
    kind = str(dataset.get('type', '')).rpartition('.')[-1]
    if kind in READERS and dataset.get('backend_args') is None:
        ann_file, folder = dataset_paths({'ann_file': '', **dataset})
        if 'video' not in (dataset.get('data_prefix') or {}):
            folder = Path()
        yield from missing_paths(
            ann_file, folder, dataset.get('make_command', '')
        )
