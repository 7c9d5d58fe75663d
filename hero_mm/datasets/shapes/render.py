"""From a world to pixels, visible boxes and an mp4 file.

Shape legend: T frames, N objects, V corners of an outline.
"""

import io
import math
from collections.abc import Iterable
from typing import Any, Optional

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ..video_reader import scaling_options
from .profiles import DEFAULT
from .world import Thing, World

RGB = {
    'red': (225, 35, 40),
    'green': (30, 165, 50),
    'blue': (40, 65, 235),
    'yellow': (240, 220, 40),
    'purple': (195, 50, 215),
    'cyan': (45, 215, 225),
}
_WHITE = (250, 250, 250)
_BAR = (70, 62, 55)
_SHIFT = 5
_ONE = 1 << _SHIFT
# x264's macroblock tree gives other bytes each time on so small a frame.
_X264 = {
    'crf': '18',
    'preset': 'veryfast',
    'x264-params': 'mbtree=0:bframes=0',
}

Frame = NDArray[np.uint8]


def _polygon(
    number: int, reach: float, inner: Optional[float] = None
) -> NDArray:
    """Corners of a regular polygon, or of a star if ``inner`` is given."""
    count = number if inner is None else 2 * number
    radii = np.full(count, reach)
    if inner is not None:
        radii[1::2] = inner
    turn = -math.pi / 2 + 2 * math.pi * np.arange(count) / count
    return np.stack([radii * np.cos(turn), radii * np.sin(turn)], axis=1)


# Outlines at radius one; areas are alike, so that size words are fair.
OUTLINES = {
    'circle': _polygon(28, 1.0),
    'square': 0.88 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]),
    'triangle': _polygon(3, 1.3),
    'star': _polygon(5, 1.4, 0.6),
}
# A dark stripe from the middle outwards: even a circle is seen to spin.
_STRIPE = np.array([[-0.14, 0.0], [0.14, 0.0], [0.14, -0.8], [-0.14, -0.8]])


def outline(thing: Thing, unit: Optional[NDArray] = None) -> NDArray:
    """Corners of an object in every frame, has shape (T, V, 2), in pixels.

    A pixel's middle is at .5. ``unit`` are corners (V, 2) at radius one, those
    of the object's own shape by default.
    """
    corners = OUTLINES[thing.look.shape] if unit is None else unit
    cos, sin = np.cos(thing.angle), np.sin(thing.angle)
    turn = np.stack([np.stack([cos, -sin], 1), np.stack([sin, cos], 1)], 1)
    turned = np.einsum('tij,vj->tvi', turn, corners)
    moved: NDArray = turned * thing.radius[:, None, None]
    return moved + thing.centre[:, None]


def _fixed(corners: NDArray) -> NDArray[np.int32]:
    """Pixels to OpenCV's fixed point, whose pixel middle is at 0."""
    return np.round((corners - 0.5) * _ONE).astype(np.int32)


def render(world: World) -> NDArray[np.uint8]:
    """Draw a world: uint8 RGB frames, has shape (T, H, W, 3)."""
    frames = _backdrop(world)
    layers = [_layer(world.things[tid]) for tid in world.order]
    for index, frame in enumerate(frames):
        for depth, (body, stripe, colours) in enumerate(layers):
            _draw_bar(frame, world, depth, _BAR)
            corners = [body[index]]
            colour, edge, dark = colours[index]
            cv2.fillPoly(frame, corners, colour, cv2.LINE_AA, _SHIFT)
            cv2.polylines(frame, corners, True, edge, 1, cv2.LINE_AA, _SHIFT)
            cv2.fillPoly(frame, [stripe[index]], dark, cv2.LINE_AA, _SHIFT)
        _draw_bar(frame, world, len(layers), _BAR)
    return frames


def _layer(thing: Thing) -> tuple[NDArray, NDArray, list]:
    """Corners of body and stripe, and the colours, in every frame."""
    fills = [_WHITE if w else RGB[thing.look.colour] for w in thing.white]
    colours = [(fill, _dim(fill, 0.72), _dim(fill, 0.22)) for fill in fills]
    # OpenCV's edge lies on the corners: pull them in by its half width.
    still = outline(thing) - thing.centre[:, None]
    scale = 1 - 0.35 / thing.radius
    body = still * scale[:, None, None] + thing.centre[:, None]
    return _fixed(body), _fixed(outline(thing, _STRIPE)), colours


def _dim(colour: tuple[int, ...], share: float) -> tuple[int, ...]:
    return tuple(int(share * channel) for channel in colour)


def _draw_bar(picture: NDArray, world: World, depth: int, colour: Any) -> None:
    """Draw the bar, if there is one at this depth."""
    bar, side = world.bar, world.profile.side
    if bar is None or bar.depth != depth:
        return
    first, last = round(bar.start), round(bar.start + bar.width) - 1
    corners = ((first, 0), (last, side - 1))
    if not bar.upright:
        corners = ((0, first), (side - 1, last))
    cv2.rectangle(picture, *corners, colour, -1)


def _backdrop(world: World) -> NDArray[np.uint8]:
    """A smooth texture of low contrast that pans slowly."""
    rng = np.random.default_rng(world.backdrop_seed)
    side, number = world.profile.side, len(world.things[0].angle)
    # Room to pan a pixel a frame to either side, and some to spare.
    whole = side + 2 * number + 12
    cells = whole // 10
    grid = rng.uniform(-1, 1, size=(cells, cells, 1)) * rng.uniform(12, 26)
    tint = rng.uniform(-7, 7, size=(cells, cells, 3))
    noise = (rng.uniform(95, 135) + grid + tint).astype(np.float32)
    smooth = cv2.resize(noise, (whole, whole), interpolation=cv2.INTER_CUBIC)
    rough = smooth + rng.normal(0, 2, smooth.shape)
    texture = rough.clip(0, 255).astype(np.uint8)
    speed = rng.uniform(-1, 1, size=2)
    start = rng.uniform(number + 3, number + 9, size=2)
    frames = np.empty((number, side, side, 3), np.uint8)
    for index, frame in enumerate(frames):
        x, y = start + speed * index
        move = np.array([[1, 0, x], [0, 1, y]], np.float32)
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        frame[:] = cv2.warpAffine(texture, move, (side, side), flags=how)
    return frames


def visible_boxes(world: World) -> tuple[NDArray[np.int64], NDArray]:
    """Boxes around what is seen of every object, and the visible shares.

    Boxes (N, T, 4) are integer xyxy with 0 <= x1 < x2 < W (x2, y2 exclusive
    but at the border); shares (N, T) of the object's area are in [0, 1], 0
    where it has no box.
    """
    bodies = [_fixed(outline(thing)) for thing in world.things]
    side = world.profile.side
    owner = np.zeros((len(bodies[0]), side, side), np.uint8)
    for index, canvas in enumerate(owner):
        for depth, tid in enumerate(world.order):
            _draw_bar(canvas, world, depth, 0)
            corners = [bodies[tid][index]]
            cv2.fillPoly(canvas, corners, tid + 1, cv2.LINE_8, _SHIFT)
        _draw_bar(canvas, world, len(bodies), 0)
    boxes = np.zeros((len(bodies), len(owner), 4), np.int64)
    seen = np.zeros((len(bodies), len(owner)))
    for tid, thing in enumerate(world.things):
        mask: NDArray = np.equal(owner, tid + 1)
        for index, shown in enumerate(mask.astype(np.uint8)):
            x, y, width, height = cv2.boundingRect(shown)
            right, bottom = min(x + width, side - 1), min(y + height, side - 1)
            boxes[tid, index] = x, y, right, bottom
        area = _area(OUTLINES[thing.look.shape]) * thing.radius**2
        share = np.minimum(mask.sum(axis=(1, 2)) / area, 1)
        wide = boxes[tid, :, 2:] - boxes[tid, :, :2] >= 2
        seen[tid] = np.where(wide.all(axis=1) & (share > 0.12), share, 0)
    boxes[seen == 0] = 0
    return boxes, seen


def _area(corners: NDArray) -> float:
    x, y = corners.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def encode_mp4(frames: Iterable[Frame], fps: int = DEFAULT.fps) -> bytes:
    """Encode uint8 RGB frames, each of shape (H, W, 3), as a whole mp4 file.

    It is h264 in yuv420p, which every browser plays.
    """
    buffer = io.BytesIO()
    reformatter = VideoReformatter()
    with av.open(buffer, 'w', format='mp4') as container:
        stream = container.add_stream('libx264', rate=fps)
        stream.pix_fmt = 'yuv420p'
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = 16
        stream.options = _X264
        for number, rgb in enumerate(frames):
            if not number:
                stream.height, stream.width = rgb.shape[:2]
            # OpenCV's own conversion takes the colour of every other pixel,
            # which moves it by half a pixel once a player has read it.
            frame = reformatter.reformat(
                av.VideoFrame.from_ndarray(rgb, format='rgb24'),
                format='yuv420p',
                **scaling_options(1),
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()
