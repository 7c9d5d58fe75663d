"""Proposals of a whole mmdet detector, whose weights stay as they are.

Shape legend: B clips, Q sentences, T frames, N real frames, K boxes of a
frame.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.parts.building import FAILURES, reason
from hero_mm.parts.detectors import build_detector, load_detector
from hero_mm.registry import MODELS

from ..features import Pyramid
from ..regions import Regions, clips_of_queries
from .base import ProposalGenerator, Samples
from .frame_samples import (
    RealFrame,
    frame_sample,
    pack_proposals,
    real_frames,
)

# Pixels a side that no detector of mmdet finds too small.
LARGE = 512


@MODELS.register_module()
class DetectorProposals(ProposalGenerator):
    """The boxes that a detector finds in each frame.

    A detector with a language model (Grounding DINO) is prompted with the
    sentences, and a clip gets what it finds for any of them; or with one
    fixed prompt, ``text``. docs/proposals.md lists the options; ``frozen`` is
    True: a detector is trained by itself, before.
    """

    mean: Tensor
    std: Tensor
    is_bgr = False

    def __init__(
        self,
        detector: Union[dict, str, Path],
        checkpoint: Optional[str] = None,
        frozen: bool = True,
        text: Optional[str] = None,
        scale: float = 1.0,
        max_per_frame: int = 50,
        nms_iou: Optional[float] = 0.7,
        batch_size: int = 16,
        language_model: Optional[str] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if not frozen:
            raise UserError(
                'frozen=False: a detector does not learn with HERO. Train it '
                'by itself (configs/detectors/fcos_shapes.py), or take '
                'DenseHeadProposals, which learns (docs/proposals.md)'
            )
        if min(scale, max_per_frame, batch_size) <= 0:
            raise UserError(
                'scale, max_per_frame and batch_size must be positive; got '
                f'{scale}, {max_per_frame} and {batch_size}'
            )
        self.detector: Any = build_detector(detector, language_model)
        self.name = type(self.detector).__name__
        self.checkpoint = checkpoint
        self.takes_text = hasattr(self.detector, 'language_model')
        if text is not None and not self.takes_text:
            raise UserError(
                f'{self.name} has no language model: leave text={text!r} out'
            )
        self.text = text
        self.scores_sentences = self.takes_text and text is None
        self.scale = scale
        self.max_per_frame = max_per_frame
        self.nms_iou = nms_iou
        self.batch_size = batch_size
        self.detector.requires_grad_(False)
        self.train()

    def init_weights(self) -> None:
        """Load the weights of the detector, or start it."""
        if self.checkpoint is None:
            self.detector.init_weights()
        else:
            load_detector(self.detector, self.checkpoint)
        self._is_init = True

    def bind(self, data_preprocessor: nn.Module) -> None:
        """See :meth:`ProposalGenerator.bind`."""
        self.is_bgr = getattr(data_preprocessor, 'rgb_to_bgr', False)
        for name in ('mean', 'std'):
            value = getattr(data_preprocessor, name).detach().clone()
            self.register_buffer(name, value, persistent=False)

    def train(self, mode: bool = True) -> 'DetectorProposals':
        """Set the mode; the detector stays in evaluation mode."""
        super().train(mode)
        self.detector.eval()
        return self

    @torch.no_grad()
    def forward(
        self, pyramid: Pyramid, inputs: dict[str, Tensor], samples: Samples
    ) -> Regions:
        """See :meth:`ProposalGenerator.forward`."""
        frames = real_frames(inputs)
        boxes, scores = self.detect(
            self._pixels(inputs, frames), self._prompts(samples, frames)
        )
        return pack_proposals(boxes, scores, frames, inputs['frame_mask'])

    @torch.no_grad()
    def ask(self, inputs: dict[str, Any], samples: Samples) -> Regions:
        """Regions of each of Q sentences alone, scored by their fit."""
        frames = real_frames(inputs)
        self._check_sentences(samples)
        pixels = self._pixels(inputs, frames)
        places: list[RealFrame] = []
        boxes: list[Tensor] = []
        scores: list[Tensor] = []
        asked = (
            (clip, text)
            for clip, sample in enumerate(samples)
            for text in sample.queries.texts
        )
        # One sentence at a time, so that none is padded for another.
        for query, (clip, text) in enumerate(asked):
            own = [n for n, frame in enumerate(frames) if frame.clip == clip]
            places += [frames[n]._replace(clip=query) for n in own]
            found = self.detect([pixels[n] for n in own], [[text]] * len(own))
            boxes += found[0]
            scores += found[1]
        clips = clips_of_queries(samples, inputs['frame_mask'].device)
        return pack_proposals(
            boxes, scores, places, inputs['frame_mask'][clips]
        )

    @torch.no_grad()
    def detect(
        self,
        frames: Sequence[Tensor],
        prompts: Sequence[Sequence[str]] = (),
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Find boxes in N frames (3, H, W), BGR in [0, 255].

        ``prompts`` are those of each frame, which gets what is found for any
        of them. Gives boxes (K, 4) of each, xyxy, and scores (K,), best first.
        """
        if not self.takes_text:
            prompts = [('',)] * len(frames)
        asked = [
            (row, text) for row, texts in enumerate(prompts) for text in texts
        ]
        found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in frames]
        # Frames of one size at a time, so that none is padded for another.
        for size in dict.fromkeys(frame.shape for frame in frames):
            same = [one for one in asked if frames[one[0]].shape == size]
            for at in range(0, len(same), self.batch_size):
                part = same[at : at + self.batch_size]
                results = self._predict(
                    [frames[row] for row, _ in part],
                    [text for _, text in part],
                )
                for (row, _), result in zip(part, results):
                    found[row].append(result)
        best = [self._best(one) for one in found]
        return [boxes for boxes, _ in best], [scores for _, scores in best]

    def _run(self, inputs: Tensor, data: list[Any]) -> list[Any]:
        """Run the detector; ValueError where it does not take such frames."""
        height, width = inputs.shape[-2:]
        try:
            return self.detector.predict(inputs, data, rescale=False)
        except torch.cuda.OutOfMemoryError:
            raise
        except FAILURES as error:
            why = 'So says the detector itself: look into its config'
            if isinstance(error, ImportError):
                why = 'Install it'
            elif max(height, width) < LARGE and self._takes_large_frames():
                why = (
                    f'The frames are too small for it: it runs on {LARGE}x'
                    f'{LARGE} pixels. Enlarge them: scale of the detector'
                )
            raise UserError(
                f'{self.name} does not run on {len(inputs)} frames of '
                f'{width}x{height} pixels: {reason(error)}. {why}'
            ) from error

    def _takes_large_frames(self) -> bool:
        pixels = torch.zeros(1, 3, LARGE, LARGE, device=self._device())
        try:
            self._run(pixels, [self._sample((LARGE, LARGE), 'object')])
        except UserError:
            return False
        return True

    def _sample(self, size: tuple[int, ...], text: str) -> Any:
        """A frame to find boxes in."""
        one = frame_sample(size)
        if self.takes_text:
            # Grounding DINO wants a stop at its end.
            one.text = f'{text.strip().removesuffix(".")}.'
            one.custom_entities = False
            # The whole prompt counts, not the nouns in it: -1 for Grounding
            # DINO, letters for GLIP.
            one.tokens_positive = -1
            if self.name == 'GLIP':
                one.tokens_positive = [[[0, len(one.text) - 1]]]
        return one

    def _pixels(
        self, inputs: dict[str, Tensor], frames: Sequence[RealFrame]
    ) -> list[Tensor]:
        """Real pixels of each frame as a detector takes them: BGR to 255."""
        pixels = []
        for one in frames:
            height, width = one.size
            frame = inputs['imgs'][one.clip, one.frame, :, :height, :width]
            frame = frame.float() * self.std + self.mean
            frame = frame.clamp(0, 255)
            pixels.append(frame if self.is_bgr else frame.flip(0))
        return pixels

    def _device(self) -> torch.device:
        device: torch.device = next(self.detector.parameters()).device
        return device

    def _resize(self, frame: Tensor) -> Tensor:
        """A frame as the detector sees it."""
        frame = frame.to(self._device())
        rows, columns = (round(n * self.scale) for n in frame.shape[-2:])
        size = max(1, rows), max(1, columns)
        if size == frame.shape[-2:]:
            return frame
        # Made smaller it would flicker without averaging.
        return F.interpolate(
            frame[None].float(), size, mode='bilinear', antialias=True
        )[0]

    def _batch(
        self, frames: Sequence[Tensor], data: list[Any]
    ) -> tuple[Tensor, list[Any]]:
        """Resized frames and samples as the detector takes them."""
        prepare = self.detector.data_preprocessor
        # MMEngine moves it with a whole model alone.
        prepare.to(self._device())
        batch = prepare(dict(inputs=[*frames], data_samples=data))
        if not isinstance(batch['inputs'], Tensor):
            raise UserError(
                f'the config of {self.name} has no data_preprocessor that '
                'makes a batch of frames: give it that of its training'
            )
        return batch['inputs'], batch['data_samples']

    def _prompts(
        self, samples: Samples, frames: Sequence[RealFrame]
    ) -> Sequence[Sequence[str]]:
        """The prompts of each frame."""
        if not self.takes_text:
            return ()
        if self.text is not None:
            return [[self.text]] * len(frames)
        self._check_sentences(samples)
        texts = [list(dict.fromkeys(one.queries.texts)) for one in samples]
        return [texts[one.clip] for one in frames]

    def _check_sentences(self, samples: Samples) -> None:
        if not samples or any('queries' not in one for one in samples):
            raise UserError(
                f'{self.name} is prompted with the sentences: ask them '
                'together with the video, or give it a fixed prompt with text='
            )

    def _predict(
        self, frames: Sequence[Tensor], texts: Sequence[str]
    ) -> list[tuple[Tensor, Tensor]]:
        """Boxes in pixels of each frame, and scores."""
        seen = [self._resize(frame) for frame in frames]
        data = [
            self._sample(tuple(frame.shape[-2:]), text)
            for frame, text in zip(seen, texts)
        ]
        results = self._run(*self._batch(seen, data))
        if results and 'pred_instances' not in results[0]:
            raise UserError(
                f'{self.name} gives no boxes but '
                f'{", ".join(results[0].keys()) or "nothing"}: proposals need '
                'a detector that finds boxes of objects, such as Faster R-CNN'
            )
        found = []
        for frame, small, one in zip(frames, seen, results):
            height, width = frame.shape[-2:]
            rows, columns = small.shape[-2:]
            boxes = one.pred_instances.bboxes.float()
            scale = boxes.new_tensor([columns / width, rows / height] * 2)
            limit = boxes.new_tensor([width, height] * 2)
            boxes = (boxes / scale).clamp(min=0).minimum(limit)
            found.append((boxes, one.pred_instances.scores.float()))
        return found

    def _best(
        self, found: Sequence[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """The best of what several prompts found in a frame."""
        none = torch.zeros(0, device=self._device())
        boxes = torch.cat([none.view(0, 4), *(b for b, _ in found)])
        scores = torch.cat([none, *(s for _, s in found)])
        order = scores.argsort(descending=True, stable=True)
        if self.nms_iou is not None and len(order):
            from mmcv.ops import nms

            _, order = nms(boxes, scores, iou_threshold=self.nms_iou)
        order = order[: self.max_per_frame]
        return boxes[order], scores[order]
