"""Make the files of tubes: an mp4 and a PNG sheet a sentence.

Shape legend: T frames of a view, N frames that are played, H height, W width
in pixels; pictures are RGB uint8.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Optional

import numpy as np
from PIL import Image

from .drawing import TubePainter, draw_chosen_frames
from .tube_view import (
    TubeView,
    choose_sheet_indices,
    resample_view,
    stretch_view,
)
from .video_writer import PathLike, VideoWriter, write_png

PLAYED_FPS = 15.0
"""Frames a second that a drawn video aims at."""
PLAYED_FRAMES = 1800
"""Most frames of a drawn video; a longer one shows fewer a second."""

_CHUNK = 64


def safe_name(name: str) -> str:
    """A name that is one file name everywhere.

    Examples:
        >>> safe_name('0001/a b.mp4')
        '0001_a_b.mp4'
    """
    return re.sub(r'[^\w.\-]+', '_', name).strip('._') or 'unnamed'


def playback_fps(view: TubeView) -> float:
    """Frames a second at which the frames of a view last as long as in life.

    Args:
        view (TubeView): With T frames.

    Returns:
        float: In [1, 60].

    Examples:
        >>> playback_fps(TubeView('x', np.arange(0, 60, 3), (0, 60), 30.0))
        10.0
    """
    if len(view) < 2:
        return 1.0
    step = float(np.diff(view.frame_inds).mean())
    return min(max(view.fps / step, 1.0), 60.0)


def played_frames(segment: tuple[float, float], fps: float) -> np.ndarray:
    """The frames that a drawn video shows: evenly spaced, not too many.

    Args:
        segment (tuple[float, float]): ``[start, end)`` in native frames.
        fps (float): Native frames a second.

    Returns:
        np.ndarray: Native frame numbers, int64, has shape (N,).

    Examples:
        >>> played_frames((0, 8), 30.0)
        array([0, 2, 4, 6])
    """
    start, end = int(segment[0]), int(np.ceil(segment[1]))
    step = max(round(fps / PLAYED_FPS), -(-(end - start) // PLAYED_FRAMES), 1)
    return np.arange(start, end, step, dtype=np.int64)


def write_tube_videos(
    paths: Sequence[PathLike],
    frames: Iterable[np.ndarray],
    views: Sequence[TubeView],
) -> None:
    """Draw several tubes of one clip, each into an mp4 that plays in real
    time, in one pass over the frames.

    Args:
        paths (Sequence[str | os.PathLike]): A file a view, ends in ``.mp4``.
        frames (Iterable[np.ndarray]): T pictures, RGB uint8, (H, W, 3); they
            may come from a generator, so that a long video fits in memory.
        views (Sequence[TubeView]): What is drawn, each with T frames.
    """
    painters: list[TubePainter] = []
    with ExitStack() as stack:
        writers = [
            stack.enter_context(VideoWriter(path, playback_fps(view)))
            for path, view in zip(paths, views)
        ]
        for index, frame in enumerate(frames):
            if not painters:
                shape = frame.shape[:2]
                painters = [TubePainter(view, shape) for view in views]
            for writer, painter in zip(writers, painters):
                writer.write(painter.draw(frame, index))


def write_tube_video(
    path: PathLike, frames: Iterable[np.ndarray], view: TubeView
) -> None:
    """Draw one tube; see :func:`write_tube_videos`.

    Args:
        path (str | os.PathLike): File to write, ends in ``.mp4``.
        frames (Iterable[np.ndarray]): T pictures, RGB uint8, (H, W, 3).
        view (TubeView): What is drawn, with T frames.
    """
    write_tube_videos([path], frames, [view])


def _stretch(image: np.ndarray, aspect: float) -> np.ndarray:
    """A picture with square pixels, of the same height."""
    if aspect == 1:
        return image
    height, width = image.shape[:2]
    wide = max(1, round(width * aspect))
    picture = Image.fromarray(image).resize((wide, height))
    return np.asarray(picture)


def draw_from_video(
    video: PathLike,
    views: Sequence[TubeView],
    out_dir: PathLike,
    names: Sequence[str],
    num_frames: int = 8,
    write_video: bool = True,
    backend_args: Optional[dict] = None,
    write_sheet: bool = True,
) -> list[str]:
    """Draw tubes of one clip with the frames read from its video.

    Args:
        video (str | os.PathLike): The video.
        views (Sequence[TubeView]): Tubes of one segment of it.
        out_dir (str | os.PathLike): Folder of the files.
        names (Sequence[str]): A name a view; ``.png`` and ``.mp4`` follow.
        num_frames (int): Frames of a sheet.
        write_video (bool): Write the mp4 too.
        backend_args (dict, optional): Of the storage of the video.
        write_sheet (bool): Write the sheet.

    Returns:
        list[str]: The sheets and videos, in the order of the views.
    """
    # Not at the top: drawing alone needs no decoder.
    from hero_mm.datasets.video_reader import open_video

    frames = played_frames(views[0].segment, views[0].fps)
    views = [resample_view(view, frames) for view in views]
    stems = [Path(out_dir) / safe_name(name) for name in names]
    sheets = [stem.with_name(f'{stem.name}.png') for stem in stems]
    videos = [stem.with_name(f'{stem.name}.mp4') for stem in stems]
    with open_video(str(video), backend_args=backend_args) as reader:
        # Pixels that are not square are drawn as they are displayed.
        aspect = reader.pixel_aspect
        views = [stretch_view(view, aspect) for view in views]

        def pictures() -> Iterator[np.ndarray]:
            for at in range(0, len(frames), _CHUNK):
                chunk = reader.get_frames(frames[at : at + _CHUNK])
                yield from (_stretch(image, aspect) for image in chunk)

        if write_sheet:
            for path, view in zip(sheets, views):
                indices = choose_sheet_indices(view, num_frames)
                chosen = reader.get_frames(frames[indices])
                chosen = np.stack([_stretch(one, aspect) for one in chosen])
                write_png(path, draw_chosen_frames(chosen, view, indices))
        if write_video:
            write_tube_videos(videos, pictures(), views)
    return [
        str(path)
        for sheet, video in zip(sheets, videos)
        for path, there in ((sheet, write_sheet), (video, write_video))
        if there
    ]
