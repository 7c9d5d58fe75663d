"""HERO: from pixels and sentences to tubes (arXiv 2208.05818).

Wires the parts and computes nothing itself. The video tower runs once a clip;
all that follows runs once a query.

Shape legend: B clips, Q queries (sum of the sentences of the clips), V hard
negative sentences, T frames, N regions a frame, H W pixels.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Optional, Union

import torch
from mmengine.model import BaseModel
from torch import Tensor

from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample

from ..features import TextFeatures, VideoFeatures
from ..heads.contrastive_action_head import action_kinds
from ..heads.tube_decoding import TubeOutput
from ..proposals import ProposalSet
from ..pruning import keep_frames, select_frames, select_regions

Samples = Sequence[GroundingDataSample]


@MODELS.register_module()
class HERO(BaseModel):
    """Hierarchical reasoning with contrastive action correspondence.

    Args:
        video_encoder (dict): Config of a :class:`VideoEncoder`.
        text_encoder (dict): Config of a text encoder.
        tube_head (dict): Config of a :class:`TubeHead`.
        neck (dict, optional): Config of a reasoning neck; None grounds on
            the encoders alone.
        action_head (dict, optional): Config of a
            :class:`ContrastiveActionHead`; None leaves the contrastive
            action correspondence out.
        max_regions (int, optional): Regions of a frame that meet the words,
            those most likely to hold an object; None keeps the whole grid.
            Of proposals, those of highest score; None keeps them all.
        proposal_generator (dict, optional): Config of a proposal generator;
            its boxes become the regions. None grounds on the grid.
        roi_encoder (dict, optional): Config of the :class:`RoIEncoder` of
            the proposals, without ``embed_dims``.
        region_detail (dict, optional): Config of a :class:`RegionDetail`, by
            which regions read a finer level, ``video_encoder.detail_level``;
            without ``in_dims`` and ``embed_dims``. None leaves it out.
        keep_ratio (float): At test time only this share of the frames, those
            of highest action consistency, takes part in the reasoning of a
            query. Needs an action head. Defaults to 1.0, all of them.
        data_preprocessor (dict, optional): Config of a data preprocessor.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        video_encoder: dict,
        text_encoder: dict,
        tube_head: dict,
        neck: Optional[dict] = None,
        action_head: Optional[dict] = None,
        max_regions: Optional[int] = None,
        region_detail: Optional[dict] = None,
        keep_ratio: float = 1.0,
        proposal_generator: Optional[dict] = None,
        roi_encoder: Optional[dict] = None,
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
        if not 0 < keep_ratio <= 1:
            raise ValueError(f'keep_ratio must be in (0, 1], got {keep_ratio}')
        if keep_ratio < 1 and action_head is None:
            raise ValueError(
                f'keep_ratio={keep_ratio} needs action_head: the frames are '
                'kept by their action consistency'
            )
        self.video_encoder = MODELS.build(video_encoder)
        self.text_encoder = MODELS.build(text_encoder)
        self.neck = MODELS.build(neck) if neck else None
        self.action_head = MODELS.build(action_head) if action_head else None
        self.tube_head = MODELS.build(tube_head)
        self.region_detail = None
        if region_detail is not None:
            default = dict(
                type='RegionDetail',
                in_dims=self.video_encoder.detail_dims,
                embed_dims=video_encoder['embed_dims'],
            )
            self.region_detail = MODELS.build({**default, **region_detail})
        self.max_regions = max_regions
        self.keep_ratio = keep_ratio
        self.proposal_generator = self.roi_encoder = None
        if proposal_generator is not None:
            self.proposal_generator = MODELS.build(proposal_generator)
            self.proposal_generator.bind(self.data_preprocessor)
            default = dict(
                type='RoIEncoder', embed_dims=video_encoder['embed_dims']
            )
            self.roi_encoder = MODELS.build({**default, **(roi_encoder or {})})
            self.tube_head.start_from_proposals()
        elif roi_encoder is not None:
            raise ValueError(
                'roi_encoder encodes proposals: give a proposal_generator too'
            )

    def forward(
        self,
        inputs: dict[str, Tensor],
        data_samples: Optional[Samples] = None,
        mode: str = 'tensor',
    ) -> Union[dict[str, Tensor], list[GroundingDataSample], TubeOutput]:
        """Entry of MMEngine's loops.

        Args:
            inputs (dict): ``imgs`` (B, T, 3, H, W), ``frame_mask`` (B, T) and
                ``pixel_mask`` (B, H, W) of the data preprocessor.
            data_samples (Sequence[GroundingDataSample]): B samples with
                ``queries``; for 'loss' with ``gt_queries`` too.
            mode (str): 'loss', 'predict' or 'tensor'.

        Returns:
            dict, list or TubeOutput: Losses, samples with ``pred_queries``,
            or what the tube head says.
        """
        if data_samples is None:
            raise ValueError(
                'HERO needs data_samples: they carry the sentences'
            )
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            video = self.encode_video(inputs, data_samples)
            clip_of_query = self._clip_of_query(data_samples, video)
            text = self.text_encoder(_texts(data_samples))
            return self._reason(video, text, clip_of_query)[0]
        raise ValueError(
            f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}"
        )

    def encode_video(
        self, inputs: dict[str, Tensor], data_samples: Any = None
    ) -> VideoFeatures:
        """Encode B clips, whatever sentences will be asked.

        Args:
            inputs (dict): As in :meth:`forward`.
            data_samples (Sequence[GroundingDataSample], optional): B samples,
                for proposal generators; the sentences come with
                :meth:`ground`.

        Returns:
            VideoFeatures: B clips.
        """
        grid = self._encode(inputs)
        if self.proposal_generator is None:
            return self._select(self.tube_head.clip_outputs(grid))
        proposals = self.proposal_generator(grid, inputs, data_samples or ())
        if self.max_regions is not None:
            proposals = proposals.best(self.max_regions)
        return self._enrich(self._propose(grid, proposals))

    def _encode(self, inputs: dict[str, Tensor]) -> VideoFeatures:
        """The whole grid of regions."""
        video = self.video_encoder(**inputs)
        if self.neck is not None:
            video = self.neck.encode_clip(video)
        return video

    def _propose(
        self, grid: VideoFeatures, proposals: ProposalSet
    ) -> VideoFeatures:
        """Proposals in the place of the grid, with objectness and boxes."""
        assert self.roi_encoder is not None
        if self.neck is not None:
            grid = replace(grid, contexts=self.neck.contexts(grid))
        return self.tube_head.clip_outputs(self.roi_encoder(grid, proposals))

    def _select(
        self, video: VideoFeatures, forced_BTHW: Optional[Tensor] = None
    ) -> VideoFeatures:
        """The regions that meet the words."""
        if self.max_regions is not None:
            if self.neck is not None:
                video = replace(video, contexts=self.neck.contexts(video))
            video = select_regions(video, self.max_regions, forced_BTHW)
        return self._enrich(video)

    def _enrich(self, video: VideoFeatures) -> VideoFeatures:
        """Regions that have met each other, with better boxes."""
        if self.region_detail is not None:
            video = self.region_detail(video)
        if self.neck is not None:
            video = self.neck.encode_regions(video)
        return self.tube_head.refine_boxes(video)

    def _regions_to_train(
        self, inputs: dict[str, Tensor], data_samples: Samples
    ) -> tuple[VideoFeatures, dict[str, Tensor]]:
        """The regions that meet the words, and the losses on the way."""
        grid = self._encode(inputs)
        with_tracks = _have_tracks(data_samples)
        losses: dict[str, Tensor] = {}
        if self.proposal_generator is not None:
            if not with_tracks:
                raise ValueError(
                    'proposals are assigned to annotated objects: train with '
                    'LoadTubes(with_tracks=True)'
                )
            assert self.roi_encoder is not None
            losses = self.proposal_generator.loss(grid, inputs, data_samples)
            proposals = self.proposal_generator(grid, inputs, data_samples)
            proposals = self.roi_encoder.sample(proposals, data_samples)
            video = self._propose(grid, proposals)
            losses.update(self.tube_head.track_loss(video, data_samples))
            video = self._enrich(video)
        else:
            grid, forced = self.tube_head.clip_outputs(grid), None
            if with_tracks:
                losses = self.tube_head.track_loss(grid, data_samples)
                forced = self.tube_head.regions_of_tracks(grid, data_samples)
            video = self._select(grid, forced)
        if with_tracks:
            losses.update(self.tube_head.refine_loss(video, data_samples))
        return video, losses

    def loss(
        self, inputs: dict[str, Tensor], data_samples: Samples
    ) -> dict[str, Tensor]:
        """Losses of all parts; see :meth:`forward`."""
        video, losses = self._regions_to_train(inputs, data_samples)
        clip_of_query = self._clip_of_query(data_samples, video)
        negatives, query_of_negative = _negatives(data_samples, video)
        texts = _texts(data_samples)
        # One pass of the text encoder for sentences and hard negatives.
        both = self.text_encoder([*texts, *negatives])
        text = both.select(slice(0, len(texts)))
        output, _ = self._reason(video, text, clip_of_query)
        of_query = video.of_queries(clip_of_query)
        losses.update(
            self.tube_head.loss(output, of_query, data_samples, clip_of_query)
        )
        swapped = both.select(slice(len(texts), None))
        kinds = action_kinds(data_samples).to(clip_of_query)
        losses.update(
            self.tube_head.action_loss(
                of_query,
                data_samples,
                text,
                kinds,
                swapped,
                query_of_negative,
            )
        )
        if self.action_head is not None:
            losses.update(
                self.action_head.loss(
                    video,
                    text,
                    clip_of_query,
                    kinds,
                    swapped if negatives else None,
                    query_of_negative if negatives else None,
                )
            )
        return losses

    def predict(
        self, inputs: dict[str, Tensor], data_samples: Samples
    ) -> list[GroundingDataSample]:
        """Find the tubes; no ground truth is read. See :meth:`forward`."""
        return self.ground(
            self.encode_video(inputs, data_samples), data_samples
        )

    def ground(
        self, video: VideoFeatures, data_samples: Samples
    ) -> list[GroundingDataSample]:
        """Answer sentences on encoded clips.

        Args:
            video (VideoFeatures): B clips from :meth:`encode_video`.
            data_samples (Sequence[GroundingDataSample]): B samples with
                ``queries`` and the meta information of the clips.

        Returns:
            list[GroundingDataSample]: The same samples with
            ``pred_queries``.
        """
        clip_of_query = self._clip_of_query(data_samples, video)
        text = self.text_encoder(_texts(data_samples))
        output, consistency = self._reason(
            video, text, clip_of_query, self.keep_ratio
        )
        results = self.tube_head.predict(
            output, data_samples, clip_of_query, consistency
        )
        for sample, result in zip(data_samples, results):
            sample.pred_queries = result
        return list(data_samples)

    def _reason(
        self,
        video: VideoFeatures,
        text: TextFeatures,
        clip_of_query: Tensor,
        keep_ratio: float = 1.0,
    ) -> tuple[TubeOutput, Optional[Tensor]]:
        """Everything after the encoders."""
        consistency = None
        if self.action_head is not None:
            consistency = self.action_head(video, text, clip_of_query)
        of_query = video.of_queries(clip_of_query)
        gate, kept = consistency, None
        if keep_ratio < 1 and consistency is not None:
            kept = keep_frames(consistency, of_query.frame_mask_BT, keep_ratio)
            of_query = select_frames(of_query, kept)
            gate = consistency.gather(1, kept)
        fit = self.tube_head.fit(of_query, text)
        if self.neck is not None:
            regions, frames = self.neck(of_query, text, gate, fit)
        else:
            regions = of_query.regions_BTHWD
            frames = of_query.frame_means() + text.sentence_QD[:, None]
        output = self.tube_head(regions, frames, of_query, text, gate, fit)
        output.kept_QS = kept
        return output, consistency

    @staticmethod
    def _clip_of_query(samples: Samples, video: VideoFeatures) -> Tensor:
        counts = torch.tensor([len(s.queries.texts) for s in samples])
        clips = torch.arange(len(samples)).repeat_interleave(counts)
        return clips.to(video.regions_BTHWD.device)


def _have_tracks(samples: Samples) -> bool:
    """Whether all objects of the clips are annotated, in all or in none."""
    without = [s for s in samples if 'gt_tracks' not in s]
    if without and len(without) < len(samples):
        raise ValueError(
            'some clips of a batch have gt_tracks, but not that of video '
            f'{without[0].video_id!r}: train with LoadTubes(with_tracks=True) '
            'for all of them, or with False'
        )
    return not without


def _texts(samples: Samples) -> list[str]:
    return [text for s in samples for text in s.queries.texts]


def _negatives(
    samples: Samples, video: VideoFeatures
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
    return texts, torch.tensor(
        owners, dtype=torch.long, device=video.regions_BTHWD.device
    )
