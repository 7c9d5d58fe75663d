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

from hero_mm.errors import explained, run_tool, warnings_in_words

with explained():
    from hero_mm.evaluation import OtherTracks, check_match
    from hero_mm.evaluation.functional import (
        format_scores,
        format_selection,
        score_tubes,
        selection_report,
    )
    from hero_mm.evaluation.prediction_file import (
        add_scoring_arguments,
        load_predictions,
    )
    from hero_mm.files import write_text


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Score predicted tubes by a protocol of the field.'
    )
    parser.add_argument(
        '--pred',
        required=True,
        help='prediction file, as tools/test.py --dump writes it',
    )
    add_scoring_arguments(parser)
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
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Score, print the table and write the scores."""
    args = parse_args(argv)
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
            args.interpolate,
        )
    print(format_scores(scores))
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
        print(f'\n{format_selection(selection)}')
        result['selection'] = {
            # JSON has no NaN.
            key: None if math.isnan(value) else value
            for key, value in selection.items()
        }
    if args.json:
        write_text(args.json, json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
    sys.exit(run_tool(main))
