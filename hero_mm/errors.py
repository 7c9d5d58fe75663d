"""Errors of the user are explained in a few lines, without a traceback."""

import os
import re
import sys
from collections.abc import Iterator
from dis import opmap
from pathlib import Path
from typing import Callable, Optional

TRACEBACK = 'HERO_MM_TRACEBACK'
PACKAGE = str(Path(__file__).resolve().parent)
EXPLAINED = (OSError, ValueError, TypeError)
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
        message = explain(error, (PACKAGE, home))
        if message is None or os.environ.get(TRACEBACK) == '1':
            raise
        sys.stderr.write(
            f'\nerror: {message}\n({TRACEBACK}=1 shows where it was raised)\n'
        )
        return 1
    return 0


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
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    on_purpose = code.co_code[trace.tb_lasti] == opmap['RAISE_VARARGS']
    return on_purpose and code.co_filename.startswith(homes)


def _from_worker(text: str, homes: tuple[str, ...]) -> Optional[str]:
    """Message of an error that a data worker passed on as text.

    Its type is lost where the constructor of the error takes more than the
    message; the last frame and the message are in the text all the same.
    """
    last = text.rpartition('File "')[2]
    _, _, code = last.partition('\n')
    if not last.startswith(homes) or not code.lstrip().startswith('raise '):
        return None
    found = re.search(r'^[\w.]+: (.*)', code, re.MULTILINE | re.DOTALL)
    return found.group(1).strip() if found else None
