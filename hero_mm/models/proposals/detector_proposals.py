"""Proposals of a whole mmdet detector, frozen or trained with HERO.

Shape legend: B clips, T frames.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.runner.checkpoint import load_checkpoint
from torch import Tensor, nn

from hero_mm.registry import MODELS, in_own_scope

from ..features import VideoFeatures
from .base import ProposalGenerator, Samples
from .frame_samples import frame_samples
from .proposal_set import ProposalSet, pack_proposals, sum_losses


@MODELS.register_module()
class DetectorProposals(ProposalGenerator):
    """The boxes that a detector finds in each frame.

    A detector with a language model (Grounding DINO) is prompted with the
    sentences, and a clip gets what it finds for any of them.

    Args:
        detector (dict | str | PathLike): Config of the detector, or a config
            file of mmdet whose ``model`` it is.
        checkpoint (str, optional): Its weights; a path or anything else that
            MMEngine loads from.
        frozen (bool): Keep the weights; otherwise it learns all annotated
            objects as its class 0. Defaults to True.
        text (str, optional): Prompt of a detector with a language model, in
            place of the sentences.
        scale (float): Frames are resized by this for the detector, which may
            want larger ones. Defaults to 1.0.
        max_per_frame (int): Most boxes of a frame and prompt. Defaults to
            50.
        batch_size (int): Frames that it sees at once. Defaults to 16.
        loss_weight (float): Weight of its losses. Defaults to 1.
        init_cfg (dict, optional): Initialization config.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        detector: Union[dict, str, Path],
        checkpoint: Optional[str] = None,
        frozen: bool = True,
        text: Optional[str] = None,
        scale: float = 1.0,
        max_per_frame: int = 50,
        batch_size: int = 16,
        loss_weight: float = 1.0,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if scale <= 0 or max_per_frame < 1 or batch_size < 1:
            raise ValueError(
                'scale must be positive, max_per_frame and batch_size at '
                f'least 1; got {scale}, {max_per_frame} and {batch_size}'
            )
        self.detector: Any = build_detector(detector)
        self.checkpoint = checkpoint
        self.frozen = frozen
        self.takes_text = hasattr(self.detector, 'language_model')
        if text is not None and not self.takes_text:
            raise ValueError(
                f'{type(self.detector).__name__} has no language model: leave '
                f'text={text!r} out'
            )
        if self.takes_text and not frozen:
            raise ValueError(
                f'{type(self.detector).__name__} is prompted with sentences '
                'and cannot be trained on objects that have none; use '
                'frozen=True'
            )
        self.text = text
        self.scale = scale
        self.max_per_frame = max_per_frame
        self.batch_size = batch_size
        self.loss_weight = loss_weight
        if checkpoint is not None:
            load_checkpoint(self.detector, checkpoint, map_location='cpu')
        self.detector.requires_grad_(not frozen)
        self.train()

    def init_weights(self) -> None:
        """Start the detector, unless its weights were loaded."""
        if self.checkpoint is None:
            self.detector.init_weights()
        self._is_init = True

    def bind(self, data_preprocessor: nn.Module) -> None:
        """See :meth:`ProposalGenerator.bind`."""
        for name in ('mean', 'std'):
            value = getattr(data_preprocessor, name).detach().clone()
            self.register_buffer(name, value, persistent=False)

    def train(self, mode: bool = True) -> 'DetectorProposals':
        """A frozen detector stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.detector.eval()
        return self

    @torch.no_grad()
    def forward(
        self,
        video: VideoFeatures,
        inputs: dict[str, Tensor],
        samples: Samples,
    ) -> ProposalSet:
        """See :meth:`ProposalGenerator.forward`."""
        frames = self._frames(inputs, samples)
        boxes, scores = self.detect(
            frames, self._prompts(samples, inputs['imgs'].shape[1])
        )
        return pack_proposals(boxes, scores, len(samples))

    @torch.no_grad()
    def detect(
        self,
        frames: Sequence[Tensor],
        prompts: Sequence[Sequence[str]] = (),
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Find boxes in frames.

        Args:
            frames (Sequence[Tensor]): N frames, BGR in [0, 255], each of
                shape (3, H, W).
            prompts (Sequence[Sequence[str]]): For a detector with a language
                model, rounds of N prompts, one a frame; a frame gets what is
                found in any round.

        Returns:
            tuple[list[Tensor], list[Tensor]]: N times boxes (K_i, 4), xyxy in
            pixels of the frame, and scores (K_i,).
        """
        was_training = self.detector.training
        self.detector.eval()
        rounds = prompts if self.takes_text else [()]
        found = [self._detect(frames, texts) for texts in rounds]
        self.detector.train(was_training)
        boxes, scores = (
            [torch.cat(parts) for parts in zip(*(one[i] for one in found))]
            for i in (0, 1)
        )
        return boxes, scores

    def loss(
        self,
        video: VideoFeatures,
        inputs: dict[str, Tensor],
        samples: Samples,
    ) -> dict[str, Tensor]:
        """Losses of a detector that is not frozen."""
        if self.frozen:
            return {}
        _, num_frames, _, height, width = inputs['imgs'].shape
        data = frame_samples(samples, num_frames, (height, width), True)
        for one in data:
            size = self._scaled(*one.img_shape)
            truth = one.gt_instances
            factor = truth.bboxes.new_tensor(
                [size[1] / one.img_shape[1], size[0] / one.img_shape[0]] * 2
            )
            truth.bboxes = truth.bboxes * factor
            one.set_metainfo(dict(img_shape=size, ori_shape=size))
        frames = self._frames(inputs, samples)
        batch = self.detector.data_preprocessor(
            dict(
                inputs=[self._resize(frame) for frame in frames],
                data_samples=data,
            ),
            training=True,
        )
        losses = self.detector.loss(batch['inputs'], batch['data_samples'])
        return sum_losses(losses, self.loss_weight)

    def _frames(
        self, inputs: dict[str, Tensor], samples: Samples
    ) -> list[Tensor]:
        """Real pixels of each frame as a detector takes them: BGR to 255."""
        frames = []
        for clip, sample in zip(inputs['imgs'], samples):
            height, width = sample.img_shape
            clip = clip[..., :height, :width].float()
            clip = (clip * self.std + self.mean).clamp(0, 255).flip(1)
            frames.extend(clip.unbind(0))
        return frames

    def _scaled(self, height: int, width: int) -> tuple[int, int]:
        return round(height * self.scale), round(width * self.scale)

    def _resize(self, frame: Tensor) -> Tensor:
        if self.scale == 1:
            return frame
        size = self._scaled(*frame.shape[-2:])
        return F.interpolate(frame[None], size, mode='bilinear')[0]

    def _prompts(
        self, samples: Samples, num_frames: int
    ) -> Sequence[Sequence[str]]:
        """Rounds of a prompt for each frame."""
        if not self.takes_text:
            return ()
        if self.text is not None:
            return [[self.text] * (len(samples) * num_frames)]
        if not samples or any('queries' not in one for one in samples):
            raise ValueError(
                f'{type(self.detector).__name__} is prompted with the '
                'sentences: ask them together with the video, or give it a '
                'fixed prompt with text='
            )
        texts = [sample.queries.texts for sample in samples]
        rounds = max(map(len, texts))
        return [
            [
                # A clip with fewer sentences is asked its last one again.
                mine[min(at, len(mine) - 1)]
                for mine in texts
                for _ in range(num_frames)
            ]
            for at in range(rounds)
        ]

    def _detect(
        self, frames: Sequence[Tensor], texts: Sequence[str]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """One round of :meth:`detect`."""
        from mmdet.structures import DetDataSample

        boxes, scores = [], []
        for at in range(0, len(frames), self.batch_size):
            part = frames[at : at + self.batch_size]
            data = []
            for place, frame in enumerate(part, at):
                size = self._scaled(*frame.shape[-2:])
                one = DetDataSample(
                    metainfo=dict(
                        img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0)
                    )
                )
                if texts:
                    # -1: the whole sentence counts, not the nouns in it.
                    one.text, one.tokens_positive = texts[place], -1
                    one.custom_entities = False
                data.append(one)
            batch = self.detector.data_preprocessor(
                dict(inputs=list(map(self._resize, part)), data_samples=data),
                training=False,
            )
            results = self.detector.predict(
                batch['inputs'], batch['data_samples'], rescale=False
            )
            for frame, result in zip(part, results):
                found = result.pred_instances
                best = found.scores.argsort(descending=True)
                best = best[: self.max_per_frame]
                height, width = frame.shape[-2:]
                size = self._scaled(height, width)
                factor = found.bboxes.new_tensor(
                    [width / size[1], height / size[0]] * 2
                )
                limit = found.bboxes.new_tensor([width, height] * 2)
                box = found.bboxes[best] * factor
                boxes.append(box.clamp(min=0).minimum(limit))
                scores.append(found.scores[best])
        return boxes, scores


def build_detector(detector: Union[dict, str, Path]) -> nn.Module:
    """Build a detector of mmdet.

    Args:
        detector (dict | str | PathLike): Its config, or a config file.

    Returns:
        nn.Module: Not initialised.

    Raises:
        ValueError: The config file has no ``model``.
    """
    if isinstance(detector, dict):
        model = ConfigDict(detector)
    else:
        config = Config.fromfile(str(detector))
        if 'model' not in config:
            raise ValueError(
                f'{detector}: the config has no model, found '
                f'{sorted(config)}; give the config of a detector'
            )
        model = ConfigDict(config.model)
    if '.' not in model.type:
        model.type = f'mmdet.{model.type}'
    return MODELS.build(in_own_scope(model))
