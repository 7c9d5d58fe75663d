"""Draw what a data set holds: true tubes on its videos.

Either as the annotation says it, on the original frames, or as the pipeline
of a config gives it to the model: resized, cropped, mirrored.

Shape legend: T frames, H height, W width in pixels. Boxes are xyxy.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from hero_mm.datasets.annotation import GroundingAnnotation
from hero_mm.errors import UserError
from hero_mm.structures import GroundingDataSample

from .render import draw_from_video, write_drawings
from .report import case_view
from .tube_view import TubeView, views_from_sample
from .video_writer import PathLike

Chosen = list[tuple[dict, list[dict]]]


def choose_queries(
    annotation: GroundingAnnotation,
    number: int = 8,
    query_ids: Optional[Sequence[str]] = None,
    video_ids: Optional[Sequence[str]] = None,
    seed: int = 0,
) -> Chosen:
    """Choose the sentences that are drawn.

    By ``query_ids``, or ``number`` of them at random, of the videos named
    or of all.

    Returns:
        list[tuple[dict, list[dict]]]: Clips with the chosen ones of their
        sentences, in the order of the annotation.

    Raises:
        ValueError: If a query or a video is unknown, or there is none.
    """
    for what, wanted, known in (
        ('video', video_ids, set(annotation.videos)),
        ('query', query_ids, set(annotation.ground_truths())),
    ):
        strange = [name for name in wanted or () if name not in known]
        if strange:
            raise UserError(
                f'{annotation.path}: no {what} {strange[0]!r} among '
                f'{len(known)}; give an id as it stands in the file.'
            )
    ids = [
        query['query_id']
        for clip in annotation.data_list
        if video_ids is None or clip['video_id'] in video_ids
        for query in clip['queries']
        if query_ids is None or query['query_id'] in query_ids
    ]
    if not ids:
        raise UserError(
            f'{annotation.path}: no sentence is left to draw; choose other '
            'queries or videos.'
        )
    if query_ids is None and len(ids) > number:
        rng = np.random.default_rng(seed)
        ids = [ids[i] for i in rng.permutation(len(ids))[:number]]
    kept = set(ids)
    chosen = [
        (clip, [q for q in clip['queries'] if q['query_id'] in kept])
        for clip in annotation.data_list
    ]
    return [(clip, queries) for clip, queries in chosen if queries]


def truth_view(
    annotation: GroundingAnnotation,
    clip: Mapping[str, Any],
    query: Mapping[str, Any],
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


def draw_annotation(
    annotation: GroundingAnnotation,
    clip: Mapping[str, Any],
    queries: Sequence[Mapping[str, Any]],
    video_dir: PathLike,
    out_dir: PathLike,
    form: str = 'both',
    num_frames: int = 8,
) -> list[str]:
    """Draw sentences of one clip as the annotation says it."""
    views = [truth_view(annotation, clip, query) for query in queries]
    return draw_from_video(
        Path(video_dir) / annotation.videos[clip['video_id']].path,
        views,
        out_dir,
        [f'{clip["video_id"]}_{view.query_id}' for view in views],
        num_frames,
        form,
    )


def item_views(item: Mapping[str, Any]) -> tuple[np.ndarray, list[TubeView]]:
    """Frames (T, H, W, 3) that the model gets, and views in their pixels."""
    frames = item['inputs'].permute(0, 2, 3, 1).numpy()
    sample: GroundingDataSample = item['data_samples'].clone()
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


def draw_item(
    item: Mapping[str, Any],
    out_dir: PathLike,
    form: str = 'both',
    num_frames: int = 8,
) -> list[str]:
    """Draw all sentences of a clip as the model gets it."""
    frames, views = item_views(item)
    video_id = item['data_samples'].video_id
    names = [f'{video_id}_{view.query_id}' for view in views]
    return write_drawings(
        frames.__getitem__, views, out_dir, names, form, num_frames
    )
