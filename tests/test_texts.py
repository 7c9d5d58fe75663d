"""Texts of users in places that would act on them."""

import csv
import io

import pytest

from hero_mm.texts import csv_text, markdown, printable


@pytest.mark.parametrize(
    'text,shown',
    [
        ('a\x1b]0;title\x07b', 'a\\x1b]0;title\\x07b'),
        ('\x9b31m\r', '\\x9b31m\\r'),
        ('a\u202eb', 'a\\u202eb'),
        ('lone \udc80', 'lone \\udc80'),
        ('red\n\tفارسی 👍🏽 é', 'red\n\tفارسی 👍🏽 é'),
    ],
)
def test_control_characters_are_shown(text, shown):
    assert printable(text) == shown
    printable(text).encode()


@pytest.mark.parametrize('sign', '=+-@\t\n＝')
def test_no_cell_is_a_formula(sign):
    text = csv_text([['a', 'b', 'c'], [f'{sign}1', 'x=1', -1.5], ['x', '', 2]])
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[1][0][0] == "'" and rows[1][1:] == ['x=1', '-1.5']
    assert rows[2] == ['x', '', '2']


def test_markdown_has_no_link_tag_or_cell():
    line = markdown('![a](javascript:1) <img onerror=1> `x`\n| b \\')
    assert '](' not in line and '<' not in line and '\n' not in line
    assert line.count('|') == line.count('\\|') == 1
