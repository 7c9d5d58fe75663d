"""Is the data there? If not: where it is expected and how to make it."""

import os
from collections.abc import Iterator, Mapping
from typing import Any, Optional

# Data sets that read our annotation files and videos.
READERS = ('GroundingDataset', 'FrameDetectionDataset')


def missing_file(ann_file: str, make_command: str = '') -> Optional[str]:
    """What to tell where an annotation file is missing.

    Args:
        ann_file (str): Path of the file.
        make_command (str): The command that makes it, where it is known.

    Returns:
        str, optional: None where the file is there.
    """
    if os.path.isfile(ann_file):
        return None
    how = make_command or (
        'python tools/dataset_converters/<data set>.py SRC... '
        f'--out {ann_file}'
    )
    return (
        'The annotation file is missing.\n'
        f'  expected at: {os.path.abspath(ann_file)}\n'
        f'  make it by:  {how}\n'
        '  or set `ann_file` and `data_root` of the data set in the '
        'config (see docs/data.md).'
    )


def missing_folder(folder: str) -> Optional[str]:
    """What to tell where the folder of videos is missing.

    Args:
        folder (str): Path of the folder; empty where there is none.

    Returns:
        str, optional: None where the folder is there.
    """
    if not folder or os.path.isdir(folder):
        return None
    return (
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
        str: What to tell.
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
    path = os.path.join(root, dataset.get('ann_file', ''))
    for missing in (
        missing_file(path, dataset.get('make_command', '')),
        missing_folder(os.path.join(root, prefix) if prefix else ''),
    ):
        if missing is not None:
            yield missing
