"""The scout: a glance at small pictures, before the full-size backbone.

Retrieval saves what is dear only where it comes before the backbone. The
scout is a small encoder on shrunken frames. It learns to say what the action
head says of the same frames, so it needs no more labels than that; or, from
true tubes, which frames the answer fills.

Shape legend: B clips, Q sentences, T frames, P cells of all levels, K kept
frames, D width, E width of the common space.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample

from .features import Pyramid, TextFeatures
from .regions import take_frames
from .targets import Tubes

SUPERVISIONS = ('head', 'span')
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
        mask = take_frames(self.inputs['frame_mask'], kept_BK) & real_BK
        imgs = take_frames(self.inputs['imgs'], kept_BK)
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

    A cell of its levels has looks and an action, as a region has in the action
    head; a frame is as good as its best cell.

    Args:
        embed_dims (int): Width D of the sentences.
        video_encoder (dict): Config of a small :class:`VideoEncoder`.
        common_dims (int): Width E of the space in which they are compared.
        shrink (int): It sees frames of 1/shrink of the width and height.
            Defaults to 2.
        scale (float): Inverse temperature of the maximum over cells, of
            cosines.
        supervision (str): 'head': it learns what the action head says.
            'span': which frames the true tubes fill, for those who have them.
        loss_scout (dict): Config of the loss.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        embed_dims: int,
        video_encoder: dict,
        common_dims: int = 32,
        shrink: int = 2,
        scale: float = 10.0,
        supervision: str = 'head',
        loss_scout: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if supervision not in SUPERVISIONS:
            raise UserError(
                f'supervision must be one of {SUPERVISIONS}; got '
                f'{supervision!r}'
            )
        self.video_encoder = MODELS.build(video_encoder)
        self.supervision = supervision
        self.shrink = shrink
        self.scale = scale
        self.cell = nn.Linear(video_encoder['embed_dims'], 2 * common_dims)
        self.text_look = nn.Linear(embed_dims, common_dims)
        self.text_action = nn.Linear(embed_dims, common_dims)
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
        level = torch.cat([one.flatten(3) for one in pyramid.levels], -1)
        parts = self.cell(level.mT).chunk(2, -1)
        cells = torch.cat([F.normalize(one, dim=-1) for one in parts], -1)
        parts = [
            self.text_look(text.sentence_QD.detach()),
            self.text_action(text.action_QD.detach()),
        ]
        asked = torch.cat([F.normalize(one, dim=-1) for one in parts], -1)
        fit = torch.einsum('qtpe,qe->qtp', cells[clip_of_query], asked)
        numbers = range(len(pyramid.levels))
        masks = [pyramid.real_cells(n).flatten(1) for n in numbers]
        real = torch.cat(masks, 1)[clip_of_query][:, None]
        fit = (self.scale * fit.float()).masked_fill(~real, -1e4)
        return self.weight / self.scale * fit.logsumexp(-1) + self.bias

    def loss(
        self,
        logits_QT: Tensor,
        consistency_QT: Tensor,
        tubes: Tubes,
        mask_QT: Tensor,
    ) -> dict[str, Tensor]:
        """Learn from what the action head says of these frames, in logits.

        Or from the true tubes of the same frames; ``mask_QT``: real ones.
        """
        if self.supervision == 'span':
            wanted = tubes.valid_QT.to(logits_QT)
            mask_QT = mask_QT & tubes.known_Q[:, None]
        else:
            wanted = consistency_QT.sigmoid()
        return dict(
            loss_scout=self.loss_scout(
                logits_QT,
                wanted,
                mask_QT.to(logits_QT),
                avg_factor=mask_QT.sum().clamp(min=1),
            )
        )
