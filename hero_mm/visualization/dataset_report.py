"""What a data set is made of: lengths, sizes, spans, words, names.

Shape legend: Q queries, V videos.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from hero_mm.datasets.annotation import GroundingAnnotation
from hero_mm.datasets.query_traits import QueryTraits, query_traits
from hero_mm.errors import UserError
from hero_mm.evaluation.breakdown import group_by_name

from .report_tables import Table, percent

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


def count_table(
    title: str, what: str, names: Sequence[str], of: str, note: str = ''
) -> Table:
    """How often each name occurs; '' stands for what has none.

    The most frequent comes first, the rarest together.
    """
    grouping = group_by_name(what, names, most=20)
    counts = np.bincount(grouping.group, minlength=len(grouping.names))
    rows = [
        [name, str(count), percent(count / len(names))]
        for name, count in zip(grouping.names, counts.tolist())
    ]
    return Table(title, [what, of, 'percent'], rows, note, total=False)


def dataset_tables(annotation: GroundingAnnotation) -> list[Table]:
    """Counts, lengths, sizes, words and names of a data set.

    Raises:
        ValueError: If the annotation has no sentence.
    """
    traits = query_traits(annotation)
    if not len(traits):
        raise UserError(
            f'{annotation.path}: there is no sentence; convert the data again.'
        )
    videos = list(annotation.videos.values())
    upright = float(np.mean([video.height > video.width for video in videos]))
    names = {
        'category of the object': traits.categories,
        'predicate': traits.predicates,
    }
    return [
        _type_table(traits),
        _word_table(annotation, traits),
        _length_table(annotation, traits),
        count_table(
            'Pictures, width x height',
            'size',
            [f'{video.width} x {video.height}' for video in videos],
            'videos',
            f'{percent(upright)} percent are upright.',
        ),
        *(
            count_table(
                f'By {what}: {len({*given} - {""})} different',
                what,
                given,
                'sentences',
            )
            for what, given in names.items()
        ),
    ]


def _type_table(traits: QueryTraits) -> Table:
    types = np.array(traits.types)
    rows = []
    for name in ['all', *sorted(set(traits.types))]:
        chosen = np.full(len(traits), name == 'all') | (types == name)
        videos = {traits.video_ids[i] for i in np.flatnonzero(chosen)}
        rows.append(
            [
                name,
                str(int(chosen.sum())),
                percent(float(chosen.mean())),
                str(len(videos)),
                f'{traits.words[chosen].mean():.1f}',
                f'{traits.span_seconds[chosen].mean():.1f}',
            ]
        )
    head = ['sentences', 'number', 'percent', 'videos', 'words', 'span in s']
    return Table('By type, with means', head, rows)


def _number_table(
    title: str, numbers: dict[str, ArrayLike], note: str
) -> Table:
    rows = [number_row(name, values) for name, values in numbers.items()]
    return Table(title, ['', *NUMBERS], rows, note, total=False)


def _word_table(annotation: GroundingAnnotation, traits: QueryTraits) -> Table:
    words = Counter(
        word.strip('.,;:!?').lower()
        for text in traits.texts
        for word in text.split()
    )
    words.pop('', None)
    once = sum(count == 1 for count in words.values())
    return _number_table(
        'Words',
        {
            'words of a sentence': traits.words,
            'sentences of a clip': [
                len(clip['queries']) for clip in annotation.data_list
            ],
            'sentences of a video': [*Counter(traits.video_ids).values()],
        },
        f'{len(words)} different words, {once} of them once.',
    )


def _length_table(
    annotation: GroundingAnnotation, traits: QueryTraits
) -> Table:
    videos = list(annotation.videos.values())
    share = 100 * traits.span_seconds / traits.segment_seconds
    hidden = int((traits.frames - traits.boxes).sum())
    return _number_table(
        'Lengths and sizes',
        {
            'true span, s': traits.span_seconds,
            'true span, frames': traits.frames,
            'searched part, s': traits.segment_seconds,
            'true span, % of the searched part': share,
            'object, % of the picture': 100 * traits.area,
            'video, s': [v.frame_count / v.fps for v in videos],
            'video, frames': [v.frame_count for v in videos],
            'video, frames a second': [v.fps for v in videos],
            'video, width': [v.width for v in videos],
            'video, height': [v.height for v in videos],
            'objects of a video': [len(v.tracks) for v in videos],
        },
        f'{percent(hidden / int(traits.frames.sum()))} percent of the frames '
        f'of true spans have no box.',
    )
