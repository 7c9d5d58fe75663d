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

from .charts import histogram
from .report import Report, data_name
from .report_tables import Table, percent

NUMBERS = ('smallest', '5 %', 'median', 'mean', '95 %', 'largest')


def number_row(name: str, values: ArrayLike) -> list[str]:
    """How numbers are spread.

    Examples:
        >>> number_row('x', [1, 2, 3.5])
        ['x', '1', '1.1', '2', '2.17', '3.35', '3.5']
    """
    array = np.asarray(values, dtype=np.float64)
    low, middle, high = np.percentile(array, [5, 50, 95])
    shown = (array.min(), low, middle, array.mean(), high, array.max())
    return [name, *(f'{round(float(value), 2):g}' for value in shown)]


def build_dataset_report(annotation: GroundingAnnotation) -> Report:
    """Gather tables and charts; nothing is written yet.

    Raises:
        ValueError: If the annotation has no sentence.
    """
    traits = query_traits(annotation)
    if not len(traits):
        raise UserError(
            f'{annotation.path}: there is no sentence; convert the data again.'
        )
    runs = [
        track.runs
        for video in annotation.videos.values()
        for track in video.tracks.values()
    ]
    facts = {
        'videos': len(annotation.videos),
        'clips': len(annotation.data_list),
        'sentences': len(traits),
        'tracks': len(runs),
        'boxes': sum(int((run[:, 1] - run[:, 0]).sum()) for run in runs),
    }
    sections = {
        'Sentences': [_type_table(traits), _word_table(annotation, traits)],
        'Lengths and sizes': [
            _length_table(annotation, traits),
            _picture_table(annotation),
        ],
        'Names': [
            name_table('category of the object', traits.categories),
            name_table('predicate', traits.predicates),
        ],
    }
    return Report(
        data_name(annotation),
        {name: f'{count:,}' for name, count in facts.items()},
        sections,
        _charts(traits),
    )


def name_table(title: str, names: Sequence[str]) -> Table:
    """How often each name occurs; '' stands for a sentence without one.

    The most frequent comes first, the rarest together.
    """
    different = len(set(names) - {''})
    return _count_table(
        f'By {title}: {different} different', title, names, 20, 'sentences'
    )


def _count_table(
    title: str,
    what: str,
    names: Sequence[str],
    most: int,
    of: str,
    note: str = '',
) -> Table:
    grouping = group_by_name(what, names, most=most)
    counts = np.bincount(grouping.group, minlength=len(grouping.names))
    rows = [
        [name, str(count), percent(count / len(names))]
        for name, count in zip(grouping.names, counts.tolist())
    ]
    return Table(title, [what, of, 'percent'], rows, note, total=False)


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


def _word_table(annotation: GroundingAnnotation, traits: QueryTraits) -> Table:
    words = Counter(
        word.strip('.,;:!?').lower()
        for text in traits.texts
        for word in text.split()
    )
    words.pop('', None)
    clips = [len(clip['queries']) for clip in annotation.data_list]
    rows = [
        number_row('words of a sentence', traits.words),
        number_row('sentences of a clip', clips),
        number_row(
            'sentences of a video', list(Counter(traits.video_ids).values())
        ),
    ]
    once = sum(count == 1 for count in words.values())
    return Table(
        'Words',
        ['', *NUMBERS],
        rows,
        f'{len(words)} different words, {once} of them once.',
        total=False,
    )


def _length_table(
    annotation: GroundingAnnotation, traits: QueryTraits
) -> Table:
    videos = list(annotation.videos.values())
    rows = [
        number_row('true span, s', traits.span_seconds),
        number_row('true span, frames', traits.frames),
        number_row('searched part, s', traits.segment_seconds),
        number_row(
            'true span, % of the searched part',
            100 * traits.span_seconds / traits.segment_seconds,
        ),
        number_row('object, % of the picture', 100 * traits.area),
        number_row('video, s', [v.frame_count / v.fps for v in videos]),
        number_row('video, frames', [v.frame_count for v in videos]),
        number_row('video, frames a second', [v.fps for v in videos]),
        number_row('video, width', [v.width for v in videos]),
        number_row('video, height', [v.height for v in videos]),
        number_row('objects of a video', [len(v.tracks) for v in videos]),
    ]
    hidden = int((traits.frames - traits.boxes).sum())
    return Table(
        'Lengths and sizes',
        ['', *NUMBERS],
        rows,
        f'{percent(hidden / int(traits.frames.sum()))} percent of the frames '
        f'of true spans have no box.',
        total=False,
    )


def _picture_table(annotation: GroundingAnnotation) -> Table:
    videos = annotation.videos.values()
    upright = float(np.mean([v.height > v.width for v in videos]))
    return _count_table(
        'Pictures, width x height',
        'size',
        [f'{v.width} x {v.height}' for v in videos],
        8,
        'videos',
        f'{percent(upright)} percent are upright.',
    )


def _charts(traits: QueryTraits) -> dict[str, str]:
    share = traits.span_seconds / traits.segment_seconds
    words = int(traits.words.max()) + 1
    return {
        'span': _long_tail(
            'Sentences by length of the span', 'seconds', traits.span_seconds
        ),
        'span_share': histogram(
            share.tolist(),
            'Sentences by share of the span',
            'true span over the searched part',
        ),
        'segment': _long_tail(
            'Sentences by length of the searched part',
            'seconds',
            traits.segment_seconds,
        ),
        'size': _long_tail(
            'Sentences by size of the object',
            '% of the picture',
            100 * traits.area,
        ),
        'words': histogram(
            traits.words.tolist(),
            'Sentences by number of words',
            'words',
            words,
            (0.0, float(words)),
        ),
    }


def _long_tail(title: str, label: str, values: np.ndarray) -> str:
    """A histogram up to where nearly all values lie."""
    top = float(np.percentile(values, 98))
    beyond = int((values > top).sum())
    if beyond:
        label += f' ({beyond} beyond {top:.3g} in the last bar)'
    return histogram(values.tolist(), title, label, 20, (0.0, top))
