"""MMEngine's runner with strategies (DDP, FSDP, DeepSpeed), for our tools.

And its strategy of shards (FSDP), mended for our models and torch.
"""

import copy
import importlib.util
from typing import Any, Optional

from mmengine._strategy.fsdp import FSDPStrategy
from mmengine.device import get_device
from mmengine.runner import FlexibleRunner
from mmengine.runner.activation_checkpointing import (
    turn_on_activation_checkpointing,
)
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present
from torch.nn.utils import clip_grad_norm_

from hero_mm.compat import provide_onebit
from hero_mm.errors import UserError
from hero_mm.texts import name_some

from ..registry import RUNNERS, STRATEGIES


@RUNNERS.register_module(name='FlexibleRunner')
class StrategyRunner(FlexibleRunner):
    """MMEngine's FlexibleRunner, in the order of its Runner.

    The model is there before it runs, so that tools compare a checkpoint with
    it. Hooks hear that a run begins before a checkpoint is loaded: the moving
    average of the weights and the schedule need that. Checkpoints are those
    of Runner.
    """

    _has_begun = False

    @classmethod
    def from_cfg(cls, cfg: Any) -> 'StrategyRunner':
        """Build the runner; refuse a strategy that cannot work here."""
        cfg = copy.deepcopy(cfg)
        fit_strategy(cfg)
        # Before a test all weights come from a checkpoint: none are fetched.
        cfg.setdefault('init_weights_for_test_or_val', False)
        runner: Any = super().from_cfg(cfg)
        runner._compile = cfg.get('compile', False)
        runner.model = runner.strategy.build_model(runner.model)
        modules = cfg.get('activation_checkpointing')
        if modules is not None:
            turn_on_activation_checkpointing(runner.model, modules)
        save = runner.strategy.save_checkpoint

        def save_with_meta(*, extra_ckpt: dict, **options: Any) -> None:
            extra_ckpt['meta'].update(runner._meta)
            save(extra_ckpt=extra_ckpt, **options)

        runner.strategy.save_checkpoint = save_with_meta
        return runner

    def load_or_resume(self) -> None:
        """Load what the config names, after the hooks are ready."""
        super().call_hook('before_run')
        self._has_begun = True
        super().load_or_resume()

    def save_checkpoint(
        self, *args: Any, meta: Optional[dict] = None, **kwargs: Any
    ) -> None:
        """Save, with the epoch that the hook says.

        FlexibleRunner puts its own in the place, which is one too high after
        a validation.
        """
        self._meta = dict(meta or {})
        super().save_checkpoint(*args, meta=meta, **kwargs)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks; the beginning of a run once."""
        if fn_name == 'before_run' and self._has_begun:
            self._has_begun = False
            return
        if fn_name == 'before_save_checkpoint':
            # A wrapped model is saved as the model is.
            weights = kwargs['checkpoint']['state_dict']
            consume_prefix_in_state_dict_if_present(weights, 'module.')
        super().call_hook(fn_name, **kwargs)


def scale_by_steps(cfg: Any) -> Optional[dict]:
    """``auto_scale_lr``, which counts gradients that are accumulated."""
    scale = cfg.get('auto_scale_lr')
    count = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    if not scale or not scale.get('enable') or count == 1:
        return scale
    return dict(scale, base_batch_size=scale['base_batch_size'] / count)


def fit_strategy(cfg: Any) -> None:
    """Refuse a strategy that cannot work; wrap models as Runner does.

    The config is changed in place.
    """
    alone = cfg.get('launcher', 'none') == 'none'
    default = 'SingleDeviceStrategy' if alone else 'DDPStrategy'
    strategy = cfg.get('strategy') or dict(type=default)
    name = str(strategy['type']).rpartition('.')[-1]
    if alone and name != 'SingleDeviceStrategy':
        raise UserError(
            f'{name} works with the processes of a launcher, of which there '
            'is none: start with tools/dist_train.sh CONFIG PROCESSES or '
            'tools/slurm_train.sh'
        )
    optimizer = cfg.get('optim_wrapper', {}).get('optimizer') or {}
    in_shards = name in ('FSDPStrategy', 'DeepSpeedStrategy')
    if in_shards and str(optimizer.get('type')).endswith('MuonAdamW'):
        raise UserError(
            f'MuonAdamW needs whole matrices, of which {name} gives each '
            "process a piece; take optim_wrapper.optimizer.type='AdamW'"
        )
    if name == 'FSDPStrategy':
        # Strategies are built before there is a default scope.
        strategy['type'] = 'hero_mm.FSDPStrategy'
    if name == 'DeepSpeedStrategy':
        if importlib.util.find_spec('deepspeed') is None:
            raise UserError(f'{name} needs deepspeed: pip install deepspeed')
        provide_onebit()
    if name == 'DDPStrategy' and strategy.get('model_wrapper') is None:
        strategy['model_wrapper'] = cfg.get('model_wrapper_cfg') or dict(
            type='MMDistributedDataParallel',
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    if cfg.get('auto_scale_lr'):
        strategy['auto_scale_lr'] = scale_by_steps(cfg)
    cfg.strategy = strategy


@STRATEGIES.register_module(name='FSDPStrategy')
class ShardedStrategy(FSDPStrategy):
    """MMEngine's FSDPStrategy, which clips, resumes and runs on CPUs.

    Models whose weights are single numbers, as some detectors have them, are
    refused: FSDP cannot cut them.
    """

    model_wrapper: Any

    def _init_state_dict_cfg(self, state_dict_cfg: Any) -> None:
        super()._init_state_dict_cfg(state_dict_cfg)
        if get_device() == 'cpu':
            # To offload what is on the CPU frees it before it is read.
            self.state_dict_config.offload_to_cpu = False
            self.optim_state_dict_config.offload_to_cpu = False

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        if get_device() == 'cpu':
            # Else MMEngine names a GPU by its number.
            default = dict(type='MMFullyShardedDataParallel')
            wrapper = self.model_wrapper or default
            self.model_wrapper = dict(wrapper, device_id='cpu')
        single = [n for n, p in model.named_parameters() if not p.ndim]
        if single:
            raise UserError(
                f'FSDPStrategy takes no weights that are single numbers '
                f'({name_some(single)}): take DDPStrategy'
            )
        return super()._wrap_model(model)

    def build_optim_wrapper(
        self, optim_wrapper: Any, model: Any = None
    ) -> Any:
        """Build the wrapper of the optimizer; it clips by the whole norm."""
        built = super().build_optim_wrapper(optim_wrapper, model)
        if getattr(built, 'clip_func', None) is clip_grad_norm_:
            # MMEngine's takes the norm of what this process holds.
            built.clip_func = lambda _, **options: model.clip_grad_norm_(
                **options
            )
        return built

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Load the state of the optimizer, of which each process has a shard.

        MMEngine gives the arguments in the order of torch 2.0.
        """
        shard = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model,
            optim=self.optim_wrapper.optimizer,
            optim_state_dict=state_dict,
        )
        self.optim_wrapper.load_state_dict(shard)
