"""Videos against their annotation, in processes."""

import io
import json
import os
import shutil
import sys

import cv2
import numpy as np
import pytest
from test_datasets.raw_files import first_version

from hero_mm.datasets import progress, video_facts
from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.checks import compare_video
from hero_mm.datasets.converters import ConversionError, ConversionSummary
from hero_mm.datasets.converters.videos import (
    FPS,
    LONGER,
    RESIZED,
    SHORTER,
    TWICE,
    VideoFolder,
    place_videos,
)
from hero_mm.datasets.progress import show_progress
from hero_mm.datasets.tracks import Track, VideoInfo
from hero_mm.datasets.video_facts import (
    VideoCheck,
    VideoFacts,
    probe_video,
)

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


def _info(name='a', count=COUNT, fps=8.0, size=(64, 48)):
    frames = np.arange(count)
    boxes = np.stack([frames, frames * 0, frames + 9, frames * 0 + 9], 1)
    track = Track.from_boxes('cat', frames, boxes)
    return VideoInfo(name, f'{name}.mp4', count, fps, *size, {'0': track})


def _verify(folder, *infos, skip_bad=False, lengths_known=True, **options):
    summary = ConversionSummary('out.json', skip_bad)
    check = VideoCheck(folder, **options)
    good = place_videos(infos, check, 'raw.json', summary, lengths_known)
    return good, summary


# Where a video is ------------------------------------------------------------


@pytest.mark.parametrize(
    ('there', 'found'),
    [
        (['0/v.mp4', 'v.mp4'], ['0/v.mp4']),
        (['v.mkv'], ['v.mkv']),
        (['b/c/v.mp4'], ['b/c/v.mp4']),
        (['b/v.mp4', 'a/v.mp4'], ['a/v.mp4', 'b/v.mp4']),
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
    monkeypatch.setattr(video_facts, 'probe_video', None)
    infos = map(_info, ['a', *(f'x{number}' for number in range(8))])
    with pytest.raises(
        ConversionError, match='8 of 9 videos.*and 3 more'
    ) as e:
        _verify(folder, *infos)
    assert 'x4.mp4' in str(e.value) and 'x5' not in str(e.value)
    with pytest.raises(FileNotFoundError, match='none does not exist'):
        _verify(folder / 'none', _info())


# Whether it is as annotated --------------------------------------------------


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
    assert probe_video(films / 'a.mp4') == VideoFacts(COUNT, 8.0, 64, 48)
    good, summary = _verify(films, _info())
    assert list(good) == ['a'] and not summary.notes and not summary.skipped
    good, summary = _verify(films, _info(count=22, fps=8.1, size=(128, 96)))
    video = good['a']
    assert (video.frame_count, video.fps) == (22, 8.1)
    assert (video.width, video.height) == (128, 96)
    assert summary.repaired == [
        f'{RESIZED}: a (a.mp4): 64x48, annotated 128x96',
        f'{FPS}: a (a.mp4): 8, annotated 8.1',
        f'{LONGER}: a (a.mp4): 24, annotated 22',
    ]
    # A length that was not annotated is that of the file.
    for count, notes in ((1, {}), (24, {}), (25, {SHORTER: 1})):
        info = _info(count=count)
        good, summary = _verify(films, info, lengths_known=False)
        assert good['a'].frame_count == COUNT and summary.notes == notes


def test_videos_that_are_not_the_annotated_ones(films):
    for options, message in (
        (dict(count=26), '24 frames, annotated 26: cut off'),
        (dict(size=(48, 64)), 'a.mp4 is 64x48, annotated 48x64'),
    ):
        with pytest.raises(ConversionError, match=message):
            _verify(films, _info(**options))


def _truncate(path, part):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])


@pytest.mark.parametrize('part', [0, 0.01, 0.5])
@pytest.mark.parametrize('workers', [1, 2])
def test_broken_videos_are_named_or_skipped(folder, part, workers):
    for name in 'bc':
        _truncate(folder / f'{name}.mp4', part)
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
    assert summary.repaired == [
        f'{SHORTER}: {name} ({name}.mp4): 24, annotated 25' for name in 'ad'
    ]


def test_the_last_frame_is_decoded(tmp_path, toy_tools):
    """As many pictures as annotated, of which the last is cut."""
    for number in range(3):
        path = str(tmp_path / f'{number:06d}.JPEG')
        assert cv2.imwrite(path, toy_tools.draw_frame(number))
    assert probe_video(tmp_path) == VideoFacts(3, None, 64, 48)
    (tmp_path / '000002.JPEG').write_bytes(b'')
    found = probe_video(tmp_path)
    assert isinstance(found, str) and '000002.JPEG is damaged' in found


# Processes and the command line ----------------------------------------------


def test_a_process_that_dies(films, monkeypatch):
    monkeypatch.setattr(video_facts, 'probe_video', _die)
    with pytest.raises(ConversionError, match='--workers 1'):
        _verify(films, _info('a'), _info('b'), workers=2)


def _die(path):
    os._exit(1)


def test_command_line_verifies(folder, tmp_path, run_tool):
    entry = first_version(5, 10, img_num=25, width=64, height=48)
    raw = tmp_path / 'test.json'
    raw.write_text(json.dumps({f'{name}.mp4': entry for name in 'abcd'}))
    _truncate(folder / 'd.mp4', 0.5)
    words = ['dataset_converters/hcstvg', raw, '--videos', folder]
    words += ['--out', tmp_path / 'out/o.json', '--workers', 2]
    done = run_tool(*words)
    assert done.returncode == 1
    assert '1 of 4 videos' in done.stderr and 'd.mp4' in done.stderr
    done = run_tool(*words, '--skip-bad')
    assert done.returncode == 0, done.stderr
    annotation = load_annotation(tmp_path / 'out/o.json')
    assert sorted(annotation.videos) == ['a.mp4', 'b.mp4', 'c.mp4']
    listed = (tmp_path / 'out/o.conversion.txt').read_text()
    assert f'{SHORTER}' in done.stdout and 'skipped: video d.mp4' in listed
    # A rate that follows from img_num / 20 is not that of these files.
    assert f'{FPS}: a.mp4 (a.mp4): 8, annotated 1.25' in listed


class _Screen(io.StringIO):
    """Stands in for standard error, a terminal or not."""

    is_terminal = False

    def isatty(self):
        return self.is_terminal


@pytest.mark.parametrize('size', [None, lambda item: 5])
def test_progress(monkeypatch, size):
    screen = _Screen()
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
    screen.is_terminal = True
    monkeypatch.setenv('TERM', 'xterm')
    items = show_progress('abc', 3 * each, 'verifying', size)
    assert list(items) == list('abc')
    assert '100%' in screen.getvalue()
