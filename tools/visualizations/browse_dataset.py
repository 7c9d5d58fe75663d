r"""Draw true tubes and spans of a data set on its videos.

Examples::

    python tools/visualizations/browse_dataset.py data/vidstg/test.json \
        --videos data/vidor/video --out browse --number 8
    python tools/visualizations/browse_dataset.py configs/hero_shapes.py \
        --split train --pipeline --out browse
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

import numpy as np

from hero_mm.errors import UserError, explained, run_tool

with explained():
    from hero_mm.datasets.annotation import load_annotation
    from hero_mm.datasets.source import SPLITS, DataSource, find_source
    from hero_mm.datasets.video_reader import VideoError
    from hero_mm.texts import printable
    from hero_mm.visualization.browse import (
        choose_queries,
        draw_annotation,
        draw_item,
    )
    from hero_mm.visualization.render import FORMS


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Draw true tubes and spans on the videos of a data set.'
    )
    parser.add_argument(
        'source', type=Path, help='a config, or an annotation file'
    )
    parser.add_argument(
        '--videos', help="folder of the videos; default: the config's"
    )
    parser.add_argument(
        '--split', default='train', choices=SPLITS, help='of the config'
    )
    parser.add_argument('--out', default='browse', help='folder of drawings')
    parser.add_argument('--form', default='both', choices=FORMS)
    parser.add_argument(
        '--number', type=int, default=8, help='sentences, drawn at random'
    )
    parser.add_argument(
        '--query', nargs='+', metavar='ID', help='these sentences only'
    )
    parser.add_argument(
        '--video', nargs='+', metavar='ID', help='of these videos only'
    )
    parser.add_argument(
        '--frames', type=int, default=8, help='frames of a sheet'
    )
    parser.add_argument(
        '--pipeline',
        action='store_true',
        help="draw what the config's pipeline gives to the model; --number "
        'then counts clips',
    )
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(argv)
    is_config = args.source.suffix == '.py'
    if not is_config and args.videos is None:
        parser.error('an annotation file needs --videos FOLDER')
    if args.pipeline and not is_config:
        parser.error('--pipeline needs a config')
    if args.pipeline and (args.query or args.video):
        parser.error('--pipeline draws at random: leave --query, --video out')
    for name, least in (('number', 1), ('frames', 2)):
        if getattr(args, name) < least:
            parser.error(f'--{name} must be {least} or more')
    return args


def draw_from_pipeline(
    args: argparse.Namespace, source: DataSource
) -> Iterator[str]:
    """Draw items of the data set of the config."""
    from hero_mm.registry import DATASETS

    cfg = dict(source.dataset or {})
    # Whole paths, which the data set does not join with its root.
    cfg['ann_file'] = str(source.ann_file.resolve())
    if source.video_dir is not None:
        cfg['data_prefix'] = dict(video=str(source.video_dir.resolve()))
    dataset = DATASETS.build(cfg)
    np.random.seed(args.seed)
    for index in np.random.permutation(len(dataset))[: args.number]:
        yield from draw_item(
            dataset[int(index)], args.out, args.form, args.frames
        )


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Draw and print the names of the files."""
    args = parse_args(argv)
    source = find_source(args.source, args.videos, args.split)
    if args.pipeline:
        for path in draw_from_pipeline(args, source):
            print(path)
        return
    annotation = load_annotation(source.ann_file)
    chosen = choose_queries(
        annotation, args.number, args.query, args.video, args.seed
    )
    broken = 0
    for clip, queries in chosen:
        try:
            paths = draw_annotation(
                annotation,
                clip,
                queries,
                source.video_dir or '',
                args.out,
                args.form,
                args.frames,
            )
        except VideoError as error:
            broken += 1
            print(f'not drawn: {printable(error)}', file=sys.stderr)
            continue
        print('\n'.join(paths))
    if broken:
        raise UserError(
            f'{broken} of {len(chosen)} clips could not be drawn, see above; '
            'tools/analysis_tools/check_dataset.py looks at all videos.'
        )


if __name__ == '__main__':
    sys.exit(run_tool(main))
