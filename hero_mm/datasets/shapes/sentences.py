"""The language of the benchmark: from meanings to sentences.

Every sentence is true for exactly one event of its video, and neither the
look nor the action that it names is enough to find that event.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Optional

import numpy as np

from .meaning import SPATIAL, TEMPORAL, Description, Judge, Relation, Statement
from .world import Event, Look

_QUESTIONS = (0.2, 0.35, 0.45)


@dataclass(frozen=True)
class Sentence:
    """A sentence with what it means."""

    text: str
    statement: Statement


@dataclass(frozen=True)
class Entry:
    """The sentences about one event: one caption, up to two questions.

    ``related`` is the track id of the related, or just another, object.
    """

    event: Event
    related: int
    caption: Sentence
    questions: tuple[Sentence, ...]


def verb_phrase(action: str) -> str:
    """``'move_left'`` to ``'moves left'``."""
    verb, *rest = action.split('_')
    return ' '.join([verb + 's', *rest])


def noun_phrase(look: Description, noun: str) -> str:
    """``'red circle'``; ``noun`` stands in for a shape left open."""
    size = None if look.size == 'plain' else look.size
    words = [size, look.colour, look.shape or noun]
    return ' '.join(word for word in words if word)


def say(statement: Statement, interrogative: bool) -> str:
    """Say a statement, or ask for the object it is about."""
    look, relation = statement.look, statement.relation
    verb, tail, aside = verb_phrase(statement.action), '', ''
    if relation is not None and relation.word in SPATIAL:
        assert relation.object is not None
        thing = noun_phrase(relation.object, 'shape')
        aside = f' {relation.word} the {thing}'
    elif relation is not None:
        assert relation.action is not None
        who = 'it'
        if relation.object is not None:
            who = f'the {noun_phrase(relation.object, "shape")}'
        tail = f' {relation.word} {who} {verb_phrase(relation.action)}'
    if not interrogative:
        return f'the {noun_phrase(look, "shape")}{aside} {verb}{tail}.'
    if look == Description():
        return f'what {verb}{aside}{tail}?'
    if look.colour is None and look.shape is None:
        return f'what {noun_phrase(look, "thing")}{aside} {verb}{tail}?'
    return f'which {noun_phrase(look, "shape")}{aside} {verb}{tail}?'


def draw_entries(
    rng: np.random.Generator,
    judge: Judge,
    targets: set[Event],
    kinds: Mapping[str, float],
) -> list[Entry]:
    """Say something about each of the targets that can be described."""
    events = [event for event in judge.events if event in targets]
    entries = [
        _draw_entry(rng, judge, events[index], kinds)
        for index in rng.permutation(len(events))
    ]
    return [entry for entry in entries if entry is not None]


def choose_entries(
    entries: list[Entry], most: int, per_order: int
) -> list[Entry]:
    """Choose at most ``most`` entries of a world, in order of time.

    An order in time can be given nearly always: it must not crowd out the
    other kinds. So one of ``per_order`` may name it, and these come last.
    """
    basic, spatial, temporal = (
        [entry for entry in entries if entry.caption.statement.kind == kind]
        for kind in ('basic', 'spatial', 'temporal')
    )
    chosen = (basic + spatial + temporal[: most // per_order])[:most]
    return sorted(chosen, key=lambda e: (e.event.begin, e.event.tid))


def _draw_entry(
    rng: np.random.Generator,
    judge: Judge,
    event: Event,
    weights: Mapping[str, float],
) -> Optional[Entry]:
    """Draw a caption and questions for one event, if there are any."""
    if sum(e.action == event.action for e in judge.events) < 2:
        return None
    pool = list(_hard_statements(judge, event))
    caption = _draw_sentence(rng, pool, weights, asks=False)
    if caption is None:
        return None
    questions: list[Sentence] = []
    for _ in range(rng.choice(3, p=_QUESTIONS)):
        question = _draw_sentence(rng, pool, weights, asks=True)
        if question is not None and question not in questions:
            questions.append(question)
    others = [t for t in range(len(judge.looks)) if t != event.tid]
    related = int(rng.choice(others))
    relation = caption.statement.relation
    if relation is not None and relation.object is not None:
        named = judge.matches(relation.object)
        if len(named) == 1 and named[0] != event.tid:
            related = named[0]
    return Entry(event, related, caption, tuple(questions))


def _draw_sentence(
    rng: np.random.Generator,
    pool: list[Statement],
    weights: Mapping[str, float],
    asks: bool,
) -> Optional[Sentence]:
    """Draw a kind that is there, then a sentence of that kind."""
    options = [one for one in pool if _can_say(one, asks)]
    there = {one.kind for one in options}
    kinds = [kind for kind in weights if kind in there]
    if not kinds:
        return None
    chances = np.array([weights[kind] for kind in kinds])
    kind = kinds[rng.choice(len(kinds), p=chances / chances.sum())]
    options = [one for one in options if one.kind == kind]
    statement = options[rng.integers(len(options))]
    return Sentence(say(statement, asks), statement)


def _can_say(statement: Statement, asks: bool) -> bool:
    """A caption names the shape; a question hides a part of the look."""
    look = statement.look
    size = look.size not in (None, 'plain')
    if not asks:
        return look.shape is not None
    return not (look.shape and look.colour) and not (size and look.colour)


def _hard_statements(judge: Judge, event: Event) -> Iterator[Statement]:
    """Every statement that is true for one event and hard to resolve.

    It is true for the event and clearly false for all others. Another object
    has the look that it names. A relation is named only where look and action
    leave several events.
    """
    relations = list(_relations(judge, event))
    for look in _descriptions(judge.looks[event.tid]):
        if len(judge.matches(look)) < 2:
            continue
        plain = Statement(look, event.action)
        rivals = judge.candidates(plain)
        if len(rivals) == 1:
            yield plain
            continue
        for relation in relations:
            if all(
                judge.verdict(rival, relation) is (rival == event)
                for rival in rivals
            ):
                yield Statement(look, event.action, relation)


def _descriptions(look: Look) -> Iterator[Description]:
    """Every part of a look; the plain size is never named."""
    sizes = [None] if look.size == 'plain' else [None, look.size]
    for parts in product(sizes, [None, look.colour], [None, look.shape]):
        yield Description(*parts)


def _relations(judge: Judge, event: Event) -> Iterator[Relation]:
    """Every relation of an event to another object or event."""
    for tid, look in enumerate(judge.looks):
        if tid == event.tid or not judge.shows(event, tid):
            continue
        named = _shortest(look, judge.looks)
        if named is not None:
            yield from (Relation(word, named) for word in SPATIAL)
    for anchor in judge.events:
        if anchor == event or not judge.shows(anchor):
            continue
        words = []
        if anchor.end <= event.begin:
            words = [TEMPORAL[0]]
        elif anchor.begin >= event.end:
            words = [TEMPORAL[1]]
        named = None
        if anchor.tid != event.tid:
            same = [e for e in judge.events if e.action == anchor.action]
            rivals = [judge.looks[e.tid] for e in same]
            named = _shortest(judge.looks[anchor.tid], rivals)
            if named is None:
                continue
        elif anchor.action == event.action:
            continue
        yield from (Relation(w, named, anchor.action) for w in words)


def _shortest(look: Look, rivals: list[Look]) -> Optional[Description]:
    """The shortest description with a shape that fits one of the rivals."""
    options = [
        option
        for option in _descriptions(look)
        if option.shape and sum(map(option.fits, rivals)) == 1
    ]
    return min(
        options, key=lambda d: bool(d.size) + bool(d.colour), default=None
    )
