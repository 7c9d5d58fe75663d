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
    from hero_mm.evaluation.functional import PROTOCOLS
    from hero_mm.visualization.report import build_analysis, write_report
    from hero_mm.visualization.report_tables import text_table


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Write a report of a prediction file: index.html and '
        'items.csv.'
    )
    parser.add_argument('pred', type=Path, help='prediction file')
    parser.add_argument(
        '--ann', required=True, help='annotation file (hero_mm format)'
    )
    parser.add_argument('--out', required=True, help='folder of the report')
    parser.add_argument(
        '--videos', help='folder of the videos; without it nothing is drawn'
    )
    parser.add_argument(
        '--compare', type=Path, help='a second prediction file'
    )
    parser.add_argument(
        '--protocol', default='tubedetr', choices=sorted(PROTOCOLS)
    )
    parser.add_argument(
        '--no-interpolate',
        action='store_true',
        help='score frames without a predicted box 0 where the protocol '
        '(stcat) fills them from their neighbours',
    )
    parser.add_argument(
        '--cases', type=int, default=4, help='how many of the best and worst'
    )
    parser.add_argument(
        '--strict',
        action='store_true',
        help='fail where a query has no prediction, or a prediction no query',
    )
    parser.add_argument(
        '--force',
        action='store_true',
        help='go on though the files name another data set, split or kind of '
        'query ids',
    )
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
            args.protocol,
            other,
            args.cases,
            args.strict,
            False if args.no_interpolate else None,
        )
    page = write_report(report, args.out)
    for table in report.tables:
        print(text_table(table), end='\n\n')
    print(f'Report: {page}')


if __name__ == '__main__':
    sys.exit(run_tool(main))
