"""Load the pixels and the tubes of a clip.

Shape legend: K queries, T sampled frames, M tracks, H height, W width. Boxes
are xyxy in pixels of the current frames, ``(x2, y2)`` exclusive.
"""

import logging
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from hero_mm.registry import TRANSFORMS

from ..clip_cache import ClipCache
from ..video_base import same_aspect
from ..video_reader import TooShortError, VideoError, VideoReader, open_video


def boxes_to_frame(boxes: np.ndarray, results: dict) -> np.ndarray:
    """Move boxes from the original video to the frames as they are now.

    Args:
        boxes (np.ndarray): xyxy in original pixels, has shape (..., 4).
        results (dict): With ``crop_box``, ``img_shape`` and ``flip``; without
            them the boxes stay.

    Returns:
        np.ndarray: float32 boxes in pixels of the frames.
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


@TRANSFORMS.register_module()
@dataclass(eq=False)
class DecodeFrames(BaseTransform):
    """Decode the chosen frames.

    Required keys: ``video_path``, ``frame_inds``; ``height`` and ``width``
    where the size is annotated. Added keys: ``imgs`` (T, H, W, 3) uint8 RGB,
    ``ori_shape``, ``img_shape``, ``crop_box``, ``flip``.

    A video that was encoded again at another size but the same aspect ratio
    is taken as a resized one: ``ori_shape`` stays the annotated size.

    Args:
        backend_args (dict, optional): Arguments of the MMEngine storage
            backend. Defaults to None, the local disk.
        num_threads (int): Threads of the decoder; 0 lets it choose. One is
            best where data loader workers run in parallel.
        max_missing (int): Frames that a file may lack at its end. Those that
            were chosen among them are dropped from ``frame_inds`` and the
            video is logged by name; a frame is never shown twice instead.
        max_side (int, optional): Frames whose longer side has more pixels
            are reduced to that while they are decoded.
        cache (dict, optional): Arguments of a :class:`ClipCache`, ``folder``
            and perhaps ``max_gb``, for clips that are decoded again and
            again. Those of a training whose frames are jittered are not.
    """

    backend_args: Optional[dict] = None
    num_threads: int = 1
    max_missing: int = 0
    max_side: Optional[int] = None
    cache: Any = None

    def __post_init__(self) -> None:
        self.cache = ClipCache(**self.cache) if self.cache else None
        self._short: set[str] = set()

    def transform(self, results: dict) -> dict:
        """Decode the chosen frames.

        Raises:
            VideoError: The file is missing or broken, ends before a frame, or
                has another aspect ratio than its annotation.
        """
        path = results['video_path']
        imgs, whole = self._imgs(path, results)
        return self.pack(results, imgs, whole)

    @staticmethod
    def pack(results: dict, imgs: np.ndarray, whole: tuple[int, int]) -> dict:
        """Put frames that were decoded into the results.

        Args:
            results (dict): With ``video_path`` and ``frame_inds``.
            imgs (np.ndarray): They, uint8 RGB, has shape (T, H, W, 3).
            whole (tuple[int, int]): (height, width) before a reduction.

        Returns:
            dict: With ``imgs`` and their shape.

        Raises:
            VideoError: They have another aspect ratio than annotated.
        """
        path, shape = results['video_path'], imgs.shape[1:3]
        annotated: tuple[int, int] = (
            results.get('height', whole[0]),
            results.get('width', whole[1]),
        )
        if not same_aspect(whole[::-1], annotated[::-1]):
            raise VideoError(
                path,
                f'frames are {whole[1]}x{whole[0]}, the annotation says '
                f'{annotated[1]}x{annotated[0]} (width x height)',
                'fetch the right file or correct its annotation',
            )
        height, width = annotated
        results.update(
            imgs=imgs,
            ori_shape=(int(height), int(width)),
            img_shape=(int(shape[0]), int(shape[1])),
            crop_box=(0.0, 0.0, float(width), float(height)),
            flip=False,
        )
        return results

    def _imgs(
        self, path: str, results: dict
    ) -> tuple[np.ndarray, tuple[int, int]]:
        """The frames, and (height, width) of the video."""
        place = None
        if self.cache is not None and self.backend_args is None:
            wanted = results['frame_inds'].tolist()
            place = self.cache.path_of(
                path, self.max_side, self.max_missing, wanted
            )
        known = self.cache.read(place) if self.cache and place else None
        if known is not None:
            results['frame_inds'] = known['frame_inds']
            height, width = known['size'].tolist()
            return known['imgs'], (height, width)
        args = self.backend_args, self.num_threads
        with open_video(path, *args) as reader:
            imgs = self._read(reader, results)
            size = reader.size[1], reader.size[0]
        if self.cache and place:
            frames = results['frame_inds']
            self.cache.write(
                place, dict(imgs=imgs, frame_inds=frames, size=np.array(size))
            )
        return imgs, size

    def _read(self, reader: VideoReader, results: dict) -> np.ndarray:
        """Decode; drop frames that the end of the file lacks, if allowed."""
        wanted = results['frame_inds']
        try:
            return reader.get_frames(wanted, self.max_side)
        except TooShortError as error:
            kept = wanted[wanted < error.count]
            missing = int(wanted[-1]) + 1 - error.count
            if missing > self.max_missing or len(kept) == 0:
                raise
            if reader.path not in self._short:
                self._short.add(reader.path)
                print_log(
                    f'video {reader.path}: the last {missing} frames of its '
                    'annotation are not in the file; they are left out',
                    logger='current',
                    level=logging.WARNING,
                )
            results['frame_inds'] = kept
            return reader.get_frames(kept, self.max_side)


@TRANSFORMS.register_module()
@dataclass(eq=False)
class LoadTubes(BaseTransform):
    """Load the true tubes of the queries, and the tracks of all objects.

    Required keys: ``queries``, ``video_info``, ``frame_inds``. Added keys:
    ``gt_spans`` (K, 2), ``gt_bboxes`` (K, T, 4), ``gt_valid`` (K, T),
    ``track_bboxes`` (M, T, 4), ``track_valid`` (M, T), ``track_predicates``
    (M lists of what may be true of each object), ``track_categories`` (M
    names), ``track_index`` (K,) int64 (the target of each query among the M,
    -1 without tracks) and ``tracks_complete`` (whether the M are all that is
    there to see).

    A box is valid where the object has one; for a query also the frame must
    lie inside its span. Invalid boxes are zeros.

    Args:
        with_tracks (bool): Also load all objects.
    """

    with_tracks: bool = True

    def transform(self, results: dict) -> dict:
        """Load the boxes on the chosen frames."""
        video, frames_T = results['video_info'], results['frame_inds']
        queries = results['queries']
        spans_K2 = np.array([q['span'] for q in queries], dtype=np.float32)
        names = [query['track_id'] for query in queries]
        wanted = video.tracks if self.with_tracks else dict.fromkeys(names)
        tracks = {name: video.track_boxes(name, frames_T) for name in wanted}
        boxes_KT4 = np.stack([tracks[name][0] for name in names])
        valid_KT = np.stack([tracks[name][1] for name in names])
        valid_KT &= frames_T >= spans_K2[:, :1]
        valid_KT &= frames_T < spans_K2[:, 1:]
        results['gt_spans'] = spans_K2.reshape(-1, 2)
        results['gt_valid'] = valid_KT
        results['gt_bboxes'] = _masked(boxes_KT4, valid_KT, results)
        results['track_index'] = np.full(len(names), -1)
        results['tracks_complete'] = False
        if self.with_tracks:
            place = {name: index for index, name in enumerate(tracks)}
            results['track_index'] = np.array([place[name] for name in names])
            results['tracks_complete'] = video.tracks_complete
            results['track_predicates'] = [
                list(video.tracks[name].predicates) for name in tracks
            ]
            results['track_categories'] = [
                video.tracks[name].category for name in tracks
            ]
            boxes_MT4 = np.stack([boxes for boxes, _ in tracks.values()])
            valid_MT = np.stack([valid for _, valid in tracks.values()])
            results['track_valid'] = valid_MT
            results['track_bboxes'] = _masked(boxes_MT4, valid_MT, results)
        return results


def _masked(boxes: np.ndarray, valid: np.ndarray, results: dict) -> np.ndarray:
    boxes = boxes_to_frame(boxes, results)
    boxes[~valid] = 0
    return boxes
