"""Moving average of the weights that is useful from the first steps on."""

from mmengine.model import ExponentialMovingAverage
from torch import Tensor

from hero_mm.registry import MODELS


@MODELS.register_module()
class RampedAverage(ExponentialMovingAverage):
    """Exponential moving average whose memory grows with the training.

    With a fixed momentum a short training would be scored by its random
    start. Here it is ``max(momentum, 9 / (steps + 10))``: the average is that
    of about the last ninth of the steps. Arguments are those of
    :class:`mmengine.model.ExponentialMovingAverage`.
    """

    def avg_func(
        self, averaged_param: Tensor, source_param: Tensor, steps: int
    ) -> None:
        """Update the average of one parameter in place."""
        momentum = max(self.momentum, 9.0 / (int(steps) + 10.0))
        averaged_param.lerp_(source_param, momentum)
