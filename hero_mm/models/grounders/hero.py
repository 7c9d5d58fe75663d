"""HERO: from pixels and sentences to tubes (arXiv 2208.05818).

Wires the parts and computes nothing itself. Data goes through each room once:
scout, encode, propose, link and encode_regions once a clip; retrieve, reason
and decode once a sentence.

Shape legend: B clips, Q queries (sum of the sentences of the clips), V hard
negative sentences, T frames, N slots a frame, H W pixels.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional, Union

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor

from hero_mm.errors import UserError
from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample, send

from ..features import Pyramid, TextFeatures
from ..heads.tube_decoding import TubeOutput, query_edges
from ..recompute import keep_gradients
from ..regions import Regions, clips_of_queries, take_frames
from ..retrieval import Clips
from ..targets import Tracks, Tubes, with_annotated

Samples = Sequence[GroundingDataSample]


@dataclass
class Retrieved:
    """What is known of Q queries before the reasoning.

    The slots of the frames that go on, their late fusion with the sentence,
    logits of action consistency of all frames and of those that go on, and, if
    some were left out, their numbers, and which of them are meant.
    """

    regions: Regions
    fit_QTN2: Tensor
    consistency_QT: Optional[Tensor] = None
    gate_QT: Optional[Tensor] = None
    kept: Optional[tuple[Tensor, Tensor]] = None


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
        is_bgr = getattr(self.data_preprocessor, 'rgb_to_bgr', False)
        if getattr(self.video_encoder, 'wants_bgr', False) and not is_bgr:
            print_log(
                'the weights of the backbone, of the style caffe, want the '
                'channels B, G, R: set data_preprocessor=dict(rgb_to_bgr=True,'
                ' mean=[103.530, 116.280, 123.675], std=[1.0, 1.0, 1.0])',
                logger='current',
                level=logging.WARNING,
            )
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
        """Entry of MMEngine's loops.

        Args:
            inputs (dict): Of the data preprocessor.
            data_samples (Sequence[GroundingDataSample]): B samples with
                ``queries``; for 'loss' with ``gt_queries`` and ``gt_tracks``.
            mode (str): 'loss' gives losses, 'predict' the samples with
                ``pred_queries``, 'tensor' the output of the tube head.
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
        clips = self.scout(inputs, data_samples, text, clip_of_query)
        regions, _ = self._encode(clips)
        if mode == 'predict':
            return self.ground(regions, data_samples, text, clips.logits_QT)
        return self._answer(regions, text, clip_of_query)[1]

    def scout(
        self,
        inputs: dict[str, Any],
        samples: Samples,
        text: TextFeatures,
        clip_of_query: Tensor,
    ) -> Clips:
        """Leave frames out before they are encoded, where retrieval does."""
        clips = Clips(inputs, samples)
        if self.retrieval is None or self.retrieval.scout is None:
            return clips
        logits = self.retrieval.scout(inputs, text, clip_of_query)
        kept = self.retrieval.choose_runs(
            logits, inputs['frame_mask'], clip_of_query
        )
        clips = replace(clips, logits_QT=logits)
        if kept is None:
            return clips
        return clips.take(kept[0], kept[1], self.retrieval.run)

    def encode(self, clips: Union[Clips, dict[str, Any]]) -> Pyramid:
        """Pixels (of clips, or ``inputs``) to a pyramid of features."""
        if isinstance(clips, dict):
            clips = Clips(clips)
        return clips.encode(self.video_encoder)

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
        if pyramid.times_BT is not None:
            regions = replace(regions, times_BT=pyramid.times_BT)
        regions = regions.suppress(self.nms_iou)
        if tracks is not None:
            regions = with_annotated(regions, tracks, self.jitter)
        return regions.best(self.max_regions), losses

    def link(self, regions: Regions, pyramid: Pyramid) -> Regions:
        """Regions to slots, each of which follows one object."""
        return self.linker(regions, pyramid) if self.linker else regions

    def encode_regions(self, regions: Regions, pyramid: Pyramid) -> Regions:
        """What the slots show, in space and time, without words."""
        return self.region_encoder(regions, pyramid)

    def _encode(
        self, clips: Clips, tracks: Optional[Tracks] = None
    ) -> tuple[Regions, dict[str, Tensor]]:
        """Clips to encoded slots, and losses where tracks are given."""
        pyramid = self.encode(clips)
        proposed, losses = self.propose(
            pyramid, clips.inputs, clips.samples, tracks
        )
        linked = self.link(proposed, pyramid)
        regions = self.encode_regions(linked, pyramid)
        if tracks is not None:
            losses.update(self.region_encoder.loss(linked, regions, tracks))
        return regions, losses

    def retrieve(
        self, regions: Regions, text: TextFeatures, clip_of_query: Tensor
    ) -> Retrieved:
        """Which frames show what each sentence says, before the reasoning."""
        # Boxes inform what follows; they are trained where they are made.
        regions = replace(regions, boxes_BTN4=regions.boxes_BTN4.detach())
        fit = self.tube_head.compare(regions, text, clip_of_query)
        of_query = regions.of_queries(clip_of_query)
        if self.action_head is None:
            return Retrieved(of_query, fit)
        logits = self.action_head(regions, text, clip_of_query)
        kept = None
        if self.retrieval is not None:
            kept = self.retrieval(logits, of_query.frame_mask_BT)
        if kept is None:
            return Retrieved(of_query, fit, logits, logits)
        return Retrieved(
            of_query.frames(*kept),
            take_frames(fit, kept[0]),
            logits,
            logits.gather(1, kept[0]),
            kept,
        )

    def reason(
        self, retrieved: Retrieved, text: TextFeatures
    ) -> tuple[Tensor, Tensor]:
        """Slots and words to reasoned slots and one token a frame."""
        regions = retrieved.regions
        slots = regions.features
        if self.neck is None:
            mask = regions.mask_BTN[..., None].to(slots)
            means = (slots * mask).sum(2) / mask.sum(2).clamp(min=1)
            return slots, means + text.sentence_QD[:, None]
        return self.neck(
            slots,
            regions.mask_BTN,
            text.words_QLD,
            text.word_mask_QL,
            text.sentence_QD,
            regions.looks_BTNSD,
            regions.times_BT,
            regions.frame_mask_BT,
            retrieved.fit_QTN2,
            retrieved.gate_QT,
        )

    def decode(
        self,
        slots_QTND: Tensor,
        frames_QTD: Tensor,
        retrieved: Retrieved,
        text: TextFeatures,
    ) -> TubeOutput:
        """Reasoned slots to logits of tubes."""
        return self.tube_head(
            slots_QTND,
            frames_QTD,
            retrieved.regions,
            text,
            retrieved.fit_QTN2,
            retrieved.gate_QT,
        )

    def _answer(
        self, regions: Regions, text: TextFeatures, clip_of_query: Tensor
    ) -> tuple[Retrieved, TubeOutput]:
        """Encoded slots and sentences to logits of tubes."""
        retrieved = self.retrieve(regions, text, clip_of_query)
        reasoned = self.reason(retrieved, text)
        return retrieved, self.decode(*reasoned, retrieved, text)

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
        clips = self.scout(inputs, data_samples, text, clip_of_query)
        num_frames = clips.inputs['frame_mask'].shape[1]
        tracks = Tracks.of(clips.samples, num_frames)
        tubes = Tubes.of(clips.samples, num_frames)
        regions, losses = self._encode(clips, tracks)
        retrieved, output = self._answer(regions, text, clip_of_query)
        losses.update(
            self.tube_head.loss(
                output,
                retrieved.regions,
                tubes.frames(retrieved.kept),
                query_edges(retrieved.regions, data_samples, clip_of_query),
            )
        )
        boxes = replace(regions, features_BTND=None, looks_BTNSD=None)
        shows, asked = self.tube_head.assign(
            boxes.of_queries(clip_of_query), tubes
        )
        compared = (regions, text, clip_of_query)
        beside = (data_samples, swapped, query_of_negative)
        losses.update(self.tube_head.tube_loss(*compared, shows, *beside))
        losses.update(
            self.tube_head.elsewhere_loss(
                *compared, tracks, tubes, data_samples
            )
        )
        if self.action_head is not None:
            losses.update(self.action_head.loss(*compared, *beside))
            losses.update(self.action_head.span_loss(*compared, shows, asked))
        if self.retrieval is not None and clips.logits_QT is not None:
            losses.update(
                self.retrieval.scout.loss(
                    clips.logits_QT.gather(1, regions.times_BT[clip_of_query]),
                    retrieved.consistency_QT,
                    tubes,
                    regions.frame_mask_BT[clip_of_query],
                )
            )
        return losses

    def encode_video(
        self, inputs: dict[str, Any], data_samples: Samples = ()
    ) -> Regions:
        """Encode B clips, whatever sentences :meth:`ground` will get.

        ``inputs`` as in :meth:`forward`; ``data_samples`` are for proposal
        generators that read them.
        """
        return self._encode(Clips(inputs, data_samples))[0]

    def ground(
        self,
        regions: Regions,
        data_samples: Samples,
        text: Optional[TextFeatures] = None,
        scouted_QT: Optional[Tensor] = None,
    ) -> list[GroundingDataSample]:
        """Answer sentences on encoded clips; no ground truth is read.

        B clips from :meth:`encode_video` and their samples, which get
        ``pred_queries``; ``text``, where they are encoded already, and
        ``scouted_QT``, logits of all frames, where a scout left some out.
        """
        if text is None:
            text = self.text_encoder(_texts(data_samples))
        clip_of_query = clips_of_queries(data_samples, regions.mask_BTN.device)
        retrieved, output = self._answer(regions, text, clip_of_query)
        results = self.tube_head.predict(
            output,
            retrieved.regions,
            query_edges(retrieved.regions, data_samples, clip_of_query),
            data_samples,
            retrieved.consistency_QT if scouted_QT is None else scouted_QT,
        )
        for sample, result in zip(data_samples, results):
            sample.pred_queries = result
        return list(data_samples)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Pixels to levels (B, T, D, H, W), as of MMAction2's recognisers.

        Of normalised frames (B, T, 3, H, W), or (B, crops, 3, T, H, W) as a
        3-D recogniser takes them.
        """
        if inputs.dim() == 6:
            inputs = inputs.flatten(0, 1).transpose(1, 2)
        clips, frames, _, *size = inputs.shape
        real = inputs.new_ones((), dtype=torch.bool)
        return self.video_encoder(
            inputs,
            real.expand(clips, frames),
            real.expand(clips, *size),
            [(frames, *size)] * clips,
        ).levels


def _texts(samples: Samples) -> list[str]:
    return [text for s in samples for text in s.queries.texts]


def _negatives(
    samples: Samples, clip_of_query: Tensor
) -> tuple[list[str], Tensor]:
    """Hard negative sentences and the query of each, has shape (V,)."""
    texts, owners, query = [], [], 0
    for sample in samples:
        lists = sample.queries.get(
            'negative_texts', [[]] * len(sample.queries.texts)
        )
        for negatives in lists:
            texts.extend(negatives)
            owners.extend([query] * len(negatives))
            query += 1
    return texts, send(owners, clip_of_query.device, dtype=torch.long)


# Weights that the model of 0.1.0 had, and no later one.
_MARKS_OF_0_1 = (
    'video_encoder.project.weight',
    'tube_head.clip_out.weight',
    'region_detail.reduce.weight',
)


def check_version(
    state_dict: Mapping[str, Any],
    prefix: str = '',
    known: Collection[str] = (),
) -> None:
    """Refuse weights of hero_mm 0.1.0, whose model had another form.

    MMEngine would load what fits, and leave most weights random. ``prefix``
    stands before the names of HERO; names in ``known`` are a model's own.
    """
    for mark in _MARKS_OF_0_1:
        name = prefix + mark
        if name in state_dict and name not in known:
            raise UserError(
                f'the checkpoint is of hero_mm 0.1.0 (it has {name}), whose '
                'model had another form: train or convert again with this '
                'version, or use hero_mm 0.1.0'
            )
