"""What stands behind the page: visits, their clips, and the answers.

A visit is a browser tab. Clips are encoded once, for all visits; of the
latest ones the features are kept. Nothing here knows of the page itself.
"""

import math
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Optional

import cv2
import numpy as np

from hero_mm.apis.answers import answers_csv, answers_json, tube_view
from hero_mm.apis.inferencer import TubeInferencer
from hero_mm.apis.inputs import describe_video, is_long
from hero_mm.datasets.video_reader import open_video
from hero_mm.errors import UserError
from hero_mm.files import write_text
from hero_mm.visualization.drawing import Color
from hero_mm.visualization.render import draw_in_colors, played_frames

from .markup import answer_html

COLORS: tuple[Color, ...] = (
    *((240, 150, 20), (86, 180, 233), (0, 190, 140), (240, 228, 66)),
    *((230, 120, 190), (225, 95, 30), (150, 140, 255), (190, 190, 190)),
)
MOST_SENTENCES = 20
LONGEST_SENTENCE = 500
MOST_PIXELS = 9_000_000
"""Of a picture: several are in memory at a time."""
KEPT_CLIPS = 8
IDLE_SECONDS = 3600.0
GRACE_SECONDS = 600.0
"""A closed tab is kept so long: a busy network closes some for a moment."""
STRIP = (10, 72)
"""Pictures of a film strip, and their height."""


@dataclass
class Visit:
    """A tab of a browser: its clip, and what was answered about it."""

    folder: Path
    video: str = ''
    name: str = ''
    facts: dict[str, Any] = field(default_factory=dict)
    segment: tuple[float, float] = (0.0, 0.0)
    tubes: dict[str, dict] = field(default_factory=dict)
    used: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Desk:
    """Answers visits, one at a time.

    Their files lie in ``root``; ``videos`` can be chosen by their shown names,
    and those of more than ``max_seconds`` are refused.
    """

    def __init__(
        self,
        inferencer: TubeInferencer,
        root: Path,
        videos: Mapping[str, str],
        max_seconds: float,
    ) -> None:
        self.inferencer = inferencer
        self.root = root.resolve()
        self.videos = dict(videos)
        self.max_seconds = max_seconds
        self.visits: dict[str, Visit] = {}
        self._encoded = lru_cache(KEPT_CLIPS)(
            lambda video, segment, prompts, changed: inferencer.encode_video(
                video, segment, texts=prompts
            )
        )
        self._visits_lock = threading.Lock()
        self._model_lock = threading.Lock()

    def open(
        self, key: str, chosen: Optional[str], upload: Optional[str] = None
    ) -> Visit:
        """Take a clip for a visit: a name of the list, or an uploaded file."""
        self.sweep()
        if upload is None and chosen not in self.videos:
            raise UserError('choose a video of the list, or upload one')
        visit = self._visit(key)
        # What is asked now is answered first, about the clip before.
        with visit.lock:
            self._take(visit, upload or self.videos[str(chosen)])
            visit.name = Path(upload).name if upload else str(chosen)
            try:
                with _by_name(visit):
                    visit.facts = self._describe(visit.video)
            except UserError:
                self._take(visit, '')
                raise
        return visit

    def _describe(self, path: str) -> dict[str, Any]:
        """Facts of a video; UserError where it is too long or too large."""
        # Hours are not decoded to learn that; a header is only about right.
        if not is_long(path, 2 * self.max_seconds):
            facts = describe_video(path)
            wide, high = facts['size']
            if wide * high > MOST_PIXELS:
                raise UserError(
                    f'{path} has pictures of {wide}x{high} pixels, more than '
                    'this page takes. Make them smaller first'
                )
            if facts['frame_edges'][-1] <= self.max_seconds:
                return facts
        raise UserError(
            f'{path} lasts longer than {self.max_seconds:g} s, the most that '
            'this page takes. Cut it first, or start the page with a higher '
            '--max-seconds'
        )

    def strip(self, visit: Visit) -> bytes:
        """Pictures of a clip in a row, along its time, as JPEG."""
        count, height = STRIP
        places = np.linspace(0, visit.facts['frame_count'] - 1, count)
        with open_video(visit.video) as reader:
            wide, high = reader.size
            width = round(wide * reader.pixel_aspect * height / high)
            # One at a time: a picture may be large.
            frames = [
                cv2.resize(reader.get_frames([at])[0], (max(1, width), height))
                for at in places.round().astype(int)
            ]
        row = np.hstack(frames)
        return cv2.imencode('.jpg', row[..., ::-1])[1].tobytes()

    def ask(
        self,
        key: str,
        texts: Sequence[str],
        segment: tuple[float, float],
        progress: Callable[[float, str], Any] = lambda share, text: None,
    ) -> tuple[str, list[str]]:
        """Answer K sentences about the clip of a visit.

        What was answered before about the segment, ``[start, end)`` in
        seconds, is not asked again.

        Returns:
            tuple[str, list[str]]: HTML, and files: mp4, JSON, CSV.
        """
        visit = self._visit(key)
        with visit.lock:
            if not visit.facts:
                raise UserError('choose a video or upload one first')
            with _by_name(visit), self._model_lock:
                texts = check_sentences(texts)
                last = float(visit.facts['frame_edges'][-1])
                # A slider stops a little before the end.
                end = last if segment[1] > last - 0.02 else segment[1]
                if (segment[0], end) != visit.segment:
                    visit.segment, visit.tubes = (segment[0], end), {}
                missing = [t for t in texts if t not in visit.tubes]
                progress(0.1, 'the model looks at the video')
                for tube in self._find(visit, missing):
                    progress(0.5, tube['query'])
                    visit.tubes[tube['query']] = dict(tube, video=visit.name)
                progress(0.7, 'the answer is drawn')
                return self._answer(visit, [visit.tubes[t] for t in texts])

    def _find(self, visit: Visit, texts: Sequence[str]) -> Iterator[dict]:
        """The tubes of sentences, of a kept clip or of a search in windows."""
        if not texts:
            return
        window, _ = self.inferencer.plan(visit.video, visit.segment)
        if window is not None:
            asked = visit.video, texts, visit.segment
            found = self.inferencer.stream(*asked)
            yield from (one['tube'] for one in found if one['final'])
            return
        generator = getattr(self.inferencer.model, 'proposal_generator', None)
        # A detector that is prompted finds what is asked about.
        prompts = tuple(texts) if getattr(generator, 'takes_text', 0) else None
        # A file that has changed since is another one.
        changed = os.stat(visit.video).st_mtime_ns
        clip = self._encoded(visit.video, visit.segment, prompts, changed)
        for text in texts:
            # On its own, so that the answer is the same in any company.
            yield from self.inferencer.ground(clip, text)

    def _answer(
        self, visit: Visit, tubes: Sequence[dict]
    ) -> tuple[str, list[str]]:
        folder = visit.folder / secrets.token_hex(8)
        shutil.rmtree(visit.folder, ignore_errors=True)
        folder.mkdir(parents=True)
        names = 'tubes.mp4', 'answers.json', 'answers.csv'
        mp4, answers, table = (str(folder / name) for name in names)
        colors = [COLORS[at % len(COLORS)] for at in range(len(tubes))]
        edges = visit.facts['frame_edges']
        # All tubes on one clip: the part that was searched.
        views = [
            tube_view(dict(tube, window=tube['segment']), '', edges)
            for tube in tubes
        ]
        fps = draw_in_colors(visit.video, views, colors, mp4)
        write_text(answers, answers_json(tubes, self.facts()))
        write_text(table, answers_csv(tubes))
        played = played_frames(views[0].segment, views[0].fps)
        starts = [tube['span'][0] for tube in tubes]
        jumps = np.searchsorted(played, starts) / fps
        html = answer_html(tubes, views, colors, jumps.tolist())
        return html, [mp4, answers, table]

    def facts(self) -> dict[str, Any]:
        """What answered, without paths of this machine."""
        facts = self.inferencer.facts()
        label = self.inferencer.cfg.get('label') or {}
        name = label.get('name') or Path(facts['model']).stem
        return dict(facts, model=name, weights=Path(facts['weights']).name)

    def _visit(self, key: str) -> Visit:
        with self._visits_lock:
            if key not in self.visits:
                self.visits[key] = Visit(self.root / secrets.token_hex(16))
            visit = self.visits[key]
            visit.used = time.monotonic()
            return visit

    def _take(self, visit: Visit, path: str) -> None:
        """Change the clip of a visit; an upload that nobody has is removed."""
        # Before the old one goes: the same upload has the same path.
        old, visit.video, visit.facts, visit.tubes = visit.video, path, {}, {}
        folder = Path(old).resolve().parent
        with self._visits_lock:
            shared = any(v.video == old for v in self.visits.values())
        # An upload lies in a folder of its own, below the root.
        if old and self.root in folder.parents and not shared:
            shutil.rmtree(folder, ignore_errors=True)

    def leave(self, key: str) -> None:
        """End a visit a while after its tab was closed, unless it returns."""
        asked = key, time.monotonic()
        timer = threading.Timer(GRACE_SECONDS, self.close, asked)
        timer.daemon = True
        timer.start()

    def sweep(self) -> None:
        """End visits that nothing was heard of for an hour."""
        for key in list(self.visits):
            self.close(key, time.monotonic() - IDLE_SECONDS)

    def close(self, key: str, since: float = math.inf) -> None:
        """End a visit that was not used ``since``; its files are removed."""
        with self._visits_lock:
            visit = self.visits.get(key)
            if visit is None or visit.used > since:
                return
            del self.visits[key]
        self._take(visit, '')
        shutil.rmtree(visit.folder, ignore_errors=True)


@contextmanager
def _by_name(visit: Visit) -> Iterator[None]:
    """Errors name a video; where it lies is nobody's business."""
    path = visit.video
    try:
        yield
    except (OSError, ValueError) as error:
        raise UserError(str(error).replace(path, visit.name)) from error


def check_sentences(texts: Sequence[str]) -> list[str]:
    """Sentences that are asked, each once."""
    found = list(dict.fromkeys(t.strip() for t in texts if t.strip()))
    longest = max(map(len, found), default=0)
    if not found:
        raise UserError(
            'type a sentence: what to look for, such as "the red circle spins"'
        )
    if len(found) > MOST_SENTENCES or longest > LONGEST_SENTENCE:
        raise UserError(
            f'{len(found)} sentences of up to {longest} letters, and this '
            f'page takes {MOST_SENTENCES} of {LONGEST_SENTENCE} at a time; '
            'ask some later, or in fewer words'
        )
    return found
