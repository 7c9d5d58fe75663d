"""The scout: a glance at small pictures, before the full-size backbone.

Retrieval saves what is dear only where it comes before the backbone. The
scout is a small encoder on shrunken frames; it learns to say what the action
head says of the same frames, so it needs no more labels than that.

Shape legend: B clips, Q sentences, T frames, P cells of a map, K kept frames,
D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample

from .features import Pyramid, TextFeatures

Samples = Sequence[GroundingDataSample]


@dataclass
class Clips:
    """Clips on their way to the full-size encoder.

    Attributes:
        inputs (dict): ``imgs``, ``frame_mask`` and ``pixel_mask``.
        samples (Sequence[GroundingDataSample]): Of the same frames.
        times_BT (Tensor, optional): Places of these frames among the sampled
            ones; None where none was left out.
        run (int): Neighbouring frames that stay together, a run.
        logits_QT (Tensor, optional): What the scout says of all frames.
    """

    inputs: dict[str, Any]
    samples: Samples
    times_BT: Optional[Tensor] = None
    run: int = 1
    logits_QT: Optional[Tensor] = None

    def take(self, kept_BK: Tensor, real_BK: Tensor, run: int) -> 'Clips':
        """Leave out the other frames.

        Frame numbers come in runs; ``real_BK`` is True on those that are
        meant.
        """
        rows = torch.arange(len(kept_BK), device=kept_BK.device)[:, None]
        mask = self.inputs['frame_mask'][rows, kept_BK] & real_BK
        imgs = self.inputs['imgs'][rows, kept_BK]
        inputs = dict(self.inputs, imgs=imgs, frame_mask=mask)
        inputs.pop('extents', None)
        numbers = [k[m].cpu() for k, m in zip(kept_BK, mask)]
        samples = [
            sample.take_frames(number)
            for sample, number in zip(self.samples, numbers)
        ]
        return replace(
            self, inputs=inputs, samples=samples, times_BT=kept_BK, run=run
        )

    def encode(self, encoder: nn.Module) -> Pyramid:
        """Encode; each run of kept frames is a clip to the encoder."""
        if self.times_BT is None:
            return encoder(**self.inputs)
        mask = self.inputs['frame_mask']
        number = mask.shape[1] // self.run
        runs: Pyramid = encoder(
            self.inputs['imgs'].unflatten(1, (number, -1)).flatten(0, 1),
            mask.unflatten(1, (number, -1)).flatten(0, 1),
            self.inputs['pixel_mask'].repeat_interleave(number, 0),
        )
        return Pyramid(
            tuple(
                level.unflatten(0, (-1, number)).flatten(1, 2)
                for level in runs.levels
            ),
            runs.strides,
            mask,
            runs.sizes_B2[::number],
            self.times_BT,
        )


@MODELS.register_module()
class FrameScout(BaseModule):
    """Score the frames of clips by a glance.

    Args:
        embed_dims (int): Width D of the sentences.
        video_encoder (dict): Config of a small :class:`VideoEncoder`.
        shrink (int): It sees frames of 1/shrink of the width and height.
            Defaults to 2.
        scale (float): Inverse temperature of the maximum over cells, of
            cosines.
        loss_scout (dict): Config of the loss against the action head.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        embed_dims: int,
        video_encoder: dict,
        shrink: int = 2,
        scale: float = 10.0,
        loss_scout: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.video_encoder = MODELS.build(video_encoder)
        self.shrink = shrink
        self.scale = scale
        self.cell = nn.Linear(video_encoder['embed_dims'], embed_dims)
        self.text = nn.Linear(2 * embed_dims, embed_dims)
        self.weight = nn.Parameter(torch.tensor(5.0))
        self.bias = nn.Parameter(torch.tensor(0.0))
        self.loss_scout: Any = MODELS.build(
            loss_scout or dict(type='SigmoidFocalLoss', gamma=0.0)
        )

    def forward(
        self,
        inputs: dict[str, Tensor],
        text: TextFeatures,
        clip_of_query: Tensor,
    ) -> Tensor:
        """Score.

        Args:
            inputs (dict): Of B clips, see :meth:`HERO.forward`.
            text (TextFeatures): Q sentences; they learn nothing here.
            clip_of_query (Tensor): Clip of each, has shape (Q,).

        Returns:
            Tensor: Logits of action consistency, has shape (Q, T).
        """
        imgs = inputs['imgs']
        small = F.avg_pool2d(imgs.flatten(0, 1), self.shrink, ceil_mode=True)
        pyramid: Pyramid = self.video_encoder(
            small.unflatten(0, imgs.shape[:2]),
            inputs['frame_mask'],
            inputs['pixel_mask'][:, :: self.shrink, :: self.shrink],
        )
        level, _ = pyramid.level(-1)
        cells = F.normalize(self.cell(level.flatten(3).mT), dim=-1)
        asked = torch.cat([text.sentence_QD, text.action_QD], -1).detach()
        asked = F.normalize(self.text(asked), dim=-1)
        fit = torch.einsum('qtpd,qd->qtp', cells[clip_of_query], asked)
        real = pyramid.real_cells(-1).flatten(1)[clip_of_query][:, None]
        fit = (self.scale * fit.float()).masked_fill(~real, -1e4)
        return self.weight / self.scale * fit.logsumexp(-1) + self.bias

    def loss(
        self, logits_QT: Tensor, wanted_QT: Tensor, mask_QT: Tensor
    ) -> dict[str, Tensor]:
        """Learn what the action head says of the same, real frames."""
        return dict(
            loss_scout=self.loss_scout(
                logits_QT,
                wanted_QT.sigmoid(),
                mask_QT.to(logits_QT),
                avg_factor=mask_QT.sum(),
            )
        )
