"""Warn of frozen norms that never saw a picture."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from hero_mm.pretrained.filling import some
from hero_mm.registry import HOOKS


@HOOKS.register_module()
class FrozenNormHook(Hook):
    """Looks, before a training, for batch norms that normalise nothing.

    One that is frozen (``norm_eval``, ``frozen_stages``) keeps its statistics;
    where no checkpoint brought any, it keeps those of its start, and what is
    frozen around it stays random.
    """

    def before_train(self, runner: Runner) -> None:
        """Warn, in one line, where there are such norms."""
        model: Any = runner.model
        model = model.module if is_model_wrapper(model) else model
        was_training = model.training
        model.train()
        names = [
            name
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm)
            and not module.training
            and _at_start(module)
        ]
        model.train(was_training)
        if names:
            runner.logger.warning(
                f'{len(names)} frozen batch norms have the statistics of '
                f'their start ({some(names)}): no checkpoint filled them, and '
                'they will not learn. Load pretrained weights (init_cfg, '
                'load_from), or train them: norm_eval=False, frozen_stages=-1'
            )


def _at_start(norm: Any) -> bool:
    """Whether the statistics are those of an unused norm."""
    if norm.running_mean is None:
        return False
    return not norm.running_mean.any() and bool((norm.running_var == 1).all())
