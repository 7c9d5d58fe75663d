"""Tube head: one box a frame and one time span a query.

Dense form: every region of a frame scores the query and regresses a box; the
span comes from the start and end distributions over the frame grid with
continuous offsets inside the bins. Boxes are regressed in two parts, one of
the clip, trained on every annotated object, and one of the query.

Shape legend: B clips, Q queries, M tracks, T frames, N = H * W regions, D
width. Boxes are xyxy in pixels of the input unless a name says raw.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample

from ..features import TextFeatures, VideoFeatures, decode_boxes
from ..layers import FeedForward, FramePosition, JointLayer
from ..losses import any_positive_cross_entropy
from ..pruning import spread_frames
from .region_boxes import (
    box_distances,
    frame_sizes,
    overlapping_regions,
    positive_regions,
    true_boxes,
)
from .region_text_fit import RegionTextFit
from .span_losses import span_losses
from .tube_decoding import (
    TubeOutput,
    choose_boxes,
    clip_edges,
    decode_span,
    query_edges,
    to_original,
)


@MODELS.register_module()
class TubeHead(BaseModule):
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
        super().__init__(init_cfg)
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
        self.centre_radius = centre_radius
        self.proposal_iou = proposal_iou
        self.sigma = sigma
        self.expected_iou = expected_iou
        self.link_weight = link_weight
        self.link_candidates = link_candidates
        self.weights = dict(
            location=1.0,
            match=5.0,
            early=5.0,
            l1=5.0,
            giou=2.0,
            boundary=1.0,
            offset=1.0,
            actionness=1.0,
            action=1.0,
            track=1.0,
        )
        unknown = set(loss_weights or {}) - set(self.weights)
        if unknown:
            raise ValueError(
                f'loss_weights has unknown keys {sorted(unknown)}; known are '
                f'{sorted(self.weights)}'
            )
        self.weights.update(loss_weights or {})

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

    def _answer(
        self,
        boxes: Tensor,
        video: VideoFeatures,
        rows: Optional[Tensor] = None,
        loosely: bool = False,
    ) -> Tensor:
        """Regions that should answer for boxes.

        Args:
            boxes (Tensor): xyxy, has shape (B, T, 4), or (X, 4) with rows.
            video (VideoFeatures): B clips.
            rows (Tensor, optional): The frame in B * T of each box.
            loosely (bool): Also those that may be taken for it.

        Returns:
            Tensor: Bool, has shape (..., N).
        """

        def take(value: Tensor) -> Tensor:
            value = value.flatten(2, 3)
            return value if rows is None else value.flatten(0, 1)[rows]

        if video.proposals_BTHW4 is not None:
            least = self.proposal_iou * (0.5 if loosely else 1.0)
            chosen = overlapping_regions(
                boxes, take(video.proposals_BTHW4), least
            )
            return chosen & take(video.real_BTHW)
        return positive_regions(
            boxes,
            take(video.centres_BTHW2),
            video.stride,
            0.5 if loosely else self.centre_radius,
        )

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

    def loss(
        self,
        output: TubeOutput,
        video: VideoFeatures,
        samples: Sequence[GroundingDataSample],
        clip_of_query: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of the tubes.

        Args:
            output (TubeOutput): Of Q queries.
            video (VideoFeatures): The clip of each query.
            samples (Sequence[GroundingDataSample]): B samples with
                ``gt_queries``.
            clip_of_query (Tensor): Clip of each query, has shape (Q,).

        Returns:
            dict: ``loss_location``, ``loss_match``, ``loss_l1``,
            ``loss_giou``, ``loss_boundary``, ``loss_offset``,
            ``loss_actionness``, ``loss_early``; and ``box_iou``, the IoU at
            the true places.
        """
        num_frames = output.start_QT.shape[1]
        device = output.start_QT.device
        boxes_QT4, valid_QT = true_boxes(samples, video)
        sizes = frame_sizes(samples, device)[clip_of_query]
        losses = self._box_loss(output, video, boxes_QT4, valid_QT, sizes)
        losses['loss_match'] = self.weights['match'] * self._match_loss(
            output.location_QTN, video, boxes_QT4, valid_QT
        )
        if output.early_QTN is not None:
            losses['loss_early'] = self.weights['early'] * self._match_loss(
                output.early_QTN, video, boxes_QT4, valid_QT
            )
        edges = clip_edges(samples, num_frames, device)[clip_of_query]
        spans_Q2 = torch.cat([s.gt_queries.spans for s in samples]).to(edges)
        spans = span_losses(
            output, video.frame_mask_BT, spans_Q2, edges, self.sigma
        )
        losses.update(
            (f'loss_{name}', self.weights[name] * value)
            for name, value in spans.items()
        )
        return losses

    def _box_loss(
        self,
        output: TubeOutput,
        video: VideoFeatures,
        boxes_QT4: Tensor,
        valid_QT: Tensor,
        size_Q2: Tensor,
    ) -> dict[str, Tensor]:
        truth = boxes_QT4[valid_QT]
        positive = self._answer(boxes_QT4, video)[valid_QT]
        count = max(len(truth), 1)
        # A set of regions may lack the target where no track forced it in.
        found = positive.any(-1)
        location = any_positive_cross_entropy(
            output.location_QTN[valid_QT][found], positive[found]
        )
        share = positive / positive.sum(-1, keepdim=True).clamp(min=1)
        l1, giou, iou = box_distances(
            output.boxes_QTN4[valid_QT],
            truth,
            positive,
            share,
            size_Q2[valid_QT.nonzero()[:, 0]],
        )
        return dict(
            loss_location=self.weights['location'] * location.sum() / count,
            loss_l1=self.weights['l1'] * l1 / count,
            loss_giou=self.weights['giou'] * giou / count,
            box_iou=iou.detach() / count,
        )

    def _match_loss(
        self,
        logits: Tensor,
        video: VideoFeatures,
        boxes_QT4: Tensor,
        valid_QT: Tensor,
    ) -> Tensor:
        """Focal loss (arXiv 1708.02002): does a region show the tube?

        Regions of the same object outside its span are negatives, which is
        how the action is learned where it happens.
        """
        inside = valid_QT[..., None]
        positive = inside & self._answer(boxes_QT4, video)
        # Between the positives and the edge of the box nothing is asked.
        within = inside & self._answer(boxes_QT4, video, loosely=True)
        asked = video.real_BTHW.flatten(2) & ~(within & ~positive)
        bce = F.binary_cross_entropy_with_logits(
            logits, positive.to(logits.dtype), reduction='none'
        )
        miss = torch.where(positive, 1 - logits.sigmoid(), logits.sigmoid())
        total = (0.5 * miss**2 * bce * asked).sum()
        return total / (positive & asked).any(-1).sum().clamp(min=1)

    def action_loss(
        self,
        video: VideoFeatures,
        samples: Sequence[GroundingDataSample],
        text: TextFeatures,
        kind_Q: Tensor,
        negatives: TextFeatures,
        query_of_negative: Tensor,
    ) -> dict[str, Tensor]:
        """What the true tube does, against captions of other actions.

        See :meth:`RegionTextFit.action_loss`.

        Args:
            video (VideoFeatures): The clip of each query.
            samples (Sequence[GroundingDataSample]): With ``gt_queries``.
            text (TextFeatures): Q queries.
            kind_Q (Tensor): The action of each, see :func:`action_kinds`.
            negatives (TextFeatures): V captions with another action.
            query_of_negative (Tensor): The query of each, has shape (V,).

        Returns:
            dict: ``loss_action``; and ``action_accuracy``, the share of
            tubes whose own caption fits best.
        """
        boxes_QT4, valid_QT = true_boxes(samples, video)
        shown = valid_QT[..., None] & self._answer(boxes_QT4, video)
        shown = shown.to(video.regions_BTHWD.dtype)
        tube = torch.einsum(
            'qtn,qtnd->qd', shown, video.regions_BTHWD.flatten(2, 3)
        )
        tube = tube / shown.sum((1, 2)).clamp(min=1)[:, None]
        loss, right = self.region_text_fit.action_loss(
            tube,
            shown.any(2).any(1),
            text,
            kind_Q,
            negatives,
            query_of_negative,
        )
        return dict(
            loss_action=self.weights['action'] * loss,
            action_accuracy=right,
        )

    def _tracks(
        self, video: VideoFeatures, samples: Sequence[GroundingDataSample]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """All annotated boxes X, the frame B * T of each, and its regions."""
        num_frames = video.real_BTHW.shape[1]
        boxes, places = [], []
        for clip, sample in enumerate(samples):
            track, frame = sample.gt_tracks.valid.nonzero(as_tuple=True)
            boxes.append(sample.gt_tracks.bboxes[track, frame])
            places.append(clip * num_frames + frame)
        truth, place = torch.cat(boxes), torch.cat(places)
        centres = video.centres_BTHW2.flatten(2, 3).flatten(0, 1)[place]
        return truth, place, centres

    def regions_of_tracks(
        self, video: VideoFeatures, samples: Sequence[GroundingDataSample]
    ) -> Tensor:
        """Regions that hold the centre of an annotated object.

        Args:
            video (VideoFeatures): B clips.
            samples (Sequence[GroundingDataSample]): With ``gt_tracks``.

        Returns:
            Tensor: Bool, has shape (B, T, H, W).
        """
        truth, place, centres = self._tracks(video, samples)
        holds = positive_regions(truth, centres, video.stride, 0.0)
        held = holds.new_zeros(
            video.real_BTHW.shape[:2].numel(), holds.shape[-1], dtype=torch.int
        )
        held.index_add_(0, place, holds.int())
        return (held > 0).view(video.real_BTHW.shape)

    def track_loss(
        self, video: VideoFeatures, samples: Sequence[GroundingDataSample]
    ) -> dict[str, Tensor]:
        """Losses of the clip's own boxes on every annotated object.

        Args:
            video (VideoFeatures): B clips, with :meth:`clip_outputs`.
            samples (Sequence[GroundingDataSample]): With ``gt_tracks``.

        Returns:
            dict: ``loss_object``, ``loss_track_l1``, ``loss_track_giou``.
        """
        if video.objectness_BTHW is None or video.raw_boxes_BTHW4 is None:
            raise ValueError(
                'track_loss takes what clip_outputs gives; run it first'
            )
        truth, place, _ = self._tracks(video, samples)
        positive = self._answer(truth, video, place)
        l1, giou = self._track_boxes(video, samples, truth, place, positive)
        logits = video.objectness_BTHW.flatten(2).flatten(0, 1)
        target = torch.zeros_like(logits)
        target.index_add_(0, place, positive.to(target.dtype))
        bce = F.binary_cross_entropy_with_logits(
            logits, target.clamp(max=1), reduction='none'
        )
        real = video.real_BTHW.flatten(2).flatten(0, 1)
        objects = (bce * real).sum() / max(len(truth), 1)
        return dict(
            loss_object=self.weights['track'] * objects,
            loss_track_l1=l1,
            loss_track_giou=giou,
        )

    def refine_loss(
        self, video: VideoFeatures, samples: Sequence[GroundingDataSample]
    ) -> dict[str, Tensor]:
        """Losses of the refined boxes on every annotated object.

        Args:
            video (VideoFeatures): B clips, after :meth:`refine_boxes`.
            samples (Sequence[GroundingDataSample]): With ``gt_tracks``.

        Returns:
            dict: ``loss_refined_l1``, ``loss_refined_giou``.
        """
        truth, place, _ = self._tracks(video, samples)
        positive = self._answer(truth, video, place)
        l1, giou = self._track_boxes(video, samples, truth, place, positive)
        return dict(loss_refined_l1=l1, loss_refined_giou=giou)

    def _track_boxes(
        self,
        video: VideoFeatures,
        samples: Sequence[GroundingDataSample],
        truth: Tensor,
        place: Tensor,
        positive: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Weighted L1 and GIoU losses of the clip's own boxes."""
        told = video.boxes().flatten(2, 3).flatten(0, 1)[place]
        share = positive / positive.sum(-1, keepdim=True).clamp(min=1)
        sizes = frame_sizes(samples, told.device)
        sizes = sizes[place // video.frame_mask_BT.shape[1]]
        l1, giou, _ = box_distances(told, truth, positive, share, sizes)
        scale = self.weights['track'] / max(len(truth), 1)
        weights = self.weights
        return scale * weights['l1'] * l1, scale * weights['giou'] * giou

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
