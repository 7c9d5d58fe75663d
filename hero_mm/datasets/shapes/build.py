"""Write the benchmark to disk, in the official raw layout.

``OUT/vidor/{annotation,video}`` and ``OUT/vidstg`` look as VidOR and VidSTG
are published; ``OUT/{train,val,test}.json`` are made from them by the same
converter as those of VidSTG. A file is there as a whole or not at all, and
nothing depends on the number of workers, so an interrupted run goes on where
it stopped. ``OUT/probes`` is such a folder of its own, with a split a probe.
"""

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Optional

import cv2

from hero_mm.errors import UserError
from hero_mm.files import PathLike, write_bytes, write_text
from hero_mm.processes import end_with_parent, in_processes

from ..converters.vidstg import convert_vidstg
from ..progress import show_progress
from .haystack import draw_haystack
from .profiles import HAYSTACKS, PROBE_VIDEOS, PROBES, PROFILES
from .render import encode_mp4
from .video import MAX_PROBE, draw_video, vidor_part

# Changes whenever the same seed would give another benchmark.
VERSION = 4
_MAX_SIZE = 1_000_000
_VIDSTG_FILES = ('annotations', 'files', 'meta')
# Split and number of a video.
_Key = tuple[str, int]
# VidSTG's entries of a video, what they mean, and whether it was rendered.
_Done = tuple[list[dict[str, Any]], list[dict[str, Any]], bool]


class _Plan(NamedTuple):
    """What belongs into a folder: ``sizes`` are videos by split."""

    root: Path
    name: str
    seed: int
    sizes: dict[str, int]

    def summary(self, splits: dict[str, Any]) -> dict[str, Any]:
        """The content of ``shapes.json``; without a name: the default."""
        summary = {'version': VERSION, 'seed': self.seed, 'splits': splits}
        if self.name != 'default':
            summary['profile'] = self.name
        return summary


def build_shapes(
    out: PathLike,
    num_videos: Optional[Mapping[str, int]] = None,
    seed: int = 0,
    workers: int = 2,
    profile: str = 'default',
) -> dict[str, Any]:
    """Render the benchmark where it is missing.

    Args:
        out (str or PathLike): Folder to write to. One process a folder.
        num_videos (Mapping[str, int], optional): Videos of 'train', 'val' and
            'test'; a split that is not named has its default size. Defaults
            to 4500, 200 and 500 (of other profiles: ``PROFILES``).
        seed (int): Seed.
        workers (int): Number of processes.
        profile (str): 'default'; 'long', which has larger frames and more
            of them; or 'haystack', whose videos last minutes.

    Returns:
        dict: The content of ``shapes.json`` (``splits`` counts videos and
        sentences) and ``rendered``, how many videos this call rendered.

    Raises:
        ValueError: If an argument is unusable, or the folder holds the
            benchmark of another profile, seed or version.
    """
    if profile not in PROFILES:
        raise UserError(
            f'profile is {profile!r}; there are {", ".join(PROFILES)}.'
        )
    sizes = _checked_sizes(num_videos, PROFILES[profile].videos, _MAX_SIZE)
    return _build(_Plan(Path(out), profile, seed, sizes), workers)


def build_probes(
    out: PathLike,
    num_videos: Optional[Mapping[str, int]] = None,
    seed: int = 0,
    workers: int = 2,
) -> dict[str, Any]:
    """Render the probes, small test splits, where they are missing.

    Arguments, what is returned and errors are those of :func:`build_shapes`.
    The probes are written to ``probes`` in the folder of the benchmark,
    whether the rest is there or not; ``num_videos`` goes by their names, and
    one that is not named has 100, with 5 sentences or more each.
    """
    usual = dict.fromkeys(PROBES, PROBE_VIDEOS)
    sizes = _checked_sizes(num_videos, usual, MAX_PROBE)
    return _build(_Plan(Path(out) / 'probes', 'probes', seed, sizes), workers)


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
        _check_number(f'num_videos[{split!r}]', number, most)
        sizes[split] = number
    return sizes


def _check_number(name: str, value: object, most: int) -> None:
    if type(value) is not int or not 0 <= value <= most:
        raise UserError(
            f'{name} is {value!r}; give a whole number from 0 to {most}.'
        )


def _build(plan: _Plan, workers: int) -> dict[str, Any]:
    """Render, and convert what was rendered."""
    _check_number('seed', plan.seed, 2**31)
    summary, rendered = _read_summary(plan), 0
    if summary is None or not _is_rendered(plan, summary):
        summary, rendered = _render(plan, workers)
    name = 'shapes' if plan.name == 'default' else f'shapes-{plan.name}'
    for split, number in plan.sizes.items():
        out = plan.root / f'{split}.json'
        tracks = out.with_suffix('.tracks.npy')
        if not number or (out.is_file() and tracks.is_file()):
            continue
        sys.stderr.write(f'converting {split} to {out}\n')
        convert_vidstg(
            plan.root / 'vidstg' / f'{split}_annotations.json',
            plan.root / 'vidor' / 'annotation',
            out,
            split=split,
            dataset=name,
        )
    return {**summary, 'rendered': rendered}


def _read_summary(plan: _Plan) -> Optional[dict[str, Any]]:
    """Summary of an earlier run; it must be of the same benchmark."""
    path = plan.root / 'shapes.json'
    if not path.exists():
        return None
    wanted = plan.summary({})
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        if {**found, 'splits': {}} == wanted and 'splits' in found:
            return found
    except (ValueError, TypeError):
        pass
    raise UserError(
        f'{path} is not that of the benchmark {wanted}, but of another '
        f'profile, seed or version: {path.read_text():.80}. Delete the '
        'folder or give another one.'
    )


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


def _render(plan: _Plan, workers: int) -> tuple[dict[str, Any], int]:
    """Write the raw layout; gives the summary and what was rendered."""
    path = plan.root / 'shapes.json'
    # Without counts: begun, and not to be mixed with another seed.
    write_text(path, json.dumps(plan.summary({})))
    keys = [(split, i) for split, n in plan.sizes.items() for i in range(n)]
    work = partial(_build_video, plan)
    found = in_processes(work, keys, workers, _start_worker, 'spawn')
    done = dict(show_progress(found, len(keys), 'rendering shapes'))
    counts = {}
    for split, number in plan.sizes.items():
        for ending in ('json', 'tracks.npy'):
            (plan.root / f'{split}.{ending}').unlink(missing_ok=True)
        parts = [done[split, index] for index in range(number)]
        counts[split] = _write_split(plan.root, split, parts)
    summary = plan.summary(counts)
    write_text(path, json.dumps(summary))
    return summary, sum(is_new for *_, is_new in done.values())


def _start_worker() -> None:
    end_with_parent()
    cv2.setNumThreads(1)


def _build_video(plan: _Plan, key: _Key) -> tuple[_Key, _Done]:
    """Write the files of a video that are not there yet."""
    split, index = key
    # A probe or length has its own, others share that of the folder.
    profile = {**PROBES, **HAYSTACKS}.get(split) or PROFILES[plan.name]
    if profile.minutes:
        video = draw_haystack(index, plan.seed, profile)
    else:
        video = draw_video(split, index, plan.seed, profile)
    base = plan.root / 'vidor'
    notes = base / 'annotation' / vidor_part(split) / video.subdir
    note, film = notes / f'{video.vid}.json', base / 'video' / video.path
    is_new = not film.exists()
    if is_new:
        write_bytes(film, encode_mp4(video.frames(), profile.fps))
    if not note.exists():
        write_text(note, json.dumps(video.annotation()))
    return key, (video.vidstg_entries(), video.meanings(), is_new)


def _write_split(root: Path, split: str, parts: list[_Done]) -> dict[str, Any]:
    """Write the VidSTG files of a split and count what is in them."""
    entries = [entry for part, _, _ in parts for entry in part]
    meta = [item for _, part, _ in parts for item in part]
    vids = list(dict.fromkeys(entry['vid'] for entry in entries))
    for name, content in zip(_VIDSTG_FILES, (entries, vids, meta)):
        path = root / 'vidstg' / f'{split}_{name}.json'
        write_text(path, json.dumps(content))
    kinds = {'basic': 0, 'spatial': 0, 'temporal': 0}
    for item in meta:
        for meaning in item['captions'] + item['questions']:
            kinds[meaning['kind']] += 1
    return {
        'videos': len(parts),
        'entries': len(entries),
        'captions': sum(len(entry['captions']) for entry in entries),
        'questions': sum(len(entry['questions']) for entry in entries),
        'kinds': kinds,
    }
