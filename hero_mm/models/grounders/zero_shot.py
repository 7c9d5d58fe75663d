"""A grounder that was never trained on tubes.

A detector that is prompted by the sentence says how well each box of a frame
fits it. Linking makes tubes of them, and the scores choose one, and a span.
"""

from collections.abc import Sequence
from typing import Any, Optional, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor

from hero_mm.errors import UserError
from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample

from ..features import Pyramid, read_extents
from ..heads.phrase_tube_head import PhraseTubeHead
from ..heads.tube_decoding import query_edges
from ..regions import Regions, clips_of_queries

Samples = Sequence[GroundingDataSample]
# Pixels a side of the cells whose mean colour tells objects apart.
CELL = 8


@MODELS.register_module()
class ZeroShotGrounder(BaseModel):
    """Ground by the phrase scores of a prompted detector.

    The generator scores boxes by sentences, as :class:`DetectorProposals` of a
    detector with a language model. It sees frames one by one, so that words of
    the action hardly count. Its checkpoint is one of this model, too.
    """

    def __init__(
        self,
        proposal_generator: dict,
        linker: dict,
        max_regions: int = 8,
        data_preprocessor: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(
            MODELS.build(
                data_preprocessor or dict(type='GroundingDataPreprocessor')
            ),
            init_cfg,
        )
        self.proposal_generator = MODELS.build(proposal_generator)
        if not self.proposal_generator.scores_sentences:
            raise UserError(
                f'{type(self.proposal_generator).__name__} does not score '
                'boxes by sentences: take DetectorProposals with a detector '
                'that has a language model, such as MM-Grounding-DINO, and '
                'leave its fixed prompt (text) out'
            )
        self.proposal_generator.bind(self.data_preprocessor)
        self.linker = MODELS.build(linker)
        self.tube_head = PhraseTubeHead()
        self.max_regions = max_regions

    def adapt_to(self, weights: dict[str, Tensor], prefix: str) -> None:
        """Rename the weights of the detector itself, in place."""
        place = f'{prefix}proposal_generator.detector.'
        detector = getattr(self.proposal_generator, 'detector', None)
        if detector is None or any(name.startswith(place) for name in weights):
            return
        known = detector.state_dict().keys()
        found = [name for name in weights if name.startswith(prefix)]
        if not known & {name.removeprefix(prefix) for name in found}:
            return
        for name in found:
            value = weights.pop(name)
            # Position ids of old language models are left out.
            if name.removeprefix(prefix) in known:
                weights[place + name.removeprefix(prefix)] = value

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args: Any
    ) -> None:
        self.adapt_to(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(
        self,
        inputs: dict[str, Any],
        data_samples: Optional[Samples] = None,
        mode: str = 'tensor',
    ) -> Union[list[GroundingDataSample], Regions]:
        """As :meth:`HERO.forward`; 'tensor' gives slots of each query."""
        if mode not in ('predict', 'tensor'):
            raise UserError(
                f'mode is {mode!r}, but a zero-shot model cannot be trained: '
                "'predict' or 'tensor'. Train HERO on top of the same "
                'detector: configs/hero_mm-grounding-dino_custom.py'
            )
        if data_samples is None:
            raise UserError(
                'ZeroShotGrounder needs data_samples: they carry the sentences'
            )
        if mode == 'predict':
            return self.ground(inputs, data_samples)
        return self.find(inputs, data_samples)

    def encode_video(
        self, inputs: dict[str, Any], data_samples: Any = None
    ) -> dict[str, Any]:
        """The clips as they are: what is found depends on the sentences."""
        return inputs

    @torch.no_grad()
    def find(self, inputs: dict[str, Any], data_samples: Samples) -> Regions:
        """Slots of Q queries, by the scores of their sentences."""
        regions = self.proposal_generator.ask(inputs, data_samples)
        regions = regions.suppress(0.6).best(self.max_regions)
        # Colours in the place of features, by which regions are linked.
        imgs, frames = inputs['imgs'], inputs['frame_mask']
        cells = F.avg_pool2d(imgs.flatten(0, 1), CELL, ceil_mode=True)
        cells = cells.unflatten(0, imgs.shape[:2])
        extents = inputs.get('extents') or read_extents(
            frames, inputs['pixel_mask']
        )
        sizes = imgs.new_tensor([(width, high) for _, high, width in extents])
        clips = clips_of_queries(data_samples, imgs.device)
        pyramid = Pyramid(
            (cells[clips],), ((CELL, CELL),), frames[clips], sizes[clips]
        )
        return self.linker(regions, pyramid)

    def ground(
        self, inputs: dict[str, Any], data_samples: Samples
    ) -> list[GroundingDataSample]:
        """Answer the sentences of samples; no ground truth is read."""
        slots = self.find(inputs, data_samples)
        clips = clips_of_queries(data_samples, slots.mask_BTN.device)
        edges = query_edges(slots, data_samples, clips)
        results = self.tube_head.predict(slots, edges, data_samples)
        for sample, result in zip(data_samples, results):
            sample.pred_queries = result
        return list(data_samples)
