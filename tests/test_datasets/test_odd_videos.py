"""Odd videos: what is read is what a full decode in order shows, always.

``HERO_MM_ODD_VIDEOS=200`` makes as many videos; the slow suite has 40.
"""

import os
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest

from hero_mm.datasets.video_reader import VideoError, open_video

# Frames, and seconds at which the second and the last are shown.
ODD = {
    'plain.mp4': (150, 0.04, 5.96),
    'vp8_vpxenc.webm': (150, 0.041, 5.96),
    'h264.avi': (150, 0.04, 5.96),
    'long_h264_cut.mkv': (910, 0.04, 36.36),
    'hevc_cut.ts': (110, 0.04, 4.36),
    'pal8.avi': (90, 0.04, 3.56),
    'intra_refresh.mp4': (150, 0.04, 5.96),
    'cover_first.mp4': (150, 0.04, 5.96),
    'hflip.mp4': (150, 0.04, 5.96),
    'vfr.mp4': (150, 0.0, 17.28),
    'truncated.mkv': (85, 0.04, 3.44),
}


def decoded(path, mirrored: bool = False) -> np.ndarray:
    """All frames, in order, of the best stream."""
    with av.open(str(path)) as container:
        stream = container.streams.best('video')
        frames = [
            frame.to_ndarray(format='rgb24')
            for frame in container.decode(stream)
        ]
    return np.stack(frames)[:, :, :: -1 if mirrored else 1]


def check_every_way(path, wanted: np.ndarray, generator) -> None:
    """Alone, in pairs and as a sampled clip; unproven and proven."""
    count = len(wanted)
    alone = generator.permutation(count)[:12]
    clip = np.unique(np.linspace(0, count - 1, 64).astype(int))
    asked = [[int(rank)] for rank in alone]
    asked += [sorted({int(a), int(b)}) for a, b in zip(alone, alone[1:])]
    for ranks in [*asked[:6], clip, *asked]:
        # A reader that has read nothing, and then one that has.
        with open_video(path) as reader:
            for again in (ranks, ranks[-1:]):
                got = reader.get_frames(again)
                np.testing.assert_array_equal(got, wanted[again])


@pytest.mark.parametrize('name', ODD)
def test_odd_videos(name, shared_data):
    path = shared_data / 'odd_videos' / name
    if not path.is_file():
        pytest.skip('no odd videos')
    count, second, last = ODD[name]
    wanted = decoded(path, mirrored=name == 'hflip.mp4')
    assert len(wanted) == count
    check_every_way(path, wanted, np.random.default_rng(0))
    with open_video(path) as reader:
        assert reader.frame_count == count
        assert reader.size == wanted.shape[2:0:-1]
        times = reader.times
        assert len(times) == count and times[0] == 0
        assert (times[1], times[-1]) == pytest.approx((second, last), abs=1e-3)
        if name == 'truncated.mkv':
            with pytest.raises(
                VideoError, match=r'second 3.48.* 6.00 seconds'
            ):
                reader.check_whole()
        else:
            assert reader.check_whole() == count


# --- made here --------------------------------------------------------------

CODECS = {
    'libx264': ('mp4', 'matroska', 'mpegts', 'avi'),
    'libx265': ('mp4', 'matroska', 'mpegts'),
    'libvpx': ('matroska', 'webm'),
    'libvpx-vp9': ('mp4', 'matroska', 'webm'),
    'mpeg4': ('mp4', 'avi', 'matroska'),
    'mpeg2video': ('mpegts', 'matroska'),
    'mjpeg': ('avi', 'matroska'),
    'ffv1': ('matroska', 'avi'),
    'prores_ks': ('mov',),
}


def make_video(path, codec: str, container: str, generator) -> bool:
    """A moving texture, of random length and groups of pictures.

    False where this build of FFmpeg lacks the encoder.
    """
    noise = generator.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    texture = noise.repeat(6, 0).repeat(6, 1)
    count = int(generator.integers(60, 130))
    with av.open(str(path), 'w', format=container) as output:
        try:
            stream = output.add_stream(codec, rate=25)
        except (ValueError, av.FFmpegError):
            return False
        stream.width, stream.height = 64, 48
        stream.pix_fmt = {
            'mjpeg': 'yuvj420p',
            'prores_ks': 'yuv422p10le',
        }.get(codec, 'yuv420p')
        stream.gop_size = int(generator.integers(4, 40))
        options = {
            'libx264': {
                'bf': str(generator.integers(0, 5)),
                'x264-params': 'open-gop=1'
                if generator.random() < 0.5
                else 'intra-refresh=1',
                'preset': 'ultrafast'
                if generator.random() < 0.3
                else 'veryfast',
            },
            'libx265': {'preset': 'ultrafast', 'x265-params': 'log-level=0'},
            # Hidden frames come late: with the second group of pictures.
            'libvpx': {'auto-alt-ref': '1', 'lag-in-frames': '16'},
            'libvpx-vp9': {'lag-in-frames': '16', 'cpu-used': '8'},
            'mpeg4': {'bf': str(generator.integers(0, 3))},
        }
        stream.options = options.get(codec, {})
        place = 0
        for number in range(count):
            place = (place + int(generator.integers(0, 3))) % 60
            part = texture[place // 2 :, place:][:48, :64]
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(part), format='rgb24'
            )
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return True


def cut_copy(source, path, container: str, start: float) -> None:
    """A stream copy that begins at any packet, key frame or not."""
    with av.open(str(source)) as old:
        stream = old.streams.best('video')
        packets = [p for p in old.demux(stream) if p.size]
        first = int(start * len(packets))
        with av.open(str(path), 'w', format=container) as new:
            copy = new.add_stream_from_template(stream)
            for packet in packets[first:]:
                packet.stream = copy
                new.mux(packet)


def check_made(path, generator) -> None:
    """What a full decode shows is read, or is refused in words."""
    try:
        wanted = decoded(path)
    except av.FFmpegError:
        # What cannot be decoded in order is not read at all.
        with open_video(path) as reader, pytest.raises(VideoError):
            reader.check_whole()
        return
    with open_video(path) as reader:
        assert reader.frame_count == len(wanted)
        sound = reader._whole().sound
    if not sound.all():
        with open_video(path) as reader, pytest.raises(VideoError):
            reader.get_frames(np.flatnonzero(~sound)[:1])
        return
    check_every_way(path, wanted, generator)


# Of each codec four; a cut one is of an odd seed.
NUM_MADE = int(os.environ.get('HERO_MM_ODD_VIDEOS', 40))
SEEDS = [
    pytest.param(seed, marks=[pytest.mark.slow] * (seed >= 12))
    for seed in range(NUM_MADE)
]


@pytest.mark.parametrize('seed', SEEDS)
def test_videos_of_many_kinds(seed, tmp_path):
    generator = np.random.default_rng(seed)
    codec = [*CODECS][seed % len(CODECS)]
    container = str(generator.choice(CODECS[codec]))
    path = tmp_path / f'made.{container}'
    if not make_video(path, codec, container, generator):
        pytest.skip(f'FFmpeg of PyAV has no {codec}')
    if seed % 2 and container in ('mpegts', 'matroska'):
        source, path = path, tmp_path / f'cut.{container}'
        cut_copy(source, path, container, generator.uniform(0.05, 0.4))
    check_made(path, generator)


# Stream copies, of two made videos.
COPIES = {
    # With an edit list that begins inside of a group of pictures.
    'cut mp4': ('-ss', '0.7', '-i', 'one.mp4', '-c', 'copy', 'out.mp4'),
    'cut matroska': ('-ss', '0.7', '-i', 'one.mp4', '-c', 'copy', 'out.mkv'),
    'cut stream': ('-ss', '0.7', '-i', 'one.mp4', '-c', 'copy', 'out.ts'),
    'joined': ('-f', 'concat', '-i', 'list.txt', '-c', 'copy', 'out.mp4'),
}


@pytest.mark.parametrize('kind', COPIES)
@pytest.mark.parametrize('codec', ['libx264', 'mpeg4'])
def test_stream_copies_of_ffmpeg(codec, kind, ffmpeg, tmp_path):
    generator = np.random.default_rng(3)
    for name in ('one.mp4', 'two.mp4'):
        assert make_video(tmp_path / name, codec, 'mp4', generator)
    (tmp_path / 'list.txt').write_text("file 'one.mp4'\nfile 'two.mp4'\n")
    words = [ffmpeg, '-v', 'error', *COPIES[kind]]
    subprocess.run(words, cwd=tmp_path, check=True)
    check_made(tmp_path / words[-1], generator)
