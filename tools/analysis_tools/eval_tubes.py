r"""Score a prediction file of any model by a protocol of the field.

Example::

    python tools/analysis_tools/eval_tubes.py --ann ANNOTATION.json \
        --pred PREDICTIONS.json --protocol tubedetr --json scores.json
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from typing import Any, Optional

from hero_mm.errors import explained, warnings_in_words

with explained():
    from hero_mm.evaluation import OtherTracks, check_match
    from hero_mm.evaluation.functional import (
        PROTOCOLS,
        format_scores,
        format_selection,
        score_tubes,
        selection_report,
    )
    from hero_mm.evaluation.prediction_file import load_predictions
    from hero_mm.files import write_text
    from hero_mm.texts import printable


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Score predicted tubes by a protocol of the field.'
    )
    parser.add_argument(
        '--ann', required=True, help='annotation file (hero_mm format)'
    )
    parser.add_argument(
        '--pred',
        required=True,
        help='prediction file, as tools/test.py --dump writes it',
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
    parser.add_argument('--json', help='write the scores to this file')
    parser.add_argument(
        '--per-query',
        action='store_true',
        help='add the scores of each query to the --json file',
    )
    parser.add_argument(
        '--selection',
        action='store_true',
        help='also report how often the true object was picked, and another',
    )
    parser.add_argument(
        '--strict',
        action='store_true',
        help='fail where a query has no prediction, or a prediction no query',
    )
    parser.add_argument(
        '--force',
        action='store_true',
        help='score though the files name another data set, split or kind of '
        'query ids',
    )
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Score, print the table and write the scores."""
    args = parse_args(argv)
    try:
        result, table = score(args)
        print(table)
        if args.json:
            write_text(args.json, json.dumps(result, indent=2) + '\n')
    except (OSError, ValueError) as error:
        print(f'eval_tubes: {printable(error)}', file=sys.stderr)
        return 1
    return 0


def score(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """What is written to the file of scores, and what is printed."""
    # Brings torch, which --help does without.
    with explained():
        from hero_mm.datasets.annotation import load_annotation

    annotation = load_annotation(args.ann)
    truths = annotation.ground_truths()
    predictions, metainfo = load_predictions(args.pred)
    with warnings_in_words():
        check_match(args.pred, predictions, metainfo, annotation, args.force)
        scores = score_tubes(
            truths,
            predictions,
            args.protocol,
            args.strict,
            annotation.metainfo.get('dataset'),
            False if args.no_interpolate else None,
        )
    table = format_scores(scores)
    doubts = ('missing', 'unknown', 'ungraded', 'boxless', 'elsewhere')
    result: dict[str, Any] = dict(
        scores.summary(),
        protocol=scores.protocol.name,
        interpolate=scores.protocol.interpolate,
        queries=len(scores.query_ids),
        **{name: len(getattr(scores, name)) for name in doubts},
        metainfo=metainfo,
    )
    if args.per_query:
        result['per_query'] = scores.records()
    if args.selection:
        others = OtherTracks(annotation)
        selection = selection_report(truths, predictions, others)
        table = f'{table}\n\n{format_selection(selection)}'
        result['selection'] = {
            # JSON has no NaN.
            key: None if math.isnan(value) else value
            for key, value in selection.items()
        }
    return result, table


if __name__ == '__main__':
    sys.exit(main())
