"""Tube head: one box a frame and one time span a query.

Dense form: every region of a frame scores the query and regresses a box; the
span comes from the start and end distributions over the frame grid with
continuous offsets inside the bins. Boxes are regressed in two parts, one of
the clip, trained on every annotated object, and one of the query.

Shape legend: B clips, Q queries, T frames, N = H * W regions, D width. Boxes
are xyxy in pixels of the input unless a name says raw.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample, to_original

from ..features import TextFeatures, VideoFeatures, decode_boxes
from ..layers import FeedForward, FramePosition, JointLayer
from ..pruning import spread_frames
from .region_text_fit import RegionTextFit
from .tube_decoding import (
    TubeOutput,
    choose_boxes,
    decode_span,
    query_edges,
)
from .tube_losses import TubeLosses


@MODELS.register_module()
class TubeHead(TubeLosses):
    """Decode reasoned regions and frame tokens into tubes.

    Args:
        embed_dims (int): Width D.
        num_span_layers (int): Attention layers over the frames of a query
            before the span is read.
        num_heads (int): Heads of these layers.
        centre_radius (float): Which regions answer for a box, see
            :func:`positive_regions`.
        proposal_iou (float): Which proposals do: those that overlap it by
            this; from half of it on they are no negatives either.
        sigma (float): Width of the boundary targets, in bins.
        expected_iou (bool): Choose the span of highest expected tIoU in
            place of the most likely one. Defaults to False.
        link_weight (float): How strongly the boxes of neighbouring frames
            must overlap when the tube is linked (Viterbi); 0 takes the best
            region of each frame alone.
        link_candidates (int): Regions a frame that take part in linking.
        loss_weights (dict, optional): Overrides of the weights of
            ``location``, ``match``, ``early``, ``l1``, ``giou``, ``boundary``,
            ``offset``, ``actionness``, ``action``, ``track``.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        embed_dims: int,
        num_span_layers: int = 2,
        num_heads: int = 4,
        centre_radius: float = 0.25,
        proposal_iou: float = 0.5,
        sigma: float = 1.0,
        expected_iou: bool = False,
        link_weight: float = 1.0,
        link_candidates: int = 5,
        loss_weights: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(
            centre_radius, proposal_iou, sigma, loss_weights, init_cfg
        )
        self.norm = nn.LayerNorm(embed_dims)
        self.location = nn.Linear(embed_dims, 1)
        self.query_box = nn.Linear(embed_dims, 4)
        self.sentence = nn.Linear(embed_dims, embed_dims)
        self.clip_box = nn.Sequential(
            nn.LayerNorm(embed_dims), FeedForward(embed_dims, 1)
        )
        self.clip_out = nn.Linear(embed_dims, 5)
        self.refine = nn.Sequential(
            nn.LayerNorm(embed_dims),
            FeedForward(embed_dims, 2, out_dims=4),
        )
        self.span_in = nn.Linear(2 * embed_dims, embed_dims)
        self.consistency_in = nn.Parameter(torch.zeros(embed_dims))
        self.match_in = nn.Parameter(torch.full((embed_dims,), 0.02))
        self.position = FramePosition(embed_dims)
        self.span_layers = nn.ModuleList(
            JointLayer(embed_dims, num_heads, 2.0)
            for _ in range(num_span_layers)
        )
        self.span_norm = nn.LayerNorm(embed_dims)
        self.region_text_fit = RegionTextFit(embed_dims)
        self.span_weight = nn.Parameter(torch.tensor(0.3))
        self.span_out = nn.Linear(embed_dims, 5)
        self.expected_iou = expected_iou
        self.link_weight = link_weight
        self.link_candidates = link_candidates

    def clip_outputs(self, video: VideoFeatures) -> VideoFeatures:
        """Add what a clip says without a sentence: objects and their boxes.

        Args:
            video (VideoFeatures): B clips. Boxes that they have, as
                proposals do, are corrected.

        Returns:
            VideoFeatures: With ``objectness_BTHW`` and ``raw_boxes_BTHW4``.
        """
        regions = video.regions_BTHWD
        out = self.clip_out(regions + self.clip_box(regions))
        raw = out[..., 1:]
        if video.raw_boxes_BTHW4 is not None:
            raw = raw + video.raw_boxes_BTHW4
        return replace(video, objectness_BTHW=out[..., 0], raw_boxes_BTHW4=raw)

    @torch.no_grad()
    def start_from_proposals(self) -> None:
        """Let the boxes of an untrained head be those of the proposals."""
        linear = [m for m in self.refine.modules() if isinstance(m, nn.Linear)]
        for layer in (self.clip_out, linear[-1], self.query_box):
            layer.weight[-4:].mul_(0.01)
            layer.bias[-4:].zero_()

    def refine_boxes(self, video: VideoFeatures) -> VideoFeatures:
        """Correct the clip's boxes by what regions learned from each other.

        Args:
            video (VideoFeatures): B clips, after the layers over regions.

        Returns:
            VideoFeatures: With better ``raw_boxes_BTHW4``.
        """
        if video.raw_boxes_BTHW4 is None:
            return video
        raw = video.raw_boxes_BTHW4 + self.refine(video.regions_BTHWD)
        return replace(video, raw_boxes_BTHW4=raw)

    def forward(
        self,
        regions_QTHWD: Tensor,
        frames_QTD: Tensor,
        video: VideoFeatures,
        text: TextFeatures,
        consistency_QT: Optional[Tensor],
        fit_QTHW2: Tensor,
    ) -> TubeOutput:
        """Score regions, regress boxes and boundaries.

        Args:
            regions_QTHWD (Tensor): Reasoned regions.
            frames_QTD (Tensor): Reasoned frame tokens.
            video (VideoFeatures): The clip of each query, with
                :meth:`clip_outputs`.
            text (TextFeatures): The queries.
            consistency_QT (Tensor, optional): Logits of action consistency.
            fit_QTHW2 (Tensor): What :meth:`fit` says.

        Returns:
            TubeOutput: Before decoding.
        """
        real_T = video.frame_mask_BT
        regions = self.norm(regions_QTHWD).flatten(2, 3)
        sentence = self.sentence(text.sentence_QD)
        match = torch.einsum('qtnd,qd->qtn', regions, sentence)
        location = self.location(regions).squeeze(-1)
        location = location + match / regions.shape[-1] ** 0.5
        early = self.region_text_fit.total(fit_QTHW2)
        location = location + early
        hidden = ~video.real_BTHW.flatten(2)
        location = location.masked_fill(hidden, -1e4)
        raw = self.query_box(regions)
        if video.raw_boxes_BTHW4 is not None:
            raw = raw + video.raw_boxes_BTHW4.flatten(2, 3)
        centres = video.centres_BTHW2.flatten(2, 3)
        boxes = decode_boxes(raw, centres, video.stride)
        found = torch.einsum('qtn,qtnd->qtd', location.softmax(-1), regions)
        tokens = self.span_in(torch.cat([found, frames_QTD], dim=-1))
        tokens = tokens + self.position.frames(tokens.shape[1])
        # Without an action head every frame counts as consistent.
        degree = torch.ones_like(tokens[..., :1])
        if consistency_QT is not None:
            degree = consistency_QT.sigmoid()[..., None]
        tokens = tokens + degree * self.consistency_in
        # How well the best region of a frame matches says much of the frame.
        best = location.amax(-1).masked_fill(~real_T, 0.0)
        tokens = tokens + best[..., None] * self.match_in
        for layer in self.span_layers:
            tokens = layer(tokens, real_T)
        out = self.span_out(self.span_norm(tokens))
        hide = float('-inf')
        return TubeOutput(
            location_QTN=location,
            boxes_QTN4=boxes,
            start_QT=out[..., 0].masked_fill(~real_T, hide),
            end_QT=out[..., 1].masked_fill(~real_T, hide),
            offsets_QT2=out[..., 2:4].sigmoid(),
            actionness_QT=out[..., 4] + best,
            early_QTN=early.masked_fill(hidden, -1e4),
            span_weight=self.span_weight,
        )

    def fit(self, video: VideoFeatures, text: TextFeatures) -> Tensor:
        """How well each region, before it meets the words, fits them.

        Args:
            video (VideoFeatures): The clip of each query.
            text (TextFeatures): The queries.

        Returns:
            Tensor: Logits of looks and of action, has shape (Q, T, H, W, 2).
        """
        return self.region_text_fit(video, text)

    @torch.no_grad()
    def predict(
        self,
        output: TubeOutput,
        samples: Sequence[GroundingDataSample],
        clip_of_query: Tensor,
        consistency_QT: Optional[Tensor],
    ) -> list[InstanceData]:
        """Decode tubes in original pixels and native frames.

        Args:
            output (TubeOutput): Of Q queries.
            samples (Sequence[GroundingDataSample]): B samples, for their meta
                information only.
            clip_of_query (Tensor): Clip of each query, has shape (Q,).
            consistency_QT (Tensor, optional): Logits of action consistency.

        Returns:
            list[InstanceData]: One a clip; fields as in
            :class:`GroundingDataSample`.
        """
        spans, span_scores = decode_span(
            output,
            query_edges(output, samples, clip_of_query),
            self.expected_iou,
        )
        boxes, scores = choose_boxes(
            output, self.link_weight, self.link_candidates
        )
        if consistency_QT is None:
            consistency = output.actionness_QT.sigmoid()
        else:
            consistency = consistency_QT.sigmoid()
        scores = scores[..., None]
        if output.kept_QS is not None:
            longest = max(len(s.frame_inds) for s in samples)
            real = ~output.start_QT.isneginf()
            boxes = spread_frames(boxes, output.kept_QS, real, longest)
            scores = spread_frames(scores, output.kept_QS, real, longest)
        scores = scores.squeeze(-1)
        results = []
        for clip, sample in enumerate(samples):
            mine = clip_of_query == clip
            length = len(sample.frame_inds)
            results.append(
                InstanceData(
                    spans=spans[mine],
                    bboxes=to_original(boxes[mine, :length], sample),
                    scores=scores[mine, :length],
                    span_scores=span_scores[mine],
                    action_consistency=consistency[mine, :length],
                )
            )
        return results
