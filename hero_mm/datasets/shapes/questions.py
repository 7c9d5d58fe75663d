"""Read the benchmark's raw files as questions about what happens.

For analysis: training reads the converted files, as for any data set.
"""

import json
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from hero_mm.files import PathLike

from .meaning import Description
from .scene import Look
from .video import vidor_part

Span = tuple[int, int]
Boxes = dict[int, list[float]]
# Track id and span of one tube.
Choice = tuple[int, Span]


@dataclass
class Question:
    """A sentence with all that a guess may use.

    Attributes:
        kind (str): ``'basic'``, ``'spatial'`` or ``'temporal'``.
        look (Description): What the sentence says of the look.
        action (str): The action that it names.
        answer (tuple): Track id and span of the truth.
        looks (list[Look]): Looks of the video's objects by track id.
        events (list[tuple]): Track id, action and span of what happens.
        tracks (list[dict]): Boxes by frame of each object.
        clip (tuple[int, int]): The whole segment ``[start, end)``.
        fps (float): Frame rate.
        query_type (str): ``'declarative'`` or ``'interrogative'``.
    """

    kind: str
    look: Description
    action: str
    answer: Choice
    looks: list[Look]
    events: list[tuple[int, str, Span]]
    tracks: list[Boxes]
    clip: Span
    fps: float
    query_type: str

    def spans(self, tid: int) -> list[Span]:
        """Spans of all that an object does, in order of time."""
        return sorted(span for who, _, span in self.events if who == tid)

    @property
    def everyone(self) -> range:
        """All track ids."""
        return range(len(self.looks))

    @property
    def fitting(self) -> list[int]:
        """Track ids of the objects that look as the sentence says."""
        return [t for t in self.everyone if self.look.fits(self.looks[t])]


def read_questions(root: PathLike, split: str) -> list[Question]:
    """Read all sentences of a split of the benchmark from its raw files.

    They are in the order of the query ids of the converted split; of a probe,
    the root is the folder ``probes``. A FileNotFoundError names a split that
    is not there.
    """
    folder = Path(root)
    notes = folder / 'vidstg' / f'{split}_annotations.json'
    if not notes.is_file():
        raise FileNotFoundError(
            f'{notes} is missing; render the benchmark first: '
            f'python tools/dataset_converters/shapes.py --out {root} '
            '(--profile and --probes: docs/benchmark_shapes.md)'
        )
    meta = folder / 'vidstg' / f'{split}_meta.json'
    videos = folder / 'vidor' / 'annotation' / vidor_part(split)
    questions: list[Question] = []
    entries = zip(json.loads(notes.read_text()), json.loads(meta.read_text()))
    for vid, group in groupby(entries, key=lambda pair: pair[0]['vid']):
        (path,) = videos.glob(f'*/{vid}.json')
        video = json.loads(path.read_text())
        tracks, events = _tracks(video), _events(video)
        for entry, meant in group:
            questions += _read_entry(entry, meant, tracks, events)
    return questions


def _tracks(video: dict[str, Any]) -> list[Boxes]:
    tracks: list[Boxes] = [{} for _ in video['subject/objects']]
    for frame, present in enumerate(video['trajectories']):
        for item in present:
            sides = item['bbox']
            tracks[item['tid']][frame] = [
                sides[side] for side in ('xmin', 'ymin', 'xmax', 'ymax')
            ]
    return tracks


def _events(video: dict[str, Any]) -> list[tuple[int, str, Span]]:
    return [
        (r['subject_tid'], r['predicate'], (r['begin_fid'], r['end_fid']))
        for r in video['relation_instances']
    ]


def _read_entry(
    entry: dict[str, Any],
    meant: dict[str, Any],
    tracks: list[Boxes],
    events: list[tuple[int, str, Span]],
) -> list[Question]:
    """The sentences of one entry."""
    truth, segment = entry['temporal_gt'], entry['used_segment']
    span = (truth['begin_fid'], truth['end_fid'])
    return [
        Question(
            kind=meaning['kind'],
            look=Description(**meaning['look']),
            action=meaning['action'],
            answer=(sentence['target_id'], span),
            looks=[Look(**look) for look in meant['looks']],
            events=events,
            tracks=tracks,
            clip=(segment['begin_fid'], segment['end_fid'] + 1),
            fps=entry['fps'],
            query_type=query_type,
        )
        for key, query_type in (
            ('captions', 'declarative'),
            ('questions', 'interrogative'),
        )
        for sentence, meaning in zip(entry[key], meant[key])
    ]
