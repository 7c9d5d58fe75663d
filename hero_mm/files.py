"""Files that are there as a whole or not at all.

All that this package writes goes through here: it is written beside its
place under a name of its own, flushed to the disk and moved. A full disk or
a read-only folder ends in a :class:`WriteError` that names the file; nothing
half written is left, and a file that stood there before still does.
"""

import errno
import itertools
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional, Union

from .errors import UserError

PathLike = Union[str, 'os.PathLike[str]']

CURES = {
    errno.ENOSPC: 'free some space',
    errno.EDQUOT: 'free some space',
    errno.EFBIG: 'write to a file system that takes files of this size',
    errno.EROFS: 'choose a folder that can be written to',
    errno.EACCES: 'choose a folder that you may write to',
    errno.EPERM: 'choose a folder that you may write to',
    errno.EEXIST: 'choose a folder, this is a file',
    errno.ENOTDIR: 'choose a folder, a part of the path is a file',
    errno.EISDIR: 'choose the name of a file, this is a folder',
    errno.ENAMETOOLONG: 'choose a shorter name',
    errno.EIO: 'check the disk',
}


class WriteError(OSError):
    """A file could not be written, and why; nothing of it is left."""

    def __init__(self, path: PathLike, error: OSError) -> None:
        cure = CURES.get(error.errno or 0, 'choose another place')
        reason = os.strerror(error.errno) if error.errno else str(error)
        super().__init__(f'{path} cannot be written: {reason}; {cure}')
        self.errno = error.errno
        self.path = Path(path)


def check_folder(path: PathLike) -> Path:
    """Make a folder, or say in words (:class:`WriteError`) why that fails."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, '')
    except OSError as error:
        raise WriteError(folder, error) from error
    return folder


@contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Write a file as a whole; one that stands there is replaced.

    Its folder is made. A device or a pipe is written to directly.

    Yields:
        Path: To write to; it has no suffix of a format.

    Raises:
        WriteError: If it cannot be written.
    """
    # The file that a link points to is replaced, not the link.
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file() and not target.is_dir():
        with in_words(path, target):
            yield target
        return

    def move(part: Path) -> None:
        # Another process may remove it at any time.
        with suppress(FileNotFoundError):
            shutil.copymode(target, part)
        os.replace(part, target)

    with _beside(path, target, move) as part:
        yield part


@dataclass
class Draft:
    """A file that is added: ``part`` to write to, ``path`` in the end."""

    part: Path
    path: Path


@contextmanager
def adding(
    path: PathLike, is_ours: Optional[Callable[[Path], bool]] = None
) -> Iterator[Draft]:
    """Write a file as a whole; one that stands there is never replaced.

    Where the name is taken, ``NAME-2``, ``NAME-3`` and so on are tried. Of
    two processes that want the same name each gets one. ``is_ours`` says of a
    file whether it may be replaced after all.

    Yields:
        Draft: After the block its ``path`` is where the file is.

    Raises:
        WriteError: If it cannot be written.
    """
    target = Path(path)
    draft = Draft(target, target)

    def move(part: Path) -> None:
        for place in numbered(target):
            if is_ours is not None and place.is_file() and is_ours(place):
                os.replace(part, place)
            elif not _claim(part, place):
                continue
            draft.path = place
            return

    with _beside(path, target, move) as part:
        draft.part = part
        yield draft


def numbered(path: Path) -> Iterator[Path]:
    """The path, then ``NAME-2.SUFFIX``, ``NAME-3.SUFFIX`` and so on."""
    yield path
    for number in itertools.count(2):
        yield path.with_name(f'{path.stem}-{number}{path.suffix}')


def _claim(part: Path, place: Path) -> bool:
    """Move a file to a name that is free; False where it is taken."""
    try:
        os.link(part, place)
    except FileExistsError:
        return False
    except OSError:
        # A file system without links: the name is looked at, then taken.
        if os.path.lexists(place):
            return False
        os.replace(part, place)
        return True
    part.unlink()
    return True


@contextmanager
def _beside(
    path: PathLike, target: Path, move: Callable[[Path], None]
) -> Iterator[Path]:
    """A place beside the target, which is moved or removed at the end."""
    part = target.with_name(f'.{uuid.uuid4().hex[:12]}.part')
    with in_words(path, part):
        try:
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, '')
            target.parent.mkdir(parents=True, exist_ok=True)
            yield part
            if part.is_file():
                _flush(part)
                move(part)
        finally:
            with suppress(OSError):
                part.unlink()


@contextmanager
def in_words(path: PathLike, part: Path) -> Iterator[None]:
    """What goes wrong with ``part`` is a :class:`WriteError` of ``path``."""
    try:
        yield
    except WriteError as error:
        if error.path != part:
            raise
        raise WriteError(path, error) from error
    except Exception as error:
        # Writers in C++ put their own error over that of the file.
        link: Optional[BaseException] = error
        while link is not None:
            if isinstance(link, OSError) and link.errno in CURES:
                named = link.filename
                if named is None or Path(str(named)) in (part, *part.parents):
                    raise WriteError(path, link) from error
            link = link.__cause__ or link.__context__
        raise


def _flush(path: Path) -> None:
    """Have the disk hold the content before its name."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: PathLike, content: Union[bytes, memoryview]) -> None:
    """Write a file as a whole, see :func:`replacing`."""
    with replacing(path) as part, open(part, 'wb') as file:
        file.write(content)


def read_text(path: Union[str, Path]) -> str:
    """The text of a file in UTF-8, or in UTF-16 that says so."""
    raw = Path(path).read_bytes()
    is_wide = raw[:2] in (b'\xff\xfe', b'\xfe\xff')
    try:
        return raw.decode('utf-16' if is_wide else 'utf-8-sig')
    except UnicodeError as error:
        raise UserError(
            f'{path} is no text in UTF-8 ({error}); save it in UTF-8'
        ) from error


def write_text(path: PathLike, text: str) -> None:
    """Write a text as UTF-8; see :func:`write_bytes`."""
    # Names of files may hold what is no text.
    write_bytes(path, text.encode(errors='backslashreplace'))


def append_line(path: PathLike, line: str) -> None:
    """Add a line to a file of lines, such as the state of a long run.

    A line that a kill cut off before stands alone, for the reader to skip.
    """
    target = Path(path)
    with in_words(path, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, 'a+b') as file:
            end = file.tell()
            file.seek(max(end - 1, 0))
            broken = file.read(1) != b'\n' and end > 0
            file.write(b'\n' * broken + line.encode() + b'\n')
