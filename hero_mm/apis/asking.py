"""Ask every sentence of every video, and go on where a run was stopped.

The answers of a run are added, a line each, to a hidden file in its folder as
soon as they are there. A run is named by what was asked of what by which
model. Under torchrun each process asks its share of the videos and keeps a
file of its own; the first one gets all answers.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, Optional

import torch.distributed as dist

from hero_mm.datasets.progress import show_progress
from hero_mm.datasets.video_reader import VideoError
from hero_mm.files import adding, append_line, check_folder, write_text
from hero_mm.processes import launched

from .answers import Tube, answers_csv, answers_json, draw_tubes
from .inferencer import TubeInferencer
from .inputs import PathLike

ANSWERS = 'answers.json'
TABLE = 'answers.csv'


@dataclass
class Asking:
    """A run: K sentences, asked of N videos.

    Videos and folders as the user named them (``given``) name the run, too.
    Without ``out_dir`` nothing is kept. ``on_update`` gets what
    :meth:`TubeInferencer.stream` yields before its end.
    """

    inferencer: TubeInferencer
    given: Sequence[PathLike]
    texts: Sequence[str]
    segment: Optional[tuple[float, float]] = None
    fps: Optional[float] = None
    out_dir: Optional[PathLike] = None
    on_update: Optional[Callable[[dict[str, Any]], None]] = None
    errors: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        weights = self.inferencer.weights
        asked: list[Any] = [weights]
        # Of a remote file its address must do.
        if os.path.exists(weights):
            asked = [os.path.abspath(weights), _stamp(weights)]
        # Weights answer otherwise under another config, or another version.
        config = str(self.inferencer.cfg.to_dict())
        asked += [config, self.inferencer.facts()['hero_mm_version']]
        given = [os.path.abspath(path) for path in self.given]
        asked += [given, self.texts, self.segment, self.fps]
        if self.inferencer.window is not None:
            asked.append(self.inferencer.window)
        self.run = hashlib.sha1(json.dumps(asked).encode()).hexdigest()[:12]
        self._known: dict[tuple[str, str], dict[str, Any]] = {}
        if self.out_dir is not None:
            folder = check_folder(self.out_dir)
            rank, _ = launched()
            part = f'-{rank}' if rank else ''
            self.state = folder / f'.hero_mm-{self.run}{part}.jsonl'
            # Of any number of processes.
            for path in sorted(folder.glob(f'.hero_mm-{self.run}*.jsonl')):
                self._read_state(path)

    def _read_state(self, path: Path) -> None:
        """Answers of an earlier run about videos that have not changed."""
        for line in _lines(path):
            try:
                entry = json.loads(line)
                if entry.pop('stamp') == _stamp(entry['video']):
                    self._known[entry['video'], entry['query']] = entry
            except (KeyError, OSError, TypeError, ValueError):
                # A kill cut this line off, the video is gone, or it is of
                # a file that was written.
                continue

    def answer(self, video: str) -> list[Tube]:
        """K tubes of one video; what is answered is not asked again."""
        missing = [t for t in self.texts if (video, t) not in self._known]
        if missing:
            for update in self.inferencer.stream(
                video, missing, self.segment, fps=self.fps
            ):
                if not update['final']:
                    if self.on_update is not None:
                        self.on_update(update)
                    continue
                tube = update['tube']
                self._known[video, tube['query']] = tube
                if self.out_dir is not None:
                    line = json.dumps(dict(tube, stamp=_stamp(video)))
                    append_line(self.state, line)
        return [self._known[video, text] for text in self.texts]

    def answer_all(self, videos: Sequence[str]) -> list[Tube]:
        """Tubes of many videos, in their order, in the first process.

        A broken video ends nothing: ``errors`` says why its tubes are missing.
        Each process of a launcher asks its share.
        """
        rank, number = launched()
        if number > 1 and not dist.is_initialized():
            # Some are done long before others.
            dist.init_process_group('gloo', timeout=timedelta(days=30))
        mine: dict[str, list[Tube]] = {}
        share: Iterable[str] = videos[rank::number]
        if len(videos) > 1 and not rank:
            share = show_progress(share, len(videos[::number]), 'videos')
        for video in share:
            try:
                mine[video] = self.answer(video)
            except (VideoError, ValueError) as error:
                self.errors[video] = str(error)
        if number > 1:
            parts: list[Any] = [None] * number
            dist.gather_object((mine, self.errors), None if rank else parts)
            for answered, errors in [] if rank else parts:
                mine.update(answered)
                self.errors.update(errors)
        return [tube for video in videos for tube in mine.get(video, [])]

    def write(self, tubes: Sequence[Tube]) -> list[str]:
        """Write :data:`ANSWERS` and :data:`TABLE`; other runs' files stay."""
        facts = dict(self.inferencer.facts(), run=self.run)
        if self.errors:
            facts['errors'] = self.errors
        texts = {
            ANSWERS: answers_json(tubes, facts),
            TABLE: answers_csv(tubes),
        }
        written = []
        for name, text in texts.items():
            with adding(Path(str(self.out_dir), name), self._is_ours) as draft:
                write_text(draft.part, text)
            written.append(str(draft.path))
            append_line(self.state, _named(draft.path))
        return written

    def _is_ours(self, path: Path) -> bool:
        """Whether a file is as this run wrote it."""
        return self.state.is_file() and _named(path) in _lines(self.state)

    def draw(self, tubes: Sequence[Tube]) -> list[str]:
        """Draw tubes into the folder; ``errors`` says what is not drawn.

        Drawings that this run made before are replaced.
        """
        files: list[str] = []
        ordered = sorted(tubes, key=lambda tube: tube['video'])
        for video, group in groupby(ordered, lambda tube: tube['video']):
            own = list(group)
            stem = Path(video).stem
            names = [f'{stem}_{self.texts.index(t["query"])}' for t in own]
            try:
                files += draw_tubes(
                    own, names, Path(str(self.out_dir)), self.run
                )
            except (OSError, ValueError) as error:
                self.errors[video] = f'not drawn: {error}'
        return files


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding='utf-8', errors='replace').splitlines()


def _named(path: Path) -> str:
    digest = hashlib.sha1(path.read_bytes()).hexdigest()
    return json.dumps(dict(file=path.name, sha1=digest))


def _stamp(path: PathLike) -> list[int]:
    """Size and time of change, of the newest file where it is a folder."""
    files = [path]
    if os.path.isdir(path):
        files += [entry.path for entry in os.scandir(path)]
    stats = [os.stat(file) for file in files]
    return [
        sum(stat.st_size for stat in stats),
        max(stat.st_mtime_ns for stat in stats),
    ]
