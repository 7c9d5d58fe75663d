"""Make the files of tubes: an mp4 and a PNG sheet a sentence.

Shape legend: T frames of a view, N frames that are played, H height, W width
in pixels; pictures are RGB uint8.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Callable, Optional

import numpy as np
from PIL import Image

from .drawing import Color, TubePainter, draw_chosen_frames, draw_together
from .tube_view import (
    TubeView,
    choose_sheet_indices,
    resample_view,
    stretch_view,
)
from .video_writer import PathLike, VideoWriter, read_comment, write_png

PLAYED_FPS = 15.0
"""Frames a second that a drawn video aims at."""
PLAYED_FRAMES = 1800
"""Most frames of a drawn video; a longer one shows fewer a second."""

SUFFIXES = {'both': ('.png', '.mp4'), 'sheet': ('.png',), 'video': ('.mp4',)}
FORMS = tuple(SUFFIXES)

_CHUNK = 64
_LONGEST = 80
_PLAIN = re.compile(rf'[a-z0-9_\-]([a-z0-9_.\-]{{,{_LONGEST}}}[a-z0-9_\-])?')
_DEVICE = re.compile(r'(con|prn|aux|nul|com\d|lpt\d)(\..*)?')


def safe_name(name: str) -> str:
    """A name that is one file name everywhere; no two names share one.

    A name of small letters, digits and ``._-`` stays as it is. Any other is
    shortened and gets a hash: file systems differ in what they allow and in
    whether ``A`` is ``a``.

    Examples:
        >>> safe_name('v12_0.5')
        'v12_0.5'
        >>> safe_name('0001/a b.mp4')
        '0001_a_b.mp4~ddca6a12b02e'
    """
    if _PLAIN.fullmatch(name) and not _DEVICE.fullmatch(name):
        return name
    digest = hashlib.sha1(name.encode('utf-8', 'surrogatepass')).hexdigest()
    shown = re.sub(r'[^\w.\-]+', '_', name).strip('._')
    part = shown.encode('utf-8', 'ignore')[:_LONGEST].decode('utf-8', 'ignore')
    return f'{part}~{digest[:12]}'


def playback_fps(view: TubeView) -> float:
    """Frames a second at which the frames of a view last as long as in life.

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

    Examples:
        >>> played_frames((0, 8), 30.0)
        array([0, 2, 4, 6])
    """
    start, end = int(segment[0]), int(np.ceil(segment[1]))
    step = max(round(fps / PLAYED_FPS), -(-(end - start) // PLAYED_FRAMES), 1)
    return np.arange(start, end, step, dtype=np.int64)


def _play(
    writers: Sequence[VideoWriter],
    frames: Iterable[np.ndarray],
    views: Sequence[TubeView],
) -> None:
    """Draw several tubes of one clip in one pass over its frames."""
    painters: list[TubePainter] = []
    for index, frame in enumerate(frames):
        if not painters:
            shape = frame.shape[:2]
            painters = [TubePainter(view, shape) for view in views]
        for writer, painter in zip(writers, painters):
            writer.write(painter.draw(frame, index))


def write_drawings(
    read: Callable[[np.ndarray], np.ndarray],
    views: Sequence[TubeView],
    out_dir: PathLike,
    names: Sequence[str],
    form: str = 'both',
    num_frames: int = 8,
    keep: bool = False,
) -> list[str]:
    """Draw tubes of one clip, a sheet and a video each.

    No file is replaced but an earlier drawing of the same name, sentence and
    segment, which its comment says. Otherwise the next free name is taken.

    Args:
        read (Callable): From N indices into the T frames of the views to
            pictures, RGB uint8, of shape (N, H, W, 3).
        views (Sequence[TubeView]): Tubes of one segment, each with T frames.
        out_dir (str | os.PathLike): Folder of the files.
        names (Sequence[str]): A name a view; see :func:`safe_name`.
        form (str): One of :data:`FORMS`.
        num_frames (int): Frames of a sheet.
        keep (bool): Replace no file at all.

    Returns:
        list[str]: The files, in the order of the views.

    Raises:
        WriteError: If a file cannot be written.
    """
    suffixes = SUFFIXES[form]
    marks = [_mark(name, view) for name, view in zip(names, views)]
    ours = [partial(_is_ours, None if keep else mark) for mark in marks]
    stems = [
        _free_stem(Path(out_dir, safe_name(name)), suffixes, is_ours)
        for name, is_ours in zip(names, ours)
    ]
    files: list[list[Path]] = [[] for _ in views]
    if '.png' in suffixes:
        for at, view in enumerate(views):
            indices = choose_sheet_indices(view, num_frames)
            sheet = draw_chosen_frames(read(np.array(indices)), view, indices)
            path = write_png(f'{stems[at]}.png', sheet, marks[at], ours[at])
            files[at].append(path)
    if '.mp4' in suffixes:
        with ExitStack() as stack:
            writers = [
                stack.enter_context(
                    VideoWriter(
                        f'{stems[at]}.mp4',
                        playback_fps(view),
                        comment=marks[at],
                        is_ours=ours[at],
                    )
                )
                for at, view in enumerate(views)
            ]
            places = np.arange(len(views[0]))
            chunks = (places[at : at + _CHUNK] for at in places[::_CHUNK])
            _play(writers, (f for part in chunks for f in read(part)), views)
        for written, writer in zip(files, writers):
            written.append(writer.path)
    return [str(path) for written in files for path in written]


def _mark(name: str, view: TubeView) -> str:
    """What a file says of itself, so that it may be drawn anew."""
    what = repr((name, view.query_id, view.text, view.segment))
    return f'hero_mm {hashlib.sha1(what.encode()).hexdigest()}'


def _is_ours(mark: Optional[str], path: Path) -> bool:
    return mark is not None and read_comment(path) == mark


def _free_stem(
    stem: Path, suffixes: Sequence[str], is_ours: Callable[[Path], bool]
) -> Path:
    """The first name that is free, or ours, for the sheet and the video."""
    number, free = 1, stem
    while any(
        os.path.lexists(path) and not is_ours(path)
        for path in (Path(f'{free}{suffix}') for suffix in suffixes)
    ):
        number += 1
        free = stem.with_name(f'{stem.name}-{number}')
    return free


def stretch_frames(frames: np.ndarray, aspect: float) -> np.ndarray:
    """Pictures (N, H, W, 3) with square pixels, of the same height.

    ``aspect`` is the width of a stored pixel in its heights.
    """
    if aspect == 1 or not len(frames):
        return frames
    height, width = frames.shape[1:3]
    size = (max(1, round(width * aspect)), height)
    return np.stack(
        [np.asarray(Image.fromarray(one).resize(size)) for one in frames]
    )


def draw_from_video(
    video: PathLike,
    views: Sequence[TubeView],
    out_dir: PathLike,
    names: Sequence[str],
    num_frames: int = 8,
    form: str = 'both',
    backend_args: Optional[dict] = None,
    keep: bool = False,
) -> list[str]:
    """Draw tubes of one clip with the frames read from its video.

    Args:
        video (str | os.PathLike): The video.
        views (Sequence[TubeView]): Tubes of one segment of it.
        out_dir (str | os.PathLike): Folder of the files.
        names (Sequence[str]): A name a view; ``.png`` and ``.mp4`` follow.
        num_frames (int): Frames of a sheet.
        form (str): One of :data:`FORMS`.
        backend_args (dict, optional): Of the storage of the video.
        keep (bool): As :func:`write_drawings` takes it.

    Returns:
        list[str]: The sheets and videos, in the order of the views.

    Raises:
        VideoError: If the video cannot be read.
        WriteError: If a file cannot be written.
    """
    with _drawn_from(video, views, backend_args) as (read, drawn):
        return write_drawings(
            read, drawn, out_dir, names, form, num_frames, keep
        )


def draw_sheets(
    video: PathLike, views: Sequence[TubeView], num_frames: int = 8
) -> list[np.ndarray]:
    """A contact sheet a view, with the frames read from the video."""
    with _drawn_from(video, views) as (read, drawn):
        chosen = [choose_sheet_indices(view, num_frames) for view in drawn]
        return [
            draw_chosen_frames(read(np.array(indices)), view, indices)
            for view, indices in zip(drawn, chosen)
        ]


def draw_in_colors(
    video: PathLike,
    views: Sequence[TubeView],
    colors: Sequence[Color],
    path: PathLike,
) -> float:
    """Draw tubes of one segment into one mp4, in a colour (RGB) each.

    Returns:
        float: Frames a second that it plays, of :func:`played_frames`.

    Raises:
        VideoError: If the video cannot be read.
        WriteError: If the file cannot be written.
    """
    with _drawn_from(video, views) as (read, drawn):
        fps = playback_fps(drawn[0])
        places = np.arange(len(drawn[0]))
        with VideoWriter(path, fps) as writer:
            # Few at once: frames may be large.
            for at in places[::8]:
                part = places[at : at + 8]
                for index, frame in zip(part, read(part)):
                    writer.write(draw_together(frame, drawn, index, colors))
    return fps


@contextmanager
def _drawn_from(
    video: PathLike,
    views: Sequence[TubeView],
    backend_args: Optional[dict] = None,
) -> Iterator[tuple[Callable[[np.ndarray], np.ndarray], list[TubeView]]]:
    """Frames of a video as they are drawn, and the views on them."""
    # Not at the top: drawing alone needs no decoder.
    from hero_mm.datasets.video_reader import open_video

    frames = played_frames(views[0].segment, views[0].fps)
    with open_video(str(video), backend_args=backend_args) as reader:
        # Pixels that are not square are drawn as they are displayed.
        aspect = reader.pixel_aspect

        def read(places: np.ndarray) -> np.ndarray:
            return stretch_frames(reader.get_frames(frames[places]), aspect)

        yield (
            read,
            [stretch_view(resample_view(v, frames), aspect) for v in views],
        )
