"""MMEngine's strategy of shards (FSDP), mended for our models and torch."""

from typing import Any

from mmengine._strategy.fsdp import FSDPStrategy
from mmengine.device import get_device
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.utils import clip_grad_norm_

from hero_mm.errors import UserError
from hero_mm.texts import name_some

from ..registry import STRATEGIES


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
