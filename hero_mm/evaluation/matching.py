"""Whether predictions belong to an annotation.

Query ids are often running numbers, so that those of another split, data set
or numbering name sentences of this one, too, and get scores that look like
scores. The files say what they are of; this compares what both say.
"""

import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from hero_mm.errors import UserError
from hero_mm.files import PathLike

from .functional.protocols import plain_name
from .functional.tube_scores import name_some
from .prediction_file import OF

if TYPE_CHECKING:
    from hero_mm.datasets.annotation import GroundingAnnotation

FACTS = {'dataset': 'data set', 'split': 'split', 'query_ids': 'query ids'}
"""What a file says of itself in its metainfo, and how it is called."""

_SUFFIXES = ('mp4', 'mkv', 'avi', 'webm', 'mov')


def check_match(
    path: PathLike,
    predictions: Mapping[str, Any],
    metainfo: Mapping[str, Any],
    annotation: 'GroundingAnnotation',
    force: bool = False,
) -> None:
    """Refuse predictions that were not made for an annotation.

    Those that carry neither video nor text are compared by the frames that
    they have boxes on: a warning says where query ids that are counted
    another way would fit better.

    Args:
        path (str or PathLike): Of the predictions, for errors.
        predictions (Mapping): By query id.
        metainfo (Mapping): Of the predictions. What it does not say is not
            compared.
        annotation (GroundingAnnotation): What they are to be scored against.
        force (bool): Do not compare what the files say of themselves, nor
            the video and text of each prediction.

    Raises:
        ValueError: If the files say that they are of another data set or
            split or number their queries in another way, no prediction is
            of a query of the annotation, or one says another video or
            sentence than the query of its id has.
    """
    differ = []
    for key, name in FACTS.items():
        ours, theirs = metainfo.get(key), annotation.metainfo.get(key)
        if None not in (ours, theirs) and (
            plain_name(str(ours)) != plain_name(str(theirs))
        ):
            differ.append(f'{name} {ours!r} and {theirs!r}')
    if differ and not force:
        raise UserError(
            f'{path} and {annotation.path} do not belong together: '
            f'{", ".join(differ)} (predictions and annotation). Score with '
            f'the annotation that was predicted; --force compares no names.'
        )
    known = annotation.ground_truths()
    if predictions and not any(name in known for name in predictions):
        raise UserError(
            f'{path}: not one of its {len(predictions)} queries '
            f'({name_some(list(predictions))}) is in {annotation.path} '
            f'({name_some(list(known))}). Score with the annotation that was '
            f'predicted.'
        )
    if force:
        return
    _check_sentences(path, predictions, annotation)
    doubt = _other_numbering(predictions, annotation)
    if doubt:
        warnings.warn(f'{path}: {doubt}', stacklevel=2)


def _check_sentences(
    path: PathLike,
    predictions: Mapping[str, Any],
    annotation: 'GroundingAnnotation',
) -> None:
    """Compare video and text, of the predictions that say them."""
    differ = []
    for clip in annotation.data_list:
        for query in clip['queries']:
            entry = predictions.get(query['query_id']) or {}
            ours = dict(video=clip['video_id'], text=query.get('text'))
            differ += [
                f'{query["query_id"]!r} of {name} {entry[name]!r:.60} and '
                f'{ours[name]!r:.60}'
                for name, plain in (('video', _stem), ('text', _words))
                if name in entry and plain(entry[name]) != plain(ours[name])
            ][:1]
    if differ:
        raise UserError(
            f'{path} and {annotation.path} do not belong together: '
            f'{len(differ)} of {len(predictions)} predictions are of another '
            f'video or sentence than the query of their id: {differ[0]} '
            f'(prediction and annotation). Are query ids counted another '
            f'way? --force compares neither.'
        )


# Of the length of a segment: boxes of a sampled grid may begin so much later.
_SLACK = 0.1
_CURE = (
    'Number them as the annotation does, or write "video" and "text" into '
    'the predictions, to be compared with it.'
)


def _other_numbering(
    predictions: Mapping[str, Any], annotation: 'GroundingAnnotation'
) -> Optional[str]:
    """What speaks for ids that are counted another way; None where nothing.

    Segments differ: predictions under the right ids have their boxes on the
    frames of their segment, from its start to its end or, of boxes inside the
    predicted span alone, within it.
    """
    segments = {
        query['query_id']: clip['segment']
        for clip in annotation.data_list
        for query in clip['queries']
    }
    items = {name: item or {} for name, item in predictions.items()}
    numbers = all(name.isdecimal() for name in [*items, *segments])
    carried = any(name in item for item in items.values() for name in OF)
    if not (numbers and items and segments) or carried:
        return None
    ends = {
        name: (min(frames), max(frames))
        for name, item in items.items()
        if len(frames := _frames(item))
    }
    for whole in (True, False):
        fits = {
            count: _count_fits(ends, segments, ids, whole)
            for count, ids in _numberings(items, annotation).items()
        }
        given = fits.pop('')
        best = max(fits, key=lambda count: fits[count])
        # Nearly all must be explained: segments may be alike by chance.
        if fits[best] > given and 10 * (len(ends) - fits[best]) <= (
            len(ends) - given
        ):
            where = 'on the whole of' if whole else 'inside'
            return (
                f'{given} of {len(ends)} predictions have their boxes '
                f'{where} the segment of their query, and {fits[best]} would '
                f'have if query ids were counted {best}. {_CURE}'
            )
    return None


def _frames(item: Mapping[str, Any]) -> Any:
    """Frames of the boxes, which are a pair of arrays or by frame."""
    boxes = item.get('boxes', {})
    return boxes[0] if isinstance(boxes, tuple) else list(map(int, boxes))


def _numberings(
    predictions: Mapping[str, Any], annotation: 'GroundingAnnotation'
) -> dict[str, dict[str, str]]:
    """Ways to count, each as ids of predictions to ids of the annotation.

    That of the annotation itself is called ``''``.
    """
    queries = [
        (query['query_id'], clip['video_id'], query.get('type') or '')
        for clip in annotation.data_list
        for query in clip['queries']
    ]
    known = sorted((query[0] for query in queries), key=int)
    ours, first = sorted(predictions, key=int), int(known[0])
    found = {'': dict(zip(ours, ours))}
    for more in {-1, 1, int(ours[0]) - first} - {0}:
        found[f'from {first + more} instead of {first}'] = {
            name: str(int(name) - more) for name in ours
        }
    if len(ours) == len(known):
        by_number = sorted(queries, key=lambda query: int(query[0]))
        orders = {
            'clip by clip, as the annotation has them': queries,
            'video by video': sorted(by_number, key=lambda query: query[1]),
            'one type after the other': sorted(
                by_number, key=lambda query: query[2]
            ),
        }
        for name, order in orders.items():
            found[name] = dict(zip(ours, (query[0] for query in order)))
    return found


def _count_fits(
    ends: Mapping[str, tuple[int, int]],
    segments: Mapping[str, tuple[int, int]],
    ids: Mapping[str, str],
    whole: bool,
) -> int:
    """Predictions whose boxes are where the segment of their query is."""
    fits = 0
    for name, (first, last) in ends.items():
        if ids[name] not in segments:
            continue
        start, end = segments[ids[name]]
        slack = 1 + _SLACK * (end - start) if whole else np.inf
        fits += (
            start <= first <= start + slack and end > last >= end - 1 - slack
        )
    return fits


def _stem(video: str) -> str:
    """A video by its name alone: one may say a path, the other an id."""
    name = video.rpartition('/')[2]
    stem, dot, suffix = name.rpartition('.')
    return stem if dot and suffix.lower() in _SUFFIXES else name


def _words(text: str) -> list[str]:
    return re.findall(r'\w+', text.lower())
