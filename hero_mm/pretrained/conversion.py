"""Bring the weights of another model into HERO's names.

Every tensor of the file is accounted for: loaded, or left out for a reason.
What HERO did not get from the file is said when it is loaded.
"""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import torch
from torch import Tensor

from hero_mm.errors import UserError
from hero_mm.texts import name_some

from ..files import replacing
from ..version import __version__
from .fetching import read_weights
from .filling import COUNTER
from .reading import Allowed

Shapes = Mapping[str, tuple[int, ...]]
# From a name of the file to a name of HERO.
Places = dict[str, str]
OTHER = 'HERO has none, or one of its own'
BACKBONE = 'video_encoder.backbone.'
NECK = 'video_encoder.neck.'
PROJECTION = 'video_encoder.projects.'
LANGUAGE_MODEL = 'text_encoder.language_model.'
TEXT_PROJECTION = 'text_encoder.pooling.project.0.'
TEXT_NORM = 'text_encoder.pooling.project.1.'
NEEDS = {TEXT_PROJECTION: LANGUAGE_MODEL, TEXT_NORM: TEXT_PROJECTION}
# Entries of a checkpoint that hold weights, the best first.
CONTAINERS = ('model_ema', 'state_dict_ema', 'model', 'state_dict')
# Of DDP, Lightning, torch.compile and MDETR's masks.
WRAPPERS = ('module.', 'model.', '_orig_mod.', 'detr.')


def _path_text(*parts: str) -> str:
    """A path in a file becomes text, on any system."""
    return '/'.join(parts)


# MDETR and its heirs keep their command line, with paths in it; Python 3.13
# moved the module of these.
ALLOWED: tuple[Allowed, ...] = (
    argparse.Namespace,
    (_path_text, 'pathlib.PosixPath'),
    (_path_text, 'pathlib.WindowsPath'),
    (_path_text, 'pathlib._local.PosixPath'),
    (_path_text, 'pathlib._local.WindowsPath'),
)


class Source(NamedTuple):
    """Weights of a checkpoint, and the entry of the file that holds them.

    ``container`` is None where the file is nothing else.
    """

    path: str
    weights: dict[str, Tensor]
    container: Optional[str] = None


class Layout(NamedTuple):
    """How a checkpoint is laid out.

    ``needed`` are beginnings of names that such a file has, ``shared`` leads
    from the beginning of a name to HERO's.
    """

    title: str
    needed: tuple[str, ...]
    shared: dict[str, str]


def _detr(title: str, body: str, text: str, resizer: str) -> Layout:
    """MDETR and its heirs, by the beginnings of what they share with HERO."""
    shared = {
        body: BACKBONE,
        'input_proj.': PROJECTION,
        text: LANGUAGE_MODEL,
        f'{resizer}fc.': TEXT_PROJECTION,
        f'{resizer}layer_norm.': TEXT_NORM,
    }
    return Layout(title, (body, text), shared)


_DETECTOR = {'backbone.': BACKBONE, 'neck.': NECK}
_BERT = 'language_model.language_backbone.body.model.'
# A file is of the first layout whose names it has.
LAYOUTS = (
    Layout(
        'MM-Grounding-DINO',
        ('backbone.', _BERT),
        {
            **_DETECTOR,
            _BERT: LANGUAGE_MODEL,
            'text_feat_map.': TEXT_PROJECTION,
        },
    ),
    _detr(
        'MDETR or TubeDETR',
        'backbone.0.body.',
        'transformer.text_encoder.',
        'transformer.resizer.',
    ),
    _detr(
        'STCAT',
        'vis_encoder.0.body.',
        'text_encoder.body.',
        'text_encoder.resizer.',
    ),
    Layout(
        'a detector of mmdet or a classifier of mmpretrain',
        ('backbone.',),
        _DETECTOR,
    ),
)


@dataclass
class Conversion:
    """What became of every tensor."""

    source: Source
    layout: Layout
    # Of the model that will load it.
    config: str
    loaded: Places = field(default_factory=dict)
    # From a name of the file to why it was left out.
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, Tensor]:
        """Tensors by HERO's names."""
        weights = self.source.weights
        # Clones, for a view would be saved with all that it looks at.
        return {
            place: weights[name].detach().clone()
            for name, place in self.loaded.items()
        }

    def summary(self) -> str:
        """What was loaded, what was not and why, a line each part."""
        source, layout = self.source, self.layout
        entry = f', weights of {source.container!r}' * bool(source.container)
        numbers = sum(source.weights[name].numel() for name in self.loaded)
        lines = [
            f'{source.path}: {layout.title}{entry}',
            f'loaded: {len(self.loaded)} of {len(source.weights)} tensors, '
            f'{numbers / 1e6:.1f} M numbers',
        ]
        for start, part in layout.shared.items():
            taken = [to for to in self.loaded.values() if to.startswith(part)]
            reasons = dict.fromkeys(
                why
                for name, why in self.skipped.items()
                if name.startswith(start) and why != OTHER
            )
            said = [f'{len(taken):4d}  {start}* -> {part}*', *reasons]
            lines.append('  ' + '; '.join(said[:3]))
        others = [name for name, why in self.skipped.items() if why == OTHER]
        lines.append(f'{OTHER}: {len(others)} ({name_some(others)})')
        return '\n'.join(lines)

    def save(self, path: Union[str, Path]) -> None:
        """Write a checkpoint of MMEngine; a file there is replaced."""
        meta = dict(
            converted_from=Path(self.source.path).name,
            layout=self.layout.title,
            container=self.source.container,
            config=self.config,
            hero_mm_version=__version__,
        )
        with replacing(path) as part, open(part, 'wb') as file:
            torch.save(dict(state_dict=self.weights, meta=meta), file)


def read_source(path: str, container: Optional[str] = None) -> Source:
    """Read the weights of a checkpoint, without the prefixes of wrappers.

    ``path`` is as for :func:`.fetching.fetch`; ``container`` the entry to
    take, by default the moving average where there is one.

    Raises:
        ValueError: It holds no weights, or objects besides weights and the
            command line of its training.
    """
    found = read_weights(path, allow=ALLOWED)
    entries = found if isinstance(found, dict) else {}
    full = [str(name) for name in entries if _tensors(entries[name])]
    taken = container or next((n for n in CONTAINERS if n in full), None)
    tensors = _tensors(found if taken is None else entries.get(taken))
    if not tensors:
        raise UserError(
            f'{path} holds no weights under '
            f'{taken or "one of " + ", ".join(CONTAINERS)}; its entries are '
            f'{name_some(map(str, entries)) or "none"}, those with weights '
            f'{", ".join(full) or "none"}. Name the right one (--weights '
            'ENTRY), or give the checkpoint as its authors published it'
        )
    return Source(path, _unwrapped(tensors), taken)


def _tensors(entry: Any) -> dict[str, Tensor]:
    """The tensors of an entry; none where it is no dict."""
    entries = entry.items() if isinstance(entry, dict) else ()
    return {str(n): value for n, value in entries if isinstance(value, Tensor)}


def _unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes of wrappers, where all names have them."""
    # MMEngine counts the steps of a moving average beside it.
    names = [name for name in weights if name != 'steps']
    for prefix in WRAPPERS:
        inside = [name.startswith(prefix) for name in names]
        # MDETR's masks lie beside the detector that they wrap.
        if inside and (all(inside) or (prefix == 'detr.' and any(inside))):
            inner = {n.removeprefix(prefix): t for n, t in weights.items()}
            # Wrappers may lie in each other.
            return _unwrapped(inner)
    return weights


def convert(source: Source, model: Shapes, config: str) -> Conversion:
    """Bring weights into HERO's names; what does not fit it is left out.

    ``model`` has the names and shapes of the HERO that will load them,
    ``config`` is its config, for messages. Raises ValueError where the layout
    is not known, or nothing fits.
    """
    result = Conversion(source, layout_of(source), config)
    for part, places in _parts(result).items():
        needed = NEEDS.get(part, '')
        loaded = [to for to in result.loaded.values() if to.startswith(needed)]
        why = ''
        if needed and not loaded:
            why = f'of no use without {needed}*, which was not loaded'
        elif part in (BACKBONE, LANGUAGE_MODEL):
            why = _unlike(part, places, model)
        elif part == NECK:
            places = _levels(places, model)
        elif part == PROJECTION:
            places, why = _coarsest(places, model)
        why = why or _misfit(places, result, model)
        for name, place in places.items():
            if why:
                result.skipped[name] = why
            elif place in model:
                result.loaded[name] = place
            else:
                result.skipped[name] = f'the model of {config} has no {place}'
    if not result.loaded:
        raise UserError(
            f'nothing of {source.path} fits the model of {config}:\n'
            f'{result.summary()}'
        )
    return result


def _parts(result: Conversion) -> dict[str, Places]:
    """The parts of HERO, and where the tensors of the file go in each."""
    shared = result.layout.shared
    parts: dict[str, Places] = {part: {} for part in shared.values()}
    for name in result.source.weights:
        start = next((s for s in shared if name.startswith(s)), None)
        if start is None:
            result.skipped[name] = OTHER
        else:
            part = shared[start]
            parts[part][name] = part + name.removeprefix(start)
    return parts


def _misfit(places: Places, result: Conversion, model: Shapes) -> str:
    """Why a part is left out: one tensor of another shape spoils all."""
    for name, place in places.items():
        shape = tuple(result.source.weights[name].shape)
        if model.get(place, shape) != shape:
            return (
                f'{name} is {shape} in the file, {place} is {model[place]} in '
                f'the model of {result.config}'
            )
    return ''


def _unlike(part: str, places: Places, model: Shapes) -> str:
    """Why a backbone or language model is not that of the model.

    It is taken whole or not at all: the stages that both have must be of the
    same names. A stage that one of them lacks does no harm.
    """
    theirs = set(places.values())
    ours = {name for name in model if name.startswith(part)}
    own, other = ({*map(_stage, names)} - {''} for names in (ours, theirs))
    stages = own & other
    odd = [
        name
        for name in sorted(ours ^ theirs)
        if _stage(name) in stages and not name.endswith(COUNTER)
    ]
    if not odd and (stages or not own):
        return ''
    found = name_some(odd) or 'no stage in common'
    return f'that of the config is of another depth or make: {found}'


def _stage(name: str) -> str:
    """What stands before the number of a block; empty where there is none."""
    found = re.match(r'(.+?)\.\d+\.', name)
    return found[1] if found else ''


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


def _levels(places: Places, model: Shapes) -> Places:
    """A neck: its last level is HERO's last level.

    The first level of a detector's neck has stride 4, that of HERO's often 16.
    Levels that are made of the last one have numbers of their own.
    """
    first = re.escape(NECK) + r'(?:lateral_convs|convs)\.\d+\.conv\.weight'
    theirs, ours = (
        sum(re.fullmatch(first, name) is not None for name in names)
        for names in (places.values(), model)
    )
    level = r'(?<!extra_convs)(?<=convs)\.(\d+)\.'
    return {
        name: re.sub(level, lambda m: f'.{int(m[1]) - theirs + ours}.', place)
        for name, place in places.items()
    }


def layout_of(source: Source) -> Layout:
    """How a file is laid out; ValueError where nobody knows."""
    names = '\n'.join(['', *source.weights])
    for layout in LAYOUTS:
        if all(f'\n{start}' in names for start in layout.needed):
            return layout
    raise UserError(
        f'{source.path} is of no known model '
        f'({", ".join(layout.title for layout in LAYOUTS)}). Found '
        f'{len(source.weights)} tensors such as {name_some(source.weights)}. '
        'A checkpoint of hero_mm needs no conversion'
    )
