"""Forms of English verbs: *walk, walks, walking, walked*."""

import functools
import re

# Base form to (past, past participle); the rest is regular.
_IRREGULAR = {
    'beat': ('beat', 'beaten'),
    'bend': ('bent', 'bent'),
    'bite': ('bit', 'bitten'),
    'blow': ('blew', 'blown'),
    'break': ('broke', 'broken'),
    'bring': ('brought', 'brought'),
    'catch': ('caught', 'caught'),
    'come': ('came', 'come'),
    'creep': ('crept', 'crept'),
    'cut': ('cut', 'cut'),
    'draw': ('drew', 'drawn'),
    'drink': ('drank', 'drunk'),
    'drive': ('drove', 'driven'),
    'eat': ('ate', 'eaten'),
    'fall': ('fell', 'fallen'),
    'feed': ('fed', 'fed'),
    'fight': ('fought', 'fought'),
    'fling': ('flung', 'flung'),
    'fly': ('flew', 'flown'),
    'get': ('got', 'gotten'),
    'give': ('gave', 'given'),
    'go': ('went', 'gone'),
    'grow': ('grew', 'grown'),
    'hang': ('hung', 'hung'),
    'hit': ('hit', 'hit'),
    'hold': ('held', 'held'),
    'kneel': ('knelt', 'knelt'),
    'leave': ('left', 'left'),
    'lie': ('lay', 'lain'),
    'light': ('lit', 'lit'),
    'put': ('put', 'put'),
    'read': ('read', 'read'),
    'ride': ('rode', 'ridden'),
    'rise': ('rose', 'risen'),
    'run': ('ran', 'run'),
    'say': ('said', 'said'),
    'see': ('saw', 'seen'),
    'set': ('set', 'set'),
    'shake': ('shook', 'shaken'),
    'shoot': ('shot', 'shot'),
    'shrink': ('shrank', 'shrunk'),
    'shut': ('shut', 'shut'),
    'sing': ('sang', 'sung'),
    'sit': ('sat', 'sat'),
    'sleep': ('slept', 'slept'),
    'slide': ('slid', 'slid'),
    'speak': ('spoke', 'spoken'),
    'spin': ('spun', 'spun'),
    'stand': ('stood', 'stood'),
    'stick': ('stuck', 'stuck'),
    'strike': ('struck', 'struck'),
    'sweep': ('swept', 'swept'),
    'swim': ('swam', 'swum'),
    'swing': ('swung', 'swung'),
    'take': ('took', 'taken'),
    'tear': ('tore', 'torn'),
    'tell': ('told', 'told'),
    'throw': ('threw', 'thrown'),
    'wear': ('wore', 'worn'),
    'weep': ('wept', 'wept'),
    'write': ('wrote', 'written'),
}
# After one of these a past form is a participle.
BE = frozenset(('is', 'are', 'was', 'were', 'be', 'been', 'being', 'got'))
_VOWELS = 'aeiou'


@functools.lru_cache(maxsize=4096)
def inflect(verb: str, form: str) -> str:
    """Inflect an English verb, given in lower case.

    Forms are base, s, ing, past and participle.

    Example:
        >>> inflect('ride', 'ing'), inflect('hug', 'past')
        ('riding', 'hugged')
    """
    if form == 'base':
        return verb
    if form in ('past', 'participle') and verb in _IRREGULAR:
        return _IRREGULAR[verb][form == 'participle']
    ends_y = verb.endswith('y') and verb[-2:-1] not in _VOWELS
    if form == 's':
        if ends_y:
            return verb[:-1] + 'ies'
        hissing = verb.endswith(('s', 'x', 'z', 'ch', 'sh', 'o'))
        return verb + ('es' if hissing else 's')
    if form == 'ing':
        if verb.endswith('ie'):
            return verb[:-2] + 'ying'
        if verb.endswith('e') and not verb.endswith(('ee', 'ye', 'oe')):
            return verb[:-1] + 'ing'
        return _doubled(verb) + 'ing'
    if ends_y:
        return verb[:-1] + 'ied'
    return verb + 'd' if verb.endswith('e') else _doubled(verb) + 'ed'


def _doubled(verb: str) -> str:
    """Double the last consonant of a short verb: *hug*, *hugging*."""
    short = re.fullmatch(r'(?:qu|[^aeiou])*[aeiou][^aeiouwxy]', verb)
    return verb + verb[-1] if short else verb
