"""The ways in which the field scores a tube, as a table.

``docs/metrics.md`` has the definitions and where they come from. Spans and
segments are half-open ``[start, end)`` in native frames.
"""

from dataclasses import dataclass, replace
from typing import Literal, Optional

import numpy as np

from hero_mm.errors import UserError

from .boxes import IntArray

SAMPLED_FPS = 5
SAMPLED_MAX_FRAMES = 200


@dataclass(frozen=True)
class Protocol:
    """How tubes are scored.

    Attributes:
        name (str): The name users give.
        summary (str): Half a line for logs and tables.
        grid (str): Frames that count: ``'sampled'``, five a second and at
            most 200 of the segment, or ``'native'``, all of them.
        gt_end (str): How the end of the true span is read. ``'exclusive'``:
            as it is meant. ``'as_last'``: as the last frame, cut at the
            segment's last one. ``'last'``: the true last frame. In the latter
            two the last frame must be found but adds no length; where it has
            no true box, that of the frame before stands in.
        tiou (str): ``'lengths'`` compares the lengths of the spans;
            ``'frames'`` counts the frames on which both tubes have a box,
            over the length of the hull of both spans.
        interpolate (bool): Whether boxes between the given ones are
            interpolated, and held at the ends. Otherwise a frame without a
            box scores 0.
        accuracies (tuple[float, ...]): If set, the scores are the shares of
            queries with a mean box overlap (on all true frames) of at least
            these values, and their mean.
    """

    name: str
    summary: str
    grid: Literal['sampled', 'native']
    gt_end: Literal['exclusive', 'as_last', 'last'] = 'exclusive'
    tiou: Literal['lengths', 'frames'] = 'lengths'
    interpolate: bool = False
    accuracies: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """str: The name, and what was chosen besides."""
        if self.interpolate == PROTOCOLS[self.name].interpolate:
            return self.name
        word = 'with' if self.interpolate else 'without'
        return f'{self.name} {word} interpolation'


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            'tubedetr',
            '5 fps grid of at most 200 frames, half-open spans, strict >',
            grid='sampled',
        ),
        Protocol(
            'stcat',
            'every native frame, true end read as the last frame, strict >',
            grid='native',
            gt_end='as_last',
            interpolate=True,
        ),
        Protocol(
            'hcstvg',
            'official HC-STVG: frames with both boxes over the hull of both '
            'spans, strict >',
            grid='native',
            tiou='frames',
        ),
        Protocol(
            'vid_sentence',
            'accuracy: mean box overlap on all true frames >= threshold, '
            'predicted span not used',
            grid='native',
            accuracies=(0.4, 0.5, 0.6),
        ),
    )
}


def get_protocol(
    name: str,
    dataset: Optional[str] = None,
    interpolate: Optional[bool] = None,
) -> Protocol:
    """Look one of :data:`PROTOCOLS` up by name; a ValueError lists them.

    ``dataset`` is the name in the annotation file: ``stcat`` treats HC-STVG
    (``'hcstvg'``, ``'HC-STVG2'``) in its own way. ``interpolate`` says whether
    to fill frames without a predicted box, by default as the protocol does.
    """
    if name not in PROTOCOLS:
        raise UserError(
            f'Unknown protocol {name!r}, choose one of {", ".join(PROTOCOLS)}.'
        )
    chosen = PROTOCOLS[name]
    if name == 'stcat' and plain_name(dataset or '').startswith('hcstvg'):
        # The published code reads the end of the true span in one way for
        # VidSTG and in another for HC-STVG.
        chosen = replace(
            chosen,
            summary='every native frame, true span ends at its last frame '
            '(HC-STVG), strict >',
            gt_end='last',
        )
    if interpolate is None:
        return chosen
    return replace(chosen, interpolate=interpolate)


def plain_name(name: str) -> str:
    """A name without what people write differently: hcstvgv2."""
    return ''.join(filter(str.isalnum, name)).lower()


def sampled_grid(segment: tuple[int, int], fps: float) -> IntArray:
    """Frames that the ``tubedetr`` protocol looks at.

    A frame is taken where ``int(frame * 5 / fps)`` grows. The published code
    walks over ``range(begin_fid, end_fid)`` of VidSTG's ``used_segment``,
    whose end is inclusive, so the segment's last frame never counts.

    Gives at most 200 increasing frame numbers of the segment ``[start, end)``,
    has shape (N,).
    """
    start, end = segment
    frames_N = np.arange(start, max(end - 1, start + 1), dtype=np.int64)
    # In this order, so that the rounding is that of the published code.
    ticks_N = (frames_N * (SAMPLED_FPS / fps)).astype(np.int64)
    grid_N = frames_N[np.diff(ticks_N, prepend=ticks_N[0] - 1) > 0]
    count = len(grid_N)
    if count > SAMPLED_MAX_FRAMES:
        picks = np.arange(SAMPLED_MAX_FRAMES) * count // SAMPLED_MAX_FRAMES
        grid_N = grid_N[picks]
    return grid_N
