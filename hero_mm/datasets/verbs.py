"""Swap the verb of a sentence whose action nobody has annotated.

HC-STVG and VID-sentence come without predicates. Their sentences say what
somebody does with everyday verbs: *the man turns around and walks to the
door*. A verb is found by its form and by the words beside it, and another one
is put there in the same inflection: *the man* **jumps** *around and walks to
the door*.

What goes along with anything else a person does (look, stand, turn, walk,
speak, hold) may be true of a video although no sentence says it, and is never
put in. Nor is a verb that shares a row of the table with one of a sentence of
the video: verbs of a row may be said of the same action.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Optional

import numpy as np

from .inflection import BE, FORMS, inflect
from .verb_table import ROWS

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?", re.IGNORECASE)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Not the past of *to leave*, but a side.
_NO_VERBS = _words('left')
_PRONOUNS = _words('it him them himself herself itself that')
# What begins what something is done to.
_OBJECTS = _PRONOUNS | _words(
    'the a an his her its their this these those another one two three some '
    'something somebody someone both each other others'
)
# Those that may end a phrase, too: *the man behind turns*.
_AROUND = _words('over behind inside outside around below')
_PLACES = _AROUND | _words(
    'at in on of with from by beside near under above into onto along across '
    'past through between after before for to towards toward against during '
    'next among'
)
_PARTICLES = _words(
    'up down out off away back over in on around round forward forwards '
    'backward backwards aside apart together'
)
_TO = _words('at to with towards toward after')
_LINKS = _words('and or but then while as when who which that')
_ADVERBS = _words(
    'not still also again twice once there here now all both quickly slowly '
    'forward'
)
# What stands before a noun, so that the next word is no verb.
_BEFORE_NOUNS = (
    (_OBJECTS - _PRONOUNS)
    | (_PLACES - _AROUND)
    | _words('few many several more my your our no any big small')
)
_WHO = _words('who which that')
_MODALS = _words('can could will would does do did')
_PLURALS = _words('men women people children they')
_FRAMES = ('act', 'go', 'be')


def _all_forms() -> dict[str, list[tuple[str, str]]]:
    """Each form of each verb to the verbs and forms that it may be."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for verb in _ROWS_OF:
        for form in FORMS:
            text = inflect(verb, form)
            if text not in _NO_VERBS and (verb, form) not in found[text]:
                found[text].append((verb, form))
    return dict(found)


def _rows_of_verbs() -> dict[str, frozenset[int]]:
    rows: dict[str, set[int]] = defaultdict(set)
    for place, (_, chosen, others) in enumerate(ROWS):
        for verb in (*chosen.split(), *others.split()):
            rows[verb].add(place)
    return {verb: frozenset(places) for verb, places in rows.items()}


_ROWS_OF = _rows_of_verbs()
_FORMS_OF = _all_forms()
_KIND_OF = {
    **{
        verb: kind for kind, _, others in ROWS[::-1] for verb in others.split()
    },
    **{verb: kind for kind, chosen, _ in ROWS for verb in chosen.split()},
}
# Verbs that may be put in, by the frame that they fit in.
_CHOICE = {
    frame: tuple(
        verb
        for kind, chosen, _ in ROWS
        if kind == wanted
        for verb in chosen.split()
    )
    for frame, wanted in zip(_FRAMES, ('do', 'go', 'be'))
}


@dataclass(frozen=True)
class VerbMatch:
    """A verb that may be swapped.

    Attributes:
        start (int): First character.
        end (int): One past the last character, of what goes with the verb.
        verb (str): Its base form.
        form (str): Its inflection, one of ``FORMS``.
        frame (str): What takes its place: 'act' is followed by an object,
            'go' by a direction, 'be' by neither.
        rank (int): 0 for a statement, 1 for a form that may be something
            else or says who is meant (*who holds a cup*), 2 for a purpose
            (*to look at*), 3 for a participle.
    """

    start: int
    end: int
    verb: str
    form: str
    frame: str
    rank: int


def verbs_in(sentence: str) -> set[str]:
    """Base forms of all verbs of the table whose form stands in a sentence.

    Words that may as well be nouns count: what is left out because of them is
    missed less than a sentence that is true.
    """
    return {
        verb
        for word in _WORD.findall(sentence.lower())
        for verb, _ in _FORMS_OF.get(word, ())
    }


def find_verbs(sentence: str) -> list[VerbMatch]:
    """Find the verbs that say what somebody does.

    The main one comes first: they are in order of rank, then of place.
    """
    spots = list(_WORD.finditer(sentence))
    words = [spot.group().lower() for spot in spots]
    found: list[VerbMatch] = []
    last_end, last_form = -1, ''
    for place, word in enumerate(words):
        if word not in _FORMS_OF or last_end == place - 1 >= 0:
            # Of two verb forms side by side the second is a noun: *shakes
            # hands*.
            continue
        for verb, form in _FORMS_OF[word]:
            rank = _rank(words, place, form, last_form)
            if rank is None:
                continue
            if form == 'past' and place and words[place - 1] in BE:
                form = 'participle'
            frame, extra = _frame(words, spots, sentence, place, verb, form)
            if frame:
                end = spots[place + extra].end()
                start = spots[place].start()
                found.append(VerbMatch(start, end, verb, form, frame, rank))
                last_end, last_form = place, form
            break
    return sorted(found, key=lambda match: (match.rank, match.start))


def _rank(
    words: list[str], place: int, form: str, last_form: str
) -> Optional[int]:
    """How sure it is that a word is what somebody does; None if it is not."""
    before = words[place - 1] if place else ''
    if before in _WHO or (
        before in BE and _WHO & set(words[place - 2 : place - 1])
    ):
        return 1 if form in ('s', 'ing', 'past') else None
    if form == 'base':
        if before == 'to':
            return 2
        if before in _MODALS:
            return 0
        return 1 if before in _PLURALS else None
    if form == 'ing':
        nearby = {before, words[place - 2] if place > 1 else ''}
        if before in BE or (nearby & BE and _is_adverb(before)):
            return 0
        if last_form == 'ing' and before in ('and', 'then'):
            return 0
        return None if not before or before in _BEFORE_NOUNS else 3
    if before in BE:
        return 0 if form in ('past', 'participle') else None
    if form == 'participle' or before in _BEFORE_NOUNS or not before:
        return None
    return 0 if form == 's' else 1


def _is_adverb(word: str) -> bool:
    return word in _ADVERBS or word.endswith('ly')


def _frame(
    words: list[str],
    spots: list[re.Match],
    sentence: str,
    place: int,
    verb: str,
    form: str,
) -> tuple[str, int]:
    """What may stand there instead, and how many words go with the verb."""
    kind = _KIND_OF[verb]
    if form == 'participle':
        return ('act' if kind == 'do' else '', 0)
    after = []
    for near, far in zip(spots[place:], spots[place + 1 : place + 3]):
        if sentence[near.end() : far.start()].strip():
            break  # A comma or the like.
        after.append(far.group().lower())
    first, second = [*after, '', ''][:2]
    listens = first == 'at' or (first in _TO and verb != 'look')
    if kind == 'say' and listens:
        return 'act', 1
    if kind == 'say' and first in _PARTICLES and second in ('at', 'to'):
        return 'act', 2
    if verb == 'take' and {'step', 'steps'} & set(words[place:][:5]):
        return '', 0  # To take steps is to walk.
    if first in _OBJECTS:
        return 'act', 0
    if verb == 'shake' and first in ('hand', 'hands') and second == 'with':
        return 'act', 2
    if kind == 'do' and first in _PARTICLES and _is_thing(second):
        return 'act', 1
    if kind == 'do' and _is_thing(first):
        return 'act', 0
    if kind == 'go':
        return 'go', 0
    alone = first in _PARTICLES and second not in _OBJECTS
    return 'be', int(alone)


def _is_thing(word: str) -> bool:
    """Whether a word may begin what something is done to."""
    other = word in _PLACES or word in _PARTICLES or word in _LINKS
    return bool(word) and not other and not _is_adverb(word)


def swap_verb(
    sentence: str,
    forbidden: Collection[str] = (),
    count: int = 1,
    counts: Optional[Mapping[str, int]] = None,
) -> list[str]:
    """Make sentences in which somebody does something else.

    Args:
        sentence (str): A caption or a question.
        forbidden (Collection[str]): Verbs that may be true in this video, in
            their base form; with those of the sentence itself neither they
            nor others of their rows are used.
        count (int): At most so many sentences. Defaults to 1.
        counts (Mapping[str, int], optional): How many sentences of the data
            set have a verb. Verbs are drawn as often as they are said there,
            those that nobody says not at all. Defaults to None: each verb of
            the table alike.

    Returns:
        list[str]: Different sentences; empty where no verb is found or none is
        left. Drawn by ``numpy.random``.
    """
    said = {*forbidden, *verbs_in(sentence)}
    rows = {row for verb in said for row in _ROWS_OF.get(verb, ())}
    for match in find_verbs(sentence):
        others = {
            verb: 1 if counts is None else counts.get(verb, 0)
            for verb in _CHOICE[match.frame]
            if not _ROWS_OF[verb] & rows
        }
        others = {verb: weight for verb, weight in others.items() if weight}
        if not others:
            continue
        weights = np.array(list(others.values()), float)
        chosen = np.random.choice(
            len(others),
            min(count, len(others)),
            replace=False,
            p=weights / weights.sum(),
        )
        return [
            sentence[: match.start]
            + inflect(list(others)[place], match.form)
            + sentence[match.end :]
            for place in chosen
        ]
    return []
