"""HERO: from pixels and sentences to tubes (arXiv 2208.05818).

Wires the parts and computes nothing itself. Data goes through each room once:
scout, encode, propose, link and encode regions once a clip; retrieve, reason
and decode once a sentence.

Shape legend: B clips, Q queries (sum of the sentences of the clips), V hard
negative sentences, T frames, K kept frames, N slots a frame.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Optional, Union

import torch
from mmengine.model import BaseModel
from torch import Tensor

from hero_mm.errors import UserError
from hero_mm.parts.building import warn_of_channels
from hero_mm.pretrained.filling import check_version
from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample, send

from ..features import Pyramid, TextFeatures
from ..heads.tube_decoding import TubeOutput, query_edges
from ..recompute import keep_gradients
from ..regions import Regions, clips_of_queries
from ..retrieval import Glance, encode_runs
from ..targets import Tracks, Tubes, with_annotated

Samples = Sequence[GroundingDataSample]


@MODELS.register_module()
class HERO(BaseModel):
    """Hierarchical reasoning with contrastive action correspondence.

    Its arguments are configs of its parts; docs/configs.md lists them with
    the options of each.
    """

    def __init__(
        self,
        video_encoder: dict,
        text_encoder: dict,
        proposal_generator: dict,
        region_encoder: dict,
        tube_head: dict,
        linker: Optional[dict] = None,
        action_head: Optional[dict] = None,
        retrieval: Optional[dict] = None,
        neck: Optional[dict] = None,
        max_regions: int = 64,
        nms_iou: float = 0.6,
        jitter: float = 0.14,
        data_preprocessor: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        # Built here: MMEngine would look in its own registry for it.
        super().__init__(
            MODELS.build(
                data_preprocessor or dict(type='GroundingDataPreprocessor')
            ),
            init_cfg,
        )
        if retrieval is not None and action_head is None:
            raise UserError(
                'retrieval chooses frames by their action consistency: give '
                'an action_head too, or retrieval=None'
            )
        self.video_encoder = MODELS.build(video_encoder)
        warn_of_channels(self.video_encoder, self.data_preprocessor)
        self.text_encoder = MODELS.build(text_encoder)
        self.proposal_generator = MODELS.build(proposal_generator)
        self.proposal_generator.bind(self.data_preprocessor)
        self.linker = MODELS.build(linker) if linker else None
        self.region_encoder = MODELS.build(region_encoder)
        self.action_head = MODELS.build(action_head) if action_head else None
        self.retrieval = MODELS.build(retrieval) if retrieval else None
        self.neck = MODELS.build(neck) if neck else None
        self.tube_head = MODELS.build(tube_head)
        self.max_regions = max_regions
        self.nms_iou = nms_iou
        self.jitter = jitter

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args: Any
    ) -> None:
        check_version(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def train(self, mode: bool = True) -> 'HERO':
        """As of every module; what is checkpointed keeps its gradients."""
        keep_gradients(self)
        return super().train(mode)

    def forward(
        self,
        inputs: dict[str, Any],
        data_samples: Optional[Samples] = None,
        mode: str = 'tensor',
    ) -> Union[dict[str, Tensor], list[GroundingDataSample], TubeOutput]:
        """Entry of MMEngine's loops, of what the data preprocessor gives.

        Mode 'loss' gives losses (samples need ``gt_queries``, ``gt_tracks``),
        'predict' the samples with ``pred_queries``, 'tensor' a TubeOutput.
        """
        if data_samples is None:
            raise UserError(
                'HERO needs data_samples: they carry the sentences'
            )
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode not in ('predict', 'tensor'):
            raise UserError(
                f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}"
            )
        text = self.text_encoder(_texts(data_samples))
        clip_of_query = clips_of_queries(data_samples, inputs['imgs'].device)
        glance = self.scout(inputs, data_samples, text)
        pyramid = self.encode(inputs, glance)
        regions, _ = self._slots(pyramid, inputs, data_samples)
        if mode == 'predict':
            return self.ground(regions, data_samples, text)
        slots, *_ = self.retrieve(regions, text, clip_of_query)
        return self.decode(*self.reason(slots, text), slots, text)

    def scout(
        self,
        inputs: dict[str, Any],
        samples: Samples,
        text: Optional[TextFeatures] = None,
    ) -> Optional[Glance]:
        """Choose the frames that the whole encoder sees; None where all do.

        All do where the samples carry no sentences.
        """
        asked = len(samples) > 0 and all('queries' in one for one in samples)
        if self.retrieval is None or self.action_head is None or not asked:
            return None
        share = self.retrieval.share('scout')
        if share >= 1:
            return None
        if text is None:
            text = self.text_encoder(_texts(samples))
        clip_of_query = clips_of_queries(samples, inputs['imgs'].device)
        pyramid = self.video_encoder.glance(**inputs)
        with torch.no_grad():
            regions, _ = self._slots(pyramid, inputs, samples)
            logits = self.action_head(regions, text, clip_of_query)
        chosen = self.retrieval.choose_runs(
            logits, inputs['frame_mask'], clip_of_query, share
        )
        return Glance(pyramid, chosen[0], chosen[1], self.retrieval.run)

    def encode(
        self, inputs: dict[str, Any], glance: Optional[Glance] = None
    ) -> Pyramid:
        """Pixels to a pyramid of features."""
        if glance is None:
            return self.video_encoder(**inputs)
        return encode_runs(self.video_encoder, inputs, glance)

    def propose(
        self,
        pyramid: Pyramid,
        inputs: dict[str, Any],
        samples: Samples,
        tracks: Optional[Tracks] = None,
    ) -> tuple[Regions, dict[str, Tensor]]:
        """Pyramid to N regions a frame, and losses where tracks are given."""
        losses: dict[str, Tensor] = {}
        if tracks is None:
            regions = self.proposal_generator(pyramid, inputs, samples)
        else:
            losses, regions = self.proposal_generator.loss_and_predict(
                pyramid, inputs, samples
            )
        regions = regions.suppress(self.nms_iou)
        if tracks is not None:
            regions = with_annotated(regions, tracks, self.jitter)
        return regions.best(self.max_regions), losses

    def link(self, regions: Regions, pyramid: Pyramid) -> Regions:
        """Regions to slots, each of which follows one object."""
        return self.linker(regions, pyramid) if self.linker else regions

    def encode_regions(self, slots: Regions, pyramid: Pyramid) -> Regions:
        """What the slots show, in space and time, without words."""
        return self.region_encoder(slots, pyramid)

    def _slots(
        self,
        pyramid: Pyramid,
        inputs: dict[str, Any],
        samples: Samples,
        tracks: Optional[Tracks] = None,
    ) -> tuple[Regions, dict[str, Tensor]]:
        """A pyramid to encoded slots, and losses where tracks are given."""
        proposed, losses = self.propose(pyramid, inputs, samples, tracks)
        slots = self.link(proposed, pyramid)
        regions = self.encode_regions(slots, pyramid)
        if tracks is not None:
            losses |= self.region_encoder.loss(slots, regions, tracks)
        return regions, losses

    def retrieve(
        self, regions: Regions, text: TextFeatures, clip_of_query: Tensor
    ) -> tuple[Regions, Optional[Tensor], Optional[tuple[Tensor, Tensor]]]:
        """Slots of queries, consistency of all frames, and what was kept."""
        # Boxes inform what follows; they are trained where they are made.
        regions = replace(regions, boxes_BTN4=regions.boxes_BTN4.detach())
        fit = self.tube_head.compare(regions, text, clip_of_query)
        logits, kept = None, None
        if self.action_head is not None:
            logits = self.action_head(regions, text, clip_of_query)
        slots = regions.of_queries(clip_of_query)
        slots = replace(slots, fit_BTN2=fit, gate_BT=logits)
        if self.retrieval is not None:
            kept = self.retrieval(logits, slots.frame_mask_BT)
        return slots.frames(kept), logits, kept

    def reason(
        self, slots: Regions, text: TextFeatures
    ) -> tuple[Tensor, Tensor]:
        """Slots and words to reasoned slots and one token a frame."""
        x = slots.features_BTND
        if self.neck is None:
            mask = slots.mask_BTN[..., None].to(x)
            means = (x * mask).sum(2) / mask.sum(2).clamp(min=1)
            return x, means + text.sentence_QD[:, None]
        return self.neck(
            x,
            slots.mask_BTN,
            text.words_QLD,
            text.word_mask_QL,
            text.sentence_QD,
            slots.looks_BTNSD,
            slots.times_BT,
            slots.frame_mask_BT,
            slots.fit_BTN2,
            slots.gate_BT,
        )

    def decode(
        self,
        slots_QTND: Tensor,
        frames_QTD: Tensor,
        slots: Regions,
        text: TextFeatures,
    ) -> TubeOutput:
        """Reasoned slots to logits of tubes."""
        return self.tube_head(slots_QTND, frames_QTD, slots, text)

    def encode_video(
        self, inputs: dict[str, Any], data_samples: Samples = ()
    ) -> Regions:
        """Encode B clips, whatever sentences :meth:`ground` will get.

        A scout chooses frames for the sentences of the samples, if any.
        """
        pyramid = self.encode(inputs, self.scout(inputs, data_samples))
        return self._slots(pyramid, inputs, data_samples)[0]

    def ground(
        self,
        regions: Regions,
        data_samples: Samples,
        text: Optional[TextFeatures] = None,
    ) -> list[GroundingDataSample]:
        """Answer sentences on encoded clips; no ground truth is read.

        Of :meth:`encode_video`; ``text`` where it is known already.
        """
        if text is None:
            text = self.text_encoder(_texts(data_samples))
        clip_of_query = clips_of_queries(data_samples, regions.mask_BTN.device)
        slots, consistency_QT, _ = self.retrieve(regions, text, clip_of_query)
        results = self.tube_head.predict(
            self.decode(*self.reason(slots, text), slots, text),
            slots,
            query_edges(slots, data_samples, clip_of_query),
            data_samples,
            consistency_QT,
        )
        for sample, result in zip(data_samples, results):
            sample.pred_queries = result
        return list(data_samples)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Pixels to levels (B, T, D, H, W), as of MMAction2's recognisers.

        Of (B, T, 3, H, W), or (B, crops, 3, T, H, W) as 3-D ones take them.
        """
        if inputs.dim() == 6:
            inputs = inputs.flatten(0, 1).transpose(1, 2)
        clips, frames, _, *size = inputs.shape
        real = inputs.new_ones((), dtype=torch.bool)
        masks = real.expand(clips, frames), real.expand(clips, *size)
        extents = [(frames, *size)] * clips
        return self.video_encoder(inputs, *masks, extents).levels

    def loss(
        self, inputs: dict[str, Any], data_samples: Samples
    ) -> dict[str, Tensor]:
        """Losses of all parts; see :meth:`forward`."""
        clip_of_query = clips_of_queries(data_samples, inputs['imgs'].device)
        negatives, query_of_negative = _negatives(data_samples, clip_of_query)
        texts = _texts(data_samples)
        # One pass of the text encoder for sentences and hard negatives.
        both = self.text_encoder([*texts, *negatives])
        text = both.select(slice(0, len(texts)))
        swapped = both.select(slice(len(texts), None))
        glance = self.scout(inputs, data_samples, text)
        num_frames = inputs['frame_mask'].shape[1]
        tracks = Tracks.of(data_samples, num_frames)
        tubes = Tubes.of(data_samples, num_frames)
        pyramid = self.encode(inputs, glance)
        regions, losses = self._slots(pyramid, inputs, data_samples, tracks)
        slots, _, kept = self.retrieve(regions, text, clip_of_query)
        losses |= self.tube_head.loss(
            self.decode(*self.reason(slots, text), slots, text),
            slots,
            tubes.frames(kept),
            query_edges(slots, data_samples, clip_of_query),
        )
        boxes = replace(regions, features_BTND=None, looks_BTNSD=None)
        shows, asked = self.tube_head.assign(
            boxes.of_queries(clip_of_query), tubes
        )
        compared = (regions, text, clip_of_query)
        beside = (data_samples, swapped, query_of_negative)
        losses |= self.tube_head.tube_loss(*compared, shows, *beside)
        losses |= self.tube_head.elsewhere_loss(
            *compared, tracks, tubes, data_samples
        )
        if self.action_head is not None:
            losses |= self.action_head.loss(*compared, *beside)
            losses |= self.action_head.span_loss(*compared, shows, asked)
        return losses


def _texts(samples: Samples) -> list[str]:
    return [text for s in samples for text in s.queries.texts]


def _negatives(
    samples: Samples, clip_of_query: Tensor
) -> tuple[list[str], Tensor]:
    """Hard negative sentences and the query of each, has shape (V,)."""
    lists: list[list[str]] = []
    for sample in samples:
        none: list[list[str]] = [[] for _ in sample.queries.texts]
        lists += sample.queries.get('negative_texts', none)
    texts = [text for negatives in lists for text in negatives]
    owners = [query for query, texts in enumerate(lists) for _ in texts]
    return texts, send(owners, clip_of_query.device, dtype=torch.long)
