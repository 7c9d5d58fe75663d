"""Of which clips and objects the actions of captions may be true.

A caption is compared by the number of its action: the crc32 of its predicate,
alike in all processes. A caption without a predicate has a number of its clip
alone, below zero: it may name the same action as the others of its clip, and
is taken to name another one than those of other clips.

Shape legend: B clips, Q queries of all clips, V captions, M annotated objects,
P names of a row.
"""

import functools
import re
import zlib
from collections.abc import Iterable, Sequence
from itertools import repeat

import torch
from mmengine.dist import get_rank
from torch import Tensor

from .grounding_data_sample import GroundingDataSample
from .transfer import send

# Numbers are crc32 or a few below zero: this one is none.
_NONE = torch.iinfo(torch.int64).min


def action_numbers(samples: Sequence[GroundingDataSample]) -> Tensor:
    """Number the actions of sentences, alike in all processes: int64, (Q,).

    They are from 0 on for a predicate, below 0 for the unknown actions of a
    clip ('' in ``queries.predicates``).
    """
    numbers = [
        _number(name) if name else _unknown(clip)
        for clip, sample in enumerate(samples)
        for name in sample.queries.predicates
    ]
    return torch.tensor(numbers, dtype=torch.long)


def true_in_clip(
    numbers_V: Tensor, samples: Sequence[GroundingDataSample]
) -> Tensor:
    """Whether actions may be true somewhere in the videos of clips: (V, B).

    True are those of ``video_predicates`` and of the clip's own sentences.
    The captions may be of any process, the samples are of this one.
    """
    rows = [
        {
            _unknown(clip),
            *_numbers(sample.get('video_predicates') or ()),
            *_numbers(sample.queries.predicates),
        }
        for clip, sample in enumerate(samples)
    ]
    return _among(numbers_V, rows)


def true_of_query(
    numbers_V: Tensor, samples: Sequence[GroundingDataSample]
) -> Tensor:
    """Whether actions may be true of the target objects of queries: (V, Q).

    True are those of the target's track (``gt_tracks.predicates``) where it
    has any, that of the query itself, and unknown ones of its clip.
    """
    rows = [
        {_unknown(clip), *_numbers((own, *of_target))}
        for clip, sample in enumerate(samples)
        for own, of_target in zip(
            sample.queries.predicates, _of_targets(sample)
        )
    ]
    return _among(numbers_V, rows)


def true_of_tracks(
    samples: Sequence[GroundingDataSample], num_tracks: int
) -> Tensor:
    """Whether sentences may be true of the annotated objects: (Q, B, M).

    A sentence is not true where no action of the video is its own, nor of an
    object of another category than the one that it names. Nothing is true of
    what pads the objects of a clip to ``num_tracks``.
    """
    numbers = action_numbers(samples)
    here_QB = true_in_clip(numbers, samples) | (numbers < 0)[:, None]
    named = [
        _named(category, text)
        for sample in samples
        for text, category in zip(
            sample.queries.texts, sample.queries.get('categories', repeat(''))
        )
    ]
    fits = [
        [_fits(name, sample, num_tracks) for sample in samples]
        for name in named
    ]
    fits_QBM = torch.tensor(fits, dtype=torch.bool)
    return fits_QBM.reshape(*here_QB.shape, num_tracks) & here_QB[..., None]


@functools.lru_cache(maxsize=65536)
def _named(category: str, text: str) -> str:
    """A category, or '' where the sentence does not say its name."""
    name = re.escape(category.replace('_', ' '))
    return category if re.search(rf'\b{name}\b', text.lower()) else ''


def _fits(
    name: str, sample: GroundingDataSample, num_tracks: int
) -> list[bool]:
    """Whether objects may be of a category, False on padding."""
    tracks = sample.gt_tracks
    names = tracks.get('categories', [''] * len(tracks))
    fits = [not name or other in ('', name) for other in names]
    return fits + [False] * (num_tracks - len(fits))


def _of_targets(sample: GroundingDataSample) -> list[Sequence[str]]:
    """What may be true of the target of each query."""
    places = sample.get('gt_queries', {}).get('track_index')
    predicates = sample.get('gt_tracks', {}).get('predicates')
    if places is None or predicates is None:
        return [()] * len(sample.queries.predicates)
    return [predicates[place] if place >= 0 else () for place in places]


@functools.lru_cache(maxsize=65536)
def _number(name: str) -> int:
    return zlib.crc32(name.encode())


def _numbers(names: Iterable[str]) -> set[int]:
    return {_number(name) for name in names if name}


def _unknown(clip: int) -> int:
    """The number of unknown actions of a clip of this process."""
    return -(get_rank() * 2**20 + 1 + clip)


def _among(numbers_V: Tensor, rows: Sequence[set[int]]) -> Tensor:
    """Whether numbers are among those of rows, (V, number of rows)."""
    width = max(map(len, rows), default=0)
    table_RP = torch.tensor(
        [[*row, *[_NONE] * (width - len(row))] for row in rows],
        dtype=torch.long,
    ).reshape(len(rows), width)
    table_RP = send(table_RP, numbers_V.device)
    return (numbers_V[:, None, None] == table_RP).any(-1)
