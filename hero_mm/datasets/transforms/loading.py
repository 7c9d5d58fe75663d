"""Load the pixels and the tubes of a clip.

Shape legend: K queries, T sampled frames, M tracks, H height, W width. Boxes
are xyxy in pixels of the current frames, ``(x2, y2)`` exclusive.
"""

import hashlib
import logging
import os
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from hero_mm.errors import UserError
from hero_mm.files import PathLike, WriteError, check_folder, replacing
from hero_mm.registry import TRANSFORMS

from ..video_base import same_aspect
from ..video_reader import VideoError, open_video


def boxes_to_frame(boxes: np.ndarray, results: dict) -> np.ndarray:
    """Move boxes (..., 4) from the original video to the frames as they are.

    Results have ``crop_box``, ``img_shape`` and ``flip``; without them the
    boxes stay. Gives float32.
    """
    if 'crop_box' not in results:
        return boxes.astype(np.float32)
    x1, y1, x2, y2 = results['crop_box']
    height, width = results['img_shape']
    scale = np.array([width / (x2 - x1), height / (y2 - y1)] * 2)
    moved = (boxes - np.array([x1, y1, x1, y1])) * scale
    if results.get('flip', False):
        moved[..., [0, 2]] = width - moved[..., [2, 0]]
    return moved.astype(np.float32)


class ClipCache:
    """A folder of decoded clips, for what is decoded again in every epoch,
    that is never larger than it may be.

    Any number of processes use it at a time: a clip appears as a whole, and
    one that another process removes is decoded again. Those that were not
    used for longest go first. Of a full disk a warning is given, and clips
    are decoded.

    Args:
        folder (str | os.PathLike): Where; it is made.
        max_gb (float): Most gigabytes (10 ** 9 bytes). 64 frames of 747 x 420
            pixels are 0.06. Defaults to 20.

    Raises:
        WriteError: The folder cannot be written to.
    """

    def __init__(self, folder: PathLike, max_gb: float = 20.0) -> None:
        self.folder = check_folder(folder)
        self.limit = max_gb * 1e9
        self._has_warned = False

    def path_of(self, video: str, *wanted: Any) -> Optional[Path]:
        """Where a clip of a local video lies; None of others.

        It changes with the size of the file, with the time of its last change
        and with what is ``wanted``: all else that the pixels depend on.
        """
        if not os.path.isfile(video):
            return None
        stat = os.stat(video)
        facts = (os.path.abspath(video), stat.st_size, stat.st_mtime_ns)
        name = hashlib.sha1(repr((*facts, *wanted)).encode()).hexdigest()
        return self.folder / f'{name}.npz'

    def read(self, path: Path) -> Optional[dict[str, Any]]:
        """What is kept under a path; None where there is nothing whole."""
        try:
            with np.load(path) as found:
                arrays = dict(found)
            os.utime(path)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None
        return arrays

    def write(self, path: Path, arrays: dict[str, Any]) -> None:
        """Keep arrays under a path, and make room for them."""
        size = sum(array.nbytes for array in arrays.values())
        if size > self.limit:
            return
        self._make_room(size)
        try:
            with replacing(path) as part, open(part, 'wb') as file:
                np.savez(file, **arrays)
        except WriteError as error:
            if not self._has_warned:
                self._has_warned = True
                print_log(
                    f'clips are decoded and not kept: {error}',
                    logger='current',
                    level=logging.WARNING,
                )

    def _make_room(self, size: int) -> None:
        """Remove what was not used for longest, until a clip fits."""
        kept = []
        for entry in os.scandir(self.folder):
            # Another process may remove it.
            with suppress(FileNotFoundError):
                stat = entry.stat()
                if entry.name.endswith('.npz'):
                    kept.append((stat.st_mtime_ns, stat.st_size, entry.path))
        whole = size + sum(one for _, one, _ in kept)
        for _, one, path in sorted(kept):
            if whole <= self.limit:
                break
            with suppress(FileNotFoundError):
                os.unlink(path)
            whole -= one


@TRANSFORMS.register_module()
@dataclass(eq=False)
class DecodeFrames(BaseTransform):
    """Decode ``frame_inds`` of ``video_path``.

    Added keys: ``imgs`` (T, H, W, 3) uint8 RGB, ``ori_shape``, ``img_shape``,
    ``crop_box``, ``flip``.

    A video that was encoded again at another size but the same aspect ratio
    is taken as a resized one: ``ori_shape`` stays the annotated size.

    Args:
        backend_args (dict, optional): Arguments of the MMEngine storage
            backend. Defaults to None, the local disk.
        num_threads (int): Threads of the decoder; 0 lets it choose. One is
            best where data loader workers run in parallel.
        max_side (int, optional): Frames whose longer side has more pixels
            are reduced to that while they are decoded.
        cache (dict, optional): Arguments of a :class:`ClipCache`, ``folder``
            and perhaps ``max_gb``, for clips that are decoded again and
            again. Those of a training whose frames are jittered are not.
    """

    backend_args: Optional[dict] = None
    num_threads: int = 1
    max_side: Optional[int] = None
    cache: Any = None

    def __post_init__(self) -> None:
        self.cache = ClipCache(**self.cache) if self.cache else None

    def transform(self, results: dict) -> dict:
        """Decode; VideoError where the file is not what is annotated."""
        path, frames = results['video_path'], results['frame_inds']
        place = None
        if self.cache is not None and self.backend_args is None:
            place = self.cache.path_of(path, self.max_side, frames.tolist())
        known = None if place is None else self.cache.read(place)
        if known is None:
            with open_video(
                path, self.backend_args, self.num_threads
            ) as reader:
                imgs = reader.get_frames(frames, self.max_side)
                known = dict(imgs=imgs, size=np.array(reader.size[::-1]))
            if place is not None:
                self.cache.write(place, known)
        return self.pack(results, known['imgs'], tuple(known['size'].tolist()))

    @staticmethod
    def pack(results: dict, imgs: np.ndarray, whole: tuple[int, int]) -> dict:
        """Put decoded frames into the results.

        They are uint8 RGB of shape (T, H, W, 3), and were of size ``whole``,
        (height, width), before they were reduced.

        Raises:
            VideoError: They have another aspect ratio than annotated.
        """
        height = results.get('height', whole[0])
        width = results.get('width', whole[1])
        if not same_aspect(whole[::-1], (width, height)):
            raise VideoError(
                results['video_path'],
                f'frames are {whole[1]}x{whole[0]}, the annotation says '
                f'{width}x{height} (width x height)',
                'fetch the right file or correct its annotation',
            )
        results.update(
            imgs=imgs,
            ori_shape=(int(height), int(width)),
            img_shape=imgs.shape[1:3],
            crop_box=(0.0, 0.0, float(width), float(height)),
            flip=False,
        )
        return results


@TRANSFORMS.register_module()
@dataclass(eq=False)
class LoadTubes(BaseTransform):
    """Load the true tubes of the queries, and the tracks of all objects.

    Added keys: ``gt_spans`` (K, 2), ``gt_bboxes`` (K, T, 4), ``gt_valid``
    (K, T), ``track_bboxes`` (M, T, 4), ``track_valid`` (M, T),
    ``track_predicates`` (M lists of what may be true of each object),
    ``track_categories`` (M names), ``track_index`` (K,) int64 (the target of
    each query among the M) and ``tracks_complete`` (whether the M are all
    that is there to see).

    A box is valid where the object has one; for a query also the frame must
    lie inside its span. Invalid boxes are zeros.
    """

    def transform(self, results: dict) -> dict:
        """Load the boxes on the chosen frames."""
        if results.get('flip', False):
            raise UserError('LoadTubes must stand before RandomFlipClip')
        video, frames_T = results['video_info'], results['frame_inds']
        queries, names = results['queries'], list(video.tracks)
        tracks = [video.track_boxes(name, frames_T) for name in names]
        boxes_MT4 = boxes_to_frame(
            np.stack([boxes for boxes, _ in tracks]), results
        )
        valid_MT = np.stack([valid for _, valid in tracks])
        boxes_MT4[~valid_MT] = 0
        spans_K2 = np.array([q['span'] for q in queries], dtype=np.float32)
        target_K = np.array([names.index(q['track_id']) for q in queries])
        valid_KT = valid_MT[target_K]
        valid_KT &= frames_T >= spans_K2[:, :1]
        valid_KT &= frames_T < spans_K2[:, 1:]
        results.update(
            gt_spans=spans_K2,
            gt_bboxes=np.where(valid_KT[..., None], boxes_MT4[target_K], 0),
            gt_valid=valid_KT,
            track_bboxes=boxes_MT4,
            track_valid=valid_MT,
            track_predicates=[
                list(video.tracks[name].predicates) for name in names
            ],
            track_categories=[video.tracks[name].category for name in names],
            track_index=target_K,
            tracks_complete=video.tracks_complete,
        )
        return results
