"""Scores as functions of plain arrays; nothing here needs torch."""

from .boxes import interpolate_boxes, paired_box_iou
from .protocols import PROTOCOLS, Protocol, get_protocol, sampled_grid
from .selection import OtherTracks, selection_report
from .table import format_scores, format_selection
from .tube_scores import TubeScores, evaluate_tubes, score_tubes
from .tubes import boxes_to_arrays

__all__ = [
    'PROTOCOLS',
    'OtherTracks',
    'Protocol',
    'TubeScores',
    'boxes_to_arrays',
    'evaluate_tubes',
    'format_scores',
    'format_selection',
    'get_protocol',
    'interpolate_boxes',
    'paired_box_iou',
    'sampled_grid',
    'score_tubes',
    'selection_report',
]
