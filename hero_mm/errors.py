"""Errors of the user are explained in a few lines, without a traceback.

What is wrong with what somebody gave is raised as a :class:`UserError`; any
other error is a defect, whose traceback is shown.
"""

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable, Optional

from .texts import printable

TRACEBACK = 'HERO_MM_TRACEBACK'
EXTRAS = {
    'mmcv': 'lite',
    'mmdet': 'mmdet',
    'mmaction': 'mmaction',
    'transformers': 'text',
    'huggingface_hub': 'text',
    'tensorboard': 'tensorboard',
    'gradio': 'web',
    'pytest': 'dev',
}


class UserError(ValueError):
    """What the user gave is wrong; the message says what, and what to do."""


class UserTypeError(UserError, TypeError):
    """What the user gave is of another type."""


class NotFiniteError(UserError, FloatingPointError):
    """A training diverged."""


def run_tool(main: Callable[[], None]) -> int:
    """Run the body of a tool and explain errors of its user.

    They are shown as they are, without a traceback (``HERO_MM_TRACEBACK=1``
    shows it); others are left alone. Gives the exit code: 0, 1 after an
    error, 130 when interrupted.
    """
    try:
        main()
    except KeyboardInterrupt:
        sys.stderr.write('interrupted\n')
        return 130
    except Exception as error:
        if not _explained(error):
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
        if not _explained(error):
            raise
        sys.exit(1)


@contextmanager
def warnings_in_words() -> Iterator[None]:
    """Write what is warned of inside a ``with`` block, without its place."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always', UserWarning)
        yield
    for warning in caught:
        sys.stderr.write(f'warning: {printable(warning.message)}\n')


def _explained(error: Exception) -> bool:
    """Write what an error means; False when it is not the user's."""
    message = explain(error)
    if message is None or os.environ.get(TRACEBACK) == '1':
        return False
    sys.stderr.write(
        f'\nerror: {printable(message)}\n'
        f'({TRACEBACK}=1 shows where it was raised)\n'
    )
    return True


def explain(error: BaseException) -> Optional[str]:
    """What the user should know of an error; None when it is a defect.

    torch's workers wrap what our code raised: its causes are searched too.
    """
    for link in _chain(error):
        if isinstance(link, ModuleNotFoundError) and link.name in EXTRAS:
            return (
                f'{link.name} is not installed; '
                f'pip install "hero-mm[{EXTRAS[link.name]}]" (docs/install.md)'
            )
        if 'Original Traceback' in str(link):
            text = _from_worker(str(link))
            if text is not None:
                return text
        elif isinstance(link, FileNotFoundError) and link.filename:
            return f'{link.filename} does not exist; correct the path'
        elif isinstance(link, (UserError, OSError)):
            return str(link)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its cause, the cause of that, and so on."""
    links: list[BaseException] = []
    link: Optional[BaseException] = error
    while link is not None and link not in links:
        links.append(link)
        yield link
        link = link.__cause__ or link.__context__


def _from_worker(text: str) -> Optional[str]:
    """Message of an error of ours that a data worker passed on as text.

    Its type is lost where the constructor of the error takes more than the
    message; its name and the message are in the text all the same.
    """
    last = text.rpartition('\n  File "')[2]
    found = re.search(
        r'^(?:hero_mm\.[\w.]+|\w*OSError|FileNotFoundError): (.*)',
        last,
        re.MULTILINE | re.DOTALL,
    )
    return found.group(1).strip() if found else None
