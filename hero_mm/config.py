"""Read a config; what stands at its top is set in one place.

MMEngine reads what a config inherits before the config itself, so that a
variable such as ``data_root`` or ``max_epochs``, set anew in a config or by
``--cfg-options``, changes nothing where it was used. Here it does.
"""

import ast
import inspect
import re
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Optional, Union

from mmengine.config import Config

from hero_mm.errors import UserError

PathLike = Union[str, Path]
SCALARS = (str, int, float, bool)
# Set in the hope of an effect, wherever one is used to them.
EXPECTED = ('data_root', 'ann_file', 'video_root', 'max_epochs')
# Lazy configs, and templates of MMEngine.
UNWRITABLE = re.compile(r'\bread_base\(|\{\{\s*(file|_base_|\$)')
WEIGHTS = ('.pth', '.pt', '.safetensors')


def read_config(
    path: PathLike, options: Optional[Mapping[str, Any]] = None
) -> Config:
    """Read a config and change it.

    A number or text at the top of a config holds in all that it inherits and
    that uses it, and so does one that is set by an option.

    Args:
        path (str | Path): A config, a work dir, whose last training names
            its config, or a checkpoint that lies beside one.
        options (Mapping, optional): New values by dotted key, as
            ``--cfg-options`` gives them.

    Raises:
        FileNotFoundError: When there is no such config.
        ValueError: When a new value has no place in it, or no effect.
    """
    file = find_config(path)
    options = dict(options or {})
    top = {
        name: value
        for name, value in options.items()
        if '.' not in name and isinstance(value, SCALARS) and _is_free(name)
    }
    plain = _read(file)
    cfg = _evaluate(file, top) or plain
    _check_effect(file, cfg, plain, top)
    for key, value in options.items():
        try:
            cfg.merge_from_dict({key: value})
        except (TypeError, KeyError) as error:
            raise UserError(
                f'option {key}={value!r} has no place in {str(path)!r}: '
                f'{error.args[0]}'
            ) from error
    return cfg


def _read(file: Path) -> Config:
    """Read a config as MMEngine does."""
    try:
        return Config.fromfile(file)
    except FileNotFoundError as error:
        missing = Path(error.filename or '')
        if missing.parent.name != '.mim':
            raise
        raise UserError(
            f'{file} names a config by PACKAGE::, which finds those of an '
            f'installed package, and {missing} is missing: install the '
            'package (pip install -e .), or give the path of the config'
        ) from error


def find_config(path: PathLike) -> Path:
    """The file of the config that a path means, as for :func:`read_config`.

    Raises:
        FileNotFoundError: When there is none, or more than one.
    """
    given = Path(path).expanduser()
    if given.is_dir():
        return _config_in(given)
    if not given.is_file():
        raise FileNotFoundError(
            f'config {str(path)!r} does not exist; give the path of a config, '
            'such as configs/hero_shapes.py, or the work dir of a training'
        )
    if given.suffix not in WEIGHTS:
        return given
    if given.with_suffix('.py').is_file():
        return given.with_suffix('.py')
    if (given.parent / 'last_checkpoint').is_file():
        return _config_in(given.parent)
    raise FileNotFoundError(
        f'{path} is a checkpoint, and no config of it lies beside it: give '
        'the config that it was trained with. Where the checkpoint carries '
        f'it, python tools/analysis_tools/print_config.py {path} prints it; '
        f'save it as {given.with_suffix(".py")}, and read it first, since a '
        'config is code'
    )


def _config_in(folder: Path) -> Path:
    """The config of the last training in a work dir."""
    from .engine.work_lock import LOCK_FILE, read_record

    found = sorted(folder.glob('*.py'))
    recorded = read_record(folder).get('config')
    for file in found:
        if file.name == recorded or len(found) == 1:
            return file
    names = ', '.join(file.name for file in found)
    raise FileNotFoundError(
        f'{folder} has no config (*.py)'
        if not found
        else f'{folder} has several configs ({names}), and {LOCK_FILE} does '
        'not say which is that of the training: give the path of one'
    )


def _check_effect(
    path: Path, cfg: Config, plain: Config, top: Mapping[str, Any]
) -> None:
    """Refuse what is set at the top and used nowhere."""
    others = {
        name: {key: top[key] for key in top if key != name}
        for name, value in top.items()
        if plain.get(name) != value
    }
    tree = _parse(path)
    own = {name for _, name in _assignments(tree)} if tree else set()
    for name in own.intersection(EXPECTED) if '_base_' in own else ():
        if isinstance(plain[name], SCALARS):
            others.setdefault(name, {**top, name: plain[name] * 2})
    idle = {
        name
        for name, values in others.items()
        if _rest(cfg, name) == _rest(_evaluate(path, values) or plain, name)
    }
    if idle:
        raise UserError(
            f'{path}: {", ".join(sorted(idle))} has no effect, nothing there '
            'uses it. Set the entry itself, such as train_cfg.max_epochs or '
            'train_dataloader.dataset.ann_file (tools/analysis_tools/'
            'print_config.py shows all)'
        )


@cache
def _runner_keys() -> set[str]:
    """Entries at the top that MMEngine's runner or our tools read."""
    from mmengine.runner import Runner

    return {
        *inspect.signature(Runner.__init__).parameters,
        *('activation_checkpointing', 'compile', 'custom_imports', 'prepare'),
        *('efficient_conv_bn_eval', 'find_unused_parameters', 'runner_type'),
        *('model_wrapper_cfg', 'sync_bn', 'gpu_ids', 'vis_backends'),
    }


def _is_free(name: str) -> bool:
    return not name.startswith('_') and name not in _runner_keys()


def _rest(cfg: Config, name: str) -> dict[str, Any]:
    """A config without one entry."""
    return {key: one for key, one in cfg.to_dict().items() if key != name}


def _evaluate(path: Path, values: Mapping[str, Any]) -> Optional[Config]:
    """The config where values at the top hold in all files of its chain.

    None where that changes nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = _copy(path, dict(values), Path(folder))
        if copy == path:
            return None
        cfg = Config.fromfile(copy)
    return Config(cfg._cfg_dict, cfg_text=cfg.text, filename=str(path))


def _copy(path: Path, values: Mapping[str, Any], folder: Path) -> Path:
    """Write a config and its bases again, with other values at the top."""
    tree = _parse(path)
    if tree is None:
        return path
    new, own = False, set()
    bases: Any = None
    for node, name in _assignments(tree):
        if name == '_base_':
            bases = node
        elif name in values:
            new |= _literal(node.value) != values[name]
            node.value = ast.parse(repr(values[name]), mode='eval').body
        elif _is_free(name):
            own.add(name)
    if bases is not None:
        down = {**_shared(path, tree, bases, own, folder), **values}
        copies = []
        for name in _base_names(bases):
            file = path.parent / name
            copy = file if '::' in name else _copy(file, down, folder)
            new |= copy != file
            copies.append(name if '::' in name else str(copy.resolve()))
        bases.value = ast.parse(repr(copies), mode='eval').body
    if not new:
        return path
    return _write_copy(tree, folder)


def _write_copy(tree: ast.Module, folder: Path) -> Path:
    copy = folder / f'copy{len(list(folder.iterdir()))}.py'
    copy.write_text(ast.unparse(tree), encoding='utf-8')
    return copy


def _shared(
    path: Path, tree: ast.Module, bases: Any, own: set[str], folder: Path
) -> dict[str, Any]:
    """Values of what a config sets, which hold in its bases, too.

    Of its code with the new values, which others there may follow.
    """
    if not own:
        return {}
    files = [
        name if '::' in name else str((path.parent / name).resolve())
        for name in _base_names(bases)
    ]
    bases.value = ast.parse(repr(files), mode='eval').body
    cfg = Config.fromfile(
        _write_copy(tree, folder), import_custom_modules=False
    )
    return {n: cfg[n] for n in own if isinstance(cfg.get(n), SCALARS)}


def _parse(path: Path) -> Optional[ast.Module]:
    """The code of a config, where it can be written again."""
    if path.suffix != '.py':
        return None
    text = path.read_text(encoding='utf-8')
    return None if UNWRITABLE.search(text) else ast.parse(text)


def _assignments(tree: ast.Module) -> list[tuple[Any, str]]:
    """Assignments to one name at the top."""
    return [
        (node, node.targets[0].id)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Name)
    ]


def _base_names(node: ast.Assign) -> list[str]:
    found = _literal(node.value)
    return [found] if isinstance(found, str) else list(found or [])


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
