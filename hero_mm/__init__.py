"""hero_mm: find, in a video, the tube of boxes that a sentence speaks of.

Importing the package is cheap: it applies the shims of :mod:`hero_mm.compat`
and waits for MMEngine. Once ``mmengine.registry`` is imported, before or
after, the scope ``hero_mm`` is registered; once its loaders of checkpoints
are, those that it lacks are added. A host's own loaders and lists stay as
they are. Models, data sets and the rest are imported when a registry is first
searched.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Optional, Union

from .compat import after_import, apply_all
from .version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .apis.inputs import PathLike

__all__ = ['__version__', 'ground', 'registry']


def _serve_names(module: ModuleType) -> None:
    import_module('hero_mm.pretrained.fetching').serve_names(module)


def __getattr__(name: str) -> Any:
    if name == 'registry':
        return import_module('hero_mm.registry')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def ground(
    video: 'PathLike',
    texts: 'Union[str, Sequence[str]]',
    model: 'Optional[PathLike]' = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Find what sentences describe in a video, in one line.

    The model is read anew at each call; to ask more, keep a
    :class:`hero_mm.apis.TubeInferencer`.

    Args:
        video (str | os.PathLike): A video, or a folder with a picture a
            frame.
        texts (str | Sequence[str]): K sentences.
        model (str | os.PathLike, optional): A package, a work dir, a config.
            Defaults to the model that is shipped.
        **options: ``device``, ``trust``, ``weights``, ``window`` and
            ``top_k`` of the inferencer; the others, such as ``out_dir`` or
            ``segment``, of its call.

    Returns:
        list[dict]: K tubes, as :meth:`TubeInferencer.ground` gives them; of a
        folder of videos, or a list, such a list a video. Errors are those of
        the inferencer.
    """
    from .apis import TubeInferencer

    own = ('device', 'trust', 'weights', 'window', 'top_k')
    settings = {k: options.pop(k) for k in own if k in options}
    answer = TubeInferencer(model, **settings)(video, texts, **options)
    found: list[dict[str, Any]] = answer['predictions']
    return found


apply_all()
after_import('mmengine.registry', lambda _: import_module('hero_mm.registry'))
after_import('mmengine.runner.checkpoint', _serve_names)
