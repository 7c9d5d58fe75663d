"""Where a tensor of another model goes in HERO.

A placement gets the names that one rule of a layout caught, and the shapes on
both sides; it gives a HERO name for each, or None where HERO has no place.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Optional

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Places = dict[str, Optional[str]]
# Names that a rule caught with what it caught in them, shapes of the file,
# shapes of the model or None where no config was given.
Placement = Callable[
    [Mapping[str, 're.Match[str]'], Shapes, Optional[Shapes]], Places
]
Blocks = dict[str, set[int]]
Renaming = Callable[['re.Match[str]'], str]

BACKBONE = 'video_encoder.backbone.'
NECK = 'video_encoder.neck.'
PROJECTION = 'video_encoder.projects.'
LANGUAGE_MODEL = 'text_encoder.language_model.'
_RESNET_BLOCK = re.compile(r'(?:^|\.)(layer[1-4])\.(\d+)\.')
_LANGUAGE_BLOCK = re.compile(r'(?:^|\.)(layer)\.(\d+)\.')


def first_fitting(*candidates: Renaming) -> Placement:
    """The candidate under which most numbers fit the model.

    All tensors of a rule follow the same candidate, so that a bias goes where
    its weight goes. Without a model the first candidate is taken.

    Args:
        *candidates (Callable): From a match to a HERO name.

    Returns:
        Placement: Chooses among them.
    """

    def place(
        matches: Mapping[str, 're.Match[str]'],
        source: Shapes,
        model: Optional[Shapes],
    ) -> Places:
        ours = model or {}
        best: Places = {}
        most = (-1, -1)
        for rename in candidates:
            names = {name: rename(match) for name, match in matches.items()}
            known = [name for name, to in names.items() if to in ours]
            fitting = sum(
                prod(source[name])
                for name in known
                if ours[names[name]] == source[name]
            )
            if (fitting, len(known)) > most:
                best, most = dict(names), (fitting, len(known))
        return best

    return place


def any_known(*candidates: Renaming) -> Placement:
    """For each tensor the first candidate whose name the model has.

    Where no name is known, or without a model, the first candidate is taken.

    Args:
        *candidates (Callable): From a match to a HERO name.

    Returns:
        Placement: Chooses among them.
    """

    def place(
        matches: Mapping[str, 're.Match[str]'],
        source: Shapes,
        model: Optional[Shapes],
    ) -> Places:
        ours = model or {}
        places: Places = {}
        for name, match in matches.items():
            names = [rename(match) for rename in candidates]
            known = [to for to in names if to in ours]
            places[name] = (known or names)[0]
        return places

    return place


def expand(template: str) -> Renaming:
    r"""A renaming by a template of :mod:`re`, such as ``neck.\1``.

    Args:
        template (str): As in :meth:`re.Match.expand`.

    Returns:
        Callable: From a match to a name.
    """
    return lambda match: match.expand(template)


def mmdet_resnet(match: 're.Match[str]') -> str:
    """Name in a ResNet of mmdet or mmpretrain: that of torchvision.

    Args:
        match (re.Match): The group ``net`` holds the name in torchvision.

    Returns:
        str: HERO's name.
    """
    return BACKBONE + match['net']


def mmdet_resnet_d(match: 're.Match[str]') -> str:
    """Name in mmdet's ResNet-D, whose stem is one chain with its last norm.

    Args:
        match (re.Match): The group ``net`` holds the name in timm.

    Returns:
        str: HERO's name.
    """
    name = re.sub(r'^conv1\.', 'stem.', match['net'])
    return BACKBONE + re.sub(r'^bn1\.', 'stem.7.', name)


def mmaction_resnet(match: 're.Match[str]') -> str:
    """Name in mmaction2's ResNet, where a conv and its norm are a module.

    Args:
        match (re.Match): The group ``net`` holds the name in torchvision.

    Returns:
        str: HERO's name.
    """
    name = re.sub(r'\bconv(\d)\.', r'conv\1.conv.', match['net'])
    name = re.sub(r'\bbn(\d)\.', r'conv\1.bn.', name)
    name = name.replace('downsample.0.', 'downsample.conv.')
    name = name.replace('downsample.1.', 'downsample.bn.')
    return BACKBONE + name


def mmaction_tsm(match: 're.Match[str]') -> str:
    """Name in mmaction2's ResNetTSM, whose first convs are wrapped.

    Args:
        match (re.Match): The group ``net`` holds the name in torchvision.

    Returns:
        str: HERO's name.
    """
    return re.sub(
        r'(layer\d\.\d+\.conv1\.conv)\.', r'\1.net.', mmaction_resnet(match)
    )


# Of a ResNet-101, TSM wraps every other block only.
_PLAIN = any_known(mmdet_resnet, mmaction_resnet, mmaction_tsm)
_DEEP_STEM = any_known(mmdet_resnet_d)


def place_resnet(
    matches: Mapping[str, 're.Match[str]'],
    source: Shapes,
    model: Optional[Shapes],
) -> Places:
    """A ResNet in torchvision's names, or a ResNet-D in timm's.

    Args:
        matches (Mapping): The group ``net`` holds the name.
        source (Mapping): Shapes of the file.
        model (Mapping, optional): Shapes of the model.

    Returns:
        dict: HERO's names, in the way of the config's ResNet; None for all
        where that is of another depth, or the file's is no ResNet.
    """
    names = [match['net'] for match in matches.values()]
    blocks = _blocks(names, _RESNET_BLOCK)
    if not blocks or not _as_deep(blocks, model, BACKBONE, _RESNET_BLOCK):
        return dict.fromkeys(matches)
    deep = any(re.match(r'conv1\.\d', name) for name in names)
    return (_DEEP_STEM if deep else _PLAIN)(matches, source, model)


def place_language_model(
    matches: Mapping[str, 're.Match[str]'],
    source: Shapes,
    model: Optional[Shapes],
) -> Places:
    """RoBERTa or BERT.

    Args:
        matches (Mapping): The group 1 holds the name in transformers.
        source (Mapping): Shapes of the file.
        model (Mapping, optional): Shapes of the model.

    Returns:
        dict: HERO's names; None for all where the config's language model
        has another number of layers.
    """
    blocks = _blocks((m[1] for m in matches.values()), _LANGUAGE_BLOCK)
    if not _as_deep(blocks, model, LANGUAGE_MODEL, _LANGUAGE_BLOCK):
        return dict.fromkeys(matches)
    return {name: LANGUAGE_MODEL + match[1] for name, match in matches.items()}


def _as_deep(
    theirs: Blocks,
    model: Optional[Shapes],
    prefix: str,
    block: 're.Pattern[str]',
) -> bool:
    """Whether the stages that both have are of the same blocks."""
    ours = _blocks((n for n in model or () if n.startswith(prefix)), block)
    return all(ours[stage] == theirs[stage] for stage in ours.keys() & theirs)


def _blocks(names: Iterable[str], block: 're.Pattern[str]') -> Blocks:
    """The numbers of the blocks of each stage."""
    found: Blocks = {}
    for name in names:
        match = block.search(name)
        if match:
            found.setdefault(match[1], set()).add(int(match[2]))
    return found


def place_projection(
    matches: Mapping[str, 're.Match[str]'],
    source: Shapes,
    model: Optional[Shapes],
) -> Places:
    """The 1 x 1 convolution from the last stage of the backbone to width D.

    Args:
        matches (Mapping): The group 1 is 'weight' or 'bias'.
        source (Mapping): Shapes of the file.
        model (Mapping, optional): Shapes of the model.

    Returns:
        dict: Of the encoder's own projection of its coarsest level; None for
        all where a neck stands between the two, behind which the convolution
        would not do what it did.
    """
    ours = model or {}
    if any(name.startswith(NECK) for name in ours):
        return dict.fromkeys(matches)
    levels = [n for n in ours if re.fullmatch(PROJECTION + r'\d+\.weight', n)]
    return {
        name: f'{PROJECTION}{len(levels) - 1}.{match[1]}'
        for name, match in matches.items()
    }


def same_levels(
    matches: Mapping[str, 're.Match[str]'],
    source: Shapes,
    model: Optional[Shapes],
) -> Places:
    """A neck: levels are matched by their channels, not by their numbers.

    The first level of a detector's neck has stride 4, that of HERO's often 16;
    their convolutions are of the same size.

    Args:
        matches (Mapping): Names that begin with ``neck.``; the group 1 is
            what follows.
        source (Mapping): Shapes of the file.
        model (Mapping, optional): Shapes of the model.

    Returns:
        dict: HERO's names; None for a level that HERO does not have.
    """
    ours = _channels(model or {}, NECK)
    theirs = _channels(source, 'neck.')
    levels = {
        level: ours.index(channels)
        for level, channels in enumerate(theirs)
        if ours.count(channels) == theirs.count(channels) == 1
    }
    # Levels made of the last one go along with it.
    both_end = levels.get(len(theirs) - 1) == len(ours) - 1
    places: Places = {}
    for name, match in matches.items():
        rest = match[1]
        numbered = re.match(r'(\w*convs)\.(\d+)\.', rest)
        if numbered is None or not theirs:
            places[name] = NECK + rest
            continue
        kind, level = numbered[1], int(numbered[2])
        if kind == 'extra_convs':
            found = level if both_end else None
        elif level < len(theirs):
            found = levels.get(level)
        else:
            found = level - len(theirs) + len(ours) if both_end else None
        places[name] = (
            None
            if found is None
            else f'{NECK}{kind}.{found}.{rest[numbered.end() :]}'
        )
    return places


def _channels(shapes: Shapes, prefix: str) -> Sequence[int]:
    """Input channels of the levels of an FPN or a ChannelMapper."""
    pattern = re.escape(prefix) + r'(?:lateral_convs|convs)\.(\d+)\.conv\.'
    found = {}
    for name, shape in shapes.items():
        match = re.match(pattern + 'weight$', name)
        if match:
            found[int(match[1])] = shape[1]
    return [found[level] for level in sorted(found)]
