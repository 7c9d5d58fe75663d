"""Single frames of annotated videos, to train a detector of mmdet.

The boxes of all annotated objects are of one class, so that the detector
proposes what HERO then reasons on.

Shape legend: M objects of a frame, H height, W width. Boxes are xyxy in pixels
of the frame, ``(x2, y2)`` exclusive.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hero_mm.registry import DATASETS

from .grounding_dataset import GroundingDataset
from .tracks import VideoInfo
from .transforms.loading import DecodeFrames


@DATASETS.register_module()
class FrameDetectionDataset(GroundingDataset):
    """Frames that show annotated objects, as mmdet's pipelines take them.

    The annotated frames of a video are cut into equal parts. An item is one
    of the part, drawn at random in training and its middle in testing. The
    pipeline gets what ``LoadImageFromFile`` of mmdet gives and the
    ``instances`` that its ``LoadAnnotations`` reads.

    Args:
        ann_file (str): Annotation file, see ``docs/data.md``.
        frames_per_video (int): Parts, and so items, of a video. Defaults to
            4.
        pipeline (Sequence[dict | Callable]): Transforms of mmdet, from
            ``LoadAnnotations`` to ``PackDetInputs``.
        **kwargs: Of :class:`GroundingDataset`: ``data_prefix``,
            ``test_mode``, ``backend_args``, ...
    """

    METAINFO: dict = dict(classes=('object',), palette=[(220, 20, 60)])

    def __init__(
        self,
        ann_file: str,
        frames_per_video: int = 4,
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        self.frames_per_video = frames_per_video
        decode = DecodeFrames(backend_args=kwargs.get('backend_args'))
        super().__init__(
            ann_file, pipeline=[decode, frame_to_image, *pipeline], **kwargs
        )

    def load_data_list(self) -> list[dict]:
        """Read the annotation file: one entry a part of a video."""
        clips = super().load_data_list()
        items = []
        for place in dict.fromkeys(clip['video'] for clip in clips):
            count = len(annotated_frames(self._videos[place][0]))
            parts = min(self.frames_per_video, count)
            edges = np.linspace(0, count, parts + 1).round().astype(int)
            items += [
                dict(video=place, queries=[], part=(int(low), int(high)))
                for low, high in zip(edges[:-1], edges[1:])
            ]
        return items

    def get_data_info(self, idx: int) -> dict:
        """One item; ``instances`` are in pixels of the original video."""
        info = super().get_data_info(idx)
        low, high = info.pop('part')
        video = info['video_info']
        rank = (low + high - 1) // 2
        if not self.test_mode:
            rank = np.random.randint(low, high)
        frame = annotated_frames(video)[rank]
        tracks = [video.track_boxes(name, [frame]) for name in video.tracks]
        info.update(
            img_id=idx % len(self),
            img_path=f'{info["video_path"]}#{frame}',
            frame_inds=np.array([frame]),
            instances=[
                dict(bbox=boxes[0].tolist(), bbox_label=0, ignore_flag=0)
                for boxes, valid in tracks
                if valid[0]
            ],
        )
        return info


def annotated_frames(video: VideoInfo) -> np.ndarray:
    """Increasing numbers of the frames that show an annotated object."""
    shown = np.zeros(video.frame_count, dtype=bool)
    for track in video.tracks.values():
        shown[track.frames] = True
    return np.flatnonzero(shown)


def frame_to_image(results: dict) -> dict:
    """Make a decoded frame an image of mmdet, ``img`` (H, W, 3), BGR."""
    height, width = results['img_shape']
    ori_height, ori_width = results['ori_shape']
    factor = np.array([width / ori_width, height / ori_height] * 2)
    for instance in results['instances']:
        instance['bbox'] = (np.array(instance['bbox']) * factor).tolist()
    results.update(
        img=np.ascontiguousarray(results.pop('imgs')[0][..., ::-1]),
        ori_shape=(height, width),
        height=height,
        width=width,
        scale_factor=(1.0, 1.0),
        flip=False,
        flip_direction=None,
    )
    return results
