"""Read what a user gives an inferencer: model, device, video, sentences.

Each function takes what people write and returns what the inferencer needs,
or says what is wrong with it and what to do.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.logging import print_log

from hero_mm.datasets.video_reader import open_video
from hero_mm.registry import TRANSFORMS

from .checkpoint import find_checkpoint

PathLike = Union[str, 'os.PathLike[str]']

TRUTH_TRANSFORMS = ('LoadTubes', 'SwapActionPhrase')
"""Parts of a pipeline that read annotations, which a question has none of."""
UNITS = ('seconds', 'frames')


def pick_device(device: Optional[str]) -> torch.device:
    """The device of a name, tried out.

    Args:
        device (str, optional): Such as ``'cuda:0'``. Defaults to CUDA where
            there is one, else the CPU.

    Returns:
        torch.device: It can be used.

    Raises:
        ValueError: If it is unknown or not there.
    """
    has_cuda = torch.cuda.is_available()
    if device is None:
        device = 'cuda' if has_cuda else 'cpu'
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split('\n', maxsplit=1)[0]
        count = torch.cuda.device_count() if has_cuda else 0
        raise ValueError(
            f'device {device!r} cannot be used ({reason}). Here is the CPU '
            f'and {count} CUDA device(s); give cpu, cuda or cuda:N.'
        ) from error
    return torch.device(device)


def load_config(model: Union[PathLike, Config]) -> Config:
    """The config that a user means.

    Args:
        model (str | os.PathLike | Config): A config, its file, or a work
            dir, of which the newest dumped config is taken.

    Returns:
        Config: With a ``model`` and a ``test_dataloader``.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it lacks one of the two.
    """
    if isinstance(model, Config):
        cfg, name = model, model.filename or 'the config'
    else:
        path = Path(model)
        if path.is_dir():
            found = sorted(path.glob('*.py'), key=lambda p: p.stat().st_mtime)
            if not found:
                raise FileNotFoundError(
                    f'no config (*.py) in the folder {path}; give the work '
                    'dir of a training, or the path of a config.'
                )
            path = found[-1]
        if not path.is_file():
            raise FileNotFoundError(
                f'no config or work dir at {path}; give the work dir of a '
                'training, such as work_dirs/hero_shapes, or a config, such '
                'as configs/hero_shapes.py with weights.'
            )
        cfg, name = Config.fromfile(str(path)), str(path)
    for key in ('model', 'test_dataloader'):
        if cfg.get(key) is None:
            raise ValueError(
                f'{name} has no {key!r}; give a whole config, or the work '
                'dir of a training.'
            )
    return cfg


def find_weights(
    model: Union[PathLike, Config],
    cfg: Config,
    weights: Optional[PathLike] = None,
) -> str:
    """The checkpoint that a user means.

    Args:
        model (str | os.PathLike | Config): As the user gave it.
        cfg (Config): What was read from it.
        weights (str | os.PathLike, optional): As the user gave it.

    Returns:
        str: Path of the checkpoint.

    Raises:
        FileNotFoundError: If there is none; random weights answer nothing.
    """
    if weights is not None:
        return find_checkpoint(os.fspath(weights))
    if not isinstance(model, Config) and Path(model).is_dir():
        return find_checkpoint(os.fspath(model))
    name = Path(cfg.filename or 'config').stem
    folder = cfg.get('work_dir') or os.path.join('work_dirs', name)
    if not Path(folder).is_dir():
        raise FileNotFoundError(
            f'no weights given for {cfg.filename}, and there is no work dir '
            f'{folder}; give weights=CHECKPOINT.pth, or the work dir of a '
            'training in place of the config.'
        )
    return find_checkpoint(folder)


def build_pipeline(cfg: Config) -> Compose:
    """The test pipeline without the parts that read annotations.

    Args:
        cfg (Config): The whole config.

    Returns:
        Compose: From a description of a video to the input of the model.

    Raises:
        ValueError: If the config has no test pipeline.
    """
    dataset = cfg.test_dataloader.get('dataset', {})
    while 'pipeline' not in dataset and 'dataset' in dataset:
        dataset = dataset['dataset']
    if 'pipeline' not in dataset:
        raise ValueError(
            'the config has no test_dataloader.dataset.pipeline; give the '
            'config that the model was trained with.'
        )
    steps = [
        step
        for step in dataset['pipeline']
        if _type_name(step) not in TRUTH_TRANSFORMS
    ]
    return Compose([TRANSFORMS.build(step) for step in steps])


def _type_name(step: dict) -> str:
    kind = step['type']
    name = kind if isinstance(kind, str) else kind.__name__
    return name.rsplit('.', maxsplit=1)[-1]


def check_texts(texts: Union[str, Sequence[str]]) -> list[str]:
    """Sentences as a list.

    Args:
        texts (str | Sequence[str]): One or more sentences.

    Returns:
        list[str]: Without blanks around them.

    Raises:
        TypeError: If one is no string.
        ValueError: If there is none, or one is empty.
    """
    listed = [texts] if isinstance(texts, str) else list(texts)
    if not listed:
        raise ValueError('no sentence given; give at least one.')
    for place, text in enumerate(listed):
        if not isinstance(text, str):
            raise TypeError(f'sentence {place} is {text!r:.60}; give strings.')
        if not text.strip():
            raise ValueError(
                f'sentence {place} is empty ({text!r}); say what to look for.'
            )
    return [text.strip() for text in listed]


def describe_video(
    video: PathLike,
    segment: Optional[tuple[float, float]] = None,
    unit: str = 'seconds',
) -> dict[str, Any]:
    """What a pipeline needs to know of a video, read from the file.

    Args:
        video (str | os.PathLike): Path of a video.
        segment (tuple[float, float], optional): ``[start, end)``.
        unit (str): Of the segment, ``'seconds'`` or ``'frames'``.

    Returns:
        dict: ``video_id, video_path, frame_count, fps, segment``, and
        ``frame_edges``, the seconds at which frames begin.

    Raises:
        TypeError: If the video is no path.
        ValueError: If the segment does not fit the video.
        VideoError: If the file is missing, empty, no video or cut off.
    """
    if not isinstance(video, (str, os.PathLike)):
        raise TypeError(
            f'video must be the path of a file, got {type(video).__name__}; '
            'write frames to an mp4 first, for instance with '
            'hero_mm.visualization.VideoWriter.'
        )
    path = os.fspath(video)
    with open_video(path) as reader:
        count, fps = reader.check_whole(), reader.fps
        edges = reader.edges
    return dict(
        video_id=Path(path).stem,
        video_path=path,
        frame_count=count,
        fps=fps,
        frame_edges=edges,
        segment=_read_segment(path, segment, unit, edges),
    )


def _read_segment(
    path: str,
    segment: Optional[tuple[float, float]],
    unit: str,
    edges: np.ndarray,
) -> tuple[int, int]:
    """A segment in native frames, its end cut at that of the video."""
    count = len(edges) - 1
    if unit not in UNITS:
        raise ValueError(f'unit must be one of {UNITS}, got {unit!r}.')
    if segment is None:
        return 0, count
    start, end = (float(edge) for edge in segment)
    early = start < 0
    if unit == 'seconds':
        # Frames last as long as the file says, not all alike.
        start, end = np.interp((start, end), edges, np.arange(count + 1))
    first, last = int(round(start)), min(int(round(end)), count)
    if first == last < count and start < end:
        # Less than a frame is asked for: the one that it lies in.
        first = min(first, int(start))
        last = first + 1
    if early or not (start < end and first < last):
        raise ValueError(
            f'{path}: the segment {tuple(segment)} {unit} must be '
            f'[start, end) inside the video, which has {count} frames, '
            f'{edges[-1]:.2f} seconds.'
        )
    if segment[1] > (edges[-1] if unit == 'seconds' else count):
        print_log(
            f'{path}: the segment {tuple(segment)} {unit} goes on after the '
            f'end of the video; it is cut to the frames [{first}, {last})',
            logger='current',
            level=logging.WARNING,
        )
    return first, last
