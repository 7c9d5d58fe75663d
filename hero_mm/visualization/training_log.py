"""Read what a training logged, across its interruptions.

MMEngine writes ``WORK_DIR/TIME/vis_data/scalars.json``, one JSON object a
line: losses at a ``step`` that is an iteration, scores at a ``step`` that is
an epoch (or an iteration, in an iteration based loop).
"""

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .charts import Series, line_chart
from .video_writer import PathLike

SHOWN_SCORES = ('m_tIoU', 'm_vIoU', 'gt_m_vIoU', 'acc_avg')


@dataclass
class TrainingLog:
    """The curves of a training.

    Args:
        train (dict[str, dict[int, float]]): Value by iteration, by name.
        scores (dict[str, dict[int, float]]): Score of the validation by
            epoch (or iteration), by name.
        by_epoch (bool): Whether scores stand at epochs.
    """

    train: dict[str, dict[int, float]] = field(default_factory=dict)
    scores: dict[str, dict[int, float]] = field(default_factory=dict)
    by_epoch: bool = False

    def facts(self) -> dict[str, str]:
        """What the training did, as short texts by name."""
        steps = self.train.get('loss', {})
        if not steps:
            return {}
        facts = {'iterations': str(max(steps))}
        if self.by_epoch and self.train.get('epoch'):
            facts['epochs'] = f'{max(self.train["epoch"].values()):g}'
        if self.train.get('time'):
            seconds = statistics.median(self.train['time'].values())
            facts['seconds an iteration'] = f'{seconds:.2f}'
            minutes = seconds * max(steps) / 60
            facts['minutes of training'] = f'about {minutes:.0f}'
        return facts

    def charts(self) -> dict[str, str]:
        """Charts as SVG by file name: losses, scores, learning rate."""
        losses = [name for name in self.train if 'loss' in name]
        losses.sort(key=lambda name: (name != 'loss', name))
        charts = {
            'losses': line_chart(
                [_series(name, self.train[name]) for name in losses],
                'Losses',
                'iteration',
            ),
            'scores': line_chart(
                [
                    _series(name.rpartition('/')[2], points)
                    for name, points in self.scores.items()
                    if name.rpartition('/')[2] in SHOWN_SCORES
                    and name.count('/') < 2
                ],
                'Scores on the validation split',
                'epoch' if self.by_epoch else 'iteration',
            ),
            'learning_rate': line_chart(
                [_series('lr', self.train.get('lr', {}))],
                'Learning rate',
                'iteration',
            ),
        }
        return {name: svg for name, svg in charts.items() if svg}


def _series(name: str, points: dict[int, float]) -> Series:
    places = sorted(points)
    return Series(name, places, [points[place] for place in places])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_training_log(work_dir: PathLike) -> TrainingLog:
    """Read a ``scalars.json``, or all of a work dir, the oldest first.

    Where a resumed training repeats iterations, the later value stays. A
    line that is no JSON object (cut off by a kill) is left out. Empty where
    there was none.
    """
    log, folder = TrainingLog(), Path(work_dir)
    files = sorted(folder.glob('*/vis_data/scalars.json'))
    for path in [folder] if folder.is_file() else files:
        text = path.read_text(encoding='utf-8', errors='replace')
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(entry, dict):
                _add(log, entry)
    return log


def _add(log: TrainingLog, entry: dict[str, Any]) -> None:
    is_train = 'loss' in entry or 'lr' in entry
    kind = log.train if is_train else log.scores
    step = int(entry.get('step', 0))
    for name, value in entry.items():
        if name != 'step' and _is_number(value):
            kind.setdefault(name, {})[step] = float(value)
    if is_train and 'epoch' in entry:
        log.by_epoch = True
