"""Is the data there? If not: where it is expected and how to make it."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

# Data sets that read our annotation files and videos.
READERS = ('GroundingDataset', 'FrameDetectionDataset')


def missing_paths(
    ann_file: str, folder: str = '', make_command: str = ''
) -> Iterator[str]:
    """What to say of an annotation file and its videos that are not there.

    Args:
        ann_file (str): Path of the file.
        folder (str): Path of the folder of videos; empty where there is none.
        make_command (str): The command that makes the file, where it is
            known.

    Yields:
        str: What is missing, where it is expected and what to do.
    """
    if not os.path.isfile(ann_file):
        how = make_command or (
            'python tools/dataset_converters/<data set>.py SRC... '
            f'--out {ann_file}'
        )
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
    """All that is missing of the data set of a config.

    Args:
        dataset (Mapping[str, Any]): Config of a data set that reads our
            annotation files, or of wrappers around some; others are passed
            over.

    Yields:
        str: What to say.
    """
    inner = [*dataset.get('datasets', []), dataset.get('dataset')]
    for part in inner:
        if isinstance(part, Mapping):
            yield from missing_data(part)
    kind = str(dataset.get('type', '')).rpartition('.')[-1]
    if kind not in READERS or dataset.get('backend_args') is not None:
        return
    root = dataset.get('data_root') or ''
    prefix = (dataset.get('data_prefix') or {}).get('video', '')
    yield from missing_paths(
        os.path.join(root, dataset.get('ann_file', '')),
        os.path.join(root, prefix) if prefix else '',
        dataset.get('make_command', ''),
    )
