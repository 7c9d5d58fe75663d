"""Data sets: annotation, decoding, transforms, samplers and converters."""

from .annotation import (
    AnnotationError,
    GroundingAnnotation,
    Track,
    VideoInfo,
    load_annotation,
    save_annotation,
)
from .frame_detection_dataset import FrameDetectionDataset
from .grounding_dataset import GroundingConcatDataset, GroundingDataset
from .transforms import *  # noqa: F401,F403
from .video_reader import VideoError, open_video

__all__ = [
    'AnnotationError',
    'FrameDetectionDataset',
    'GroundingAnnotation',
    'GroundingConcatDataset',
    'GroundingDataset',
    'Track',
    'VideoError',
    'VideoInfo',
    'load_annotation',
    'open_video',
    'save_annotation',
]
