"""What people see: drawn tubes, mp4 and PNG files."""

from .drawing import GT_COLOR, PRED_COLOR, draw_tube, draw_tube_sheet
from .render import TubeVisualizer, draw_from_video
from .tube_view import TubeView, views_from_sample
from .video_writer import VideoWriter, write_png

__all__ = [
    'GT_COLOR',
    'PRED_COLOR',
    'TubeView',
    'TubeVisualizer',
    'VideoWriter',
    'draw_from_video',
    'draw_tube',
    'draw_tube_sheet',
    'views_from_sample',
    'write_png',
]
