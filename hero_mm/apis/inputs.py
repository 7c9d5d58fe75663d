"""Read what a user gives an inferencer: model, device, video, sentences."""

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log

from hero_mm.config import WEIGHTS, read_config
from hero_mm.datasets.picture_reader import PictureReader, is_picture
from hero_mm.datasets.source import unwrapped
from hero_mm.datasets.video_base import VIDEO_SUFFIXES
from hero_mm.datasets.video_reader import VideoError, open_video
from hero_mm.errors import UserError, UserTypeError
from hero_mm.files import PathLike
from hero_mm.visualization.video_writer import read_comment

from .checkpoint import find_checkpoint
from .package import WEIGHTS as PACKAGED
from .package import find_package, read_package

TRUTH_TRANSFORMS = ('LoadTubes', 'SwapActionPhrase')
"""Parts of a pipeline that read annotations, which a question has none of."""


def pick_device(device: Optional[str]) -> torch.device:
    """The device of a name, tried out; UserError if it cannot be used.

    Defaults to CUDA where there is one (under torchrun, the one of the
    process), else the CPU.
    """
    if device is None:
        cuda = f'cuda:{os.environ.get("LOCAL_RANK", "0")}'
        device = cuda if torch.cuda.is_available() else 'cpu'
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split('\n', maxsplit=1)[0]
        raise UserError(
            f'device {device!r} cannot be used ({reason}). Here is the CPU '
            f'and {torch.cuda.device_count()} CUDA device(s); give cpu, cuda '
            'or cuda:N.'
        ) from error
    return torch.device(device)


def load_config(
    model: Union[PathLike, Config, None], trust: bool = False
) -> Config:
    """The config that a user means; it must have a model and test data.

    ``model`` is a config, its file, a work dir or checkpoint, beside which it
    lies, or a package; None is the package that is shipped. ``trust`` is that
    of :func:`.package.read_package`.
    """
    package = find_package(model)
    if package is not None:
        return read_package(package, trust)
    cfg = model if isinstance(model, Config) else read_config(str(model))
    for key in ('model', 'test_dataloader'):
        if cfg.get(key) is None:
            raise UserError(
                f'{cfg.filename or "the config"} has no {key!r}; give a whole '
                'config, or the work dir of a training.'
            )
    return cfg


def find_weights(
    model: Union[PathLike, Config, None],
    cfg: Config,
    weights: Optional[PathLike] = None,
) -> str:
    """The checkpoint that a user means by model and weights.

    Raises:
        FileNotFoundError: If there is none; random weights answer nothing.
    """
    if weights is not None:
        return find_checkpoint(os.fspath(weights))
    if 'label' in cfg:
        return str(Path(str(cfg.filename)).with_name(PACKAGED))
    if isinstance(model, (str, os.PathLike)) and (
        Path(model).is_dir() or Path(model).suffix in WEIGHTS
    ):
        return find_checkpoint(os.fspath(model))
    if cfg.get('train_dataloader') is None and cfg.get('load_from'):
        # Nothing is trained: it answers with what it starts from.
        return find_checkpoint(cfg.load_from)
    name = Path(cfg.filename or 'config').stem
    folder = cfg.get('work_dir') or os.path.join('work_dirs', name)
    if not Path(folder).is_dir():
        raise FileNotFoundError(
            f'no weights given for {cfg.filename}, and there is no work dir '
            f'{folder}; give weights=CHECKPOINT.pth, or the work dir of a '
            'training in place of the config.'
        )
    return find_checkpoint(folder)


def pipeline_steps(cfg: Config) -> list[Any]:
    """The test pipeline without the parts that read annotations."""
    dataset = unwrapped(cfg, 'test', 'pipeline')
    if 'pipeline' not in dataset:
        raise UserError(
            'the config has no test_dataloader.dataset.pipeline; give the '
            'config that the model was trained with.'
        )

    def asks(step: Any) -> bool:
        kind = getattr(step['type'], '__name__', step['type'])
        return kind.rpartition('.')[2] not in TRUTH_TRANSFORMS

    return list(filter(asks, dataset['pipeline']))


def check_texts(texts: Union[str, Sequence[str]]) -> list[str]:
    """One or more sentences as a list, without blanks around them."""
    listed = [texts] if isinstance(texts, str) else list(texts)
    if not listed:
        raise UserError('no sentence given; give at least one.')
    for place, text in enumerate(listed):
        if not isinstance(text, str):
            raise UserTypeError(
                f'sentence {place} is {text!r:.60}; give strings.'
            )
        if not text.strip():
            raise UserError(
                f'sentence {place} is empty ({text!r}); say what to look for.'
            )
    return [text.strip() for text in listed]


def list_videos(
    videos: Union[PathLike, Sequence[PathLike]],
) -> tuple[list[str], bool]:
    """Paths of the videos that a user means, and whether it is a single one.

    A video, a folder with a picture a frame, which is one video, a folder of
    videos, or several of these. Drawings of ours in a folder are passed over.
    """
    given: Any = videos if isinstance(videos, (list, tuple)) else [videos]
    if not given:
        raise UserError('no video given; give at least one.')
    found: list[str] = []
    for video in given:
        if not isinstance(video, (str, os.PathLike)):
            raise UserTypeError(
                f'video must be the path of a file, got '
                f'{type(video).__name__}; write frames to an mp4 first, for '
                'instance with hero_mm.visualization.VideoWriter.'
            )
        found += _expand(os.fspath(video))
    single = given is not videos and found == [os.fspath(given[0])]
    return list(dict.fromkeys(found)), single


def _expand(path: str) -> list[str]:
    if '://' in path:
        raise VideoError(
            path, 'not fetched: it is an address', 'download it first'
        )
    if not os.path.isdir(path):
        return [path]
    inside = sorted(p for p in Path(path).rglob('*') if p.name[0] != '.')
    videos = [str(p) for p in inside if is_video(p.name) and p.is_file()]
    kept = [v for v in videos if not read_comment(v).startswith('hero_mm')]
    if kept:
        return kept
    if not videos and any(is_picture(name) for name in os.listdir(path)):
        return [path]
    raise VideoError(
        path,
        'the folder holds neither videos nor numbered pictures',
        f'give a folder with files that end in {", ".join(VIDEO_SUFFIXES)}, '
        'or with a picture a frame',
    )


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Names of videos below the folder that holds all of them, by path."""
    full = {path: os.path.abspath(path) for path in paths}
    if not full:
        return {}
    root = os.path.commonpath([os.path.dirname(p) for p in full.values()])
    return {path: os.path.relpath(p, root) for path, p in full.items()}


def is_video(name: str) -> bool:
    """Whether a file is a video, by its name."""
    return name.lower().endswith(VIDEO_SUFFIXES)


def is_long(path: str, seconds: float = 600.0) -> bool:
    """Whether the header of a file says that it lasts long."""
    if not os.path.isfile(path):
        return False
    with open_video(path) as reader:
        return (reader.header_seconds or 0.0) > seconds


def describe_video(
    video: PathLike,
    segment: Optional[tuple[float, float]] = None,
    unit: str = 'seconds',
    fps: Optional[float] = None,
) -> dict[str, Any]:
    """What a pipeline needs to know of a video, read from the file.

    Arguments are those of a call of :class:`TubeInferencer`, of one video.

    Returns:
        dict: ``video_id, video_path, frame_count, fps, size`` (width,
        height), ``segment`` (native frames), and ``frame_edges``, the
        seconds at which frames begin.

    Raises:
        VideoError: If the file is missing, empty, no video or cut off.
    """
    paths, _ = list_videos(video)
    path = os.fspath(video)
    if paths != [path]:
        raise VideoError(
            path, 'a folder of videos', 'ask about one of them at a time'
        )
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise UserError(f'fps must be a number above 0, got {fps}.')
    with open_video(path) as reader:
        is_folder = isinstance(reader, PictureReader)
        if is_folder and fps is None:
            raise VideoError(
                path,
                'a folder of pictures has no frame rate',
                'say how many are shown a second: --fps 25, or fps=25',
            )
        if fps is not None and not is_folder:
            raise VideoError(
                path,
                f'a video has a frame rate of its own, {fps:g} is given',
                'leave out fps (--fps), which is for folders of pictures',
            )
        count, size = reader.check_whole(), reader.size
        if fps is None:
            fps, edges = reader.fps, reader.edges
        else:
            edges = np.arange(count + 1) / fps
    return dict(
        video_id=Path(path).stem,
        video_path=path,
        frame_count=count,
        fps=float(fps),
        size=size,
        frame_edges=edges,
        segment=_read_segment(path, segment, unit, edges),
    )


def _read_segment(
    path: str,
    segment: Optional[tuple[float, float]],
    unit: str,
    edges: np.ndarray,
) -> tuple[int, int]:
    """A segment in native frames, at least one, cut at the end of the video.

    Of one shorter than a frame that one is taken in which it begins.
    """
    count = len(edges) - 1
    if unit not in ('seconds', 'frames'):
        raise UserError(f'unit must be seconds or frames, got {unit!r}.')
    if segment is None:
        return 0, count
    try:
        start, end = (float(edge) for edge in segment)
    except (TypeError, ValueError) as error:
        raise UserError(
            f'a segment is two numbers, (start, end), got {segment!r:.60}.'
        ) from error
    # Frames last as long as the file says, not all alike.
    marks = np.arange(count + 1) if unit == 'frames' else edges
    if not 0 <= start < min(end, marks[-1]):
        raise UserError(
            f'{path}: the segment {tuple(segment)} {unit} must be '
            f'[start, end) and begin inside the video, which has {count} '
            f'frames, {edges[-1]:.2f} seconds.'
        )
    places = np.interp((start, end), marks, np.arange(count + 1))
    first, stop = (round(place) for place in places)
    if first >= stop:
        first = min(int(places[0]), count - 1)
        stop = first + 1
    if end > marks[-1]:
        print_log(
            f'{path}: the segment {tuple(segment)} {unit} goes on after the '
            f'end of the video; it is cut to the frames [{first}, {stop})',
            logger='current',
            level=logging.WARNING,
        )
    return first, stop
