"""Sentences that differ in the action alone.

*The child in red is* **watching** *the ball* and *the child in red is*
**kicking** *the ball*: the phrase of the known predicate is looked for in the
sentence, in any inflection, and another predicate put there in the same one,
of which nothing annotated or said alike shows that it may be true, too.
"""

import functools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Optional

import numpy as np

from .inflection import BE, inflect
from .tracks import VideoInfo

# Predicates that are a place or a direction: what is said for them, the
# usual wording first. Words as short as *in* and *on* are not looked for: they
# mostly are about clothes and scenes.
PLACES: dict[str, tuple[str, ...]] = {
    'above': ('above', 'over', 'on top of'),
    'away': ('away from', 'away'),
    'behind': ('behind',),
    'below': ('below', 'under', 'beneath', 'underneath'),
    'beneath': ('beneath', 'under', 'below', 'underneath'),
    'beside': ('beside', 'next to', 'near'),
    'in_front_of': ('in front of',),
    'inside': ('inside',),
    'left_of': ('left of',),
    'next_to': ('next to', 'beside', 'near'),
    'outside': ('outside',),
    'right_of': ('right of',),
    'towards': ('towards', 'toward'),
}
# A question for the object turns the relation round: *what is beneath the
# dog?* asks for a sofa that the dog is above.
_CONVERSE = {
    'above': 'beneath',
    'behind': 'in_front_of',
    'below': 'above',
    'beneath': 'above',
    'in_front_of': 'behind',
    'inside': 'outside',
    'left_of': 'right_of',
    'right_of': 'left_of',
}
# What else people say for a verb.
_SYNONYMS: dict[str, tuple[str, ...]] = {
    'caress': ('stroke', 'touch', 'pet'),
    'close': ('shut',),
    'get_off': ('get down from', 'get out of'),
    'get_on': ('get onto',),
    'grab': ('catch', 'seize'),
    'hold_hand_of': ('hold hands of',),
    'hug': ('embrace', 'hold'),
    'lean_on': ('lean against', 'lie on', 'sit on', 'lean over', 'lean to'),
    'pat': ('clap',),
    'point_to': ('point at', 'point'),
    'shake_hand_with': ('shake hands with',),
    'shout_at': ('shout to', 'yell at'),
    'speak_to': ('talk to', 'speak with', 'talk with', 'say to', 'speak'),
    'watch': ('look at', 'see', 'stare at', 'look'),
    'wave_hand_to': ('wave to', 'wave at', 'wave'),
}

# Words that may stand between the words of a predicate.
_FILLER = r'(?:\s+(?:the|a|an|his|her|its|their|to|in|of|at|up|out|down)){0,2}'


def find_phrase(
    sentence: str, predicate: str
) -> Optional[tuple[int, int, str]]:
    """Find the phrase of a predicate: its usual wording, else another.

    Gives where it starts and ends, and its inflection or 'place'.
    """
    for pattern, form in _patterns(predicate):
        match = pattern.search(sentence)
        if match is None:
            continue
        if form == 'past':
            before = sentence[: match.start()].lower().split()
            if before and before[-1] in BE:
                form = 'participle'
        return match.start(), match.end(), form
    return None


def other_actions(
    predicate: str, names: Iterable[str], forbidden: Collection[str] = ()
) -> list[str]:
    """Which of some predicates may take the place of one, sorted.

    They are verbs for a verb, places for a place; never what is
    ``forbidden``.
    """
    true = {predicate, *forbidden}
    said = {text for name in true for text in _wordings(name)}
    is_place = predicate in PLACES
    return [
        name
        for name in sorted({*names} - true)
        if (name in PLACES) == is_place and said.isdisjoint(_wordings(name))
    ]


def swap_action(
    sentence: str,
    predicate: str,
    names: Iterable[str],
    forbidden: Collection[str] = (),
    count: int = 1,
) -> list[str]:
    """Make at most ``count`` different sentences with another action.

    They are some of the ``names``; none says what is ``forbidden``, which may
    be true in the video. Empty where the phrase of the predicate is not found
    or nothing is left. Drawn by ``numpy.random``.
    """
    match = find_phrase(sentence, predicate)
    if match is None:
        return []
    start, end, form = match
    found = sentence[start:end].lower()
    # A question may state the converse: that is true as well.
    others = [
        name
        for name in other_actions(predicate, names, forbidden)
        if form != 'place' or found not in PLACES[name]
    ]
    number = min(count, len(others))
    chosen = np.random.permutation(len(others))[:number]
    return [
        sentence[:start] + _say(others[place], form) + sentence[end:]
        for place in chosen
    ]


def said_alike(predicates: Iterable[str]) -> dict[str, frozenset[str]]:
    """For each predicate of a data set those that may be said where it is
    true.

    They are the predicate itself, those that people use the same words for
    (*hug* and *hold*), and for a place its converse: where a dog is above a
    sofa, something is beneath the dog.
    """
    names = set(predicates)
    by_wording: dict[str, set[str]] = defaultdict(set)
    for name in names:
        for text in _wordings(name):
            by_wording[text].add(name)
    alike = {}
    for name in names:
        both = {name, _CONVERSE.get(name, name)}
        texts = {text for one in both for text in _wordings(one)}
        alike[name] = frozenset(both.union(*(by_wording[t] for t in texts)))
    return alike


def true_actions(
    videos: Mapping[str, VideoInfo], data_list: Sequence[dict]
) -> tuple[list[str], list[tuple[VideoInfo, list[str]]]]:
    """What may be true of each video and each object of a data set.

    That are the predicates of videos, tracks and sentences, and what is
    :func:`said_alike`.

    Returns:
        tuple: All predicates of the data set, sorted; and the videos, whose
        tracks have all predicates that may be true of them, each with what
        may be true in it, sorted.
    """
    of_video = {
        name: set(video.predicates).union(
            *(track.predicates for track in video.tracks.values())
        )
        for name, video in videos.items()
    }
    of_track: dict[tuple[str, str], set[str]] = defaultdict(set)
    for clip in data_list:
        name = clip['video_id']
        for query in clip['queries']:
            predicate = query.get('predicate')
            if predicate:
                of_video[name].add(predicate)
                of_track[name, query['track_id']].add(predicate)
    predicates = sorted(set().union(*of_video.values()))
    alike = said_alike(predicates)

    def all_alike(names: Iterable[str]) -> list[str]:
        return sorted(set().union(*(alike[name] for name in names)))

    found = []
    for name, video in videos.items():
        tracks = {}
        for track_id, track in video.tracks.items():
            said = of_track[name, track_id].union(track.predicates)
            true = tuple(all_alike(said))
            same = true == track.predicates
            tracks[track_id] = (
                track if same else replace(track, predicates=true)
            )
        true_video = replace(video, tracks=tracks)
        found.append((true_video, all_alike(of_video[name])))
    return predicates, found


def _words(predicate: str) -> list[str]:
    """``'play(instrument)'`` to ``['play']``, ``'lean_on'`` to two words."""
    return re.sub(r'\(.*?\)', '', predicate).lower().split('_')


@functools.lru_cache(maxsize=4096)
def _wordings(predicate: str) -> tuple[str, ...]:
    """What people say for a predicate, verbs in their base form."""
    if predicate in PLACES:
        return PLACES[predicate]
    usual = ' '.join(_words(predicate))
    return (usual, *_SYNONYMS.get(predicate, ()))


def _say(predicate: str, form: str) -> str:
    """The usual wording in an inflection."""
    if predicate in PLACES:
        return PLACES[predicate][0]
    verb, *rest = _words(predicate)
    return ' '.join([inflect(verb, form), *rest])


@functools.lru_cache(maxsize=4096)
def _patterns(predicate: str) -> list[tuple[re.Pattern, str]]:
    """What to look for, with the inflection it stands for."""
    if predicate in PLACES:
        texts = PLACES[predicate] + PLACES.get(
            _CONVERSE.get(predicate, ''), ()
        )
        return [(_compile(re.escape(text)), 'place') for text in texts]
    patterns = []
    for wording in _wordings(predicate):
        verb, *rest = wording.split()
        tail = ''.join(rf'{_FILLER}\s+{re.escape(word)}' for word in rest)
        for form in ('ing', 's', 'past', 'participle', 'base'):
            head = re.escape(inflect(verb, form))
            patterns.append((_compile(head + tail), form))
    return patterns


def _compile(body: str) -> re.Pattern:
    return re.compile(rf'(?<!\w){body}(?!\w)', re.IGNORECASE)
