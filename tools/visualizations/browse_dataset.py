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
from typing import Any, Optional

import numpy as np

from hero_mm.errors import UserError, explained, run_tool

with explained():
    from hero_mm.datasets.annotation import (
        GroundingAnnotation,
        load_annotation,
    )
    from hero_mm.datasets.source import SPLITS, DataSource, find_source
    from hero_mm.datasets.video_reader import VideoError
    from hero_mm.texts import printable
    from hero_mm.visualization import (
        TubeView,
        draw_from_video,
        views_from_sample,
    )
    from hero_mm.visualization.render import FORMS, write_drawings
    from hero_mm.visualization.report import case_view


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
        '--pipeline',
        action='store_true',
        help="draw what the config's pipeline gives to the model; --number "
        'then counts clips',
    )
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(argv)
    is_config = args.source.suffix == '.py'
    if not is_config and (args.pipeline or args.videos is None):
        parser.error(
            'an annotation file needs --videos FOLDER, --pipeline a config'
        )
    if args.pipeline and (args.query or args.video):
        parser.error('--pipeline draws at random: leave --query, --video out')
    return args


def choose_queries(
    annotation: GroundingAnnotation,
    number: int = 8,
    query_ids: Optional[Sequence[str]] = None,
    video_ids: Optional[Sequence[str]] = None,
    seed: int = 0,
) -> list[tuple[dict, dict]]:
    """Clips and sentences that are drawn, in the order of the annotation.

    By ``query_ids``, or ``number`` of them at random, of the videos named
    or of all. A ValueError names what is unknown.
    """
    pairs = [
        (clip, query)
        for clip in annotation.data_list
        if video_ids is None or clip['video_id'] in video_ids
        for query in clip['queries']
        if query_ids is None or query['query_id'] in query_ids
    ]
    found = {clip['video_id'] for clip, _ in pairs}
    found |= {query['query_id'] for _, query in pairs}
    strange = {*(query_ids or ()), *(video_ids or ())} - found
    if strange or not pairs:
        raise UserError(
            f'{annotation.path}: no sentence of {sorted(strange)} is left to '
            'draw; give ids of queries and videos as they stand in the file.'
        )
    if query_ids is None and len(pairs) > number:
        rng = np.random.default_rng(seed)
        kept = rng.permutation(len(pairs))[:number]
        pairs = [pairs[place] for place in sorted(kept)]
    return pairs


def truth_view(
    annotation: GroundingAnnotation, clip: dict, query: dict
) -> TubeView:
    """The true tube of a sentence, with what is known of it below."""
    video = annotation.videos[clip['video_id']]
    start, end = query['span']
    _, valid = video.track_boxes(query['track_id'], np.arange(start, end))
    category = (
        query.get('category') or video.tracks[query['track_id']].category
    )
    known = [query['type'], category, query.get('predicate')]
    note = (
        f'{", ".join(name for name in known if name)}; '
        f'{start / video.fps:.2f} s to {end / video.fps:.2f} s, frames '
        f'{start} to {end - 1}'
    )
    if not valid.all():
        note += f', {int((~valid).sum())} of them without a box'
    return case_view(annotation, query, clip, None, note)


def item_views(item: dict[str, Any]) -> tuple[np.ndarray, list[TubeView]]:
    """Frames (T, H, W, 3) that the model gets, and views in their pixels."""
    frames = item['inputs'].permute(0, 2, 3, 1).numpy()
    sample = item['data_samples'].clone()
    height, width = frames.shape[1:3]
    # The frames are those of the input: nothing is to be mapped back.
    sample.set_metainfo(
        dict(
            ori_shape=(height, width),
            img_shape=(height, width),
            crop_box=(0, 0, width, height),
            flip=False,
        )
    )
    return np.ascontiguousarray(frames), views_from_sample(sample)


def draw_from_pipeline(
    args: argparse.Namespace, source: DataSource
) -> Iterator[str]:
    """Draw items of the data set of the config."""
    from hero_mm.registry import DATASETS

    # Whole paths, which the data set does not join with its root.
    places = dict(
        ann_file=str(source.ann_file.resolve()),
        data_prefix=dict(video=str(source.video_dir.resolve())),
    )
    dataset = DATASETS.build({**source.dataset, **places})
    np.random.seed(args.seed)
    for index in np.random.permutation(len(dataset))[: args.number]:
        item = dataset[int(index)]
        frames, views = item_views(item)
        video_id = item['data_samples'].video_id
        names = [f'{video_id}_{view.query_id}' for view in views]
        read = frames.__getitem__
        yield from write_drawings(read, views, args.out, names, args.form)


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
    for clip, query in chosen:
        view = truth_view(annotation, clip, query)
        video_id = clip['video_id']
        video = Path(source.video_dir or '', annotation.videos[video_id].path)
        name = f'{video_id}_{query["query_id"]}'
        try:
            paths = draw_from_video(
                video, [view], args.out, [name], form=args.form
            )
        except VideoError as error:
            broken += 1
            print(f'not drawn: {printable(error)}', file=sys.stderr)
            continue
        print('\n'.join(paths))
    if broken:
        raise UserError(
            f'{broken} of {len(chosen)} sentences could not be drawn, see '
            'above; tools/analysis_tools/check_dataset.py looks at all videos.'
        )


if __name__ == '__main__':
    sys.exit(run_tool(main))
