"""Write a report of a training: scores, curves, the best and worst cases.

Example::

    python tools/test.py CONFIG WORK_DIR --dump WORK_DIR/predictions.json
    python tools/analysis_tools/report.py WORK_DIR
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from mmengine.config import Config

from hero_mm.errors import UserError, explained, run_tool

with explained():
    from hero_mm.apis.inputs import load_config
    from hero_mm.datasets.annotation import load_annotation
    from hero_mm.datasets.source import dataset_config, dataset_paths
    from hero_mm.evaluation import load_predictions
    from hero_mm.visualization.report import build_analysis, write_report
    from hero_mm.visualization.report_tables import read_oracles
    from hero_mm.visualization.training_log import read_training_log

PREDICTIONS = 'predictions.json'


def protocol_of(cfg: Config) -> str:
    """The first protocol that the evaluators of a config name."""
    evaluators = cfg.get('test_evaluator') or []
    if not isinstance(evaluators, (list, tuple)):
        evaluators = [evaluators]
    return next(
        (e['protocol'] for e in evaluators if 'protocol' in e), 'tubedetr'
    )


def check_own(work_dir: Path, metainfo: Mapping[str, Any]) -> None:
    """Refuse predictions of another model than that of the training.

    Those of ``tools/test.py`` name their checkpoint, relative to themselves.
    """
    place = (work_dir / str(metainfo.get('checkpoint') or 'x')).resolve()
    if work_dir.resolve() not in place.parents:
        raise UserError(
            f'{work_dir / PREDICTIONS} comes from {place}; analyze_results.py '
            'reports predictions that are not of this training'
        )


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Write the report and say where it is."""
    parser = argparse.ArgumentParser(
        description='Write WORK_DIR/report/index.html of the predictions in '
        'WORK_DIR/predictions.json.'
    )
    parser.add_argument('work_dir', type=Path, help='folder of a training')
    parser.add_argument(
        '--cases', type=int, default=4, help='how many of the best and worst'
    )
    args = parser.parse_args(argv)
    cfg = load_config(args.work_dir)
    ann_file, video_dir = dataset_paths(dataset_config(cfg, 'test'))
    predictions, metainfo = load_predictions(args.work_dir / PREDICTIONS)
    check_own(args.work_dir, metainfo)
    report = build_analysis(
        args.work_dir.resolve().name,
        load_annotation(ann_file),
        predictions,
        video_dir,
        protocol=protocol_of(cfg),
        count=args.cases,
        log=read_training_log(args.work_dir),
        oracles=read_oracles(Path(ann_file).with_suffix('.oracles.json')),
    )
    print(write_report(report, args.work_dir / 'report'))


if __name__ == '__main__':
    sys.exit(run_tool(main))
