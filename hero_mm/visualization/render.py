"""Make the files of tubes: an mp4 and a PNG sheet a sentence.

:class:`TubeVisualizer` does so in the form that MMEngine knows.

Shape legend: T frames of a view, N frames that are played, H height, W width
in pixels; pictures are RGB uint8.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Optional

import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer

from hero_mm.files import check_folder
from hero_mm.registry import VISUALIZERS
from hero_mm.structures import GroundingDataSample

from .drawing import Color, Read, draw_together, draw_tube, draw_tube_sheet
from .tube_view import TubeView, resample_view, views_from_sample
from .video_writer import PathLike, VideoWriter, read_comment, write_png

PLAYED_FPS = 15.0
"""Frames a second that a drawn video aims at."""
PLAYED_FRAMES = 1800
"""Most frames of a drawn video; a longer one shows fewer a second."""

SUFFIXES = {'both': ('.png', '.mp4'), 'sheet': ('.png',), 'video': ('.mp4',)}
FORMS = tuple(SUFFIXES)

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


def write_drawings(
    read: Read,
    views: Sequence[TubeView],
    out_dir: PathLike,
    names: Sequence[str],
    form: str = 'both',
    keep: bool = False,
) -> list[str]:
    """Draw tubes of one clip, a sheet and a video each.

    No file is replaced but an earlier drawing of the same name, sentence and
    segment, which its comment says. Otherwise the next free name is taken.

    ``names`` are one a view, of one segment each; see :func:`safe_name`.
    ``form`` is one of :data:`FORMS`; with ``keep`` no file at all is replaced.

    Returns:
        list[str]: The files, in the order of the views.

    Raises:
        WriteError: If a file cannot be written.
    """
    suffixes, files = SUFFIXES[form], []
    with ExitStack() as stack:
        writers = []
        for name, view in zip(names, views):
            what = repr((name, view.query_id, view.text, view.segment))
            mark = f'hero_mm {hashlib.sha1(what.encode()).hexdigest()}'
            sheet = draw_tube_sheet(read, view) if form != 'video' else None
            with _alone_in(out_dir):
                stem = _free_stem(
                    Path(out_dir, safe_name(name)),
                    suffixes,
                    '' if keep else mark,
                )
                if sheet is not None:
                    # It keeps the name from others.
                    write_png(f'{stem}.png', sheet, mark)
            files += [f'{stem}{suffix}' for suffix in suffixes]
            if '.mp4' in suffixes:
                writer = VideoWriter(f'{stem}.mp4', playback_fps(view), mark)
                writers.append(stack.enter_context(writer))
        # All in one pass over the frames.
        for index, frame in _frames(read, len(views[0]) if writers else 0):
            for writer, view in zip(writers, views):
                writer.write(draw_tube(frame, view, index))
    return files


@contextmanager
def _alone_in(folder: PathLike) -> Iterator[None]:
    """Of several processes one at a time chooses names in a folder."""
    try:
        import fcntl
    except ImportError:
        # Not on Windows.
        yield
        return
    handle = os.open(check_folder(folder), os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _free_stem(stem: Path, suffixes: Sequence[str], mark: str) -> Path:
    """The first name that is free, or ours by its mark, for all suffixes."""
    number, free = 1, stem
    while any(
        os.path.lexists(path) and not (mark and read_comment(path) == mark)
        for path in (Path(f'{free}{suffix}') for suffix in suffixes)
    ):
        number += 1
        free = stem.with_name(f'{stem.name}-{number}')
    return free


def _frames(read: Read, count: int) -> Iterator[tuple[int, np.ndarray]]:
    """All frames, few at once: they may be large."""
    places = np.arange(count)
    for at in places[::8]:
        part = places[at : at + 8]
        yield from zip(part, read(part))


@contextmanager
def _drawn_from(
    video: PathLike, views: Sequence[TubeView]
) -> Iterator[tuple[Read, list[TubeView]]]:
    """Frames of a video as they are drawn, and the views on them."""
    # Not at the top: drawing alone needs no decoder.
    from hero_mm.datasets.video_reader import open_video

    frames = played_frames(views[0].segment, views[0].fps)
    with open_video(str(video)) as reader:
        aspect = reader.pixel_aspect
        yield (
            lambda places: reader.get_frames(frames[places]),
            [
                replace(resample_view(view, frames), pixel_aspect=aspect)
                for view in views
            ],
        )


def draw_from_video(
    video: PathLike,
    views: Sequence[TubeView],
    out_dir: PathLike,
    names: Sequence[str],
    form: str = 'both',
    keep: bool = False,
) -> list[str]:
    """Draw tubes of one clip with the frames read from its video.

    Arguments, files and errors are those of :func:`write_drawings`; without
    a video that can be read a ``VideoError`` is raised.
    """
    with _drawn_from(video, views) as (read, drawn):
        return write_drawings(read, drawn, out_dir, names, form, keep)


def draw_in_colors(
    video: PathLike,
    views: Sequence[TubeView],
    colors: Sequence[Color],
    path: PathLike,
) -> float:
    """Draw tubes of one segment into one mp4, in a colour (RGB) each.

    Returns:
        float: Frames a second that it plays, of :func:`played_frames`.
    """
    with _drawn_from(video, views) as (read, drawn):
        fps = playback_fps(drawn[0])
        with VideoWriter(path, fps) as writer:
            for index, frame in _frames(read, len(drawn[0])):
                writer.write(draw_together(frame, drawn, index, colors))
    return fps


@VISUALIZERS.register_module()
class TubeVisualizer(Visualizer):
    """Draw true and predicted tubes as mp4 files and PNG sheets.

    The ``vis_backends`` of MMEngine's visualizer get the sheets by
    ``add_image``, the scalars as always.
    """

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: GroundingDataSample,
        step: int = 0,
        out_dir: Optional[PathLike] = None,
        video: bool = True,
        max_queries: Optional[int] = None,
        pixel_aspect: float = 1.0,
    ) -> list[str]:
        """Draw the queries of a clip.

        ``image`` are the frames at ``frame_inds``, RGB uint8 (T, H, W, 3) of
        the original size, ``pixel_aspect`` is the width of their pixels in
        heights. Backends get the sheets at ``step``; ``out_dir`` gets them
        and, with ``video``, mp4 files, named by ``name`` and query id.

        Returns:
            list[str]: The files in ``out_dir``.
        """
        views = [
            replace(view, pixel_aspect=pixel_aspect)
            for view in views_from_sample(data_sample)[:max_queries]
        ]
        read = image.__getitem__
        names = [f'{name}_{view.query_id}' for view in views]
        for view, named in zip(views, names):
            self.add_image(safe_name(named), draw_tube_sheet(read, view), step)
        if out_dir is None:
            return []
        form = 'both' if video else 'sheet'
        return write_drawings(read, views, out_dir, names, form)
