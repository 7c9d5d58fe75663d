"""What a search of a long video takes: memory, time, the first result."""

import multiprocessing
import tempfile
import time
from argparse import Namespace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from hero_mm.apis.inferencer import TubeInferencer
from hero_mm.apis.package import SHIPPED
from hero_mm.datasets.video_reader import open_video

from .timing import Rows, peak_memory

RATE = 25
WINDOW = 4.0
TEXTS = (
    'the purple star grows.',
    'the star loops before it moves up.',
    'what spins?',
)


def write_long(path: Path, seconds: float, size: tuple[int, int]) -> None:
    """A video of any length: the shipped example, again and again.

    ``seconds`` are rounded up to whole examples; ``size`` is (width, height).
    """
    with open_video(SHIPPED / 'example.mp4') as reader:
        pictures = reader.get_frames(np.arange(reader.frame_count))
        count = round(reader.frame_count * RATE / reader.fps)
    with av.open(str(path), 'w') as container:
        # Without B frames: packets are in the order of the frames.
        stream = container.add_stream(
            'libx264', rate=RATE, options=dict(preset='ultrafast')
        )
        stream.width, stream.height = size
        stream.pix_fmt = 'yuv420p'
        packets = []
        for at in range(count):
            picture = cv2.resize(pictures[at * len(pictures) // count], size)
            frame = av.VideoFrame.from_ndarray(picture, format='rgb24')
            packets += stream.encode(frame)
        packets += stream.encode()
        for start in range(0, round(seconds * RATE), count):
            for at, packet in enumerate(packets, start):
                packet.time_base = Fraction(1, RATE)
                packet.pts = packet.dts = at
                container.mux(packet)


def long_rows(args: Namespace) -> Rows:
    """Peak memory of a process that searches a video, by its length."""
    rows = [['video', 'frames', 'peak MB', 'ratio', 's', 'first after, s']]
    base = 0.0
    size = tuple(args.size)
    context = multiprocessing.get_context('spawn')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'long.mp4')
        for minutes in args.minutes:
            write_long(path, 60 * minutes, size)
            # A process each: its peak is that of one video.
            with context.Pool(1) as pool:
                frames, peak, *seconds = pool.apply(search, (str(path),))
            base = base or peak
            ratio = f'{peak / base:.2f}' if peak else '–'
            name = f'{minutes:g} min of {size[0]} x {size[1]}'
            cells = [str(frames), f'{peak:.0f}', ratio]
            cells += [f'{seconds[0]:.1f}', f'{seconds[1]:.2f}']
            rows.append([name, *cells])
    return rows


def search(path: str) -> tuple[int, float, float, float]:
    """Ask the shipped model three sentences about a video.

    Returns:
        tuple: Frames of the video, peak MB of this process (0 where it is
        unknown), and its seconds on the CPU in all and until the first result.
    """
    inferencer = TubeInferencer(window=WINDOW, device='cpu')
    begun, first, searched = time.process_time(), 0.0, 0
    for update in inferencer.stream(path, TEXTS):
        first = first or time.process_time() - begun
        searched = update['searched'][1]
    seconds = time.process_time() - begun
    return searched, peak_memory() or 0.0, seconds, first
