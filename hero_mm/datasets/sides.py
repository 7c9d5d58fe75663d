"""Left and right in a sentence, for a clip that is mirrored."""

import re

_PAIRS = {
    'left': 'right',
    'leftmost': 'rightmost',
    'leftward': 'rightward',
    'leftwards': 'rightwards',
    'lefthand': 'righthand',
    'lefthanded': 'righthanded',
    'leftside': 'rightside',
    'clockwise': 'counterclockwise',
    'cw': 'ccw',
}
# After these, *left* and *right* are sides whatever follows: *on the right
# next to the door*, *turns right before the door*.
_SIDE_AFTER = re.compile(
    r'\b(?:the|an?|his|her|its|their|my|your|on|to|from|at|far|top|bottom|'
    r'upper|lower|front|back|slightly|(?:left|right)\s(?:and|or|to)|turn\w*|'
    r'fac(?:es?|ed|ing)|lean\w*|tilt\w*|'
    r'mov(?:es?|ed|ing)|shift\w*|slid\w*|veer\w*|swerv\w*|bend\w*)[\s_-]+$',
    re.IGNORECASE,
)
# *Right next to* is *close to*; *right in* is none where it is no phrase.
_EMPHASIS = re.compile(
    r'right[\s_-]+(?:next|behind|beside|above|below|beneath|under(?:neath)?|'
    r'before|after|away|now|then|here|there|at|by|near|up|down|over|into|'
    r'through|across|past|along|around|against|between|outside|inside|off|'
    r'where|when|while|as|in\s(?:front|between|the\smiddle)|'
    r'on\s(?:top|time))\b',
    re.IGNORECASE,
)
# Correct, whatever stands before it.
_CORRECT = re.compile(
    r'right[\s-]+(?:of[\s-]way|way|answer|moment|time|order|thing|'
    r'angled?|angles|triangles?|side[\s-]up)\b',
    re.IGNORECASE,
)
_FINE = re.compile(r'\ball[\s-]$', re.IGNORECASE)
# *He left the room*, but not *moves left a bit*.
_LEAVES = re.compile(
    r'left\s+(?:the|an?(?!\s(?:little|bit|few|lot))|his|her|hers|its|it|him|'
    r'their|them|some|this|that|behind|alone|over|open|out|unattended|empty|'
    r'standing|lying|there|here)\b',
    re.IGNORECASE,
)
_LEFT_BY = re.compile(
    r'\b(?:he|she|it|they|who|has|have|had|having|never|just|already|'
    r'nothing|anything|something)\s$',
    re.IGNORECASE,
)


def _is_side(match: re.Match) -> bool:
    """Whether *left* or *right* is a side, and not *correct* or *gone*."""
    text, word = match.string, match.group().lower()
    before, after = text[: match.start()], text[match.start() :]
    if word == 'right':
        tag = before.rstrip().endswith(',') and after[5:].strip() == '?'
        if tag or _FINE.search(before) or _CORRECT.match(after):
            return False
        return not _EMPHASIS.match(after) or bool(_SIDE_AFTER.search(before))
    if word == 'left' and not _SIDE_AFTER.search(before):
        of_it = re.match(r'left[\s_-]of\b', after, re.IGNORECASE)
        gone = _LEAVES.match(after) or _LEFT_BY.search(before)
        return bool(of_it or not gone)
    return True


_OTHER = {**_PAIRS, **{right: left for left, right in _PAIRS.items()}}
_AGAINST = r'(?:counter|anti)[\s_-]?clock[\s_-]?wise'
_WITH = r'clock[\s_-]wise'
_WORDS = '|'.join([_AGAINST, _WITH, *sorted(_OTHER, key=len)[::-1]])
_PATTERN = re.compile(rf'(?<![^\W_])(?:{_WORDS})(?![^\W_])', re.IGNORECASE)


def swap_sides(text: str) -> str:
    """Swap the sides in a sentence or a predicate, and keep their case.

    Only whole words change; an underscore parts words, so that predicates such
    as ``move_left`` change too. *Left* and *right* change where they are
    sides: not in *right next to*, *all right* and *he left the room*.
    """
    return _PATTERN.sub(_swap, text)


def _swap(match: re.Match) -> str:
    word = match.group()
    if not _is_side(match):
        return word
    usual = re.sub(r'[\s_-]', '', word.lower())
    other = _OTHER.get(usual, 'clockwise')
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other
