"""Charts are well formed and show the numbers."""

import math
import xml.etree.ElementTree as ElementTree

import pytest

from hero_mm.visualization.charts import (
    PALETTE,
    Series,
    histogram,
    line_chart,
    nice_ticks,
)

SVG = '{http://www.w3.org/2000/svg}'


def lines_of(svg):
    root = ElementTree.fromstring(svg)
    return [
        [tuple(map(float, p.split(','))) for p in line.get('points').split()]
        for line in root.iter(f'{SVG}polyline')
    ]


def texts_of(svg):
    return [t.text for t in ElementTree.fromstring(svg).iter(f'{SVG}text')]


@pytest.mark.parametrize(
    'low,high', [(0, 0.93), (0, 7), (-3, 12), (1e-5, 9e-4), (5, 5), (0, 0)]
)
def test_ticks_cover_the_range(low, high):
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low and ticks[-1] >= high
    steps = {round(b - a, 9) for a, b in zip(ticks, ticks[1:])}
    assert len(steps) <= 1 and 2 <= len(ticks) <= 8


def test_a_line_rises_where_the_values_do():
    svg = line_chart([Series('m_vIoU', [1, 2, 4], [0.0, 0.5, 1.0])], 'T', 'x')
    (points,) = lines_of(svg)
    xs, ys = zip(*points)
    # Up is smaller in a picture; 2 lies at a third of 1 to 4.
    assert ys[0] > ys[1] > ys[2]
    assert ys[1] == pytest.approx((ys[0] + ys[2]) / 2, abs=0.11)
    assert (xs[1] - xs[0]) == pytest.approx((xs[2] - xs[0]) / 3, abs=0.11)


def test_legend_title_and_axis_are_told():
    svg = line_chart([Series('a<b', [0, 1], [0, 1])], 'Loss & more', 'steps')
    texts = texts_of(svg)
    assert {'a<b', 'Loss & more', 'steps', '0', '1'} <= set(texts)


def test_values_that_are_not_finite_are_left_out():
    y = [1.0, math.nan, math.inf, 2.0]
    svg = line_chart([Series('a', [0, 1, 2, 3], y)], 'T', 'x')
    assert len(lines_of(svg)[0]) == 2 and 'nan' not in svg


def test_nothing_to_draw():
    assert line_chart([], 'T', 'x') == ''
    assert line_chart([Series('a', [0], [math.nan])], 'T', 'x') == ''
    assert histogram([], 'T', 'x') == ''


def test_many_lines_are_told_apart():
    count = len(PALETTE) + 2
    series = [Series(f'loss_{i}', [0, 1], [i, i]) for i in range(count)]
    root = ElementTree.fromstring(line_chart(series, 'T', 'x'))
    styles = {
        (line.get('stroke'), line.get('stroke-dasharray'))
        for line in root.iter(f'{SVG}polyline')
    }
    assert len(styles) == count


def test_a_single_point_is_drawn():
    svg = line_chart([Series('a', [3], [0.5])], 'T', 'x')
    assert len(list(ElementTree.fromstring(svg).iter(f'{SVG}circle'))) == 1


def test_a_histogram_counts():
    svg = histogram([0.0, 0.05, 0.55, 1.0], 'T', 'x', bins=10)
    root = ElementTree.fromstring(svg)
    counts = [
        int(bar.find(f'{SVG}title').text)
        for bar in root.iter(f'{SVG}rect')
        if bar.find(f'{SVG}title') is not None
    ]
    assert counts == [2, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    heights = [
        float(bar.get('height'))
        for bar in root.iter(f'{SVG}rect')
        if bar.find(f'{SVG}title') is not None
    ]
    assert heights[0] == pytest.approx(2 * heights[5], abs=0.11)


def test_a_histogram_of_another_range():
    svg = histogram([-5, 2, 3.9, 4, 10, 99], 'T', 'x', 4, (2.0, 10.0))
    root = ElementTree.fromstring(svg)
    counts = [
        int(bar.find(f'{SVG}title').text)
        for bar in root.iter(f'{SVG}rect')
        if bar.find(f'{SVG}title') is not None
    ]
    # Beyond the range counts at its ends; an edge belongs above it.
    assert counts == [3, 1, 0, 2]
    labels = [text.text for text in root.iter(f'{SVG}text')]
    assert {'2', '4', '6', '8', '10'} <= set(labels)
