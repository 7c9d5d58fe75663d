r"""Tell what a data set is made of: lengths, sizes, spans, names.

Example::

    python tools/analysis_tools/dataset_stats.py data/vidstg/test.json
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Optional

import numpy as np
from numpy.typing import ArrayLike

from hero_mm.errors import explained, run_tool

with explained():
    from hero_mm.datasets.annotation import (
        GroundingAnnotation,
        load_annotation,
    )
    from hero_mm.datasets.query_traits import query_traits
    from hero_mm.datasets.source import SPLITS, find_source
    from hero_mm.evaluation.analysis import group_by_name
    from hero_mm.visualization.report import data_name
    from hero_mm.visualization.report_tables import (
        Table,
        percent,
        text_table,
    )


NUMBERS = ('smallest', '5 %', 'median', 'mean', '95 %', 'largest')


def number_row(name: str, values: ArrayLike) -> list[str]:
    """How numbers are spread, under :data:`NUMBERS`.

    Examples:
        >>> number_row('x', [1, 2, 3.5])
        ['x', '1', '1.1', '2', '2.17', '3.35', '3.5']
    """
    array = np.asarray(values, dtype=np.float64)
    low, middle, high = np.percentile(array, [5, 50, 95])
    shown = (array.min(), low, middle, array.mean(), high, array.max())
    return [name, *(f'{round(float(value), 2):g}' for value in shown)]


def count_table(what: str, names: Sequence[str]) -> Table:
    """How often each name occurs; '' stands for what has none.

    The most frequent comes first, the rarest together.
    """
    grouping = group_by_name(what, names, most=20)
    counts = np.bincount(grouping.group, minlength=len(grouping.names))
    rows = [
        [name, str(count), percent(count / len(names))]
        for name, count in zip(grouping.names, counts.tolist())
    ]
    title = f'Sentences by {what}: {len({*names} - {""})} different'
    return Table(title, [what, 'sentences', 'percent'], rows, total=False)


def dataset_tables(annotation: GroundingAnnotation) -> list[Table]:
    """Lengths, sizes, words and names of a data set."""
    traits = query_traits(annotation)
    videos = list(annotation.videos.values())
    numbers: dict[str, ArrayLike] = {
        'words of a sentence': traits.words,
        'sentences of a video': [*Counter(traits.video_ids).values()],
        'true span, s': traits.span_seconds,
        'true span, frames': traits.frames,
        'searched part, s': traits.segment_seconds,
        'true span, % of the searched part': 100
        * traits.span_seconds
        / traits.segment_seconds,
        'object, % of the picture': 100 * traits.area,
        'video, s': [v.frame_count / v.fps for v in videos],
        'video, frames': [v.frame_count for v in videos],
        'video, frames a second': [v.fps for v in videos],
        'video, width': [v.width for v in videos],
        'video, height': [v.height for v in videos],
        'objects of a video': [len(v.tracks) for v in videos],
    }
    hidden = int((traits.frames - traits.boxes).sum())
    share = percent(hidden / int(traits.frames.sum()))
    return [
        Table(
            'Lengths and sizes',
            ['', *NUMBERS],
            [number_row(name, values) for name, values in numbers.items()],
            f'{share} percent of the frames of true spans have no box.',
            total=False,
        ),
        count_table('type', traits.types),
        count_table('category of the object', traits.categories),
        count_table('predicate', traits.predicates),
    ]


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
