"""Proposals of a whole mmdet detector, frozen or trained with HERO.

Shape legend: B clips, T frames, N real frames, K boxes of a frame.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from torch import Tensor, nn

from hero_mm.registry import MODELS

from ..features import VideoFeatures
from ..video_encoders.building import build_part, in_words
from .base import ProposalGenerator, Samples
from .frame_samples import (
    RealFrame,
    frame_sample,
    real_frames,
    tell_batch_size,
    truth_of_frames,
)
from .proposal_set import ProposalSet, pack_proposals, sum_losses


@MODELS.register_module()
class DetectorProposals(ProposalGenerator):
    """The boxes that a detector finds in each frame.

    A detector with a language model (Grounding DINO) is prompted with the
    sentences, and a clip gets what it finds for any of them; or with one
    fixed prompt.

    Args:
        detector (dict | str | PathLike): Config of the detector, or a config
            file whose ``model`` it is; ``mmdet::PATH`` takes one of mmdet's
            own.
        checkpoint (str, optional): Its weights: a file, URL or work dir. They
            are loaded by :meth:`init_weights`, so that a checkpoint of HERO,
            which holds them too, needs no other file.
        frozen (bool): Keep the weights; otherwise it learns all annotated
            objects as its class 0. Defaults to True.
        text (str, optional): Prompt of a detector with a language model, in
            place of the sentences. One that is trained needs it, as objects
            have no sentence: each of them answers to all of the prompt.
        scale (float): Frames are resized by this for the detector, which may
            want larger ones. Defaults to 1.0.
        max_per_frame (int): Most boxes of a frame. Defaults to 50.
        nms_iou (float, optional): Boxes that overlap a better one by more are
            left out, whatever class or sentence they are of; None keeps them.
            Defaults to 0.7.
        batch_size (int): Frames that it looks at once; it is trained on all
            frames of a batch at once. Defaults to 16.
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
        nms_iou: Optional[float] = 0.7,
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
        if self.takes_text and text is None and not frozen:
            raise ValueError(
                f'{type(self.detector).__name__} cannot be trained on objects '
                'with the sentences as its prompt, for objects have none; '
                "give it a fixed prompt, such as text='object', or use "
                'frozen=True'
            )
        _check_boxes(self.detector, frozen)
        self.text = text
        self.scale = scale
        self.max_per_frame = max_per_frame
        self.nms_iou = nms_iou
        self.batch_size = batch_size
        self.loss_weight = loss_weight
        if frozen:
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
        frames = real_frames(inputs)
        boxes, scores = self.detect(
            self._pixels(inputs, frames), self._prompts(samples, frames)
        )
        return pack_proposals(boxes, scores, frames, video.frame_mask_BT)

    @torch.no_grad()
    def detect(
        self,
        frames: Sequence[Tensor],
        prompts: Sequence[Sequence[str]] = (),
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Find boxes in frames.

        Args:
            frames (Sequence[Tensor]): N frames, BGR in [0, 255] of any type
                and on any device, each of shape (3, H, W).
            prompts (Sequence[Sequence[str]]): For a detector with a language
                model, the prompts of each frame, which gets what is found for
                any of them.

        Returns:
            tuple[list[Tensor], list[Tensor]]: N times boxes (K, 4), xyxy in
            pixels of the frame, and scores (K,), best first.
        """
        once: list[Sequence[str]] = [('',)] * len(frames)
        asked = [
            (row, text)
            for row, texts in enumerate(prompts if self.takes_text else once)
            for text in texts
        ]
        found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in frames]
        was_training = self.detector.training
        self.detector.eval()
        # Frames of one size at a time, so that none is padded for another.
        for size in dict.fromkeys(frame.shape for frame in frames):
            same = [one for one in asked if frames[one[0]].shape == size]
            for at in range(0, len(same), self.batch_size):
                part = same[at : at + self.batch_size]
                told = self._predict(
                    [frames[row] for row, _ in part],
                    [text for _, text in part],
                )
                for (row, _), one in zip(part, told):
                    found[row].append(one)
        self.detector.train(was_training)
        best = [self._best(*one) for one in zip(frames, found)]
        return [boxes for boxes, _ in best], [scores for _, scores in best]

    def loss(
        self,
        video: VideoFeatures,
        inputs: dict[str, Tensor],
        samples: Samples,
    ) -> dict[str, Tensor]:
        """Losses of a detector that is not frozen."""
        if self.frozen:
            return {}
        frames = real_frames(inputs)
        pixels = self._pixels(inputs, frames)
        data = []
        for one, truth in zip(frames, truth_of_frames(frames, samples)):
            sample = frame_sample(
                self._scaled(*one.size), truth * self._factor(one.size, truth)
            )
            if self.text is not None:
                sample.text = _closed(self.text)
                # Class 0 is all of the prompt.
                sample.tokens_positive = [[[0, len(sample.text)]]]
            data.append(sample)
        batch, data = self._batch(pixels, data, training=True)
        head = getattr(self.detector, 'bbox_head', None)
        if head is not None:
            tell_batch_size(data, data[0].batch_input_shape, head)
        losses = self._run(self.detector.loss, batch, data)
        return sum_losses(losses, self.loss_weight)

    def _run(
        self, method: Any, inputs: Tensor, data: list[Any], **options: Any
    ) -> Any:
        """Run the detector; ValueError where it does not take such frames."""
        height, width = inputs.shape[-2:]
        with in_words(
            f'{type(self.detector).__name__} does not run on {len(inputs)} '
            f'frames of {width}x{height} pixels',
            'Frames may be too small for it (scale); some detectors want '
            'frames of one size, one frame at a time (batch_size=1) or other '
            'multiples of pixels (pad_size_divisor of its data_preprocessor)',
        ):
            return method(inputs, data, **options)

    def _pixels(
        self, inputs: dict[str, Tensor], frames: Sequence[RealFrame]
    ) -> list[Tensor]:
        """Real pixels of each frame as a detector takes them: BGR to 255."""
        pixels = []
        for one in frames:
            height, width = one.size
            frame = inputs['imgs'][one.clip, one.frame, :, :height, :width]
            frame = frame.float() * self.std + self.mean
            pixels.append(frame.clamp(0, 255).flip(0))
        return pixels

    def _device(self) -> torch.device:
        device: torch.device = next(self.detector.parameters()).device
        return device

    def _scaled(self, height: int, width: int) -> tuple[int, int]:
        return (
            max(1, round(height * self.scale)),
            max(1, round(width * self.scale)),
        )

    def _factor(self, size: tuple[int, int], like: Tensor) -> Tensor:
        """From pixels of a frame to those that the detector sees."""
        height, width = self._scaled(*size)
        return like.new_tensor([width / size[1], height / size[0]] * 2)

    def _resize(self, frame: Tensor) -> Tensor:
        size = self._scaled(*frame.shape[-2:])
        if size == frame.shape[-2:]:
            return frame
        # Made smaller it would flicker without averaging.
        return F.interpolate(
            frame[None].float(), size, mode='bilinear', antialias=True
        )[0]

    def _batch(
        self, frames: Sequence[Tensor], data: list[Any], training: bool
    ) -> tuple[Tensor, list[Any]]:
        """Frames and samples as the detector takes them."""
        prepare = self.detector.data_preprocessor
        device = self._device()
        # MMEngine tells it where it lies through a whole model alone.
        prepare.to(device)
        inputs = [self._resize(frame.to(device)) for frame in frames]
        batch = prepare(
            dict(inputs=inputs, data_samples=data), training=training
        )
        if not isinstance(batch['inputs'], Tensor):
            raise ValueError(
                f'the config of {type(self.detector).__name__} has no '
                'data_preprocessor that makes a batch of frames: give it the '
                "one of its training, as dict(type='DetDataPreprocessor', "
                'mean=..., std=..., bgr_to_rgb=..., pad_size_divisor=32)'
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
        if not samples or any('queries' not in one for one in samples):
            raise ValueError(
                f'{type(self.detector).__name__} is prompted with the '
                'sentences: ask them together with the video, or give it a '
                'fixed prompt with text='
            )
        texts = [list(dict.fromkeys(one.queries.texts)) for one in samples]
        return [texts[one.clip] for one in frames]

    def _predict(
        self, frames: Sequence[Tensor], texts: Sequence[str]
    ) -> list[tuple[Tensor, Tensor]]:
        """Boxes in pixels of the detector, and scores, of each frame."""
        data = []
        for frame, text in zip(frames, texts):
            one = frame_sample(self._scaled(*frame.shape[-2:]))
            if self.takes_text:
                # -1: the whole prompt counts, not the nouns in it.
                one.text, one.tokens_positive = _closed(text), -1
                one.custom_entities = False
            data.append(one)
        batch = self._batch(frames, data, training=False)
        results = self._run(self.detector.predict, *batch, rescale=False)
        if results and 'pred_instances' not in results[0]:
            raise ValueError(
                f'{type(self.detector).__name__} gives no boxes but '
                f'{", ".join(results[0].keys()) or "nothing"}: proposals need '
                'a detector that finds boxes of objects, such as Faster R-CNN'
            )
        return [
            (
                one.pred_instances.bboxes.float(),
                one.pred_instances.scores.float(),
            )
            for one in results
        ]

    def _best(
        self, frame: Tensor, found: Sequence[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """The best boxes of a frame, in its pixels."""
        none = torch.zeros(0, device=self._device())
        boxes = torch.cat([none.view(0, 4), *(b for b, _ in found)])
        scores = torch.cat([none, *(s for _, s in found)])
        height, width = frame.shape[-2:]
        boxes = boxes / self._factor((height, width), boxes)
        limit = boxes.new_tensor([width, height] * 2)
        boxes = boxes.clamp(min=0).minimum(limit)
        order = scores.argsort(descending=True, stable=True)
        if self.nms_iou is not None and len(order):
            from mmcv.ops import nms

            _, order = nms(boxes, scores, iou_threshold=self.nms_iou)
        order = order[: self.max_per_frame]
        return boxes[order], scores[order]


def _check_boxes(detector: Any, frozen: bool) -> None:
    """ValueError where a detector finds or learns masks alone."""
    name = type(detector).__name__
    with_mask = getattr(detector, 'with_mask', False)
    if with_mask and not detector.with_bbox:
        raise ValueError(
            f'{name} finds masks and no boxes; proposals need a detector '
            'that finds boxes, such as Mask R-CNN or Faster R-CNN'
        )
    learns_masks = (
        with_mask
        or hasattr(detector, 'panoptic_head')
        or hasattr(getattr(detector, 'bbox_head', None), 'loss_mask')
    )
    if learns_masks and not frozen:
        raise ValueError(
            f'{name} learns masks, which annotated objects have not: use '
            'frozen=True, or a detector of boxes alone'
        )


def _pad_to_whole_cells(detector: Any) -> None:
    """Let frames be padded as the pipelines of mmdet do.

    Detectors whose pipeline pads (RTMDet, CenterNet) do not pad in their data
    preprocessor, and join levels that must be of whole cells. Transformers
    mask what pads a frame and take any size.
    """
    from mmdet.models.detectors.base_detr import DetectionTransformer

    prepare: Any = getattr(detector, 'data_preprocessor', None)
    if isinstance(detector, DetectionTransformer):
        return
    if getattr(prepare, 'pad_size_divisor', None) == 1:
        prepare.pad_size_divisor = 32


def _closed(prompt: str) -> str:
    """A prompt as Grounding DINO wants it, with a stop at its end."""
    prompt = prompt.strip()
    return prompt if prompt.endswith('.') else f'{prompt}.'


def build_detector(detector: Union[dict, str, Path]) -> nn.Module:
    """Build a detector of mmdet.

    Args:
        detector (dict | str | PathLike): Its config, or a config file;
            ``mmdet::PATH`` takes one of mmdet's own.

    Returns:
        nn.Module: Not initialised.

    Raises:
        FileNotFoundError: There is no such config file.
        ValueError: The config file has no ``model``, or names none that can
            be built.
    """
    if isinstance(detector, dict):
        # Some detectors write into their config.
        model = ConfigDict(copy.deepcopy(detector))
    else:
        config = _read_config(str(detector))
        if 'model' not in config:
            raise ValueError(
                f'{detector}: the config has no model, found '
                f'{sorted(config)}; give the config of a detector'
            )
        model = ConfigDict(config.model)
    if isinstance(model.type, str) and '.' not in model.type:
        model.type = f'mmdet.{model.type}'
    built: nn.Module = build_part(model, 'detector')
    _pad_to_whole_cells(built)
    return built


def _read_config(path: str) -> Config:
    if '::' in path:
        from mmengine.hub import get_config

        return get_config(path)
    if not Path(path).is_file():
        raise FileNotFoundError(
            f'there is no config of a detector at {path}; give its path, or '
            "one of mmdet's own, such as "
            "'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'"
        )
    return Config.fromfile(path)


def load_detector(detector: nn.Module, checkpoint: str) -> None:
    """Load the weights of a detector, all or none.

    Args:
        detector (nn.Module): Of mmdet.
        checkpoint (str): A file, URL or work dir.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: It does not fill the detector.
    """
    from hero_mm.apis.checkpoint import find_checkpoint, read_checkpoint

    path = find_checkpoint(checkpoint)
    weights = read_checkpoint(path)['state_dict']
    wanted = detector.state_dict()
    wrong = [
        f'{name} {tuple(value.shape)} is {_shape_in(weights, name)}'
        for name, value in wanted.items()
        if name not in weights or weights[name].shape != value.shape
    ]
    if wrong:
        more = f', and {len(wrong) - 5} more' if len(wrong) > 5 else ''
        raise ValueError(
            f'checkpoint {path} does not fit {type(detector).__name__}: '
            f'{", ".join(wrong[:5])}{more}; give the checkpoint that belongs '
            'to the config of the detector'
        )
    unknown = sorted(weights.keys() - wanted.keys())
    if unknown:
        # Position ids of old language models, averages of a training.
        print_log(
            f'{path}: {len(unknown)} weights that '
            f'{type(detector).__name__} has not are left out: '
            f'{", ".join(unknown[:5])}',
            logger='current',
        )
    detector.load_state_dict({name: weights[name] for name in wanted})


def _shape_in(weights: dict[str, Tensor], name: str) -> str:
    found = weights.get(name)
    return 'missing' if found is None else f'{tuple(found.shape)} in the file'
