"""The reader of JSON files: annotations, predictions, raw data sets."""

import codecs
import gc
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional, Union

from hero_mm.errors import UserError

_GZIP = b'\x1f\x8b'
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class JsonError(UserError):
    """A JSON file cannot be read.

    Args:
        path (str | Path): The file.
        where (str): The place in it.
        found (str): What is wrong there.
    """

    def __init__(self, path: Union[str, Path], where: str, found: str) -> None:
        super().__init__(f'{path}, {where}: {found}')
        self.where = where
        self.found = found


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
    repeated = False

    def take(pairs: list[tuple[str, Any]]) -> Any:
        nonlocal repeated
        entry = dict(pairs)
        if len(entry) < len(pairs):
            repeated = True
            return Repeated(pairs)
        return entry if hook is None else hook(entry)

    try:
        with _all_is_kept():
            content = json.loads(text, object_pairs_hook=take)
        if repeated and not keep_repeated:
            raise JsonError(path, *_find_repeated(text))
    except UserError:
        raise
    except ValueError as error:
        # Also a number of too many digits.
        found = f'not valid JSON ({error})'
        raise JsonError(path, f'{len(data)} bytes', found) from error
    except RecursionError as error:
        raise JsonError(
            path, f'{len(data)} bytes', 'not valid JSON (nested too deep)'
        ) from error
    return content


def _decode(path: Union[str, Path], data: bytes) -> str:
    """The text of a file."""
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise JsonError(
                path, f'{len(data)} bytes', f'no whole gzip file ({error})'
            ) from error
    kind = 'utf-16' if data.startswith(_UTF_16) else 'utf-8-sig'
    try:
        return data.decode(kind)
    except UnicodeDecodeError as error:
        raise JsonError(
            path, f'byte {error.start}', 'not text, let alone JSON'
        ) from error


def _find_repeated(text: str) -> tuple[str, str]:
    """Where an object is in which a key stands twice, and which key."""

    def take(pairs: list[tuple[str, Any]]) -> Any:
        entry = dict(pairs)
        return entry if len(entry) == len(pairs) else Repeated(pairs)

    todo: list[tuple[tuple, Any]] = [
        ((), json.loads(text, object_pairs_hook=take))
    ]
    while todo:
        place, value = todo.pop()
        if isinstance(value, Repeated):
            names = [name for name, _ in value]
            twice = next(name for name in names if names.count(name) > 1)
            where = ' > '.join(map(repr, place)) or 'the top level'
            return where, f'the key {twice!r} stands twice, keep one'
        if isinstance(value, dict):
            todo += [((*place, name), one) for name, one in value.items()]
        elif isinstance(value, list):
            todo += [((*place, row), one) for row, one in enumerate(value)]
    raise AssertionError('no key stands twice')


@contextmanager
def _all_is_kept() -> Iterator[None]:
    """Make many lists without a search for garbage among them.

    It finds none and takes over a quarter of the time of reading a file with
    boxes on every native frame.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
