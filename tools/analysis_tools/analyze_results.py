r"""Write a report of a prediction file: where it is right, where it fails.

Example::

    python tools/analysis_tools/analyze_results.py PREDICTIONS.json \
        --ann ANNOTATION.json --out report --videos VIDEO_DIR \
        --compare OTHER.json
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from hero_mm.errors import explained, run_tool, warnings_in_words

with explained():
    from hero_mm.datasets.annotation import load_annotation
    from hero_mm.evaluation import check_match, load_predictions
    from hero_mm.evaluation.prediction_file import add_scoring_arguments
    from hero_mm.visualization.report import build_analysis, write_report


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Write a report of a prediction file: index.html and '
        'items.csv.'
    )
    parser.add_argument('pred', type=Path, help='prediction file')
    parser.add_argument('--out', required=True, help='folder of the report')
    parser.add_argument(
        '--videos', help='folder of the videos; without it nothing is drawn'
    )
    parser.add_argument(
        '--compare', type=Path, help='a second prediction file'
    )
    parser.add_argument(
        '--cases', type=int, default=4, help='how many of the best and worst'
    )
    add_scoring_arguments(parser)
    args = parser.parse_args(argv)
    if args.videos is not None and not Path(args.videos).is_dir():
        parser.error(f'--videos {args.videos} is no folder')
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Write the report, print its tables, say where it is."""
    args = parse_args(argv)
    annotation = load_annotation(args.ann)
    read = []
    for path in filter(None, (args.pred, args.compare)):
        predictions, metainfo = load_predictions(path)
        with warnings_in_words():
            check_match(path, predictions, metainfo, annotation, args.force)
        read.append(predictions)
    title, other = args.pred.stem, None
    if args.compare is not None:
        name = args.compare.stem
        if name == title:
            title, name = str(args.pred), str(args.compare)
        other = (name, read[1])
    with warnings_in_words():
        report = build_analysis(
            title,
            annotation,
            read[0],
            args.videos,
            other,
            args.cases,
            protocol=args.protocol,
            strict=args.strict,
            interpolate=args.interpolate,
        )
    print(write_report(report, args.out))


if __name__ == '__main__':
    sys.exit(run_tool(main))
