"""Registries of the ``hero_mm`` scope, children of MMEngine's roots.

A config that says ``default_scope = 'hero_mm'`` finds our components by their
bare name and those of the family by prefix (``mmdet.ResNet``,
``mmaction.ResNet3dSlowOnly``). Modules are imported when a registry is first
searched, so ``import hero_mm`` stays cheap.
"""

from collections.abc import Mapping

from mmengine import registry as root
from mmengine.config import ConfigDict
from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import INFERENCERS as MMENGINE_INFERENCERS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

SCOPE = 'hero_mm'

MODELS = Registry(
    'model', parent=MMENGINE_MODELS, scope=SCOPE, locations=['hero_mm.models']
)
DATASETS = Registry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope=SCOPE,
    locations=['hero_mm.datasets'],
)
TRANSFORMS = Registry(
    'transform',
    parent=MMENGINE_TRANSFORMS,
    scope=SCOPE,
    locations=['hero_mm.datasets.transforms'],
)
DATA_SAMPLERS = Registry(
    'data sampler',
    parent=MMENGINE_DATA_SAMPLERS,
    scope=SCOPE,
    locations=['hero_mm.datasets'],
)
METRICS = Registry(
    'metric',
    parent=MMENGINE_METRICS,
    scope=SCOPE,
    locations=['hero_mm.evaluation.tube_metric'],
)
HOOKS = Registry(
    'hook', parent=MMENGINE_HOOKS, scope=SCOPE, locations=['hero_mm.engine']
)
OPTIM_WRAPPERS = Registry(
    'optim_wrapper',
    parent=MMENGINE_OPTIM_WRAPPERS,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)
VISUALIZERS = Registry(
    'visualizer',
    parent=MMENGINE_VISUALIZERS,
    scope=SCOPE,
    locations=['hero_mm.visualization'],
)
INFERENCERS = Registry(
    'inferencer',
    parent=MMENGINE_INFERENCERS,
    scope=SCOPE,
    locations=['hero_mm.apis'],
)

# Nothing of ours is in these yet. They are here because MMEngine looks every
# type of a config up in its default scope, and warns where that has none of
# the kind. They name a location, or MMEngine would search ``hero_mm.utils``.
RUNNERS = Registry(
    'runner',
    parent=root.RUNNERS,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)
RUNNER_CONSTRUCTORS = Registry(
    'runner constructor',
    parent=root.RUNNER_CONSTRUCTORS,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)
STRATEGIES = Registry(
    'strategy',
    parent=root.STRATEGIES,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)
LOOPS = Registry(
    'loop',
    parent=root.LOOPS,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)
MODEL_WRAPPERS = Registry(
    'model_wrapper',
    parent=root.MODEL_WRAPPERS,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)
WEIGHT_INITIALIZERS = Registry(
    'weight initializer',
    parent=root.WEIGHT_INITIALIZERS,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)
OPTIMIZERS = Registry(
    'optimizer',
    parent=root.OPTIMIZERS,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=root.OPTIM_WRAPPER_CONSTRUCTORS,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)
PARAM_SCHEDULERS = Registry(
    'parameter scheduler',
    parent=root.PARAM_SCHEDULERS,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)
EVALUATOR = Registry(
    'evaluator',
    parent=root.EVALUATOR,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)
TASK_UTILS = Registry(
    'task util',
    parent=root.TASK_UTILS,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)
VISBACKENDS = Registry(
    'vis_backend',
    parent=root.VISBACKENDS,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)
LOG_PROCESSORS = Registry(
    'log_processor',
    parent=root.LOG_PROCESSORS,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)
FUNCTIONS = Registry(
    'function',
    parent=root.FUNCTIONS,
    scope=SCOPE,
    locations=['hero_mm.engine'],
)


def in_own_scope(config: Mapping) -> ConfigDict:
    """A config of another package's component, with parts of that package.

    Components of mmdet build parts that their configs name without a prefix;
    in our scope these would not be found.

    Args:
        config (Mapping): With a ``type`` such as ``'mmdet.RPNHead'``.

    Returns:
        ConfigDict: The same, to be built in the scope of its prefix.
    """
    scope, dot, _ = str(config['type']).rpartition('.')
    return ConfigDict(config, **({'_scope_': scope} if dot else {}))
