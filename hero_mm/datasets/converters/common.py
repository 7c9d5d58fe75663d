"""What all converters share: the summary, errors, and reading JSON."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

PathLike = Union[str, Path]
Progress = Callable[[Iterable[Any], int], Iterable[Any]]


class ConversionError(ValueError):
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


@dataclass
class ConversionSummary:
    """What a conversion wrote, repaired and skipped.

    Attributes:
        out (str): The annotation file.
        videos (int): Videos written.
        clips (int): Segments written.
        sentences (Counter): Sentences written, by type.
        notes (Counter): What was repaired or is worth knowing, by what it is.
        skipped (list[str]): Everything that was left out, and why.
    """

    out: str
    videos: int = 0
    clips: int = 0
    sentences: Counter = field(default_factory=Counter)
    notes: Counter = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)

    def rows(self) -> list[tuple[str, int]]:
        """The summary as a table.

        Returns:
            list[tuple[str, int]]: What, and how many.
        """
        return [
            ('videos', self.videos),
            ('segments (clips)', self.clips),
            ('sentences', sum(self.sentences.values())),
            *((f'  {k}', n) for k, n in sorted(self.sentences.items())),
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
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        lines = [f'{self.out}']
        lines += [f'  {name:<{width}}  {count:>9,}' for name, count in rows]
        lines += [f'  skipped: {reason}' for reason in self.skipped[:most]]
        if len(self.skipped) > most:
            lines.append(f'  ... and {len(self.skipped) - most} more')
        return '\n'.join(lines)


def read_json(path: PathLike) -> Any:
    """Read a raw JSON file.

    Args:
        path (PathLike): The file.

    Returns:
        Any: Its content.

    Raises:
        FileNotFoundError: There is none.
        ConversionError: It is not valid JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'raw annotation file {path} does not exist; fetch it or correct '
            'the path'
        )
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ConversionError(
            path,
            f'{path.stat().st_size} bytes',
            f'not valid JSON ({error})',
            'fetch the file again',
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
