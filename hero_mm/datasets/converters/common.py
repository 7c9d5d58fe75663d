"""What all converters share: the summary, errors, and reading JSON."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Optional, Union

from hero_mm.errors import UserError
from hero_mm.files import write_bytes
from hero_mm.json_reader import JsonError
from hero_mm.json_reader import read_json as read_any_json
from hero_mm.processes import end_with_parent

from ..annotation import QUERY_TYPES
from ..tracks import MOST_FRAMES, VideoInfo

PathLike = Union[str, Path]
# Frames and pixels are fewer: a larger number is damage.
MOST = MOST_FRAMES
_CURE = 'correct it, or check that this is the official file'
Progress = Callable[[Iterable[Any], int], Iterable[Any]]


class ConversionError(UserError):
    """A raw file is wrong at one place.

    Args:
        path (PathLike): The file.
        where (str): The entry.
        found (str): What is wrong there.
        cure (str): What to do.
    """

    def __init__(
        self, path: PathLike, where: str, found: str, cure: str
    ) -> None:
        super().__init__(f'{path}, {where}: {found}. Cure: {cure}.')
        self.args = (str(path), where, found, cure)

    def __str__(self) -> str:
        path, where, found, cure = self.args
        return f'{path}, {where}: {found}. Cure: {cure}.'


class Record:
    """Counts and lists what was repaired and what was left out.

    Attributes:
        notes (Counter): What was repaired or is worth knowing, by what it is.
        repaired (list[str]): The same by name, one line a thing.
        skipped (list[str]): Everything that was left out, and why.
    """

    notes: Counter
    repaired: list[str]
    skipped: list[str]

    def note(self, kind: str, where: str, count: int = 1) -> None:
        """Count something and list where it is.

        Args:
            kind (str): What was repaired or is worth knowing.
            where (str): The place.
            count (int): How many. Defaults to 1.
        """
        self.notes[kind] += count
        self.repaired.append(f'{kind}: {where}')

    def skip(self, error: ConversionError, skip_bad: bool, what: str) -> None:
        """List what is left out, or stop.

        Args:
            error (ConversionError): What is wrong.
            skip_bad (bool): Whether to go on.
            what (str): What is left out: a video, a sentence, a box.

        Raises:
            ConversionError: The error, without ``skip_bad``.
        """
        if not skip_bad:
            raise error
        self.skipped.append(f'{what}: {error}')

    def take(self, other: 'Record') -> None:
        """Add what another one holds.

        Args:
            other (Record): Of a part.
        """
        self.notes.update(other.notes)
        self.repaired.extend(other.repaired)
        self.skipped.extend(other.skipped)


@dataclass
class ReadVideo(Record):
    """A video as read from a file of its own.

    Attributes:
        video (VideoInfo): With its tracks.
        notes (Counter): What was repaired.
        repaired (list[str]): The same by name.
        skipped (list[str]): Boxes that were dropped, and why.
    """

    video: VideoInfo
    notes: Counter = field(default_factory=Counter)
    repaired: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass
class ConversionSummary(Record):
    """What a conversion wrote, repaired and skipped.

    Attributes:
        out (str): The annotation file.
        videos (int): Videos written.
        clips (int): Segments written.
        sentences (Counter): Sentences written, by type.
        notes (Counter): What was repaired or is worth knowing, by what it is.
        repaired (list[str]): The same by name, one line a thing.
        skipped (list[str]): Everything that was left out, and why.
        official (Mapping[str, int]): Published numbers, by ``videos``,
            ``sentences`` or type; told beside ours.
    """

    out: str
    videos: int = 0
    clips: int = 0
    sentences: Counter = field(default_factory=Counter)
    notes: Counter = field(default_factory=Counter)
    repaired: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    official: Mapping[str, int] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, int]]:
        """The summary as a table.

        Returns:
            list[tuple[str, int]]: What, and how many.
        """
        types = sorted({*self.sentences, *self.official} & set(QUERY_TYPES))
        return [
            ('videos', self.videos),
            ('segments (clips)', self.clips),
            ('sentences', sum(self.sentences.values())),
            *((f'  {name}', self.sentences[name]) for name in types),
            *sorted(self.notes.items()),
            ('skipped', len(self.skipped)),
        ]

    def text(self, most: int = 20) -> str:
        """The summary as text.

        Args:
            most (int): Skipped things that are told by name.

        Returns:
            str: A table, then what was skipped.
        """
        lines = [self.table()]
        lines += [f'  skipped: {reason}' for reason in self.skipped[:most]]
        if len(self.skipped) > most:
            lines.append(f'  ... and {len(self.skipped) - most} more')
        return '\n'.join(lines)

    def table(self) -> str:
        """The numbers as text.

        Returns:
            str: The file, then one line a number.
        """
        rows = self.rows()
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
        """Write the summary, then everything repaired or skipped by name.

        Args:
            path (PathLike): The text file.
        """
        lines = [self.table()]
        lines += [f'repaired: {line}' for line in self.repaired]
        lines += [f'skipped: {line}' for line in self.skipped]
        write_bytes(Path(path), ('\n'.join(lines) + '\n').encode())


def read_videos(
    read: Callable[[Any], ReadVideo],
    files: Sequence[Any],
    record: Record,
    skip_bad: bool,
    workers: int = 1,
    progress: Optional[Progress] = None,
) -> list[VideoInfo]:
    """Read a file for each video, in processes where it pays.

    Args:
        read (Callable): Reads one; can be pickled.
        files (Sequence): What it is called with.
        record (Record): Takes what was repaired; lists what was left out.
        skip_bad (bool): Leave out and list a video whose file is wrong,
            instead of raising.
        workers (int): Processes. Defaults to 1.
        progress (Callable, optional): Wraps the loop over the videos; gets an
            iterable and its length.

    Returns:
        list[VideoInfo]: In order.

    Raises:
        ConversionError: A file is wrong, without ``skip_bad``.
    """
    work = partial(_attempt, read)
    if workers <= 1 or len(files) < 2 * workers:
        return _take(map(work, files), len(files), record, skip_bad, progress)
    with ProcessPoolExecutor(workers, initializer=end_with_parent) as pool:
        found = pool.map(work, files, chunksize=4)
        return _take(found, len(files), record, skip_bad, progress)


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


def _take(
    found: Iterable[Union[ReadVideo, ConversionError]],
    total: int,
    record: Record,
    skip_bad: bool,
    progress: Optional[Progress],
) -> list[VideoInfo]:
    """Gather what was read as it comes."""
    videos = []
    for item in progress(found, total) if progress else found:
        if isinstance(item, ConversionError):
            record.skip(item, skip_bad, 'video')
        else:
            record.take(item)
            videos.append(item.video)
    return videos


def read_json(path: PathLike, **options: Any) -> Any:
    """Read a raw JSON file; ``FILE.gz`` beside it does as well.

    Args:
        path (PathLike): The file.
        **options: Of :func:`hero_mm.json_reader.read_json`.

    Returns:
        Any: Its content.

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
        raise ConversionError(
            path, error.where, error.found, 'fetch the file again'
        ) from error


def need(path: PathLike, where: str, entry: Any, keys: Sequence[str]) -> None:
    """Check that an entry is an object with some keys.

    Args:
        path (PathLike): The file, for the error.
        where (str): The entry, for the error.
        entry (Any): What stands there.
        keys (Sequence[str]): What it must have.

    Raises:
        ConversionError: A key is missing.
    """
    if not isinstance(entry, dict):
        raise ConversionError(
            path,
            where,
            f'expected an object, found {type(entry).__name__}',
            'check that this is the official file',
        )
    for key in keys:
        if key not in entry:
            raise ConversionError(
                path,
                where,
                f'key {key!r} is missing, found {sorted(entry)}',
                'check that this is the official file, or skip what is bad',
            )


def read_number(
    path: PathLike, where: str, entry: Any, key: str, least: float = -math.inf
) -> float:
    """Read a number of an entry.

    Args:
        path (PathLike): The file, for the error.
        where (str): The entry, for the error.
        entry (Any): What stands there.
        key (str): The name of the number.
        least (float): What it must be at least. Defaults to any.

    Returns:
        float: The number, or an int where it is one.

    Raises:
        ConversionError: It is missing, no finite number or too small.
    """
    need(path, where, entry, (key,))
    value = entry[key]
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not math.isfinite(value) or value < least:
        bound = '' if least == -math.inf else f' from {least:g} on'
        raise ConversionError(
            path,
            f'{where}, {key}',
            f'expected a number{bound}, found {value!r:.80}',
            _CURE,
        )
    return value


def read_whole(
    path: PathLike, where: str, entry: Any, key: str, least: float = -math.inf
) -> int:
    """Read a whole number of an entry.

    Args:
        path (PathLike): The file, for the error.
        where (str): The entry, for the error.
        entry (Any): What stands there.
        key (str): The name of the number.
        least (float): What it must be at least. Defaults to any.

    Returns:
        int: The number.

    Raises:
        ConversionError: It is missing, no whole number, too small, or
            larger than :data:`MOST`.
    """
    value = read_number(path, where, entry, key, least)
    if value != int(value) or abs(value) > MOST:
        bound = f' up to {MOST:,}' if value == int(value) else ''
        raise ConversionError(
            path,
            f'{where}, {key}',
            f'expected a whole number{bound}, found {value!r:.40}',
            _CURE,
        )
    return int(value)


def read_text(path: PathLike, where: str, entry: Any, key: str) -> str:
    """Read a text of an entry.

    Args:
        path (PathLike): The file, for the error.
        where (str): The entry, for the error.
        entry (Any): What stands there.
        key (str): The name of the text.

    Returns:
        str: The text.

    Raises:
        ConversionError: It is missing or no text, such as null.
    """
    return _read(path, where, entry, key, (str,), 'text')


def read_name(path: PathLike, where: str, entry: Any, key: str) -> str:
    """Read what something is called: text or a whole number.

    Args:
        path (PathLike): The file, for the error.
        where (str): The entry, for the error.
        entry (Any): What stands there.
        key (str): The name of the name.

    Returns:
        str: The name as text.

    Raises:
        ConversionError: It is missing or neither of the two.
    """
    kinds = (str, int)
    return str(_read(path, where, entry, key, kinds, 'text or a whole number'))


def read_list(path: PathLike, where: str, entry: Any, key: str) -> list[Any]:
    """Read a list of an entry.

    Args:
        path (PathLike): The file, for the error.
        where (str): The entry, for the error.
        entry (Any): What stands there.
        key (str): The name of the list.

    Returns:
        list: The list.

    Raises:
        ConversionError: It is missing or no list.
    """
    return _read(path, where, entry, key, (list,), 'a list')


def _read(
    path: PathLike,
    where: str,
    entry: Any,
    key: str,
    kinds: tuple[type, ...],
    told: str,
) -> Any:
    need(path, where, entry, (key,))
    if type(entry[key]) not in kinds:
        raise ConversionError(
            path,
            f'{where}, {key}',
            f'expected {told}, found {entry[key]!r:.80}',
            _CURE,
        )
    return entry[key]
