"""Scores: plain numpy functions, the prediction file, MMEngine's metric.

:class:`TubeMetric` is imported on first use, so that scoring alone needs
neither torch nor MMEngine.
"""

from typing import TYPE_CHECKING, Any

from .analysis import compare_scores, split_errors
from .functional import (
    OtherTracks,
    evaluate_tubes,
    score_tubes,
    selection_report,
)
from .prediction_file import check_match, dump_predictions, load_predictions

if TYPE_CHECKING:
    from .tube_metric import TubeMetric

__all__ = [
    'OtherTracks',
    'TubeMetric',
    'check_match',
    'compare_scores',
    'dump_predictions',
    'evaluate_tubes',
    'load_predictions',
    'score_tubes',
    'selection_report',
    'split_errors',
]


def __getattr__(name: str) -> Any:
    if name == 'TubeMetric':
        from .tube_metric import TubeMetric

        return TubeMetric
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
