"""Answers as people take them away: a table, JSON, CSV, drawings.

A tube is a dict as :meth:`TubeInferencer.ground` gives it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
from rich.table import Table
from rich.text import Text

from hero_mm.evaluation.functional import interpolate_boxes
from hero_mm.evaluation.prediction_file import (
    BOX_DECIMALS,
    SCORE_DECIMALS,
    SPAN_DECIMALS,
)
from hero_mm.texts import csv_text, printable
from hero_mm.visualization import TubeView, draw_from_video

from .inputs import describe_video, short_names

Tube = Mapping[str, Any]
SPARSE = 5.0
"""With more seconds from one frame to the next, most actions are not seen."""
LEGEND = 'frames: [start, end); first box: x0 y0 x1 y1 in pixels'
TITLES = ('sentence', 'seconds', 'frames', 'score', 'first box')
COLUMNS = (
    *('video', 'text', 'score', 'start_seconds', 'end_seconds'),
    *('start_frame', 'end_frame', 'fps', 'width', 'height'),
    *('searched_from_frame', 'searched_to_frame'),
    *('unknown_words', 'cut_words'),
)


def best_first(tubes: Sequence[Tube], count: int) -> list[Tube]:
    """The tubes with the highest scores."""
    return sorted(tubes, key=lambda tube: -tube['score'])[:count]


def tube_cells(tube: Tube) -> list[str]:
    """What a table says of a tube, under :data:`TITLES`."""
    start, end = tube['span']
    begin, stop = tube['span_seconds']
    box = tube['bboxes'][0] if len(tube['bboxes']) else []
    return [
        tube['query'],
        f'{begin:.2f} to {stop:.2f}',
        f'[{round(start, 1):g}, {round(end, 1):g})',
        f'{tube["score"]:.3f}',
        ' '.join(f'{value:.0f}' for value in box),
    ]


def tube_table(tubes: Sequence[Tube]) -> Table:
    """Tubes of one video or of several, one a row."""
    videos = short_names(tube['video'] for tube in tubes)
    many = len(videos) > 1
    table = Table(caption=LEGEND, caption_justify='left')
    for title in ['video'] * many + [*TITLES]:
        table.add_column(title)
    for found in tubes:
        cells = tube_cells(found)
        if many:
            cells.insert(0, videos[found['video']])
        # No markup: a text may hold brackets.
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def answers_json(tubes: Sequence[Tube], metainfo: Mapping[str, Any]) -> str:
    """A prediction file, whose entries say video, text, rate and size, too.

    Tubes are numbered from 0 on.
    """
    entries = {str(n): _entry(tube) for n, tube in enumerate(tubes)}
    content = dict(metainfo=dict(metainfo), predictions=entries)
    text = json.dumps(content, ensure_ascii=False, allow_nan=False) + '\n'
    # Names of files need be no text; JSON escapes what is none.
    return text.encode(errors='backslashreplace').decode()


def _entry(tube: Tube) -> dict[str, Any]:
    left_out = 'query', 'frames', 'bboxes'
    entry = {key: tube[key] for key in tube if key not in left_out}
    if 'query' in tube:
        entry['text'] = tube['query']
    entry['span'] = [round(edge, SPAN_DECIMALS) for edge in tube['span']]
    entry['score'] = round(tube['score'], SCORE_DECIMALS)
    boxes = np.round(np.reshape(tube['bboxes'], (-1, 4)), BOX_DECIMALS)
    entry['boxes'] = dict(zip(map(str, tube['frames']), boxes.tolist()))
    if 'others' in tube:
        entry['others'] = [_entry(other) for other in tube['others']]
    return entry


def answers_csv(tubes: Sequence[Tube]) -> str:
    """A line a tube, under :data:`COLUMNS`."""
    rows: list[Sequence[Any]] = [COLUMNS]
    for tube in tubes:
        edges = *tube['span_seconds'], *tube['span']
        row = [
            *(tube['video'], tube['query']),
            round(tube['score'], SCORE_DECIMALS),
            *(round(edge, SPAN_DECIMALS) for edge in edges),
            *(tube['fps'], *tube['size'], *tube['segment']),
            *(' '.join(tube['unknown_words']), tube['cut_words']),
        ]
        rows.append(row)
    return csv_text(rows)


def notes_on(tube: Tube) -> list[str]:
    """What a reader of an answer should know of sentence and video."""
    notes, text = [], tube['query']
    if tube['unknown_words']:
        words = ', '.join(tube['unknown_words'])
        notes.append(
            f'"{text}": the model was not trained with {words}; it reads each '
            'as one unknown word'
        )
    if tube['cut_words']:
        notes.append(
            f'"{text:.40}...": the last {tube["cut_words"]} words are not '
            'read; ask in fewer words'
        )
    frames = tube.get('action', {}).get('frames', [])
    if 'window' not in tube and len(frames) > 1:
        gap = (frames[-1] - frames[0]) / (len(frames) - 1) / tube['fps']
        if gap > SPARSE:
            notes.append(
                f'{tube["video"]}: one frame in {gap:.0f} s was looked at; '
                'look at all of it with --window SECONDS (window=SECONDS), '
                'the length of the clips that the model was trained with'
            )
    return [printable(note) for note in notes]


def tube_view(
    tube: Tube, query_id: str = '', frame_edges: Optional[np.ndarray] = None
) -> TubeView:
    """A tube, ready to be drawn.

    ``frame_edges`` are the seconds at which the frames of the video begin;
    evenly spaced without.
    """
    segment = tube.get('window', tube['segment'])
    frames = np.arange(*segment, dtype=np.int64)
    boxes = np.reshape(np.asarray(tube['bboxes'], dtype=float), (-1, 4))
    action = tube.get('action')
    curve = None
    if action is not None:
        curve = np.interp(frames, action['frames'], action['scores'])
    return TubeView(
        text=tube['query'],
        frame_inds=frames,
        segment=tuple(segment),
        fps=tube['fps'],
        query_id=query_id,
        pred_span=tuple(tube['span']),
        # Outside the span no box is drawn.
        pred_bboxes=interpolate_boxes(
            np.asarray(tube['frames'], dtype=np.int64), boxes, frames
        ),
        score=tube['score'],
        action=curve,
        frame_edges=frame_edges,
    )


def draw_tubes(
    tubes: Sequence[Tube],
    names: Sequence[str],
    out_dir: Path,
    run: str = '',
    form: str = 'both',
) -> list[str]:
    """Draw tubes of one video; gives a sheet and a video of each.

    Only drawings of the same run are replaced, without a run none. In a long
    video each tube is drawn alone, with what was seen around it.
    """
    video = tubes[0]['video']
    fps = tubes[0]['fps'] if Path(video).is_dir() else None
    edges = describe_video(video, fps=fps)['frame_edges']
    views = [tube_view(tube, f'{run} {video}', edges) for tube in tubes]
    step = len(views) if len({view.segment for view in views}) == 1 else 1
    files: list[str] = []
    for at in range(0, len(views), step):
        part = slice(at, at + step)
        files += draw_from_video(
            video, views[part], out_dir, names[part], form, not run
        )
    return files
