"""What all converters share: what is counted, and reading raw files."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Optional, Union

from hero_mm.files import write_bytes
from hero_mm.json_reader import JsonError
from hero_mm.json_reader import read_json as read_any_json
from hero_mm.processes import end_with_parent

from ..annotation import QUERY_TYPES
from ..entries import ConversionError, Entry, PathLike
from ..progress import Progress
from ..tracks import VideoInfo

_LISTED = 20


@dataclass
class Record:
    """Counts and lists what was repaired and what was left out.

    Args:
        skip_bad (bool): Leave out and list what is wrong, instead of raising
            at the first.

    Attributes:
        notes (Counter): What was repaired or is worth knowing, by what it is.
        repaired (list[str]): The same by name, one line a thing.
        skipped (list[str]): Everything that was left out, and why.
    """

    skip_bad: bool = False
    notes: Counter = field(default_factory=Counter)
    repaired: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def note(self, kind: str, where: str, count: int = 1) -> None:
        """Count something and list where it is."""
        self.notes[kind] += count
        self.repaired.append(f'{kind}: {where}')

    def skip(self, error: Exception, what: str) -> None:
        """List what is left out and why; without ``skip_bad`` raise that."""
        if not self.skip_bad:
            raise error
        self.skipped.append(f'{what}: {error}')

    @contextmanager
    def leaving_out(self, what: str) -> Iterator[None]:
        """Leave out, in a ``with`` block, what is wrong."""
        try:
            yield
        except ConversionError as error:
            self.skip(error, what)

    def take(self, other: 'Record') -> None:
        """Add what another one holds."""
        self.notes.update(other.notes)
        self.repaired.extend(other.repaired)
        self.skipped.extend(other.skipped)


class ConversionSummary(Record):
    """What a conversion wrote, repaired and skipped.

    Args:
        out (PathLike): The annotation file.
        skip_bad (bool): See :class:`Record`.

    Attributes:
        videos (int): Videos written.
        clips (int): Segments written.
        sentences (Counter): Sentences written, by type.
        official (Mapping[str, int]): Published numbers, by ``videos``,
            ``sentences`` or type; they stand beside ours.
    """

    def __init__(self, out: PathLike, skip_bad: bool = False) -> None:
        super().__init__(skip_bad)
        self.out = str(out)
        self.videos = self.clips = 0
        self.sentences: Counter = Counter()
        self.official: Mapping[str, int] = {}

    def text(self) -> str:
        """The summary as text: a table, then the first things skipped."""
        lines = [self.table()]
        lines += [f'  skipped: {reason}' for reason in self.skipped[:_LISTED]]
        if len(self.skipped) > _LISTED:
            lines.append(f'  ... and {len(self.skipped) - _LISTED} more')
        return '\n'.join(lines)

    def table(self) -> str:
        """The numbers as text: the file, then one line a number."""
        types = sorted({*self.sentences, *self.official} & set(QUERY_TYPES))
        rows = [
            ('videos', self.videos),
            ('segments (clips)', self.clips),
            ('sentences', sum(self.sentences.values())),
            *((f'  {name}', self.sentences[name]) for name in types),
            *sorted(self.notes.items()),
            ('skipped', len(self.skipped)),
        ]
        width = max(len(name) for name, _ in rows)
        lines = [
            f'  {name:<{width}}  {count:>9,}{self._compare(name, count)}'
            for name, count in rows
        ]
        return '\n'.join([self.out, *lines])

    def _compare(self, name: str, count: int) -> str:
        """The published number beside ours."""
        published = self.official.get(name.strip())
        if published is None:
            return ''
        if count == published:
            return f' of {published:,} published'
        return f' of {published:,} published ({count - published:+,})'

    def write_list(self, path: PathLike) -> None:
        """Write the summary, then everything repaired or skipped by name."""
        lines = [self.table()]
        lines += [f'repaired: {line}' for line in self.repaired]
        lines += [f'skipped: {line}' for line in self.skipped]
        write_bytes(Path(path), ('\n'.join(lines) + '\n').encode())


ReadVideo = tuple[VideoInfo, Record]


def read_videos(
    read: Callable[[Any], ReadVideo],
    files: Sequence[Any],
    record: Record,
    workers: int = 1,
    progress: Optional[Progress] = None,
) -> list[VideoInfo]:
    """Read a file for each video, in order, in processes where it pays.

    ``record`` takes what was repaired and what was left out.

    Raises:
        ConversionError: A file is wrong, unless it may be left out.
    """
    videos = []
    with ExitStack() as stack:
        run: Callable = map
        if workers > 1 and len(files) >= 2 * workers:
            pool = ProcessPoolExecutor(workers, initializer=end_with_parent)
            run = partial(stack.enter_context(pool).map, chunksize=4)
        found = run(partial(_attempt, read), files)
        for item in progress(found, len(files)) if progress else found:
            if isinstance(item, ConversionError):
                record.skip(item, 'video')
            else:
                videos.append(item[0])
                record.take(item[1])
    return videos


def _attempt(
    read: Callable[[Any], ReadVideo], file: Any
) -> Union[ReadVideo, ConversionError]:
    """What is read, or why it cannot be: one bad file stops no pool."""
    try:
        return read(file)
    except ConversionError as error:
        return error
    except OSError as error:
        name = error.filename or str(file)
        cure = 'make it readable, or leave it out with --skip-bad'
        return ConversionError(name, 'the file', str(error), cure)


def read_json(path: PathLike, **options: Any) -> Any:
    """Read a raw JSON file; ``FILE.gz`` beside it does as well.

    Options are those of :func:`hero_mm.json_reader.read_json`.

    Raises:
        FileNotFoundError: There is none.
        ConversionError: It is not valid JSON.
    """
    path = Path(path)
    if not path.is_file():
        packed = path.with_name(f'{path.name}.gz')
        if not packed.is_file():
            raise FileNotFoundError(
                f'raw annotation file {path} does not exist; fetch it or '
                'correct the path'
            )
        path = packed
    try:
        return read_any_json(path, **options)
    except JsonError as error:
        cure = 'fetch the file again'
        raise Entry(path, error.where).error(error.found, cure) from error


def split_of(path: PathLike) -> str:
    """The split that the name of a raw file begins with, or its whole name."""
    stem = Path(path).stem
    found = re.match('train|val|test', stem)
    return found.group() if found else stem


def number_again(names: Iterable[str]) -> list[str]:
    """The names as ids; one that occurs again gets ``#2``, ``#3``, ..."""
    seen: Counter = Counter()
    ids = []
    for name in names:
        seen[name] += 1
        ids.append(name if seen[name] == 1 else f'{name}#{seen[name]}')
    return ids
