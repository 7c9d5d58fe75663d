"""Whether predictions belong to an annotation.

Query ids are often running numbers, so that those of another split, data set
or numbering name sentences of this one, too, and get scores that look like
scores. The files say what they are of; this compares what both say.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hero_mm.errors import UserError
from hero_mm.files import PathLike

from .functional.protocols import plain_name
from .functional.tube_scores import name_some

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
    if not force:
        _check_sentences(path, predictions, annotation)


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


def _stem(video: str) -> str:
    """A video by its name alone: one may say a path, the other an id."""
    name = video.rpartition('/')[2]
    stem, dot, suffix = name.rpartition('.')
    return stem if dot and suffix.lower() in _SUFFIXES else name


def _words(text: str) -> list[str]:
    return re.findall(r'\w+', text.lower())
