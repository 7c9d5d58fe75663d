"""Figures of matplotlib: style, backend, format."""

import matplotlib
import matplotlib.pyplot as plt
import pytest

from hero_mm.visualization.figures import close_figure, open_axes


@pytest.fixture(autouse=True)
def settings():
    plt.close('all')
    with matplotlib.rc_context():
        yield
    plt.close('all')


def test_a_figure_is_written_and_closed(tmp_path):
    path = tmp_path / 'new' / 'a.SVG'
    axes = open_axes((2, 1), 'whitegrid', show=False, out=path)
    assert plt.get_backend().lower() == 'agg'
    assert plt.rcParams['axes.grid'], 'the style of that name'
    axes.plot([1, 2])
    close_figure(axes, show=False, out=path)
    assert b'<svg' in path.read_bytes() and plt.get_fignums() == []


def test_a_figure_that_cannot_be_written_is_not_left_open(tmp_path):
    with pytest.raises(ValueError, match=r'a\.mp4: the name must end in one'):
        open_axes(show=False, out=tmp_path / 'a.mp4')
    assert plt.get_fignums() == []


def test_without_a_window_a_file_is_written(tmp_path):
    """Asked to show and to write: what can be done is done."""
    path = tmp_path / 'a.png'
    axes = open_axes(backend='agg', out=path)
    close_figure(axes, out=path)
    assert path.is_file()
    with pytest.raises(ValueError, match='no window to show'):
        open_axes(backend='agg')


@pytest.mark.parametrize('name', ['style', 'backend'])
def test_unknown_names_are_told(name):
    with pytest.raises(ValueError, match='gaudy'):
        open_axes(**{name: 'gaudy'}, show=False)
