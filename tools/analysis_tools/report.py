"""Write a report of a run: scores, curves, the best and the worst cases.

Example::

    python tools/test.py CONFIG WORK_DIR --dump WORK_DIR/predictions.json
    python tools/analysis_tools/report.py WORK_DIR
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, Union

from mmengine.config import Config

from hero_mm.errors import explained, run_tool

with explained():
    from hero_mm.apis.inputs import load_config
    from hero_mm.datasets.annotation import load_annotation
    from hero_mm.datasets.source import dataset_config, dataset_paths
    from hero_mm.evaluation import load_predictions
    from hero_mm.visualization.analysis import build_analysis
    from hero_mm.visualization.report import write_report
    from hero_mm.visualization.report_tables import read_oracles
    from hero_mm.visualization.training_log import read_training_log

SOURCE = 'source.json'


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Write a report of a run: index.html and report.md.'
    )
    parser.add_argument('work_dir', type=Path, help='folder of a training')
    parser.add_argument(
        '--ann', help="annotation file; default: the config's test set"
    )
    parser.add_argument(
        '--pred', help='prediction file; default: WORK_DIR/predictions.json'
    )
    parser.add_argument(
        '--videos', help="folder of the videos; default: the config's"
    )
    parser.add_argument(
        '--protocol', help="protocol of the scores; default: the config's"
    )
    parser.add_argument(
        '--oracles',
        help='scores of guesses, JSON of shapes_oracles.py; default: '
        'SPLIT.oracles.json beside the annotation SPLIT.json, where it is',
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='default: WORK_DIR/report; of other predictions than '
        'WORK_DIR/predictions.json, NAME_report beside NAME.json',
    )
    parser.add_argument(
        '--cases', type=int, default=4, help='how many of the best and worst'
    )
    return parser.parse_args(argv)


def fill_from_config(args: argparse.Namespace, cfg: Config) -> None:
    """Take what the command line leaves open from the config."""
    ann_file, video_dir = dataset_paths(dataset_config(cfg, 'test'))
    args.ann = args.ann or ann_file
    args.videos = args.videos or video_dir
    if args.protocol is None:
        evaluators = cfg.get('test_evaluator') or []
        if not isinstance(evaluators, (list, tuple)):
            evaluators = [evaluators]
        named = [e['protocol'] for e in evaluators if 'protocol' in e]
        args.protocol = named[0] if named else 'tubedetr'


def oracles_beside(ann_file: Union[str, Path]) -> Path:
    """Where the scores of guesses about an annotation lie."""
    return Path(ann_file).with_suffix('.oracles.json')


def default_pred(work_dir: Path) -> Path:
    """Where the predictions of a training lie."""
    return (work_dir / 'predictions.json').resolve()


def is_own(work_dir: Path, pred: Path, metainfo: Mapping[str, Any]) -> bool:
    """Whether predictions are those of the training in a folder.

    Those of ``tools/test.py`` name their checkpoint, relative to themselves;
    others are taken for the training's where they lie in its folder.
    """
    place = pred.resolve()
    if metainfo.get('checkpoint'):
        place = (place.parent / str(metainfo['checkpoint'])).resolve()
    return work_dir.resolve() in place.parents


def check_place(out: Path, pred: Path, usual: bool) -> None:
    """Refuse to replace the report of other predictions."""
    if not (out / 'index.html').exists():
        return
    try:
        note = json.loads((out / SOURCE).read_text(encoding='utf-8'))
        shown = str(note['predictions'])
    except (OSError, ValueError, KeyError, TypeError):
        shown = str(pred) if usual else 'other predictions'
    if Path(shown).name != pred.name or (
        Path(shown).resolve() != pred.resolve() and not usual
    ):
        raise FileExistsError(
            f'{out} holds the report of {shown}: give another folder with '
            '--out, or remove it'
        )


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Write the report and say where it is."""
    args = parse_args(argv)
    if None in (args.ann, args.videos, args.protocol):
        fill_from_config(args, load_config(args.work_dir))
    pred = Path(args.pred or args.work_dir / 'predictions.json')
    predictions, metainfo = load_predictions(pred)
    own = is_own(args.work_dir, pred, metainfo)
    usual = own and pred.resolve() == default_pred(args.work_dir)
    out = args.out or (
        args.work_dir / 'report'
        if usual
        else pred.with_name(f'{pred.stem}_report')
    )
    check_place(out, pred, usual)
    report = build_analysis(
        args.work_dir.resolve().name if usual else pred.stem,
        load_annotation(args.ann),
        predictions,
        args.videos,
        args.protocol,
        count=args.cases,
        log=read_training_log(args.work_dir) if own else None,
        oracles=read_oracles(args.oracles or oracles_beside(args.ann)),
    )
    report.files[SOURCE] = json.dumps(dict(predictions=str(pred)))
    page, text = write_report(report, out)
    if not own:
        print(
            f'{pred} is not of the training in {args.work_dir}: the report '
            'is without its curves'
        )
    print(text.read_text(encoding='utf-8').partition('## Charts')[0].strip())
    print(f'\nReport: {page}')


if __name__ == '__main__':
    sys.exit(run_tool(main))
