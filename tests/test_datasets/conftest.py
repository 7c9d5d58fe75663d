"""Small videos and annotation files for the tests of the data path."""

import runpy
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from hero_mm.datasets import frame_table
from hero_mm.datasets.annotation import Track, VideoInfo, save_annotation

WIDTH, HEIGHT, COUNT = 64, 48, 24


def draw_frame(number, width=WIDTH, height=HEIGHT):
    """A smooth picture whose mean brightness tells the frame number."""
    ramp = np.linspace(0, 40, width)[None, :, None]
    picture = np.full((height, width, 3), 10.0) + ramp
    picture += 6 * (number % 30)
    # Neither symmetric left to right nor top to bottom.
    picture[: height // 4, : width // 4, 0] = 250
    return picture.clip(0, 255).astype(np.uint8)


def write_video(
    path,
    count=COUNT,
    size=(WIDTH, HEIGHT),
    fps=8,
    pix_fmt='yuv420p',
    gop=250,
    b_frames=2,
    pts=None,
    container=None,
    **options,
):
    """Write an h264 file; ``pts`` are time stamps in frames, for VFR."""
    with av.open(str(path), 'w', container, options=options) as output:
        stream = output.add_stream('libx264', rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.options = {'g': str(gop), 'bf': str(b_frames), 'crf': '10'}
        stream.codec_context.time_base = Fraction(1, fps)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(
                draw_frame(number, *size), format='rgb24'
            )
            frame.pts = number if pts is None else pts[number]
            frame.time_base = Fraction(1, fps)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return Path(path)


def is_frame(image, number):
    """Whether a decoded image is the drawn frame of this number."""
    height, width = image.shape[:2]
    wanted = draw_frame(number, width, height)
    return np.abs(image.astype(int) - wanted).mean() < 2.5


def make_boxes(frames, dx=1):
    """A box that moves by ``dx`` pixels a frame."""
    frames = np.asarray(frames)
    return np.stack(
        [4 + dx * frames, 0 * frames + 5, 14 + dx * frames, 0 * frames + 25],
        1,
    )


def make_query(query_id, span, track='0', **changes):
    """A query as in the file."""
    query = dict(
        query_id=query_id,
        text='the child on the left is watching the ball.',
        type='declarative',
        span=list(span),
        track_id=track,
        predicate='watch',
        category='child',
    )
    return {**query, **changes}


def make_annotation(folder, videos=3, write=True):
    """Write ``ann.json`` with two clips a video, five queries together."""
    (folder / 'video').mkdir(parents=True, exist_ok=True)
    infos, data_list = {}, []
    for number in range(videos):
        name = f'v{number}'
        if write:
            write_video(folder / 'video' / f'{name}.mp4')
        frames = np.arange(COUNT)
        seen = np.r_[0:9, 12:COUNT]
        infos[name] = VideoInfo(
            name,
            f'{name}.mp4',
            COUNT,
            8.0,
            WIDTH,
            HEIGHT,
            {
                '0': Track.from_boxes('child', frames, make_boxes(frames)),
                '1': Track.from_boxes('ball', seen, make_boxes(seen, 2)),
            },
            predicates=('watch', 'hold'),
        )
        first = 5 * number
        queries = [
            make_query(str(first), (4, 10)),
            make_query(
                str(first + 1),
                (6, 14),
                '1',
                text='what rides next to the child?',
                type='interrogative',
                predicate='ride',
            ),
            make_query(str(first + 2), (2, 20), text='Left and right.'),
        ]
        data_list.append(
            dict(video_id=name, segment=[0, COUNT], queries=queries)
        )
        data_list.append(
            dict(
                video_id=name,
                segment=[4, 16],
                queries=[
                    make_query(str(first + 3), (5, 9)),
                    make_query(str(first + 4), (6, 16), predicate='kick'),
                ],
            )
        )
    path = folder / 'ann.json'
    save_annotation(path, dict(dataset='toy', split='train'), infos, data_list)
    return path


@pytest.fixture(scope='session')
def toy(tmp_path_factory):
    """Folder with ``ann.json`` and its videos; do not change it."""
    folder = tmp_path_factory.mktemp('toy')
    make_annotation(folder)
    return folder


@pytest.fixture(scope='session')
def toy_tools():
    """The functions of this file, which tests cannot import."""
    return SimpleNamespace(
        draw_frame=draw_frame,
        is_frame=is_frame,
        make_annotation=make_annotation,
        make_boxes=make_boxes,
        make_query=make_query,
        write_video=write_video,
    )


@pytest.fixture(scope='session')
def put():
    """Set a value of JSON by its keys; without a value it is removed."""

    def put(raw, path, value=...):
        *parents, last = path.split()
        for key in parents:
            raw = raw[int(key) if isinstance(raw, list) else key]
        key = int(last) if isinstance(raw, list) else last
        if value is ...:
            del raw[key]
        elif isinstance(raw, list) and key == len(raw):
            raw.append(value)
        else:
            raw[key] = value

    return put


@pytest.fixture
def run_tool(repo_root, monkeypatch, capsys):
    """Run a tool in this process; gives its exit status and what it wrote."""

    def run(name, *words):
        path = repo_root / 'tools' / f'{name}.py'
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, words)])
        code = 0
        try:
            runpy.run_path(str(path), run_name='__main__')
        except SystemExit as ended:
            code = ended.code or 0
        out, err = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=out, stderr=err)

    return run


@pytest.fixture(scope='session')
def oracles(load_tool):
    """What guesses with perfect boxes score."""
    return load_tool('analysis_tools/shapes_oracles')


@pytest.fixture
def own_cache(tmp_path_factory, monkeypatch):
    """Folder of the proofs of videos; nobody has left any before."""
    folder = tmp_path_factory.mktemp('cache')
    monkeypatch.setenv('HERO_MM_CACHE', str(folder))
    frame_table._tables.clear()
    return folder / 'frames'
