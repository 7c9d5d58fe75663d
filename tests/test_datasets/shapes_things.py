"""Objects that do nothing, and what else tests of the benchmark share."""

import hashlib
import json

import numpy as np
from test_datasets import shapes_grammar as grammar

from hero_mm.datasets.shapes.scene import Event, Look, Thing, World


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


def make_world(*things, order=None, bar=None):
    return World(list(things), order or list(range(len(things))), bar, 11)


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


def digest_of(video, worlds):
    """Of what is said and what happens; of pixels, only the motion."""
    notes = [video.annotation(), video.vidstg_entries(), video.meanings()]
    digest = hashlib.sha256(json.dumps(notes).encode())
    for world in worlds:
        drawn = world.order, world.bar, world.backdrop_seed
        digest.update(repr(drawn).encode())
        for item in world.things:
            for path in (item.centre, item.radius, item.angle):
                # No -0.0, and no last digit of a sine.
                digest.update((np.round(path, 6) + 0.0).tobytes())
            digest.update(item.white.tobytes())
    return digest.hexdigest()[:16]


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
