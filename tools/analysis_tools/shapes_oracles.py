r"""Score guesses with perfect boxes on the embedded benchmark.

Beside them stands what the sentences ask for: how long answers are, how much
is hidden, what crosses the borders of windows.

A report (report.py) shows the scores that lie beside its annotation.

Example:
    python tools/analysis_tools/shapes_oracles.py data/shapes --split test \
        --json data/shapes/test.oracles.json
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from hero_mm.errors import explained

with explained():
    from hero_mm.apis.shapes_oracles import METRICS, score_oracles
    from hero_mm.datasets.shapes.questions import read_questions
    from hero_mm.datasets.shapes.statistics import describe
    from hero_mm.files import write_text


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('root', help='folder of the benchmark')
    parser.add_argument(
        '--split',
        default='test',
        help='train, val, test or, where root is the folder probes, a probe',
    )
    parser.add_argument('--protocol', default='tubedetr')
    parser.add_argument(
        '--kind',
        choices=['basic', 'spatial', 'temporal'],
        help='only sentences of this kind',
    )
    parser.add_argument('--json', type=Path, help='file for the scores')
    return parser.parse_args()


def main() -> None:
    """Print the table and write the scores."""
    args = parse_args()
    try:
        questions = read_questions(args.root, args.split)
    except FileNotFoundError as error:
        raise SystemExit(f'error: {error}') from error
    kinds = Counter(question.kind for question in questions)
    if args.kind:
        questions = [q for q in questions if q.kind == args.kind]
    rows = score_oracles(questions, args.protocol)
    parts = ', '.join(f'{count} {kind}' for kind, count in kinds.items())
    print(f'{len(questions)} sentences asked, of {parts}; {args.protocol}\n')
    print(f'| guess with perfect boxes | {" | ".join(METRICS)} |')
    print('| --- |' + ' --- |' * len(METRICS))
    for name, row in rows.items():
        cells = ' | '.join(f'{row[metric]:.3f}' for metric in METRICS)
        print(f'| {name} | {cells} |')
    print('\n| sentences | |\n| --- | --- |')
    for name, number in describe(questions).items():
        print(f'| {name} | {number:.4g} |')
    if args.json:
        write_text(args.json, json.dumps(rows, indent=2))


if __name__ == '__main__':
    main()
