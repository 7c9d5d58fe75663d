"""Errors of the user are explained in a few lines, without a traceback."""

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Optional

from .texts import printable

TRACEBACK = 'HERO_MM_TRACEBACK'
PACKAGE = str(Path(__file__).resolve().parent)
EXPLAINED = (OSError, ValueError, TypeError, FloatingPointError)
EXTRAS = {
    'mmcv': 'lite',
    'mmdet': 'mmdet',
    'mmaction': 'mmaction',
    'transformers': 'text',
    'huggingface_hub': 'text',
    'safetensors': 'text',
    'tensorboard': 'tensorboard',
}


def run_tool(main: Callable[[], None]) -> int:
    """Run the body of a tool and explain errors of its user.

    Errors that this package raises on purpose are shown as they are, without
    a traceback (``HERO_MM_TRACEBACK=1`` shows it); others are left alone.

    Args:
        main (Callable): The body of the tool.

    Returns:
        int: Exit code: 0, 1 after an error, 130 when interrupted.
    """
    try:
        main()
    except KeyboardInterrupt:
        sys.stderr.write('interrupted\n')
        return 130
    except Exception as error:
        home = str(Path(main.__code__.co_filename).resolve().parent)
        if not _tell(error, (PACKAGE, home)):
            raise
        return 1
    return 0


@contextmanager
def explained() -> Iterator[None]:
    """Explain errors inside a ``with`` block, which ends the process.

    For the imports of a tool, which need packages that are extras.
    """
    try:
        yield
    except Exception as error:
        if not _tell(error, (PACKAGE,)):
            raise
        sys.exit(1)


def _tell(error: Exception, homes: tuple[str, ...]) -> bool:
    """Write what to tell about an error; False when there is nothing."""
    message = explain(error, homes)
    if message is None or os.environ.get(TRACEBACK) == '1':
        return False
    sys.stderr.write(
        f'\nerror: {printable(message)}\n'
        f'({TRACEBACK}=1 shows where it was raised)\n'
    )
    return True


def explain(
    error: BaseException, homes: tuple[str, ...] = (PACKAGE,)
) -> Optional[str]:
    """What to tell the user about an error; None when it is not the user's.

    Args:
        error (BaseException): As caught. MMEngine's registries and torch's
            workers wrap what our code raised: its causes are searched too.
        homes (tuple[str, ...]): Folders of the code whose errors are meant
            for the user.
    """
    for link in _chain(error):
        if isinstance(link, ModuleNotFoundError) and link.name in EXTRAS:
            return (
                f'{link.name} is not installed; '
                f'pip install "hero-mm[{EXTRAS[link.name]}]" (docs/install.md)'
            )
        if 'Original Traceback' in str(link):
            text = _from_worker(str(link), homes)
            if text is not None:
                return text
        elif isinstance(link, EXPLAINED) and _raised_in(link, homes):
            return str(link)
    return str(error) if isinstance(error, FileNotFoundError) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its cause, the cause of that, and so on."""
    links: list[BaseException] = []
    link: Optional[BaseException] = error
    while link is not None and link not in links:
        links.append(link)
        yield link
        link = link.__cause__ or link.__context__


def _raised_in(error: BaseException, homes: tuple[str, ...]) -> bool:
    """Whether a ``raise`` in one of the folders raised it.

    An error that a call into a library raises there is none of these.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and _is_raise(
        frames[-1].filename, frames[-1].line or '', homes
    )


def _is_raise(filename: str, line: str, homes: tuple[str, ...]) -> bool:
    return filename.startswith(homes) and line.lstrip().startswith('raise ')


def _from_worker(text: str, homes: tuple[str, ...]) -> Optional[str]:
    """Message of an error that a data worker passed on as text.

    Its type is lost where the constructor of the error takes more than the
    message; the last frame and the message are in the text all the same.
    """
    last, _, code = text.rpartition('File "')[2].partition('\n')
    if not _is_raise(last, code, homes):
        return None
    found = re.search(r'^[\w.]+: (.*)', code, re.MULTILINE | re.DOTALL)
    return found.group(1).strip() if found else None
