"""Read values of files that others wrote, or say where one is wrong."""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from hero_mm.errors import UserError

from .tracks import MOST_FRAMES

PathLike = Union[str, Path]


class AnnotationError(UserError):
    """A file of annotations, raw or converted, is wrong at one place.

    Args:
        path (PathLike): The file.
        where (str): The entry.
        found (str): What is wrong there.
        cure (str): What to do.
    """

    def __init__(
        self, path: PathLike, where: str, found: str, cure: str
    ) -> None:
        super().__init__(str(path), where, found, cure)

    def __str__(self) -> str:
        path, where, found, cure = self.args
        return f'{path}, {where}: {found}. Cure: {cure}.'


ConversionError = AnnotationError


@dataclass(eq=False)
class Entry:
    """A value of a file with its place.

    Args:
        path (PathLike): The file.
        where (str): The place, for errors.
        value (Any): What is there.
        cure (str): What to do where it is wrong.
    """

    path: PathLike
    where: str
    value: Any = None
    cure: str = 'correct it, or check that this is the official file'

    def at(self, where: str, value: Any) -> 'Entry':
        """Another value of the file."""
        return Entry(self.path, where, value, self.cure)

    def error(
        self, found: str, cure: Optional[str] = None, field: str = ''
    ) -> AnnotationError:
        """The error that names the place, and the ``field`` of the entry."""
        where = f'{self.where}, {field}' if field else self.where
        return AnnotationError(self.path, where, found, cure or self.cure)

    def need(self, *keys: str) -> None:
        """Refuse what is no object, or one that lacks a key."""
        if not isinstance(self.value, dict):
            found = type(self.value).__name__
            raise self.error(f'expected an object, found {found}')
        for key in keys:
            if key not in self.value:
                keys_found = sorted(map(str, self.value))
                found = f'key {key!r} is missing, found {keys_found}'
                raise self.error(found)

    def number(self, key: str, least: float = -math.inf) -> float:
        """A finite number of ``least`` or more."""
        self.need(key)
        value = self.value[key]
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not good or not abs(value) <= sys.float_info.max or value < least:
            bound = '' if least == -math.inf else f' from {least:g} on'
            found = f'expected a number{bound}, found {value!r:.80}'
            raise self.error(found, field=key)
        return value

    def whole(self, key: str, least: float = -math.inf) -> int:
        """A whole number of ``least`` or more; none is above MOST_FRAMES."""
        value = self.number(key, least)
        if value != int(value) or abs(value) > MOST_FRAMES:
            bound = f' up to {MOST_FRAMES:,}' if value == int(value) else ''
            found = f'expected a whole number{bound}, found {value!r:.40}'
            raise self.error(found, field=key)
        return int(value)

    def text(self, key: str, default: Optional[str] = None) -> str:
        """A text; null is none."""
        return self._typed(key, (str,), 'text', default)

    def name(self, key: str) -> str:
        """What something is called: a text, or a whole number."""
        return str(self._typed(key, (str, int), 'text or a whole number'))

    def list(self, key: str, default: Optional[list] = None) -> list[Any]:
        """A list."""
        return self._typed(key, (list,), 'a list', default)

    def objects(self, key: str) -> Iterator['Entry']:
        """The objects of a list, which may be missing or null."""
        self.need()
        given = self.value.get(key) is not None
        for place, value in enumerate(self.list(key) if given else []):
            entry = self.at(f'{self.where}, {key}[{place}]', value)
            entry.need()
            yield entry

    def object(self, key: str, default: Optional[dict] = None) -> dict:
        """An object."""
        return self._typed(key, (dict,), 'an object', default)

    def size(self, key: str) -> tuple[int, int]:
        """(width, height) of a list of height and width."""
        sides = dict(zip(('height', 'width'), self.list(key)))
        entry = self.at(f'{self.where}, {key}', sides)
        return entry.whole('width', 1), entry.whole('height', 1)

    def flag(self, key: str, default: Optional[bool] = None) -> bool:
        """True or false."""
        return self._typed(key, (bool,), 'true or false', default)

    def _typed(
        self,
        key: str,
        kinds: tuple[type, ...],
        wanted: str,
        default: Any = None,
    ) -> Any:
        """The value of a key, which may lack where there is a default."""
        if default is None:
            self.need(key)
        else:
            self.need()
        value = self.value.get(key, default)
        if type(value) not in kinds:
            found = f'expected {wanted}, found {value!r:.80}'
            raise self.error(found, field=key)
        return value
