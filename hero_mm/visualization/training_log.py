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
    """The curves of a training, value by step, by name.

    ``train`` has steps of iterations, ``scores`` of the validation those of
    epochs where ``by_epoch`` says so.
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
        if self.by_epoch:
            facts['epochs'] = f'{max(self.train["epoch"].values()):g}'
        if 'time' in self.train:
            seconds = statistics.median(self.train['time'].values())
            facts['seconds an iteration'] = f'{seconds:.2f}'
            minutes = seconds * max(steps) / 60
            facts['minutes of training'] = f'about {minutes:.0f}'
        return facts

    def charts(self) -> dict[str, str]:
        """Charts as SVG by file name: losses, scores, learning rate."""
        losses = {n: line for n, line in self.train.items() if 'loss' in n}
        # The sum of the losses comes first.
        losses = {'loss': {}, **dict(sorted(losses.items()))}
        scores = {
            name.rpartition('/')[2]: line
            for name, line in self.scores.items()
            if name.rpartition('/')[2] in SHOWN_SCORES and name.count('/') < 2
        }
        rate = {'lr': self.train.get('lr', {})}
        step = 'epoch' if self.by_epoch else 'iteration'
        return {
            'losses': _chart(losses, 'Losses', 'iteration'),
            'scores': _chart(scores, 'Scores on the validation split', step),
            'learning_rate': _chart(rate, 'Learning rate', 'iteration'),
        }


def _chart(
    lines: dict[str, dict[int, float]], title: str, x_label: str
) -> str:
    series = [
        Series(name, sorted(line), [line[step] for step in sorted(line)])
        for name, line in lines.items()
    ]
    return line_chart(series, title, x_label)


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
        is_number = isinstance(value, (int, float))
        if name != 'step' and is_number and not isinstance(value, bool):
            kind.setdefault(name, {})[step] = float(value)
    if is_train and 'epoch' in entry:
        log.by_epoch = True
