"""The reader of JSON files: annotations, predictions, raw data sets."""

import gc
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional, Union

from hero_mm.errors import UserError


class JsonError(UserError):
    """A JSON file cannot be read: the place in it, and what is wrong there."""

    def __init__(self, path: Union[str, Path], where: str, found: str) -> None:
        super().__init__(path, where, found)
        self.path = path
        self.where = where
        self.found = found

    def __str__(self) -> str:
        place = f'{self.path}, {self.where}'
        return f'{place}: {self.found}. Cure: fetch or write the file again.'


class Repeated(list):
    """The pairs of an object in which a key stands twice."""


def read_json(
    path: Union[str, Path],
    hook: Optional[Callable[[dict[str, Any]], Any]] = None,
    backend_args: Optional[dict] = None,
    keep_repeated: bool = False,
) -> Any:
    """Read a JSON file, gzipped or not, with a byte order mark or without.

    Args:
        path (str | Path): The file.
        hook (Callable, optional): Gets each object as soon as it is read and
            gives what takes its place, so that large files need not be held
            as dictionaries.
        backend_args (dict, optional): Arguments of the MMEngine storage
            backend. Defaults to None, the local disk.
        keep_repeated (bool): Give an object in which a key stands twice as
            :class:`Repeated`. Defaults to False, which refuses it: plain
            readers keep the last one and drop the others.

    Returns:
        Any: Its content.

    Raises:
        OSError: The file cannot be opened.
        JsonError: It is not valid JSON, or a key stands twice in an object.
    """
    if backend_args is None:
        data = Path(path).read_bytes()
    else:
        # Scoring alone does without MMEngine.
        from mmengine import fileio

        data = bytes(fileio.get(str(path), backend_args=backend_args))
    text = _decode(path, data)

    def take(pairs: list[tuple[str, Any]]) -> Any:
        entry = _entry(pairs)
        if isinstance(entry, Repeated):
            if keep_repeated:
                return entry
            raise JsonError(path, *_find_repeated(text))
        return entry if hook is None else hook(entry)

    # Many lists take a quarter of the time without a search for garbage.
    was_on = gc.isenabled()
    gc.disable()
    try:
        return json.loads(text, object_pairs_hook=take)
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        # Also a number of too many digits, and what is nested too deep.
        found = f'not valid JSON ({error})'
        raise JsonError(path, f'{len(data)} bytes', found) from error
    finally:
        if was_on:
            gc.enable()


def _entry(pairs: list[tuple[str, Any]]) -> Any:
    entry = dict(pairs)
    return entry if len(entry) == len(pairs) else Repeated(pairs)


def _find_repeated(text: str) -> tuple[str, str]:
    """Where an object is in which a key stands twice, and which key."""
    whole = json.loads(text, object_pairs_hook=_entry)
    todo: list[tuple[tuple, Any]] = [((), whole)]
    value: Any = None
    while not isinstance(value, Repeated):
        place, value = todo.pop()
        if isinstance(value, dict):
            todo += [((*place, name), one) for name, one in value.items()]
        elif isinstance(value, list):
            todo += [((*place, row), one) for row, one in enumerate(value)]
    names = [name for name, _ in value]
    twice = next(name for name in names if names.count(name) > 1)
    where = ' > '.join(map(repr, place)) or 'the top level'
    return where, f'the key {twice!r} stands twice, keep one'


def _decode(path: Union[str, Path], data: bytes) -> str:
    """The text of a file."""
    try:
        if data.startswith(b'\x1f\x8b'):
            data = gzip.decompress(data)
        return data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as error:
        raise JsonError(
            path, f'byte {error.start}', 'not text, let alone JSON'
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise JsonError(
            path, f'{len(data)} bytes', f'no whole gzip file ({error})'
        ) from error
