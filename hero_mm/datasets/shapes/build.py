"""Write the benchmark to disk, in the official raw layout.

``OUT/vidor/{annotation,video}`` and ``OUT/vidstg`` look as VidOR and VidSTG
are published; ``OUT/{train,val,test}.json`` are made from them by the same
converter as those of VidSTG. A file is there as a whole or not at all, and
nothing depends on the number of workers, so an interrupted run goes on where
it stopped. ``OUT/probes`` is such a folder of its own, with a split a probe.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import cv2

from hero_mm.errors import UserError
from hero_mm.files import write_bytes
from hero_mm.processes import end_with_parent, in_processes

from ..converters.vidstg import convert_vidstg
from ..progress import show_progress
from .haystack import draw_haystack
from .profiles import HAYSTACKS, PROBES, PROFILES, Profile
from .render import Frame, encode_mp4, render
from .video import (
    MAX_PROBE,
    draw_video,
    meanings,
    vidor_annotation,
    vidor_part,
    vidstg_entries,
)

PathLike = Union[str, os.PathLike[str]]

# Changes whenever the same seed would give another benchmark.
VERSION = 4
PROBE_FOLDER = 'probes'
_MAX_SIZE = 1_000_000
_CHUNK = 25
_SUMMARY = 'shapes.json'
_DATASETS = {
    'default': 'shapes',
    'long': 'shapes-long',
    'haystack': 'shapes-haystack',
    PROBE_FOLDER: 'shapes-probes',
}
_VIDSTG_FILES = ('annotations', 'files', 'meta')


class _Plan(NamedTuple):
    """What belongs into a folder: ``sizes`` are videos by split."""

    root: Path
    name: str
    seed: int
    sizes: dict[str, int]

    def profile(self, split: str) -> Profile:
        """A probe or length has its own, others share that of the folder."""
        own = {**PROBES, **HAYSTACKS}
        return own[split] if split in own else PROFILES[self.name]

    def summary(self, splits: dict[str, Any]) -> dict[str, Any]:
        """The content of ``shapes.json``; without a name: the default."""
        summary = {'version': VERSION, 'seed': self.seed, 'splits': splits}
        if self.name != 'default':
            summary['profile'] = self.name
        return summary


class _Chunk(NamedTuple):
    """Some videos of a split, for one worker."""

    plan: _Plan
    split: str
    start: int
    end: int


class _Done(NamedTuple):
    """What a worker sends back; files are written already."""

    chunk: _Chunk
    vids: list[str]
    entries: list[dict[str, Any]]
    meanings: list[dict[str, Any]]
    rendered: int


def build_shapes(
    out: PathLike,
    num_videos: Optional[Mapping[str, int]] = None,
    seed: int = 0,
    workers: int = 2,
    progress: bool = True,
    profile: str = 'default',
) -> dict[str, Any]:
    """Render the benchmark where it is missing.

    Args:
        out (str or PathLike): Folder to write to. One process a folder.
        num_videos (Mapping[str, int], optional): Videos of 'train', 'val' and
            'test'; a split that is not named has its default size. Defaults
            to 4500, 200 and 500 ('long': 2000, 100 and 300; 'haystack' has
            the splits '1min', '5min', '20min' and '60min', with 10, 6, 3 and
            3 videos).
        seed (int): Seed.
        workers (int): Number of processes.
        progress (bool): Whether to show, on standard error, how far it is.
        profile (str): 'default'; 'long', which has larger frames and more
            of them; or 'haystack', whose videos last minutes.

    Returns:
        dict: ``version``, ``seed``, ``splits`` (videos, entries, captions,
        questions and kinds of sentences of each) and ``rendered``, the number
        of videos that this call rendered; ``profile``, if it is another one.

    Raises:
        ValueError: If an argument is unusable, or the folder holds the
            benchmark of another profile, seed or version.
    """
    if profile not in PROFILES:
        raise UserError(
            f'profile is {profile!r}; there are {", ".join(PROFILES)}.'
        )
    sizes = _checked_sizes(num_videos, PROFILES[profile].videos, _MAX_SIZE)
    return _build(_Plan(Path(out), profile, seed, sizes), workers, progress)


def build_probes(
    out: PathLike,
    num_videos: Optional[Mapping[str, int]] = None,
    seed: int = 0,
    workers: int = 2,
    progress: bool = True,
) -> dict[str, Any]:
    """Render the probes, small test splits, where they are missing.

    Arguments, what is returned and errors are those of :func:`build_shapes`.
    The probes are written to ``probes`` in the folder of the benchmark,
    whether the rest is there or not; ``num_videos`` goes by their names, and
    one that is not named has 100, with 5 sentences or more each.
    """
    usual = {name: probe.videos[name] for name, probe in PROBES.items()}
    sizes = _checked_sizes(num_videos, usual, MAX_PROBE)
    root = Path(out) / PROBE_FOLDER
    return _build(_Plan(root, PROBE_FOLDER, seed, sizes), workers, progress)


def _build(plan: _Plan, workers: int, progress: bool) -> dict[str, Any]:
    """Render, and convert what was rendered."""
    _check_number('seed', plan.seed, 0)
    _check_number('workers', workers, 1)
    for folder in (plan.root, plan.root.parent):
        if folder.exists() and not folder.is_dir():
            raise UserError(f'out={str(folder)!r} is a file; give a folder.')
    found = _read_summary(plan)
    if found is not None and _is_rendered(plan, found):
        summary, rendered = found, 0
    else:
        summary, rendered = _render(plan, workers, progress)
    for split in plan.sizes:
        _convert(plan, split, progress)
    return {**summary, 'rendered': rendered}


def _render(
    plan: _Plan, workers: int, progress: bool
) -> tuple[dict[str, Any], int]:
    """Write the raw layout; gives the summary and what was rendered."""
    # Without counts: begun, and not to be mixed with another seed.
    write_bytes(plan.root / _SUMMARY, _dump(plan.summary({})))
    step = 1 if plan.name == 'haystack' else _CHUNK
    chunks = [
        _Chunk(plan, split, start, min(start + step, number))
        for split, number in plan.sizes.items()
        for start in range(0, number, step)
    ]
    found: Iterable[_Done] = in_processes(
        _build_chunk, chunks, workers, _start_worker, 'spawn'
    )
    if progress:
        total = sum(plan.sizes.values())
        found = show_progress(
            found, total, 'rendering shapes', lambda done: len(done.vids)
        )
    results = list(found)
    places = list(plan.sizes)
    results.sort(key=lambda d: (places.index(d.chunk.split), d.chunk.start))
    counts = {
        split: _write_split(plan.root, split, results) for split in places
    }
    for split in places:
        for ending in ('json', 'tracks.npy'):
            (plan.root / f'{split}.{ending}').unlink(missing_ok=True)
    summary = plan.summary(counts)
    write_bytes(plan.root / _SUMMARY, _dump(summary))
    return summary, sum(done.rendered for done in results)


def _checked_sizes(
    num_videos: Optional[Mapping[str, int]],
    usual: Mapping[str, int],
    most: int,
) -> dict[str, int]:
    """Usual sizes, updated and checked."""
    sizes = dict(usual)
    for split, number in (num_videos or {}).items():
        if split not in sizes:
            raise UserError(
                f'num_videos names the split {split!r}; '
                f'there are {", ".join(sizes)}.'
            )
        _check_number(f'num_videos[{split!r}]', number, 0, most)
        sizes[split] = number
    return sizes


def _check_number(
    name: str, value: object, low: int, high: int = 2**31
) -> None:
    if type(value) is not int or not low <= value <= high:
        raise UserError(
            f'{name} is {value!r}; give a whole number from {low} to {high}.'
        )


def _read_summary(plan: _Plan) -> Optional[dict[str, Any]]:
    """Summary of an earlier run; it must be of the same benchmark."""
    path = plan.root / _SUMMARY
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        theirs = found['version'], found['seed'], found['splits']
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{path} is not a summary of the benchmark ({error!r}); '
            'delete the folder or give another one.'
        ) from error
    profile = found.get('profile', 'default')
    if profile != plan.name:
        raise UserError(
            f'{plan.root} holds the profile {profile!r}, not {plan.name!r}; '
            'delete the folder or give another one.'
        )
    if theirs[:2] != (VERSION, plan.seed):
        raise UserError(
            f'{plan.root} holds version {theirs[0]} with seed {theirs[1]}, '
            f'not version {VERSION} with seed {plan.seed}; delete the folder '
            'or give another one.'
        )
    return found


def _is_rendered(plan: _Plan, found: dict[str, Any]) -> bool:
    """Whether every split has its size and every file is there."""
    root = plan.root
    wanted: list[str] = []
    for split, number in plan.sizes.items():
        if found['splits'].get(split, {}).get('videos') != number:
            return False
        names = [f'vidstg/{split}_{n}.json' for n in _VIDSTG_FILES]
        if not all((root / name).is_file() for name in names):
            return False
        wanted += json.loads((root / f'vidstg/{split}_files.json').read_text())
    films = {path.stem for path in (root / 'vidor/video').glob('*/*.mp4')}
    notes = (root / 'vidor/annotation').glob('*/*/*.json')
    return films.intersection(path.stem for path in notes).issuperset(wanted)


def _start_worker() -> None:
    end_with_parent()
    cv2.setNumThreads(1)


def _build_chunk(chunk: _Chunk) -> _Done:
    """Write the files of some videos that are not there yet."""
    done = _Done(chunk, [], [], [], 0)
    rendered = 0
    seed = chunk.plan.seed
    profile = chunk.plan.profile(chunk.split)
    for index in range(chunk.start, chunk.end):
        if profile.minutes:
            long = draw_haystack(index, seed, profile)
            name = long.vid, long.subdir
            rendered += _write_video(
                chunk, *name, long.frames, long.annotation
            )
            said, meant = long.entries(), long.meanings()
        else:
            video = draw_video(chunk.split, index, seed, profile)
            name = video.vid, video.subdir
            frames = partial(render, video.world)
            note = partial(vidor_annotation, video)
            rendered += _write_video(chunk, *name, frames, note)
            said, meant = vidstg_entries(video), meanings(video)
        done.vids.append(name[0])
        done.entries.extend(said)
        done.meanings.extend(meant)
    return done._replace(rendered=rendered)


def _write_video(
    chunk: _Chunk,
    vid: str,
    subdir: str,
    frames: Callable[[], Iterable[Frame]],
    annotation: Callable[[], dict[str, Any]],
) -> bool:
    """Write video and annotation; gives whether it had to be rendered."""
    base = chunk.plan.root / 'vidor'
    part = vidor_part(chunk.split)
    note = base / 'annotation' / part / subdir / f'{vid}.json'
    film = base / 'video' / subdir / f'{vid}.mp4'
    missing, profile = not film.exists(), chunk.plan.profile(chunk.split)
    if missing:
        write_bytes(film, encode_mp4(frames(), profile.fps))
    if not note.exists():
        write_bytes(note, _dump(annotation()))
    return missing


def _write_split(
    root: Path, split: str, results: list[_Done]
) -> dict[str, Any]:
    """Write the VidSTG files of a split and count what is in them."""
    parts = [done for done in results if done.chunk.split == split]
    vids = [vid for done in parts for vid in done.vids]
    entries = [entry for done in parts for entry in done.entries]
    meta = [item for done in parts for item in done.meanings]
    folder = root / 'vidstg'
    write_bytes(folder / f'{split}_annotations.json', _dump(entries))
    write_bytes(folder / f'{split}_files.json', _dump(vids))
    write_bytes(folder / f'{split}_meta.json', _dump(meta))
    kinds = {'basic': 0, 'spatial': 0, 'temporal': 0}
    for item in meta:
        for meaning in item['captions'] + item['questions']:
            kinds[meaning['kind']] += 1
    return {
        'videos': len(vids),
        'entries': len(entries),
        'captions': sum(len(entry['captions']) for entry in entries),
        'questions': sum(len(entry['questions']) for entry in entries),
        'kinds': kinds,
    }


def _convert(plan: _Plan, split: str, progress: bool) -> None:
    """Write ``OUT/<split>.json`` where it is missing."""
    root = plan.root
    out = root / f'{split}.json'
    if not plan.sizes[split] or _is_converted(out):
        return
    if progress:
        sys.stderr.write(f'converting {split} to {out}\n')
    convert_vidstg(
        root / 'vidstg' / f'{split}_annotations.json',
        root / 'vidor' / 'annotation',
        out,
        files=root / 'vidstg' / f'{split}_files.json',
        split=split,
        dataset=_DATASETS[plan.name],
    )


def _is_converted(out: Path) -> bool:
    """Whether both files are there, by a converter that knows tracks.

    Files of version 0.1.0 do not say that all objects are annotated: a
    training would take the rest of the picture for unknown.
    """
    if not (out.is_file() and out.with_suffix('.tracks.npy').is_file()):
        return False
    with out.open(encoding='utf-8') as file:
        return 'tracks_complete' in json.load(file)['metainfo']


def _dump(content: object) -> bytes:
    return json.dumps(content).encode()
