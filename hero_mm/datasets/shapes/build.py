"""Write the benchmark to disk, in the official raw layout.

``OUT/vidor/{annotation,video}`` and ``OUT/vidstg`` look as VidOR and VidSTG
are published; ``OUT/{train,val,test}.json`` are made from them by the same
converter as those of VidSTG. A file is there as a whole or not at all, and
nothing depends on the number of workers, so an interrupted run goes on where
it stopped.
"""

import json
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import cv2
from rich.console import Console
from rich.progress import track

from hero_mm.datasets.converters.vidstg import convert_vidstg
from hero_mm.datasets.shapes.render import encode_mp4, render
from hero_mm.datasets.shapes.video import (
    SPLITS,
    ShapesVideo,
    draw_video,
    meanings,
    vidor_annotation,
    vidstg_entries,
)
from hero_mm.files import write_bytes

# Changes whenever the same seed would give another benchmark.
VERSION = 4
DEFAULT_SIZES = {'train': 4500, 'val': 200, 'test': 500}
_MAX_SIZE = 1_000_000
_CHUNK = 25
_LINE_SECONDS = 10.0
_SUMMARY = 'shapes.json'
_VIDSTG_FILES = ('annotations', 'files', 'meta')


class _Chunk(NamedTuple):
    """Some videos of a split, for one worker."""

    out: Path
    split: str
    start: int
    end: int
    seed: int


class _Done(NamedTuple):
    """What a worker sends back; files are written already."""

    chunk: _Chunk
    vids: list[str]
    entries: list[dict[str, Any]]
    meanings: list[dict[str, Any]]
    rendered: int


def build_shapes(
    out: Union[str, os.PathLike[str]],
    num_videos: Optional[Mapping[str, int]] = None,
    seed: int = 0,
    workers: int = 2,
    progress: bool = True,
) -> dict[str, Any]:
    """Render the benchmark where it is missing.

    Args:
        out (str or PathLike): Folder to write to. One process a folder.
        num_videos (Mapping[str, int], optional): Videos of 'train', 'val' and
            'test'; a split that is not named has its default size. Defaults
            to 4500, 200 and 500.
        seed (int): Seed. Defaults to 0.
        workers (int): Number of processes. Defaults to 2.
        progress (bool): Whether to show, on standard error, how far it is.
            Defaults to True.

    Returns:
        dict: ``version``, ``seed``, ``splits`` (videos, entries, captions,
        questions and kinds of sentences of each) and ``rendered``, the number
        of videos that this call rendered.

    Raises:
        ValueError: If an argument is unusable, or the folder holds the
            benchmark of another seed or version.
    """
    sizes = _checked_sizes(num_videos)
    _check_number('seed', seed, 0)
    _check_number('workers', workers, 1)
    root = Path(out)
    if root.exists() and not root.is_dir():
        raise ValueError(f'out={str(out)!r} is a file; give a folder.')
    console = Console(stderr=True, highlight=False) if progress else None
    found = _read_summary(root, seed)
    if found is not None and _is_rendered(root, found, sizes):
        summary, rendered = found, 0
    else:
        summary, rendered = _render(root, sizes, seed, workers, console)
    for split, number in sizes.items():
        _convert(root, split, number, console)
    return {**summary, 'rendered': rendered}


def _render(
    root: Path,
    sizes: dict[str, int],
    seed: int,
    workers: int,
    console: Optional[Console],
) -> tuple[dict[str, Any], int]:
    """Write the raw layout; gives the summary and what was rendered."""
    # Without counts: begun, and not to be mixed with another seed.
    write_bytes(root / _SUMMARY, _dump(_summary(seed, {})))
    chunks = [
        _Chunk(root, split, start, min(start + _CHUNK, number), seed)
        for split, number in sizes.items()
        for start in range(0, number, _CHUNK)
    ]
    results = list(_with_progress(chunks, workers, console))
    results.sort(key=lambda done: done.chunk)
    counts = {split: _write_split(root, split, results) for split in SPLITS}
    for split in SPLITS:
        _remove_converted(root, split)
    summary = _summary(seed, counts)
    write_bytes(root / _SUMMARY, _dump(summary))
    return summary, sum(done.rendered for done in results)


def _checked_sizes(num_videos: Optional[Mapping[str, int]]) -> dict[str, int]:
    """Default sizes, updated and checked."""
    sizes = dict(DEFAULT_SIZES)
    for split, number in (num_videos or {}).items():
        if split not in SPLITS:
            raise ValueError(
                f'num_videos names the split {split!r}; '
                f'there are {", ".join(SPLITS)}.'
            )
        _check_number(f'num_videos[{split!r}]', number, 0, _MAX_SIZE)
        sizes[split] = number
    return sizes


def _check_number(
    name: str, value: object, low: int, high: int = 2**31
) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(
            f'{name} is {value!r}; give a whole number from {low} to {high}.'
        )


def _summary(seed: int, splits: dict[str, Any]) -> dict[str, Any]:
    return {'version': VERSION, 'seed': seed, 'splits': splits}


def _read_summary(root: Path, seed: int) -> Optional[dict[str, Any]]:
    """Summary of an earlier run; it must be of the same benchmark."""
    path = root / _SUMMARY
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        theirs = found['version'], found['seed'], found['splits']
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} is not a summary of the benchmark ({error!r}); '
            'delete the folder or give another one.'
        ) from error
    if theirs[:2] != (VERSION, seed):
        raise ValueError(
            f'{root} holds version {theirs[0]} with seed {theirs[1]}, not '
            f'version {VERSION} with seed {seed}; delete the folder or give '
            'another one.'
        )
    return found


def _is_rendered(
    root: Path, found: dict[str, Any], sizes: dict[str, int]
) -> bool:
    """Whether every split has its size and every file is there."""
    wanted: list[str] = []
    for split, number in sizes.items():
        if found['splits'].get(split, {}).get('videos') != number:
            return False
        names = [f'vidstg/{split}_{n}.json' for n in _VIDSTG_FILES]
        if not all((root / name).is_file() for name in names):
            return False
        wanted += json.loads((root / f'vidstg/{split}_files.json').read_text())
    films = {path.stem for path in (root / 'vidor/video').glob('*/*.mp4')}
    notes = (root / 'vidor/annotation').glob('*/*/*.json')
    return films.intersection(path.stem for path in notes).issuperset(wanted)


def _with_progress(
    chunks: list[_Chunk], workers: int, console: Optional[Console]
) -> Iterable[_Done]:
    """Results as they come, with a bar or, without a terminal, with lines."""
    results = _run(chunks, workers)
    if console is None:
        return results
    if console.is_terminal:
        return track(
            results, 'rendering shapes', total=len(chunks), console=console
        )
    return _with_lines(results, sum(c.end - c.start for c in chunks), console)


def _with_lines(
    results: Iterator[_Done], total: int, console: Console
) -> Iterator[_Done]:
    """Say how far it is, every ten seconds."""
    count, last = 0, time.monotonic()
    for done in results:
        count += len(done.vids)
        if time.monotonic() - last > _LINE_SECONDS or count == total:
            console.print(f'rendering shapes: {count} of {total} videos')
            last = time.monotonic()
        yield done


def _run(chunks: list[_Chunk], workers: int) -> Iterator[_Done]:
    """Do the chunks here or in a pool of processes."""
    if workers == 1 or len(chunks) < 2:
        yield from map(_build_chunk, chunks)
        return
    pool = ProcessPoolExecutor(
        min(workers, len(chunks)),
        mp_context=multiprocessing.get_context('spawn'),
        initializer=cv2.setNumThreads,
        initargs=(1,),
    )
    try:
        futures = [pool.submit(_build_chunk, chunk) for chunk in chunks]
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _build_chunk(chunk: _Chunk) -> _Done:
    """Write the files of some videos that are not there yet."""
    done = _Done(chunk, [], [], [], 0)
    rendered = 0
    for index in range(chunk.start, chunk.end):
        video = draw_video(chunk.split, index, chunk.seed)
        rendered += _write_video(chunk, video)
        done.vids.append(video.vid)
        done.entries.extend(vidstg_entries(video))
        done.meanings.extend(meanings(video))
    return done._replace(rendered=rendered)


def _write_video(chunk: _Chunk, video: ShapesVideo) -> bool:
    """Write video and annotation; tells whether it had to be rendered."""
    # VidSTG's train and val videos are VidOR's training videos.
    part = 'validation' if chunk.split == 'test' else 'training'
    base = chunk.out / 'vidor'
    note = base / 'annotation' / part / video.subdir / f'{video.vid}.json'
    film = base / 'video' / video.subdir / f'{video.vid}.mp4'
    missing = not film.exists()
    if missing:
        write_bytes(film, encode_mp4(render(video.world)))
    if not note.exists():
        write_bytes(note, _dump(vidor_annotation(video)))
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
        for told in item['captions'] + item['questions']:
            kinds[told['kind']] += 1
    return {
        'videos': len(vids),
        'entries': len(entries),
        'captions': sum(len(entry['captions']) for entry in entries),
        'questions': sum(len(entry['questions']) for entry in entries),
        'kinds': kinds,
    }


def _remove_converted(root: Path, split: str) -> None:
    for name in (f'{split}.json', f'{split}.tracks.npy'):
        (root / name).unlink(missing_ok=True)


def _convert(
    root: Path, split: str, number: int, console: Optional[Console]
) -> None:
    """Write ``OUT/<split>.json`` where it is missing."""
    out = root / f'{split}.json'
    if not number or (
        out.is_file() and out.with_suffix('.tracks.npy').is_file()
    ):
        return
    if console is not None:
        console.print(f'converting {split} to {out}')
    convert_vidstg(
        root / 'vidstg' / f'{split}_annotations.json',
        root / 'vidor' / 'annotation',
        out,
        files=root / 'vidstg' / f'{split}_files.json',
        split=split,
        dataset='shapes',
    )


def _dump(content: object) -> bytes:
    return json.dumps(content).encode()
