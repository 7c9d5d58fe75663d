"""Charts of matplotlib: what they show, and how."""

import math
import xml.etree.ElementTree as ElementTree

import pytest

from hero_mm.visualization import charts
from hero_mm.visualization.charts import (
    PALETTE,
    Series,
    histogram,
    line_chart,
)


@pytest.fixture
def drawn(monkeypatch):
    """The axes of what is drawn."""
    found, real = [], charts._svg
    monkeypatch.setattr(
        charts, '_svg', lambda axes, t: found.append(axes) or real(axes, t)
    )
    return found


def texts_of(svg):
    root = ElementTree.fromstring(svg)
    return [t.text for t in root.iter('{http://www.w3.org/2000/svg}text')]


def test_a_line_shows_its_finite_values(drawn):
    one = Series('a<b', [0, 1, 2, 3], [1.0, math.nan, math.inf, 2.0])
    svg = line_chart([one], 'Loss & $x$', 'steps')
    ((line,),) = [axes.lines for axes in drawn]
    assert line.get_xydata().tolist() == [[0, 1], [3, 2]]
    # Zero is in sight.
    assert drawn[0].get_ylim()[0] <= 0
    assert {'a<b', 'Loss & $x$', 'steps'} <= set(texts_of(svg))
    assert line_chart([one], 'Loss & $x$', 'steps') == svg
    assert line_chart([Series('a', [0], [math.nan])], 'T', 'x') == ''
    assert histogram([], 'T', 'x') == ''


def test_lines_are_distinct_and_points_are_marked(drawn):
    count = 2 * len(PALETTE) + 2
    series = [Series(f'loss_{i}', [0, 1], [i, i]) for i in range(count)]
    line_chart(series, 'T', 'x')
    lines = drawn[0].lines
    assert len({(li.get_color(), li.get_linestyle()) for li in lines}) == count
    assert lines[0].get_marker() == '.', 'a single point is seen'


def test_a_histogram_counts(drawn):
    # Beyond the range counts at its ends; an edge belongs above it.
    values = [-5, 2, 3.9, 4, 10, 99]
    histogram(values, 'T', 'x', bins=4, limits=(2.0, 10.0))
    heights = [bar.get_height() for bar in drawn[0].patches]
    assert heights == [3, 1, 0, 2]


def test_lines_of_one_name_look_alike(drawn):
    lines = [
        Series('a', [0, 1], [0.5, 0.6], [0.1, math.nan]),
        Series('b', [0, 1], [0.5, 0.7]),
        Series('a', [0, 1], [0.4, 0.6]),
    ]
    svg = line_chart(lines, 'T', 'x', 'score', from_zero=False)
    curves = list(drawn[0].containers)
    colors = [one.lines[0].get_color() for one in curves]
    assert colors == [PALETTE[0], PALETTE[1], PALETTE[0]]
    assert [one.has_yerr for one in curves] == [True, False, False]
    assert texts_of(svg).count('a') == 1 and 'score' in texts_of(svg)
    assert drawn[0].get_ylim()[0] > 0.3
