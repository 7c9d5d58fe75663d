r"""Tell what a data set is made of: lengths, sizes, spans, words, names.

Example::

    python tools/analysis_tools/dataset_stats.py data/vidstg/test.json
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Optional

from hero_mm.errors import explained, run_tool

with explained():
    from hero_mm.datasets.annotation import load_annotation
    from hero_mm.datasets.source import SPLITS, find_source
    from hero_mm.visualization.dataset_report import dataset_tables
    from hero_mm.visualization.report import data_name
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
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Print the tables."""
    args = parse_args(argv)
    source = find_source(args.source, split=args.split)
    annotation = load_annotation(source.ann_file)
    tables = dataset_tables(annotation)
    videos = annotation.videos.values()
    runs = [track.runs for video in videos for track in video.tracks.values()]
    boxes = sum(int((run[:, 1] - run[:, 0]).sum()) for run in runs)
    print(
        f'{data_name(annotation)}: {len(videos):,} videos, '
        f'{len(annotation.data_list):,} clips, '
        f'{len(annotation.ground_truths()):,} sentences, {len(runs):,} '
        f'tracks, {boxes:,} boxes\n'
    )
    for table in tables:
        print(text_table(table), end='\n\n')


if __name__ == '__main__':
    sys.exit(run_tool(main))
