"""Score a prediction file of any model by a protocol of the field.

Example::

    python tools/analysis_tools/eval_tubes.py --ann ANNOTATION.json \\
        --pred PREDICTIONS.json --protocol tubedetr --json scores.json
"""

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from hero_mm.datasets.annotation import load_annotation
from hero_mm.evaluation.functional import (
    PROTOCOLS,
    format_scores,
    score_tubes,
)
from hero_mm.evaluation.prediction_file import load_predictions


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to those of the
            process.

    Returns:
        argparse.Namespace: ``ann``, ``pred``, ``protocol``, ``json``,
        ``per_query`` and ``strict``.
    """
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
    parser.add_argument('--json', help='write the scores to this file')
    parser.add_argument(
        '--per-query',
        action='store_true',
        help='add the scores of each query to the --json file',
    )
    parser.add_argument(
        '--strict',
        action='store_true',
        help='fail where a query has no prediction, or a prediction no query',
    )
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Score, print the table and write the scores.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to those of the
            process.

    Returns:
        int: Exit code: 0, or 1 with a message where the input is wrong.
    """
    args = parse_args(argv)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always', UserWarning)
            annotation = load_annotation(args.ann)
            predictions, metainfo = load_predictions(args.pred)
            scores = score_tubes(
                annotation.ground_truths(),
                predictions,
                args.protocol,
                strict=args.strict,
                dataset=annotation.metainfo.get('dataset'),
            )
    except (OSError, ValueError) as error:
        print(f'eval_tubes: {error}', file=sys.stderr)
        return 1
    for warning in caught:
        print(f'warning: {warning.message}', file=sys.stderr)
    print(format_scores(scores))
    if args.json:
        result: dict[str, Any] = dict(
            scores.summary(),
            protocol=scores.protocol.name,
            queries=len(scores.query_ids),
            missing=len(scores.missing),
            unknown=len(scores.unknown),
            metainfo=metainfo,
        )
        if args.per_query:
            result['per_query'] = scores.records()
        path = Path(args.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
