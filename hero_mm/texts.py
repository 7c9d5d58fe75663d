"""Texts of users in places that would act on them: escaped, still readable.

For a terminal, a browser, a spreadsheet, a renderer of Markdown; and lists of
names in messages.
"""

import csv
import html
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

# Control characters, marks that turn the direction of writing, and halves of
# letters, which cannot be encoded.
_OBEYED = re.compile(
    '[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]'
)
_FORMULA = tuple('=+-@\t\n＝＋－＠')


def printable(text: object) -> str:
    r"""A text for a terminal: control characters are shown, not obeyed.

    Line breaks and tabs stay.

    Examples:
        >>> printable('a\x1b[31mred')
        'a\\x1b[31mred'
    """
    return _OBEYED.sub(
        lambda found: found[0].encode('unicode_escape').decode(), str(text)
    )


def markdown(text: object) -> str:
    r"""A text as one line of Markdown, without links, tags and cells.

    Examples:
        >>> markdown('[x](javascript:1) | <b>')
        '\\[x\\]\\(javascript:1) \\| &lt;b&gt;'
    """
    line = html.escape(' '.join(printable(text).split()), quote=False)
    return re.sub(r'([\\`|\[\]]|(?<=\])\()', r'\\\1', line)


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    r"""Rows as CSV that no spreadsheet calculates with.

    A text that a spreadsheet would take for a formula gets an apostrophe in
    front; numbers stay numbers.

    Examples:
        >>> csv_text([['a', 'b'], ['=1+1', -2.5]])
        "a,b\n'=1+1,-2.5\n"
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return stream.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def name_some(names: Iterable[str], shown: int = 3) -> str:
    """The first of many names, for messages, and how many more there are."""
    listed = [str(name) for name in names]
    more = f' and {len(listed) - shown} more' if len(listed) > shown else ''
    return ', '.join(listed[:shown]) + more
