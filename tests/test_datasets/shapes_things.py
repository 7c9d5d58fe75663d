"""Objects that do nothing, and what else tests of the benchmark share."""

import numpy as np
from test_datasets import shapes_grammar as grammar

from hero_mm.datasets.shapes.meaning import Description
from hero_mm.datasets.shapes.questions import Question
from hero_mm.datasets.shapes.scene import Event, Look, Thing


def still(tid, words, place, *events, radius=7.0, frames=32):
    """A still object; events are (action, begin, end)."""
    return Thing(
        tid=tid,
        look=Look(*words.split()),
        events=[Event(tid, *event) for event in events],
        centre=np.tile(np.array(place, dtype=float), (frames, 1)),
        radius=np.full(frames, radius),
        angle=np.zeros(frames),
        white=np.zeros(frames, dtype=bool),
    )


def sentences_of(video):
    """All sentences of a video with the event that they mean."""
    for entry in video.entries:
        for sentence in (entry.caption, *entry.questions):
            yield sentence, entry.event


def check_truth(video):
    """Five sentences or more are true for the event that they mean alone.

    Checked by the tests' own grammar and truth, not the package's.
    """
    for sentence, meant in sentences_of(video):
        parsed = grammar.parse(sentence.text)
        for thing in video.world.things:
            for event in thing.events:
                verdict = grammar.truth(parsed, video.world, thing, event)
                assert verdict is (event == meant), sentence.text
    assert len(list(sentences_of(video))) >= 5


def contents(folder):
    """All files of a folder by their path in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def make_question(scale=1, gone=(), **kwargs):
    """Two red stars and a blue one; two of them spin, apart in space.

    Times are so many times those of 32 frames. The last star has no boxes
    where it is ``gone``.
    """
    clip = (0, 32 * scale)
    tracks = [
        {frame: [10 * tid, 0, 10 * tid + 8, 8] for frame in range(*clip)}
        for tid in range(3)
    ]
    for frame in gone:
        del tracks[2][frame]
    events = [
        (0, 'spin', (0, 8)),
        (0, 'grow', (20, 30)),
        (1, 'blink', (0, 8)),
        (2, 'spin', (4, 12)),
    ]
    fields = dict(
        kind='basic',
        look=Description(colour='red'),
        action='spin',
        answer=(0, (0, 8 * scale)),
        looks=[Look('plain', c, 'star') for c in ('red', 'red', 'blue')],
        events=[
            (tid, action, (begin * scale, end * scale))
            for tid, action, (begin, end) in events
        ],
        tracks=tracks,
        clip=clip,
        fps=8,
        query_type='declarative',
        vid='1',
    )
    return Question(**{**fields, **kwargs})


def read_table(page, head):
    """Rows of the table whose head begins so: first cell to the others."""
    lines = page.splitlines()
    (start,) = (i for i, line in enumerate(lines) if line.startswith(head))
    table = {}
    for line in lines[start + 2 :]:
        if not line.startswith('|'):
            break
        name, *cells = (cell.strip() for cell in line.strip('|').split('|'))
        table[name] = [float(cell) for cell in cells]
    return table
