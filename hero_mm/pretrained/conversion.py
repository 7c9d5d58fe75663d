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
from typing import Any, Optional, Union

import torch
from torch import Tensor

from hero_mm.errors import UserError

from ..files import replacing
from ..version import __version__
from .filling import some
from .layouts import LAYOUTS, Layout, Rule
from .placement import Shape, Shapes
from .sources import Source

MOST_REASONS = 24


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
        total = len(self.source.weights)
        entry = self.source.container
        lines = [
            f'{self.source.path}: {self.layout.title}'
            + (f', weights of {entry!r}' if entry else '')
        ]
        if self.source.others:
            lines.append(f'  other entries: {", ".join(self.source.others)}')
        numbers = sum(tensor.numel() for tensor in self.weights.values())
        lines.append(
            f'loaded: {len(self.loaded)} of {total} tensors, '
            f'{numbers / 1e6:.1f} M numbers'
        )
        for what, names in _groups(self.loaded, lambda v: v[1]).items():
            ours = [self.loaded[name][0] for name in names]
            lines.append(
                f'  {len(names):4d}  {what}: {_shared(names)} -> '
                f'{_shared(ours)}'
            )
        lines.append(f'not loaded: {len(self.skipped)}')
        groups = _groups(self.skipped, lambda v: v)
        lines += [
            f'  {len(names):4d}  {what} ({_shared(names)}): {why}'
            for (what, why), names in list(groups.items())[:MOST_REASONS]
        ]
        if len(groups) > MOST_REASONS:
            lines.append(
                f'        and {len(groups) - MOST_REASONS} reasons more, see '
                'the list'
            )
        lines.append(
            f'unexpected, not in the layout of {self.layout.title}: '
            f'{len(self.unexpected)}'
        )
        lines += [f'        {name}' for name in self.unexpected]
        return '\n'.join([*lines, *self._model_lines()])

    def _model_lines(self) -> list[str]:
        """What the model did not get."""
        if self.config is None:
            return [
                'not compared with a model: give --config to compare names '
                'and shapes'
            ]
        filled = {_part(name) for name, _ in self.loaded.values()}
        lines = [f'the model of {self.config} got nothing for']
        rest: Counter[str] = Counter()
        for name in self.unfilled:
            shown = len(lines) <= MOST_REASONS and _part(name) in filled
            if shown:
                lines.append(f'        {name}')
            else:
                rest[_part(name)] += 1
        lines += [
            f'  {count:4d}  {"more of " * (part in filled)}{part}.*'
            for part, count in rest.items()
        ]
        return lines if self.unfilled else []

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
        """Write a checkpoint of MMEngine.

        Args:
            path (str or Path): Where to. A file there is replaced.
        """
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
            them; what does not fit it is left out and listed.
        config (str, optional): Its config, for messages.

    Returns:
        Conversion: The weights in HERO's names and what became of each.

    Raises:
        ValueError: When the file has another layout, or nothing fits.
    """
    check_layout(source, layout)
    result = Conversion(layout, source, config if model is not None else None)
    caught: dict[Rule, dict[str, re.Match[str]]] = {}
    patterns = [(rule, re.compile(rule.pattern)) for rule in layout.rules]
    for name, tensor in source.weights.items():
        for rule, pattern in patterns:
            match = pattern.fullmatch(name)
            if match is not None:
                caught.setdefault(rule, {})[name] = match
                break
        else:
            result.unexpected.append(f'{name} {tuple(tensor.shape)}')
    result.unexpected += [f'{name} (no tensor)' for name in source.odd]
    for rule in layout.rules:
        if rule in caught:
            _apply(rule, caught[rule], result, model)
    if not result.loaded:
        raise UserError(
            f'nothing of {source.path} fits'
            + (f' the model of {config}' if config else '')
            + f':\n{result.summary()}'
        )
    result.unfilled = [
        name
        for name in model or ()
        if name not in result.weights
        # Absent from frozen norms, which count no batches.
        and not name.endswith('num_batches_tracked')
    ]
    return result


def _apply(
    rule: Rule,
    matches: Mapping[str, 're.Match[str]'],
    result: Conversion,
    model: Optional[Shapes],
) -> None:
    """Decide about the tensors that a rule caught."""
    weights = result.source.weights
    if rule.place is None:
        _skip(result, rule, matches, rule.why_not)
        return
    if rule.by_shape and model is None:
        _skip(
            result,
            rule,
            matches,
            'its place depends on the neck of the config; give --config',
        )
        return
    shapes: dict[str, Shape] = {n: tuple(t.shape) for n, t in weights.items()}
    places = rule.place(matches, shapes, model)
    reasons: dict[str, str] = {}
    unfit = None
    for name in matches:
        place = places[name]
        if place is None:
            reasons[name] = rule.why_not
        elif model is not None and place not in model:
            reasons[name] = f'the model of {result.config} has no such tensor'
        elif model is not None and model[place] != shapes[name]:
            reasons[name] = (
                f'{shapes[name]} in the file, {place} is {model[place]} in '
                f'the model of {result.config}'
            )
            unfit = unfit or name
    loaded = {what for _, what in result.loaded.values()}
    for name in matches:
        if rule.needs and rule.needs not in loaded:
            reasons[name] = f'of no use without the {rule.needs} of the file'
        elif rule.together and unfit:
            reasons.setdefault(name, f'goes with {unfit}, which does not fit')
        if name in reasons:
            result.skipped[name] = (rule.what, reasons[name])
            continue
        place = str(places[name])
        result.loaded[name] = (place, rule.what)
        # A clone, for a view would be saved with all that it looks at.
        result.weights[place] = weights[name].detach().clone()


def _skip(
    result: Conversion, rule: Rule, names: Iterable[str], why: str
) -> None:
    for name in names:
        result.skipped[name] = (rule.what, why)


def check_layout(source: Source, layout: Layout) -> None:
    """Refuse a file that is laid out in another way.

    Args:
        source (Source): The weights.
        layout (Layout): How they should be laid out.

    Raises:
        ValueError: Says what was found and which tool reads it.
    """
    problem = _misfit(source.weights, layout)
    if problem is None:
        return
    fitting = [
        other
        for other in LAYOUTS.values()
        if _misfit(source.weights, other) is None
    ]
    if fitting:
        cure = 'It looks like ' + ' or '.join(
            f'{other.title}: tools/model_converters/{other.name}.py'
            for other in fitting
        )
    elif any(name.startswith('text_encoder.pool') for name in source.weights):
        cure = (
            'It looks like a checkpoint of hero_mm, which needs no converter'
        )
    else:
        cure = 'No converter of tools/model_converters/ knows this layout'
    raise UserError(
        f'{source.path} is not a checkpoint of {layout.title}: {problem}. '
        f'Found {len(source.weights)} tensors such as '
        f'{some(source.weights)}. {cure}'
    )


def _misfit(names: Iterable[str], layout: Layout) -> Optional[str]:
    """Why names are not of a layout; None when they are."""
    names = list(names)
    for start in layout.needed:
        if not any(name.startswith(start) for name in names):
            return f'no name begins with {start!r}'
    for start in layout.foreign:
        if any(name.startswith(start) for name in names):
            return f'it has names that begin with {start!r}'
    return None


def _groups(found: Mapping[str, Any], key: Any) -> dict[Any, list[str]]:
    """Names by a key of their values, in the order of the first."""
    groups: dict[Any, list[str]] = {}
    for name, value in found.items():
        groups.setdefault(key(value), []).append(name)
    return groups


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
