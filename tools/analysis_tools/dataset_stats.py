r"""Tell what a data set is made of: lengths, sizes, spans, words, names.

Example::

    python tools/analysis_tools/dataset_stats.py data/vidstg/test.json \
        --out stats
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Optional

from hero_mm.errors import explained, run_tool

with explained():
    from hero_mm.datasets.annotation import load_annotation
    from hero_mm.datasets.source import SPLITS, find_source
    from hero_mm.visualization.dataset_report import build_dataset_report
    from hero_mm.visualization.report import write_report
    from hero_mm.visualization.report_tables import text_table


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Tell what a data set is made of; needs no videos.'
    )
    parser.add_argument('source', help='a config, or an annotation file')
    parser.add_argument(
        '--split', default='train', choices=SPLITS, help='of the config'
    )
    parser.add_argument(
        '--out', help='folder for index.html and report.md, with charts'
    )
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Print the tables; write the pages where --out is given."""
    args = parse_args(argv)
    source = find_source(args.source, split=args.split)
    report = build_dataset_report(load_annotation(source.ann_file))
    facts = ', '.join(f'{n} {name}' for name, n in report.facts.items())
    print(f'{report.title}: {facts}\n')
    for table in report.tables:
        print(text_table(table), end='\n\n')
    if args.out:
        page, _ = write_report(report, args.out)
        print(f'Report: {page}')


if __name__ == '__main__':
    sys.exit(run_tool(main))
