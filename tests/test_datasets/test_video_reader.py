"""Frames by index, on files that are and are not what they should be."""

import os
import pickle
import struct
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest

from hero_mm.datasets import frame_table, video_reader
from hero_mm.datasets.video_reader import PyAVReader, VideoError, open_video


def _read(path, indices=(0,), max_side=None, **options):
    with open_video(path, **options) as reader:
        return reader.get_frames(indices, max_side)


def _turned(path, source, a, b, c, d):
    """The same mp4 with a display matrix: x' = a x + c y, y' = b x + d y."""
    data = bytearray(source.read_bytes())
    start = data.index(b'tkhd') + 4 + 40
    matrix = [one << 16 for one in (a, b, 0, c, d, 0)]
    data[start : start + 24] = struct.pack('>6i', *matrix)
    path.write_bytes(data)
    return path


@pytest.fixture(scope='module')
def files(tmp_path_factory, toy_tools):
    """Videos of many kinds: name to (path, frames, (width, height))."""
    folder = tmp_path_factory.mktemp('videos')
    stamps = np.cumsum([2, 1, 3, 1, 1, 7, 2, 1, 1, 4] * 6) - 2
    made = {
        'plain': (dict(), 24, (64, 48)),
        'no_b_frames': (dict(b_frames=0), 24, (64, 48)),
        'many_b_frames': (dict(b_frames=6, gop=30, count=70), 70, (64, 48)),
        'long': (dict(count=200, gop=25), 200, (64, 48)),
        'vfr': (dict(count=60, pts=stamps, gop=12), 60, (64, 48)),
        'odd': (dict(size=(51, 37), pix_fmt='yuv444p'), 24, (51, 37)),
        'one': (dict(count=1), 1, (64, 48)),
        'mkv': (dict(count=90, gop=20, container='matroska'), 90, (64, 48)),
        'ts': (dict(count=90, gop=20, container='mpegts'), 90, (64, 48)),
        'avi': (dict(count=90, gop=20, container='avi'), 90, (64, 48)),
    }
    out = {}
    for name, (options, count, size) in made.items():
        path = folder / f'{name}.{options.get("container", "mp4")}'
        toy_tools.write_video(path, **{'size': size, **options})
        out[name] = path, count, size
    # An edit list hides the first 5 of 70 frames, which are in the file.
    shift = dict(pts=range(-5, 65), avoid_negative_ts='disabled')
    path = toy_tools.write_video(
        folder / 'edited.mp4', count=70, gop=12, **shift
    )
    out['edited'] = path, 65, (64, 48)
    return out


KINDS = [
    *['plain', 'no_b_frames', 'many_b_frames', 'long', 'vfr', 'odd', 'one'],
    *['mkv', 'ts', 'avi', 'edited'],
]


@pytest.mark.parametrize('kind', KINDS)
def test_every_frame_is_the_one_that_was_drawn(files, kind, toy_tools):
    path, count, size = files[kind]
    with open_video(path) as reader:
        assert reader.frame_count == reader.check_whole() == count
        assert reader.size == size
        frames = reader.get_frames(range(count))
        # The reader is of use after an error, too.
        message = f'frame {count + 9} was asked for, the file has {count} fra'
        with pytest.raises(VideoError, match=message):
            reader.get_frames([0, count + 9])
        ranks = [count - 1, 0, count - 1, count // 2]
        np.testing.assert_array_equal(reader.get_frames(ranks), frames[ranks])
    assert frames.shape == (count, size[1], size[0], 3)
    assert frames.dtype == np.uint8
    hidden = 5 if kind == 'edited' else 0
    for number, image in enumerate(frames, hidden):
        assert toy_tools.is_frame(image, number), number


@pytest.mark.parametrize('kind', ['long', 'vfr', 'edited', 'mkv'])
def test_seeking_gives_the_same_as_reading_in_order(files, kind, monkeypatch):
    path, count, _ = files[kind]
    monkeypatch.setattr(video_reader, '_SEEK_GAIN', 1)
    generator = np.random.default_rng(0)
    with open_video(path) as reader:
        table = reader._whole()
        for _ in range(8):
            number = generator.integers(1, 9)
            wanted = np.sort(generator.permutation(count)[:number])
            got = reader._images(reader._seek(table, wanted), number)
            reader._may_seek = False
            np.testing.assert_array_equal(got, reader.get_frames(wanted))


ONES = [(1, 1), (1, -1), (-1, 1), (-1, -1)]


@pytest.mark.parametrize(
    ('a', 'b', 'c', 'd'),
    [(s, 0, 0, t) for s, t in ONES] + [(0, s, t, 0) for s, t in ONES],
)
def test_every_display_matrix(files, tmp_path, a, b, c, d):
    (stored,) = _read(files['plain'][0])
    path = _turned(tmp_path / 'turned.mp4', files['plain'][0], a, b, c, d)
    y, x = np.mgrid[: stored.shape[0], : stored.shape[1]]
    right, down = a * x + c * y, b * x + d * y
    right, down = right - right.min(), down - down.min()
    wanted = np.empty((down.max() + 1, right.max() + 1, 3), np.uint8)
    wanted[down, right] = stored
    np.testing.assert_array_equal(_read(path)[0], wanted)
    with open_video(path) as reader:
        assert reader.size == wanted.shape[1::-1]


def counting(reader) -> list:
    """Time stamps of what the reader decodes from now on."""
    counted, original = [], reader._decode

    def count(*where, **needed):
        for frame in original(*where, **needed):
            counted.append(frame.pts)
            yield frame

    reader._decode = count
    return counted


def test_only_what_is_needed_is_decoded(files, toy_tools, own_cache):
    """After the proof: a full decode, once a file."""
    path, _, _ = files['long']
    with open_video(path) as reader:
        counted = counting(reader)
        reader.get_frames([0, 40])
        # The beginning of a file needs no proof.
        assert len(counted) == 41
        reader.get_frames([2, 101, 160])
        assert len(counted) == 41 + 200
    with open_video(path) as reader:
        counted = counting(reader)
        frames = reader.get_frames([2, 101, 160])
        assert len(counted) < 3 + 2 + 11 + 3
        counted.clear()
        reader.get_frames([5])
        assert len(counted) == 6
        # Neighbours are decoded in one go.
        counted.clear()
        reader.get_frames(range(105, 120))
        assert 15 <= len(counted) <= 15 + 25
        # B frames that nothing is predicted from are passed over.
        counted.clear()
        reader.get_frames([124])
        assert len(counted) < 20
    assert [
        toy_tools.is_frame(f, n) for f, n in zip(frames, (2, 101, 160))
    ] == [True] * 3


def test_the_proof_is_kept_until_the_file_changes(
    files, tmp_path, own_cache, toy_tools
):
    path = tmp_path / 'long.mp4'
    path.write_bytes(files['long'][0].read_bytes())

    def decoded() -> int:
        # Another process: it remembers nothing.
        frame_table._tables.clear()
        with open_video(path) as reader:
            counted = counting(reader)
            assert toy_tools.is_frame(reader.get_frames([180])[0], 180)
        return len(counted)

    assert decoded() == 200 and decoded() < 30
    (kept,) = own_cache.iterdir()
    # Half of the file, nothing of it, and something else.
    for data in (kept.read_bytes()[:200], b'', b'no archive' * 9):
        kept.write_bytes(data)
        assert decoded() == 200 and decoded() < 30
    os.utime(path, ns=(0, 0))
    assert decoded() == 200 and decoded() < 30


def test_what_broke_off_is_not_kept_for_other_processes(
    files, tmp_path, own_cache, monkeypatch
):
    """It may have been the disk, and not the file."""
    path = tmp_path / 'long.mp4'
    path.write_bytes(files['long'][0].read_bytes())
    whole = PyAVReader._decode

    def broken(self, pts=None):
        for number, frame in enumerate(whole(self, pts)):
            if number == 90:
                raise VideoError(self.path, 'the disk does not answer')
            yield frame

    with monkeypatch.context() as patch:
        patch.setattr(PyAVReader, '_decode', broken)
        with pytest.raises(VideoError, match='the disk does not answer'):
            _read(path, [150])
    assert not own_cache.exists()
    frame_table._tables.clear()
    assert _read(path, [150]).shape == (1, 48, 64, 3)


def test_a_cache_that_cannot_be_written_costs_time_alone(
    files, tmp_path, monkeypatch, toy_tools
):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('HERO_MM_CACHE', str(tmp_path / 'file'))
    image = _read(files['long'][0], [150])[0]
    assert toy_tools.is_frame(image, 150)


def test_what_a_seek_shows_is_compared(files, toy_tools):
    """Where it is not what the table says, decoding in order is."""
    path, _, _ = files['long']
    with open_video(path) as reader:
        table = reader._whole()
        sums = table.sums.copy()
        # As if the seek showed another picture of the same time.
        table.sums[150] += 1
        with pytest.raises(VideoError, match='no seek'):
            list(reader._seek(table, np.array([150])))
        assert toy_tools.is_frame(reader.get_frames([150])[0], 150)
        table.sums[:] = sums
        table.sums[np.flatnonzero(table.keys[:141])[-1]] += 1
        with pytest.raises(VideoError, match='no seek'):
            list(reader._seek(table, np.array([140])))
        table.sums[:] = sums
        assert len(list(reader._seek(table, np.array([140])))) == 1


def _write_panning(path):
    """A moving texture, whose frames are predicted from each other."""
    noise = np.random.default_rng(0).random((15, 25, 3))
    texture = noise.repeat(8, 0).repeat(8, 1)
    with av.open(str(path), 'w') as output:
        stream = output.add_stream('libx264', rate=8)
        stream.width, stream.height = 96, 64
        stream.options = {'g': '20', 'bf': '2', 'sc_threshold': '0'}
        for number in range(40):
            part = texture[number // 2 :, 2 * number :][:64, :96]
            image = np.ascontiguousarray(255 * part).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format='rgb24')
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


def test_what_is_predicted_from_a_damaged_frame_is_refused(tmp_path):
    path = tmp_path / 'panning.mp4'
    _write_panning(path)
    good = _read(path, range(40)).astype(int)
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        place, size, pts = packets[4].pos, packets[4].size, packets[4].pts
        rank = sorted(p.pts for p in packets).index(pts)
        assert not packets[4].is_keyframe and packets[5].pts < pts
    data = bytearray(path.read_bytes())
    data[place + size // 2 : place + size] = bytes(size - size // 2)
    path.write_bytes(data)
    refused = []
    for number in range(40):
        try:
            image = _read(path, [number])[0]
        except VideoError as error:
            assert 'damaged, or predicted from one that is' in str(error)
            refused.append(number)
        else:
            assert np.abs(image - good[number]).mean() < 0.5, number
    # The B frames just before it, it, and all up to the next key frame.
    assert refused == list(range(rank - 2, 20))


def _frames(kinds):
    """Stand-ins: I, P or B in upper case, damaged ones in lower case."""
    return [
        SimpleNamespace(
            is_corrupt=kind.islower(),
            key_frame=kind in 'Ii',
            pict_type=av.video.frame.PictureType[kind.upper()],
        )
        for kind in kinds
    ]


@pytest.mark.parametrize(
    ('kinds', 'sound'),
    [
        ('IBBPBBP', '1111111'),
        ('IBBpBBPBBIBBP', '1000000001111'),
        ('IBBPbBPI', '11110001'),
        ('iPPIP', '00011'),
        ('Ipi', '100'),
        # Such a stream is not held back for good.
        ('I' + 20 * 'B' + 'b', '1' + 16 * '1' + 5 * '0'),
    ],
)
def test_frames_are_with_soundness(kinds, sound):
    judged = video_reader._with_soundness(_frames(kinds))
    assert ''.join(str(int(good)) for _, good in judged) == sound


@pytest.mark.parametrize('indices', [[], [-1, 2], 3])
def test_bad_indices(files, indices):
    with pytest.raises(ValueError, match='one or more numbers from 0 on'):
        _read(files['plain'][0], indices)


@pytest.mark.parametrize('threads', [0, 2])
def test_threads_change_nothing(files, threads):
    one = _read(files['long'][0], [0, 77])
    many = _read(files['long'][0], [0, 77], num_threads=threads)
    np.testing.assert_array_equal(one, many)


def test_through_a_storage_backend(files, own_cache):
    path, _, _ = files['long']
    stored = _read(path, [3, 120], backend_args=dict(backend='local'))
    # Who knows what stands behind a name there.
    assert not own_cache.exists()
    np.testing.assert_array_equal(stored, _read(path, [3, 120]))


@pytest.mark.parametrize('backend_args', [None, dict(backend='local')])
def test_broken_files_are_named(tmp_path, files, backend_args):
    (tmp_path / 'empty.mp4').touch()
    (tmp_path / 'text.mp4').write_text('not a video\n' * 40)
    whole = files['long'][0].read_bytes()
    (tmp_path / 'cut.mp4').write_bytes(whole[: len(whole) // 3])
    for name, message in {
        'none.mp4': 'does not exist',
        'empty.mp4': 'the file is empty',
        'text.mp4': 'not a readable video',
        'cut.mp4': 'not a readable video',
    }.items():
        with pytest.raises(VideoError, match=message) as caught:
            _read(tmp_path / name, backend_args=backend_args)
        error = pickle.loads(pickle.dumps(caught.value))
        assert str(tmp_path / name) in str(error) and 'Cure: ' in str(error)
        assert type(error) is VideoError


def test_a_file_that_was_cut_off_is_refused(tmp_path, files):
    """The beginning of an mp4 whose index stands in front."""
    path = tmp_path / 'cut.mp4'
    with av.open(str(files['long'][0])) as old:
        options = {'movflags': 'faststart'}
        with av.open(str(path), 'w', options=options) as new:
            stream = new.add_stream_from_template(old.streams.video[0])
            for packet in old.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    new.mux(packet)
    data = path.read_bytes()
    path.write_bytes(data[: int(0.93 * len(data))])
    message = 'cut off: it holds .* can be decoded: decoding stops'
    with open_video(path) as reader, pytest.raises(VideoError, match=message):
        reader.check_whole()


def _with_sound(path, source):
    """The same with twice as much sound."""
    with av.open(str(source)) as old, av.open(str(path), 'w') as new:
        film = new.add_stream_from_template(old.streams.video[0])
        sound = new.add_stream('pcm_s16le', rate=8000)
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = film
                new.mux(packet)
        for second in range(50):
            noise = np.zeros((1, 8000), np.int16)
            frame = av.AudioFrame.from_ndarray(noise, 's16', 'mono')
            frame.sample_rate, frame.pts = 8000, 8000 * second
            new.mux(sound.encode(frame))
        new.mux(sound.encode())


@pytest.mark.parametrize('kind', ['avi', 'mkv'])
def test_headers_of_whole_and_of_cut_files(tmp_path, toy_tools, kind):
    """Of an AVI, and where sound is longer than the pictures."""
    path, cut = tmp_path / f'whole.{kind}', tmp_path / f'cut.{kind}'
    film = toy_tools.write_video(tmp_path / 'film.avi', 200, b_frames=0)
    _with_sound(path, film) if kind == 'mkv' else film.rename(path)
    data = path.read_bytes()
    with av.open(str(path)) as container:
        places = [p.pos for p in container.demux(video=0) if p.size]
    cut.write_bytes(data[: places[120]])
    with open_video(path) as reader:
        assert reader.check_whole() == 200
    with open_video(cut) as reader, pytest.raises(VideoError, match='cut off'):
        reader.check_whole()


def test_seconds_between_frames_do_not_make_a_file_cut_off(
    toy_tools, tmp_path
):
    path = tmp_path / 'slides.mkv'
    toy_tools.write_video(path, 10, fps=Fraction(1, 4))
    with open_video(path) as reader:
        assert reader.check_whole() == 10
        assert reader.times[-1] == 36


def test_seconds_of_joined_recordings(files, tmp_path):
    """Their time stamps begin anew; those of packets are out of order."""
    path, count, _ = files['ts']
    (tmp_path / 'joined.ts').write_bytes(2 * path.read_bytes())
    with open_video(tmp_path / 'joined.ts') as reader:
        wanted = np.arange(2 * count) / 8
        np.testing.assert_allclose(reader.times, wanted, atol=1e-3)


def test_a_lying_container_is_not_trusted(tmp_path, files, toy_tools):
    """An mp4 header says 90 frames of one sample description, 24 come."""
    path, _, _ = files['plain']
    data = bytearray(path.read_bytes())
    place = data.index(b'mvhd') + 4 + 16
    data[place : place + 4] = struct.pack('>i', 10**6)
    place = data.index(b'mdhd') + 4 + 16
    data[place : place + 4] = struct.pack('>i', 10**7)
    liar = tmp_path / 'liar.mp4'
    liar.write_bytes(data)
    with open_video(liar) as reader:
        assert reader.frame_count == reader.check_whole() == 24
        assert toy_tools.is_frame(reader.get_frames([23])[0], 23)


def test_no_video_stream(tmp_path):
    path = tmp_path / 'sound.wav'
    with av.open(str(path), 'w') as output:
        stream = output.add_stream('pcm_s16le', rate=8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 800), np.int16), format='s16', layout='mono'
        )
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    with pytest.raises(VideoError, match='no video stream'):
        _read(path)


def test_a_change_of_size_is_an_error(files):
    with open_video(files['plain'][0]) as reader:
        reader._size = 65, 48
        with pytest.raises(VideoError, match='the size changes'):
            reader.get_frames([1])


def test_a_rate_that_the_stamps_alone_give(files):
    with open_video(files['plain'][0]) as reader:
        assert reader.frame_count == 24
        unit = reader._stream.time_base
        reader._stream = SimpleNamespace(
            average_rate=None, guessed_rate=None, time_base=unit
        )
        assert reader.fps == pytest.approx(8)


def test_large_frames_are_reduced_while_they_are_decoded(files, tmp_path):
    path, _, _ = files['long']
    ranks = [0, 150]
    whole = _read(path, ranks)
    assert (whole == _read(path, ranks, 64)).all()
    few = _read(path, ranks, 32)
    assert few.shape == (2, 24, 32, 3)
    # The mean of each 2 x 2 pixels, but for the rounding of the colours.
    mean = whole[:, ::2, ::2].astype(int) + whole[:, 1::2, ::2]
    mean = (mean + whole[:, ::2, 1::2] + whole[:, 1::2, 1::2]) / 4
    assert np.abs(few - mean).mean() < 2
    turned = _turned(tmp_path / 'turned.mp4', path, 0, 1, -1, 0)
    turned = _read(turned, [0], 32)
    assert turned.shape == (1, 32, 24, 3)
    with open_video(path) as reader:
        reader.get_frames([0], 32)
        assert reader.size == (64, 48)
