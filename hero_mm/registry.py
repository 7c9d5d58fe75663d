"""Registries of the ``hero_mm`` scope, children of MMEngine's roots.

A config that says ``default_scope = 'hero_mm'`` finds our components by their
bare name and those of the family by prefix (``mmdet.ResNet``,
``mmaction.ResNet3dSlowOnly``). Modules are imported when a registry is first
searched, so ``import hero_mm`` stays cheap.
"""

from collections.abc import Mapping

from mmengine import registry as root
from mmengine.config import ConfigDict
from mmengine.registry import Registry

SCOPE = 'hero_mm'


def _child(parent: Registry, location: str = 'hero_mm.engine') -> Registry:
    """Our registry below a root, and the module that fills it."""
    return Registry(
        parent.name, parent=parent, scope=SCOPE, locations=[location]
    )


MODELS = _child(root.MODELS, 'hero_mm.models')
DATASETS = _child(root.DATASETS, 'hero_mm.datasets')
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, 'hero_mm.datasets')
TRANSFORMS = _child(root.TRANSFORMS, 'hero_mm.datasets.transforms')
TASK_UTILS = _child(root.TASK_UTILS, 'hero_mm.models.targets')
METRICS = _child(root.METRICS, 'hero_mm.evaluation.tube_metric')
HOOKS = _child(root.HOOKS)
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS)
RUNNERS = _child(root.RUNNERS)
VISUALIZERS = _child(root.VISUALIZERS, 'hero_mm.visualization')
INFERENCERS = _child(root.INFERENCERS, 'hero_mm.apis')

# Nothing of ours is in these yet. They are here because MMEngine looks every
# type of a config up in its default scope, and warns where that has none of
# the kind. They name a location, or MMEngine would search ``hero_mm.utils``.
RUNNER_CONSTRUCTORS = _child(root.RUNNER_CONSTRUCTORS)
STRATEGIES = _child(root.STRATEGIES)
LOOPS = _child(root.LOOPS)
MODEL_WRAPPERS = _child(root.MODEL_WRAPPERS)
WEIGHT_INITIALIZERS = _child(root.WEIGHT_INITIALIZERS)
OPTIMIZERS = _child(root.OPTIMIZERS)
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS)
PARAM_SCHEDULERS = _child(root.PARAM_SCHEDULERS)
EVALUATOR = _child(root.EVALUATOR)
VISBACKENDS = _child(root.VISBACKENDS)
LOG_PROCESSORS = _child(root.LOG_PROCESSORS)
FUNCTIONS = _child(root.FUNCTIONS)


def in_own_scope(config: Mapping) -> ConfigDict:
    """A config of another package's component, with parts of that package.

    Components of mmdet build parts that their configs name without a prefix;
    in our scope these would not be found. The result is built in the scope of
    the prefix of ``type``, or of the package of its class, where that is one
    of the family.
    """
    kind = config['type']
    path = kind if isinstance(kind, str) else f'{kind.__module__}.'
    scope, dot, name = path.partition('.')
    named = isinstance(kind, str) and dot and '.' not in name
    if named or (dot and scope in root.MODELS.children):
        return ConfigDict(config, _scope_=scope)
    return ConfigDict(config)
