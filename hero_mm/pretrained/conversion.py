"""Bring the weights of another model into HERO's names.

Every tensor of the file is accounted for: loaded, left out for a reason that
is listed, or unexpected. What HERO did not get from the file is listed too.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Union

import torch
from torch import Tensor

from hero_mm.errors import UserError

from ..files import replacing
from ..version import __version__
from .filling import some
from .layouts import (
    BACKBONE,
    LANGUAGE_MODEL,
    LAYOUTS,
    NECK,
    PROJECTION,
    Layout,
    Rule,
)
from .sources import Source

Shapes = Mapping[str, tuple[int, ...]]
# From a name of the file to a name of HERO.
Places = dict[str, str]
# Frozen norms of some makes have none.
COUNTER = 'num_batches_tracked'
# Names of mmaction2's ResNets, of TSM too, in mmdet's, which are those of
# torchvision.
_TO_MMDET = (
    (r'\.conv\.net\.', '.conv.'),
    (r'\bconv(\d)\.conv\.', r'conv\1.'),
    (r'\bconv(\d)\.bn\.', r'bn\1.'),
    (r'\bdownsample\.conv\.', 'downsample.0.'),
    (r'\bdownsample\.bn\.', 'downsample.1.'),
)
# The stem of timm's ResNet-D in mmdet's: one chain with its last norm.
_TO_STEM = (
    (r'\bbackbone\.conv1\.', 'backbone.stem.'),
    (r'\bbackbone\.bn1\.', 'backbone.stem.7.'),
)


@dataclass
class Conversion:
    """What became of every tensor.

    Attributes:
        layout (Layout): Of the file.
        source (Source): The file.
        config (str, optional): Of the model that was compared with.
        weights (dict): HERO's names and tensors.
        loaded (dict): From a name of the file to HERO's, and what it is.
        skipped (dict): From a name of the file to what it is and why it was
            left out.
        unexpected (list[str]): Names that the layout does not have.
        unfilled (list[str]): Names of the model without a tensor.
    """

    layout: Layout
    source: Source
    config: Optional[str] = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    loaded: dict[str, tuple[str, str]] = field(default_factory=dict)
    skipped: dict[str, tuple[str, str]] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    unfilled: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """What was loaded, what was not and why, in groups.

        Unexpected names are all listed, with their shapes.
        """
        source, title = self.source, self.layout.title
        lines = [f'{source.path}: {title}']
        if source.container:
            lines[0] += f', weights of {source.container!r}'
        if source.others:
            lines.append(f'  other entries: {", ".join(source.others)}')
        numbers = sum(tensor.numel() for tensor in self.weights.values())
        lines.append(
            f'loaded: {len(self.loaded)} of {len(source.weights)} tensors, '
            f'{numbers / 1e6:.1f} M numbers'
        )
        for what in dict.fromkeys(what for _, what in self.loaded.values()):
            names = [n for n, (_, its) in self.loaded.items() if its == what]
            ours = _shared([self.loaded[name][0] for name in names])
            lines.append(
                f'  {len(names):4d}  {what}: {_shared(names)} -> {ours}'
            )
        lines.append(f'not loaded: {len(self.skipped)}')
        for reason in dict.fromkeys(self.skipped.values()):
            names = [n for n, its in self.skipped.items() if its == reason]
            lines.append(
                f'  {len(names):4d}  {reason[0]} ({_shared(names)}): '
                f'{reason[1]}'
            )
        lines.append(
            f'unexpected, not in the layout of {title}: {len(self.unexpected)}'
        )
        lines += [f'        {name}' for name in self.unexpected]
        if self.config is None:
            lines.append(
                'not compared with a model: give --config to compare names '
                'and shapes'
            )
        if self.unfilled:
            lines.append(f'the model of {self.config} got nothing for')
        counts = Counter(_part(name) for name in self.unfilled)
        lines += [f'  {counts[part]:4d}  {part}.*' for part in counts]
        return '\n'.join(lines)

    def listing(self) -> str:
        """Every name with what became of it, a line each, tab-separated."""
        lines = ['loaded\tname in the file\tname in HERO']
        lines += [f'loaded\t{n}\t{to}' for n, (to, _) in self.loaded.items()]
        lines.append('skipped\tname in the file\twhy')
        lines += [
            f'skipped\t{name}\t{what}: {why}'
            for name, (what, why) in self.skipped.items()
        ]
        lines += [f'unexpected\t{name}' for name in self.unexpected]
        lines += [f'unfilled\t{name}' for name in self.unfilled]
        return '\n'.join(lines) + '\n'

    def save(self, path: Union[str, Path]) -> None:
        """Write a checkpoint of MMEngine; a file there is replaced."""
        meta = dict(
            converted_from=Path(self.source.path).name,
            layout=self.layout.name,
            container=self.source.container,
            config=self.config,
            hero_mm_version=__version__,
        )
        with replacing(path) as part, open(part, 'wb') as file:
            torch.save(dict(state_dict=self.weights, meta=meta), file)


def convert(
    source: Source,
    layout: Layout,
    model: Optional[Shapes] = None,
    config: Optional[str] = None,
) -> Conversion:
    """Bring weights into HERO's names.

    Args:
        source (Source): The weights.
        layout (Layout): How they are laid out.
        model (Mapping, optional): Names and shapes of the HERO that will load
            them; what does not fit it is left out and listed. A ResNet alone
            needs none: its names are then those of mmdet.
        config (str, optional): Its config, for messages.

    Raises:
        ValueError: When the file has another layout, or nothing fits.
    """
    check_layout(source, layout)
    if model is None and layout.name != 'resnet':
        raise UserError(
            f'which weights of {layout.title} fit depends on the model: give '
            'its config by --config'
        )
    result = Conversion(layout, source, config if model is not None else None)
    caught: dict[Rule, Places] = {rule: {} for rule in layout.rules}
    for name, tensor in source.weights.items():
        for rule in layout.rules:
            match = re.fullmatch(rule.pattern, name)
            if match is not None:
                caught[rule][name] = match.expand(rule.place)
                break
        else:
            result.unexpected.append(f'{name} {tuple(tensor.shape)}')
    result.unexpected += [f'{name} (no tensor)' for name in source.odd]
    for rule, places in caught.items():
        _apply(rule, places, result, model)
    if not result.loaded:
        raise UserError(
            f'nothing of {source.path} fits'
            + (f' the model of {config}' if config else '')
            + f':\n{result.summary()}'
        )
    result.unfilled = [
        name
        for name in model or ()
        if name not in result.weights and not name.endswith(COUNTER)
    ]
    return result


def _apply(
    rule: Rule, places: Places, result: Conversion, model: Optional[Shapes]
) -> None:
    """Decide about the tensors that a rule caught."""
    weights = result.source.weights
    shapes = {name: tuple(weights[name].shape) for name in places}
    part = rule.place.removesuffix(r'\1')
    reasons: dict[str, str] = {}
    why = '' if part else rule.why_not
    if rule.needs and rule.needs not in {w for _, w in result.loaded.values()}:
        why = f'of no use without the {rule.needs} of the file'
    elif part in (BACKBONE, LANGUAGE_MODEL):
        places, why = _whole_part(places, part, model)
    elif part == NECK and model is not None:
        places, why = _levels(places, shapes, model)
    elif part == PROJECTION and model is not None:
        places, why = _coarsest(places, model)
    if model is not None and not why:
        reasons = _misfits(places, shapes, model, result.config)
    for name, place in places.items():
        if why or name in reasons:
            result.skipped[name] = (rule.what, why or reasons[name])
            continue
        result.loaded[name] = (place, rule.what)
        # A clone, for a view would be saved with all that it looks at.
        result.weights[place] = weights[name].detach().clone()


def _misfits(
    places: Places, shapes: Shapes, model: Shapes, config: Optional[str]
) -> dict[str, str]:
    """Why tensors do not fit; but for a neck, one that does not spoils all."""
    reasons = {}
    for name, place in places.items():
        if place not in model:
            reasons[name] = f'the model of {config} has no such tensor'
        elif model[place] != shapes[name]:
            reasons[name] = (
                f'{shapes[name]} in the file, {place} is {model[place]} in '
                f'the model of {config}'
            )
            if not place.startswith(NECK):
                others = f'goes with {name}, which does not fit'
                return {**dict.fromkeys(places, others), **reasons}
    return reasons


def _whole_part(
    places: Places, part: str, model: Optional[Shapes]
) -> tuple[Places, str]:
    """Places in the backbone or language model, and why there are none.

    The stages that both have must be of the same names. A stage that one of
    them lacks does no harm.
    """
    deep = any(re.search(r'backbone\.conv1\.\d', to) for to in places.values())
    renames = (*_TO_MMDET, *_TO_STEM) if deep else _TO_MMDET
    theirs = {name: _renamed(to, renames) for name, to in places.items()}
    if model is None:
        return theirs, ''
    ours = {_renamed(n, _TO_MMDET): n for n in model if n.startswith(part)}
    stages = _stages(ours) & _stages(theirs.values())
    odd = [
        name
        for name in sorted(ours.keys() ^ set(theirs.values()))
        if _stage(name) in stages and not name.endswith(COUNTER)
    ]
    if odd or (_stages(ours) and not stages):
        found = some(odd) or 'no stage in common'
        return (
            theirs,
            f'that of the config is of another depth or make: {found}',
        )
    return {name: ours.get(to, to) for name, to in theirs.items()}, ''


def _renamed(name: str, renames: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in renames:
        name = re.sub(pattern, replacement, name)
    return name


def _stage(name: str) -> str:
    """What stands before the number of a block; empty where there is none."""
    found = re.match(r'(.+?)\.\d+\.', name)
    return found[1] if found else ''


def _stages(names: Iterable[str]) -> set[str]:
    return {_stage(name) for name in names} - {''}


def _coarsest(places: Places, model: Shapes) -> tuple[Places, str]:
    """The 1 x 1 convolution from the last stage of the backbone to width D.

    That of the encoder's coarsest level; a neck that stands between would
    make it do another thing.
    """
    if any(name.startswith(NECK) for name in model):
        return places, (
            'the neck of the config stands before it and would spoil it; '
            'configs/hero/hero_r101-c5_vidstg.py has none'
        )
    levels = [n for n in model if re.fullmatch(PROJECTION + r'\d+.weight', n)]
    level = f'{PROJECTION}{len(levels) - 1}.'
    return {n: to.replace(PROJECTION, level) for n, to in places.items()}, ''


def _levels(
    places: Places, shapes: Shapes, model: Shapes
) -> tuple[Places, str]:
    """A neck: its last level is HERO's last level.

    The first level of a detector's neck has stride 4, that of HERO's often 16;
    their convolutions are of the same size.
    """
    theirs = _channels({places[name]: shapes[name] for name in places})
    ours = _channels(model)
    both = min(len(theirs), len(ours))
    if not both or theirs[-both:] != ours[-both:]:
        return places, (
            f'its levels have {theirs} channels, those of the neck of the '
            f'config {ours}'
        )
    shift = len(theirs) - len(ours)
    # Levels that are made of the last one have numbers of their own.
    level = r'(?<!extra_convs)(?<=convs)\.(\d+)\.'
    return {
        name: re.sub(level, lambda m: f'.{int(m[1]) - shift}.', place)
        for name, place in places.items()
    }, ''


def _channels(shapes: Shapes) -> list[int]:
    """Input channels of the levels of an FPN or a ChannelMapper."""
    pattern = re.escape(NECK) + r'(?:lateral_convs|convs)\.(\d+)\.conv\.weight'
    found = {}
    for name, shape in shapes.items():
        match = re.fullmatch(pattern, name)
        if match:
            found[int(match[1])] = shape[1]
    return [found[level] for level in sorted(found)]


def check_layout(source: Source, layout: Layout) -> None:
    """Refuse a file of another layout; ValueError says which tool reads it."""
    fitting = [
        known
        for known in LAYOUTS.values()
        if all(
            any(name.startswith(start) for name in source.weights)
            for start in known.needed
        )
    ]
    if fitting and fitting[0] is layout:
        return
    if fitting:
        cure = (
            f'It looks like {fitting[0].title}: '
            f'tools/model_converters/{fitting[0].name}.py'
        )
    else:
        cure = (
            'No converter of tools/model_converters/ knows this layout; a '
            'checkpoint of hero_mm needs none'
        )
    raise UserError(
        f'{source.path} is not a checkpoint of {layout.title}. Found '
        f'{len(source.weights)} tensors such as {some(source.weights)}. {cure}'
    )


def _part(name: str) -> str:
    """The part of HERO that a name belongs to."""
    steps = name.split('.')
    deep = steps[0] in ('video_encoder', 'text_encoder')
    return '.'.join(steps[: 2 if deep else 1])


def _shared(names: list[str]) -> str:
    """A single name, or the beginning that several share."""
    if len(names) == 1:
        return names[0]
    start = os.path.commonprefix(names).rpartition('.')[0]
    return f'{start}.*' if start else f'{names[0]}, ...'
