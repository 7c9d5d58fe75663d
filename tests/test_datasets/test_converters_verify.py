"""Videos against their annotation, in processes."""

import io
import os
import shutil
import sys

import cv2
import numpy as np
import pytest

from hero_mm.datasets import checks, progress
from hero_mm.datasets.checks import (
    NOTES,
    VideoFacts,
    compare_video,
    probe_video,
)
from hero_mm.datasets.converters import Conversion, ConversionError
from hero_mm.datasets.converters.conversion import TWICE
from hero_mm.datasets.converters.videos import VideoFolder
from hero_mm.datasets.progress import show_progress
from hero_mm.datasets.tracks import Track, VideoInfo

COUNT = 24


@pytest.fixture(scope='module')
def films(tmp_path_factory, toy_tools):
    """A folder of good videos; do not change it."""
    folder = tmp_path_factory.mktemp('films')
    toy_tools.write_video(folder / 'a.mp4')
    for name in 'bcd':
        shutil.copy(folder / 'a.mp4', folder / f'{name}.mp4')
    return folder


@pytest.fixture
def folder(films, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(films, tmp_path / 'films')


def _info(name='a', count=COUNT, fps=8.0, size=(64, 48), last=None):
    frames = np.arange(count or last)
    boxes = np.stack([frames, frames * 0, frames + 9, frames * 0 + 9], 1)
    track = Track.from_boxes('cat', frames, boxes)
    return VideoInfo(name, f'{name}.mp4', count, fps, *size, {'0': track})


def _verify(folder, *infos, **options):
    run = Conversion('raw.json', 'out.json', videos=folder, **options)
    run.place(infos)
    return run.infos, run.summary


@pytest.mark.parametrize(
    ('there', 'found'),
    [
        (['0/v.mp4', 'v.mp4'], ['0/v.mp4']),
        (['v.mkv'], ['v.mkv']),
        (['b/v.mp4', 'a/c/v.mp4'], ['a/c/v.mp4', 'b/v.mp4']),
        (['0/v.mp4/000001.jpg'], ['0/v.mp4']),
        (['a/v.mp4/000001.jpg'], ['a/v.mp4']),
        (['b/w.mp4', 'a/v.txt', 'a/vv.mp4', '0/v.mp4/x.txt'], []),
    ],
)
def test_where_a_video_is(tmp_path, there, found):
    for name in there:
        path = tmp_path / 'far' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert VideoFolder(tmp_path / 'far').find('0/v.mp4', 'v') == found
    # Also through a link.
    (tmp_path / 'near').mkdir()
    (tmp_path / 'near' / 'link').symlink_to(tmp_path / 'far')
    places = VideoFolder(tmp_path / 'near').find('x/v.mp4', 'v')
    assert {f'link/{place}' for place in found} <= set(places)


def test_missing_videos_are_named_before_any_is_opened(folder, monkeypatch):
    (folder / 'deep').mkdir()
    for name in 'ab':
        shutil.copy(folder / 'a.mp4', folder / 'deep' / f'{name}.mp4')
    (folder / 'b.mp4').unlink()
    infos = [_info(name) for name in 'abxyz']
    infos[0].path = '0/a.mp4'
    good, summary = _verify(folder, *infos, skip_bad=True)
    assert [video.path for video in good.values()] == ['a.mp4', 'deep/b.mp4']
    assert summary.notes == {TWICE: 1} and len(summary.skipped) == 3
    monkeypatch.setattr(checks, 'probe_video', None)
    infos = map(_info, ['a', *(f'x{number}' for number in range(8))])
    with pytest.raises(ConversionError, match='8 of 9 videos.*x4.mp4') as e:
        _verify(folder, *infos)
    assert 'x5' not in str(e.value)
    with pytest.raises(FileNotFoundError, match='none does not exist'):
        _verify(folder / 'none', _info())


def test_a_shorter_video_is_cut_with_its_tracks(films):
    info = _info(count=25)
    late = Track.from_boxes('dog', [24], [[1, 1, 5, 5]])
    holes = Track.from_boxes(
        'pig', [2, 3, 22, 23, 24], np.tile([1, 1, 5, 5], (5, 1))
    )
    info.tracks.update({'1': late, '2': holes})
    good, _ = _verify(films, info)
    video = good['a']
    assert video.frame_count == COUNT and list(video.tracks) == ['0', '2']
    assert video.tracks['0'].runs.tolist() == [[0, 24, 0]]
    assert video.tracks['2'].runs.tolist() == [[2, 4, 0], [22, 24, 2]]


@pytest.mark.parametrize(
    ('facts', 'found'),
    [
        ((100, 8.07, 64, 48), {}),
        ((100, None, 64, 48), {}),
        ((95, 8.0, 64, 48), dict(length='95 frames, annotated 100')),
        ((94, 8.0, 64, 48), dict(cut='94 frames, annotated 100')),
        ((105, 8.0, 64, 48), dict(length='105 frames, annotated 100')),
        ((106, 8.0, 64, 48), dict(cut='106 frames, annotated 100')),
        ((100, 8.1, 64, 48), dict(fps='8.1, annotated 8')),
        ((100, 8.0, 128, 96), dict(size='128x96, annotated 64x48')),
        ((100, 8.0, 48, 64), dict(aspect='48x64, annotated 64x48')),
    ],
)
def test_what_differs(facts, found):
    assert compare_video(_info(count=100), VideoFacts(*facts)) == found


def test_what_is_kept_as_annotated(films):
    facts = VideoFacts(COUNT, 8.0, 64, 48)
    assert probe_video(films, 'a.mp4') == ('a.mp4', facts)
    good, summary = _verify(films, _info(count=22, fps=8.1, size=(128, 96)))
    video = good['a']
    assert (video.frame_count, video.fps) == (22, 8.1)
    assert (video.width, video.height) == (128, 96)
    length = 'videos of another length than annotated, by more than 5 %'
    assert sorted(summary.repaired) == [
        f'{length}: a (a.mp4): 24 frames, annotated 22',
        f'{NOTES["size"]}: a (a.mp4): 64x48, annotated 128x96',
        f'{NOTES["fps"]}: a (a.mp4): 8, annotated 8.1',
    ]


@pytest.mark.parametrize('last', [1, 24, 25])
def test_what_is_not_annotated_is_that_of_the_file(films, last):
    info = _info(count=0, fps=0.0, size=(0, 0), last=last)
    good, summary = _verify(films, info)
    video = good['a']
    assert (video.frame_count, video.fps) == (COUNT, 8.0)
    assert (video.width, video.height) == (64, 48)
    assert list(summary.notes) == [NOTES['length']] * (last > COUNT)


def test_videos_that_are_not_the_annotated_ones(films):
    for options, message in (
        (dict(count=26), 'a.mp4: 24 frames, annotated 26'),
        (dict(size=(48, 64)), 'a.mp4: 64x48, annotated 48x64'),
    ):
        with pytest.raises(ConversionError, match=message):
            _verify(films, _info(**options))


@pytest.mark.parametrize('part', [0, 0.5])
@pytest.mark.parametrize('workers', [1, 2])
def test_broken_videos_are_named_or_skipped(folder, part, workers):
    for name in 'bc':
        data = (folder / f'{name}.mp4').read_bytes()
        (folder / f'{name}.mp4').write_bytes(data[: int(len(data) * part)])
    infos = [_info(name, count=25) for name in 'abcd']
    with pytest.raises(ConversionError) as caught:
        _verify(folder, *infos, workers=workers)
    text = str(caught.value)
    # All of them, not the first alone, with one cure.
    assert '2 of 4 videos' in text and 'b.mp4' in text and 'c.mp4' in text
    assert 'raw.json' in text and '--skip-bad' in text
    assert text.count('Cure: ') == 1 and '..' not in text
    infos = [_info(name, count=25) for name in 'abcd']
    good, summary = _verify(folder, *infos, workers=workers, skip_bad=True)
    assert list(good) == ['a', 'd'] and len(summary.skipped) == 2
    assert summary.skipped[0].startswith('video b: ')
    assert summary.notes == {NOTES['length']: 2}


def test_the_last_frame_is_decoded(tmp_path, toy_tools):
    """As many pictures as annotated, of which the last is cut."""
    for number in range(3):
        path = str(tmp_path / f'{number:06d}.JPEG')
        assert cv2.imwrite(path, toy_tools.draw_frame(number))
    facts = VideoFacts(3, None, 64, 48)
    assert probe_video(tmp_path, '') == ('', facts)
    (tmp_path / '000002.JPEG').write_bytes(b'')
    _, found = probe_video(tmp_path, '')
    assert isinstance(found, str) and '000002.JPEG is damaged' in found


def test_a_process_that_dies(films, monkeypatch):
    monkeypatch.setattr(checks, 'probe_video', _die)
    with pytest.raises(ConversionError, match='--workers 1'):
        _verify(films, _info('a'), _info('b'), workers=2)


def _die(folder, path):
    os._exit(1)


@pytest.mark.parametrize('size', [None, lambda item: 5])
def test_progress(monkeypatch, size):
    screen = io.StringIO()
    monkeypatch.setattr(sys, 'stderr', screen)
    assert list(show_progress(iter('abc'), 1234, 'verifying')) == list('abc')
    assert screen.getvalue() == ''
    monkeypatch.setattr(progress, 'LINE_SECONDS', 0.0)
    assert list(show_progress('abc', 1234, 'verifying', size)) == list('abc')
    each = 1 if size is None else 5
    assert screen.getvalue().splitlines() == [
        f'verifying: {each * count} of 1,234' for count in (1, 2, 3)
    ]
    # On a terminal it is a bar.
    monkeypatch.setattr(screen, 'isatty', lambda: True)
    monkeypatch.setenv('TERM', 'xterm')
    items = show_progress('abc', 3 * each, 'verifying', size)
    assert list(items) == list('abc')
    assert '100%' in screen.getvalue()
