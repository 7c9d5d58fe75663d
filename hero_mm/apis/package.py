"""Model packages: a folder that answers, and in which nothing is run.

``hero-mm export`` writes it, in the layout of the Hugging Face hub. No pickle
and no Python is read. A config names classes, however, and MMEngine takes any
object of any module for one: here only what the MM family has registered is
built.
"""

import json
import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import registry as registry_module

from hero_mm.errors import UserError
from hero_mm.files import check_folder, write_bytes, write_text
from hero_mm.json_reader import read_json
from hero_mm.pretrained.fetching import HUGGINGFACE, fetch_repository
from hero_mm.texts import markdown
from hero_mm.version import __version__

if TYPE_CHECKING:
    from .inferencer import TubeInferencer

CONFIG, LABEL, WEIGHTS = 'config.json', 'label.json', 'model.safetensors'
WORDS, TOKENIZER, CARD = 'vocabulary.txt', 'text_encoder', 'README.md'
FILES = (CONFIG, LABEL, WEIGHTS)
SHIPPED = Path(__file__).resolve().parent.parent / 'shipped'
"""The package that is part of this one: the model of ``make demo``."""
_BUILDING = threading.RLock()
FORMAT = 'hero_mm package 1'
FAMILY = (
    *('hero_mm', 'mmengine', 'mmcv', 'mmdet', 'mmaction', 'mmpretrain'),
    'mmseg',
)
# What is read to fill a model that gets its weights otherwise.
_FILLERS = ('ann_file', 'init_cfg', 'pretrained', 'checkpoint')
_IMPORTED_ANYWAY = ('hero_mm', 'hero_mm.pretrained.loaders')
_TYPE = re.compile(r'(?:([A-Za-z_]\w*)\.)?[A-Za-z_]\w*')
_FILE = re.compile(
    r'[/\\]|::|\.(py|pth?|ckpt|pkl|pickle|json|ya?ml|np[yz]|bin|safetensors)$',
    re.IGNORECASE,
)
# In the config of a language model: what may name code on the hub.
_REMOTE = ('auto_map', 'quantization_config')
_SHOWN_SCORES = ('m_tIoU', 'm_vIoU', 'gt_m_vIoU', 'acc_avg')


def find_package(model: Any) -> Optional[Path]:
    """The folder of the package that a user means; None where it is none.

    ``hf://OWNER/NAME[@REVISION]`` is fetched. None is the model that is
    shipped.
    """
    if model is None:
        return SHIPPED
    if isinstance(model, Config):
        return None
    if str(model).startswith(HUGGINGFACE):
        patterns = [*FILES, WORDS, CARD, f'{TOKENIZER}/*']
        return Path(fetch_repository(str(model), patterns))
    folder = Path(model).expanduser()
    return folder if (folder / LABEL).is_file() else None


def read_package(folder: Path, trust: bool = False) -> Config:
    """The config of a package: ``model``, ``test_dataloader``, ``label``.

    ``trust`` imports what it wants to be imported, and builds any class that
    it names. Code of others is then run.

    Raises:
        FileNotFoundError: If a file of it is missing.
        ValueError: If it is broken, or wants what only ``trust`` allows.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f'{folder} is no whole package: {", ".join(missing)} is missing; '
            'copy it again, or write it with hero-mm export'
        )
    path = folder / CONFIG
    content, label = _read_object(path), _read_object(folder / LABEL)
    if label.get('format') != FORMAT:
        raise UserError(
            f'{folder / LABEL} says format {label.get("format")!r:.40}, and '
            f'this hero_mm reads {FORMAT!r}; update hero_mm, or export the '
            'model anew'
        )
    model = content.get('model')
    try:
        texts = list(_texts(content))
        if not trust:
            _check(texts, path)
        _place_tokenizer(model, folder, trust)
    except RecursionError as error:
        raise UserError(f'{path} is nested too deep') from error
    for place, _, name in texts:
        if not place.startswith('custom_imports'):
            continue
        try:
            import_module(name)
        except ImportError as error:
            raise UserError(
                f'{path}: {place} is {name!r:.60}, which cannot be imported '
                f'({error}); install it, or update hero_mm'
            ) from error
    scope = content.get('default_scope', 'hero_mm')
    if not isinstance(scope, str):
        raise UserError(f'{path}: default_scope is {scope!r:.60}, no name')
    dataset = dict(type='GroundingDataset', pipeline=content.get('pipeline'))
    values = dict(
        default_scope=scope,
        model=model,
        test_dataloader=dict(dataset=dataset),
        label=label,
        window=content.get('window'),
    )
    return Config(values, filename=str(path))


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f'{path} holds no JSON object; copy the package again')
    return content


def _check(texts: Sequence[tuple[str, str, str]], path: Path) -> None:
    """Refuse a config that reaches out of the MM family, or for a file."""
    for place, key, text in texts:
        if place.startswith('custom_imports'):
            if text.partition('.')[0] not in FAMILY:
                raise UserError(_untrusted(path, place, text))
        elif key in ('type', '_scope_', 'default_scope'):
            kind = _TYPE.fullmatch(text)
            scope = kind and (kind[1] if key == 'type' else text)
            if not kind or (scope and scope not in FAMILY):
                raise UserError(_untrusted(path, place, text))
        elif _FILE.search(text):
            raise UserError(
                f'{path}: {place} is {text!r:.60}, which names a file. A '
                'package reads none but its own; if you trust who made it, '
                'read it with --trust (trust=True)'
            )


def _untrusted(path: Path, place: str, name: str) -> str:
    return (
        f'{path}: {place} is {name!r:.60}, which is not of the MM family '
        f'({", ".join(FAMILY)}). Code of others is run only with --trust '
        '(trust=True); use it if you trust who made the package'
    )


def _texts(
    value: Any, place: str = '', key: str = ''
) -> Iterator[tuple[str, str, str]]:
    """All texts in plain values, with their dotted place and last key."""
    if isinstance(value, str):
        yield place.lstrip('.'), key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, f'{place}.{name}', name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f'{place}.{number}')


def _place_tokenizer(model: Any, folder: Path, trust: bool) -> None:
    """Let a language model read its config and tokenizer in the package."""
    for encoder in _encoders(model):
        own = folder / TOKENIZER
        if not (own / CONFIG).is_file():
            raise FileNotFoundError(
                f'{own / CONFIG} is missing; copy the package again'
            )
        encoder['name'] = str(own)
        for file in sorted(own.glob('*config.json')) * (not trust):
            for name, value in _read_object(file).items():
                kernel = 'implementation' in name and '/' in str(value)
                if name in _REMOTE or kernel:
                    raise UserError(_untrusted(file, name, 'code to fetch'))


def _encoders(model: Any) -> list[dict[str, Any]]:
    """Configs of language models in the config of a model."""
    if not isinstance(model, dict):
        return []
    found = [inner for v in model.values() for inner in _encoders(v)]
    kind = str(model.get('type'))
    return found + [model] * (kind.rpartition('.')[2] == 'HFTextEncoder')


@contextmanager
def building(cfg: Config, trust: bool = False) -> Iterator[None]:
    """Build a model without what it logs for those who train.

    Of a package only what the family registered is built: MMEngine takes a
    name that it does not know for that of an object in any module, and calls
    it. UserError where the config of a package does not build.
    """
    module: Any = registry_module
    logger, me = MMLogger.get_current_instance(), threading.get_ident()
    # One at a time, or one would put back what another has put there.
    with _BUILDING:
        level, found = logger.level, module.get_object_from_string

        def find(name: str) -> Any:
            # Other threads find what they found before.
            return None if threading.get_ident() == me else found(name)

        logger.setLevel(max(level, logging.WARNING))
        if 'label' in cfg and not trust:
            module.get_object_from_string = find
        try:
            yield
        except (UserError, ImportError, OSError):
            raise
        except Exception as error:
            if 'label' not in cfg:
                raise
            raise UserError(
                f'{cfg.filename} builds no model: {error!s:.300}. Take the '
                f'package from its authors; it was written by hero_mm '
                f'{cfg.label.get("hero_mm_version", "?")!s:.20}, this is '
                f'{__version__}'
            ) from error
        finally:
            module.get_object_from_string = found
            logger.setLevel(level)


def _label(cfg: Config, weights: str) -> Mapping[str, Any]:
    """What a package says of its own weights; of others it says nothing."""
    folder = Path(str(cfg.filename)).resolve().parent
    own = Path(weights).resolve().parent == folder
    return cfg.get('label') or {} if own else {}


def trained_on(cfg: Config, weights: str) -> str:
    """What a model was trained on, as its label or its config says it."""
    if 'label' in cfg:
        return str(_label(cfg, weights).get('trained_on', 'not stated'))
    return ', '.join(_ann_files(cfg)) or 'not stated'


def _ann_files(cfg: Config) -> list[str]:
    found = _texts(_plain(cfg.get('train_dataloader') or {}))
    return sorted({text for _, key, text in found if key == 'ann_file'})


def _plain(value: Any) -> Any:
    """Configs, tuples and classes as JSON has them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, type):
        return f'{value.__module__.partition(".")[0]}.{value.__name__}'
    return value


def write_package(
    inferencer: 'TubeInferencer',
    out: Union[str, Path],
    name: Optional[str] = None,
    data: Optional[str] = None,
    scores: Optional[Mapping[str, float]] = None,
    licence: str = '',
) -> Path:
    """Write the model of an inferencer as a package.

    Args:
        inferencer (TubeInferencer): Who answers.
        out (str | Path): A folder, new or empty.
        name (str, optional): Of the model; that of the folder.
        data (str, optional): What it was trained on, in words; what its
            annotation files say.
        scores (Mapping, optional): Fractions by name; those of its label,
            or of the validation that its work dir logged for the checkpoint.
        licence (str): Its name.

    Raises:
        ValueError: If the folder is not empty, or the config needs a file
            that a package does not carry.
        WriteError: If it cannot be written.
    """
    from safetensors.torch import save

    from .inputs import pipeline_steps

    if not hasattr(inferencer.model, 'text_encoder'):
        raise UserError(
            f'{type(inferencer.model).__name__} has no text encoder that a '
            'package could carry. It needs none: its config and the '
            'checkpoint of its detector are all of it'
        )
    cfg, encoder = inferencer.cfg, inferencer.model.text_encoder
    content = _portable(cfg, pipeline_steps(cfg))
    words = [w for w in getattr(encoder, 'words', []) if w[-1].isalnum()]
    folder = Path(out)
    # A package that is written again keeps what its label says.
    old = _label(cfg, inferencer.weights)
    if scores is None:
        scores = old.get('scores') or _scores(inferencer)
    label = dict(
        format=FORMAT,
        name=name or folder.resolve().name,
        trained_on=data or old.get('trained_on') or _describe_data(cfg),
        # Of a file of eval_tubes.py; what is no float there is no score.
        scores={k: v for k, v in scores.items() if isinstance(v, float)},
        licence=licence or old.get('licence') or 'not stated',
        words=len(words) or None,
        hero_mm_version=__version__,
    )
    state = {
        key: value.detach().cpu().clone().contiguous()
        for key, value in inferencer.model.state_dict().items()
    }
    if any(check_folder(folder).iterdir()):
        raise UserError(
            f'{folder} is not empty; give a new folder for the package'
        )
    if _encoders(content['model']):
        from transformers import AutoConfig

        encoder.tokenizer.save_pretrained(folder / TOKENIZER)
        where = dict(local_files_only=True, trust_remote_code=False)
        config = AutoConfig.from_pretrained(encoder.name, **where)
        config.save_pretrained(folder / TOKENIZER)
    if words:
        write_text(folder / WORDS, '\n'.join(words) + '\n')
    write_bytes(folder / WEIGHTS, save(state, dict(format='pt')))
    write_text(folder / CONFIG, _json(content))
    write_text(folder / CARD, _card(label))
    # The last one makes it a package.
    write_text(folder / LABEL, _json(label))
    return folder


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + '\n'


def _portable(cfg: Config, steps: Sequence[Any]) -> dict[str, Any]:
    """What of a config is needed to answer, without names of files."""
    model = _plain(cfg.model)
    for encoder in _encoders(model):
        encoder['name'] = TOKENIZER
    imports = _plain(cfg.get('custom_imports') or {}).get('imports', [])
    imports = [imports] if isinstance(imports, str) else imports
    content = dict(
        default_scope=cfg.get('default_scope') or 'hero_mm',
        custom_imports=[n for n in imports if n not in _IMPORTED_ANYWAY],
        model=_without_files(model),
        pipeline=_plain(list(steps)),
        # Seconds, for the search in long videos.
        window=cfg.get('window'),
    )
    for place, key, text in _texts(content):
        is_name = key == 'type' or place.startswith('custom_imports')
        if not is_name and _FILE.search(text):
            raise UserError(
                f'{place}={text!r} names a file, which a package does not '
                'carry; set it to None in the config, or give the work dir '
                'itself away'
            )
    return content


def _without_files(value: Any) -> Any:
    """A config without what fills a model that gets its weights otherwise."""
    if isinstance(value, list):
        return [_without_files(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, item in value.items():
        named = any(_FILE.search(text) for _, _, text in _texts(item))
        is_filler = named and key in _FILLERS
        kept[key] = None if is_filler else _without_files(item)
    return kept


def _describe_data(cfg: Config) -> str:
    """The annotation files of a training, and how much is in them."""
    from hero_mm.datasets.annotation import load_annotation

    parts = []
    for file in map(Path, _ann_files(cfg)):
        part = file.name
        if file.is_file():
            known = load_annotation(file)
            split = known.metainfo.get('split', 'one split')
            part = (
                f'{known.metainfo.get("dataset", part)} ({split}): '
                f'{len(known.ground_truths()):,} sentences'
            )
        parts.append(part)
    return ', '.join(parts) or 'not stated'


def _scores(inferencer: 'TubeInferencer') -> dict[str, float]:
    """What the validation of a work dir logged for its checkpoint."""
    from hero_mm.visualization.training_log import read_training_log

    log = read_training_log(Path(inferencer.weights).parent).scores
    steps = inferencer.meta.get('epoch'), inferencer.meta.get('iter')
    found = {}
    for name, points in log.items():
        title = name.rpartition('/')[2]
        step = next((s for s in steps if s in points), None)
        if title in _SHOWN_SCORES and name.count('/') < 2 and step is not None:
            found[f'val {title}'] = round(points[step], 4)
    return found


def _card(label: Mapping[str, Any]) -> str:
    """The label for people, with the front matter that the hub reads."""
    front = dict(
        library_name='hero_mm',
        license='other',
        license_name=label['licence'],
        tags=['video-object-grounding', 'spatio-temporal-video-grounding'],
    )
    lines = [
        f'- Trained on: {markdown(label["trained_on"])}',
        f'- Licence: {markdown(label["licence"])}',
        f'- Words that it knows: {label["words"] or "of its tokenizer"}',
    ]
    for name, value in label['scores'].items():
        lines.append(f'- {markdown(name)}: {value:g}')
    return (
        f'---\n{_json(front)}---\n# {markdown(label["name"])}\n\n'
        'Finds in a video what a sentence speaks of: a box a frame, a start '
        'and an end.\n\n' + '\n'.join(lines) + '\n\n'
        '```\nhero-mm ground VIDEO "SENTENCE" --model FOLDER\n```\n'
    )
