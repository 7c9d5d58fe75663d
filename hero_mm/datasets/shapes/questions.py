"""The sentences of a rendered split as questions about what happens.

For analysis: training reads the converted files alone, as for any data set.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hero_mm.files import PathLike

from ..annotation import VideoInfo, load_annotation
from .meaning import Description
from .video import vidor_part
from .world import Look

Span = tuple[int, int]
# Frames of a track, has shape (T,), and their boxes (T, 4).
Boxes = tuple[NDArray, NDArray]
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
        truth (dict): As ``evaluate_tubes`` takes it.
        looks (list[Look]): Looks of the video's objects by track id.
        events (list[tuple]): Track id, action and span of what happens.
        tracks (list[tuple]): Frames and boxes of each object.
    """

    kind: str
    look: Description
    action: str
    answer: Choice
    truth: dict[str, Any]
    looks: list[Look]
    events: list[tuple[int, str, Span]]
    tracks: list[Boxes]

    @property
    def clip(self) -> Span:
        """The whole segment ``[start, end)``."""
        start, end = self.truth['segment']
        return start, end

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
    """Read all sentences of a split of the benchmark.

    They are in the order of the query ids; of a probe, the root is the folder
    ``probes``. A FileNotFoundError names a split that is not there.
    """
    folder = Path(root)
    path = folder / f'{split}.json'
    if not path.is_file():
        raise FileNotFoundError(
            f'{path} is missing; render the benchmark first: '
            f'python tools/dataset_converters/shapes.py --out {root} '
            '(--profile and --probes: docs/benchmark_shapes.md)'
        )
    annotation = load_annotation(path)
    truths = annotation.ground_truths()
    meta = json.loads((folder / f'vidstg/{split}_meta.json').read_text())
    meanings = iter(
        (meaning, [Look(**look) for look in item['looks']])
        for item in meta
        for meaning in item['captions'] + item['questions']
    )
    notes = folder / 'vidor' / 'annotation' / vidor_part(split)
    questions = []
    for clip in annotation.data_list:
        video = annotation.videos[clip['video_id']]
        note = (notes / video.path).with_suffix('.json')
        raw = json.loads(note.read_text())
        events = [
            (r['subject_tid'], r['predicate'], (r['begin_fid'], r['end_fid']))
            for r in raw['relation_instances']
        ]
        tracks = [_boxes(video, o['tid']) for o in raw['subject/objects']]
        for query, (meaning, looks) in zip(clip['queries'], meanings):
            questions.append(
                Question(
                    kind=meaning['kind'],
                    look=Description(**meaning['look']),
                    action=meaning['action'],
                    answer=(int(query['track_id']), tuple(query['span'])),
                    truth=truths[query['query_id']],
                    looks=looks,
                    events=events,
                    tracks=tracks,
                )
            )
    return questions


def _boxes(video: VideoInfo, tid: int) -> Boxes:
    """Frames and boxes of an object, which may be hidden all the time."""
    track = video.tracks.get(str(tid))
    if track is None:
        return np.zeros(0, int), np.zeros((0, 4))
    return track.frames, video.track_boxes(str(tid), track.frames)[0]
