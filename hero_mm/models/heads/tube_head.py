"""Tube head: one box a frame and one time span a query.

Dense form: every region of a frame scores the query and regresses a box; the
span comes from the start and end distributions over the frame grid with
continuous offsets inside the bins. Boxes are regressed in two parts, one of
the clip, trained on every annotated object, and one of the query.

Shape legend: B clips, Q queries, M tracks, T frames, N = H * W regions, D
width. Boxes are xyxy in pixels of the input unless a name says raw.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample

from ..features import TextFeatures, VideoFeatures
from ..layers import FeedForward, FramePosition, JointLayer
from ..losses import any_positive_cross_entropy, boundary_kl, box_iou_pairs
from ..pruning import spread_frames
from .frame_grid import bin_edges, bin_of, from_bins, to_bins


@dataclass
class TubeOutput:
    """What the head says before decoding.

    Attributes:
        location_QTN (Tensor): Logits of the regions, -1e4 on padding: which
            one of its frame shows the object (softmax), and whether it shows
            it in the span (sigmoid).
        boxes_QTN4 (Tensor): The box that each region would give.
        start_QT, end_QT (Tensor): Logits of the boundaries' bins, -inf on
            padding.
        offsets_QT2 (Tensor): Place of start and end in each bin, in [0, 1].
        actionness_QT (Tensor): Logits of "the frame lies in the span".
        kept_QS (Tensor, optional): Where frames were left out, the numbers
            of those that the T of the other fields stands for.
    """

    location_QTN: Tensor
    boxes_QTN4: Tensor
    start_QT: Tensor
    end_QT: Tensor
    offsets_QT2: Tensor
    actionness_QT: Tensor
    kept_QS: Optional[Tensor] = None


def decode_boxes(
    raw: Tensor, centres: Tensor, stride: tuple[float, float]
) -> Tensor:
    """Boxes from offsets of the centre and logarithms of the size.

    Args:
        raw (Tensor): In units of the stride, has shape (..., N, 4).
        centres (Tensor): Centres of the regions, has shape (..., N, 2).
        stride (tuple[float, float]): Pixels a region covers, (x, y).

    Returns:
        Tensor: Boxes xyxy in pixels, has shape (..., N, 4).
    """
    unit = raw.new_tensor(stride)
    centre = centres + raw[..., :2] * unit
    half = raw[..., 2:].clamp(-5, 5).exp() * unit / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def positive_regions(
    boxes: Tensor,
    centres: Tensor,
    stride: tuple[float, float],
    radius: float,
) -> Tensor:
    """Regions that should answer for a box.

    The region that holds the centre of the box, so that the smallest box has
    one, and those whose centre is near it, measured in sizes of the box.

    Args:
        boxes (Tensor): Boxes xyxy in pixels, has shape (..., 4).
        centres (Tensor): Centres of the regions, has shape (..., N, 2).
        stride (tuple[float, float]): Pixels a region covers, (x, y).
        radius (float): Nearness, 0.5 reaches to the edge of the box.

    Returns:
        Tensor: Bool, has shape (..., N).
    """
    middle = (boxes[..., None, :2] + boxes[..., None, 2:]) / 2
    reach = (boxes[..., None, 2:] - boxes[..., None, :2]) * radius
    half = boxes.new_tensor(stride) / 2
    return ((centres - middle).abs() <= torch.maximum(reach, half)).all(-1)


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
        sigma (float): Width of the boundary targets, in bins.
        actionness_decode (float): Weight of the per-frame actionness when
            the span is chosen; 0 leaves it out.
        link_weight (float): How strongly the boxes of neighbouring frames
            must overlap when the tube is linked (Viterbi); 0 takes the best
            region of each frame alone.
        link_candidates (int): Regions a frame that take part in linking.
        loss_weights (dict, optional): Overrides of the weights of
            ``location``, ``match``, ``l1``, ``giou``, ``boundary``,
            ``offset``, ``actionness``, ``action``, ``track``.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        embed_dims: int,
        num_span_layers: int = 2,
        num_heads: int = 4,
        centre_radius: float = 0.25,
        sigma: float = 1.0,
        actionness_decode: float = 0.0,
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
        self.span_in = nn.Linear(2 * embed_dims, embed_dims)
        self.consistency_in = nn.Parameter(torch.zeros(embed_dims))
        self.match_in = nn.Parameter(torch.full((embed_dims,), 0.02))
        self.position = FramePosition(embed_dims)
        self.span_layers = nn.ModuleList(
            JointLayer(embed_dims, num_heads, 2.0)
            for _ in range(num_span_layers)
        )
        self.span_norm = nn.LayerNorm(embed_dims)
        self.tube_action = nn.Linear(embed_dims, embed_dims)
        self.text_action = nn.Linear(embed_dims, embed_dims)
        self.action_scale = nn.Parameter(torch.tensor(10.0).log())
        self.span_out = nn.Linear(embed_dims, 5)
        self.centre_radius = centre_radius
        self.sigma = sigma
        self.actionness_decode = actionness_decode
        self.link_weight = link_weight
        self.link_candidates = link_candidates
        self.weights = dict(
            location=1.0,
            match=1.0,
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
            video (VideoFeatures): B clips.

        Returns:
            VideoFeatures: With ``objectness_BTHW`` and ``raw_boxes_BTHW4``.
        """
        regions = video.regions_BTHWD
        out = self.clip_out(regions + self.clip_box(regions))
        return replace(
            video, objectness_BTHW=out[..., 0], raw_boxes_BTHW4=out[..., 1:]
        )

    def forward(
        self,
        regions_QTHWD: Tensor,
        frames_QTD: Tensor,
        video: VideoFeatures,
        text: TextFeatures,
        consistency_QT: Optional[Tensor],
    ) -> TubeOutput:
        """Score regions, regress boxes and boundaries.

        Args:
            regions_QTHWD (Tensor): Reasoned regions.
            frames_QTD (Tensor): Reasoned frame tokens.
            video (VideoFeatures): The clip of each query, with
                :meth:`clip_outputs`.
            text (TextFeatures): The queries.
            consistency_QT (Tensor, optional): Logits of action consistency.

        Returns:
            TubeOutput: Before decoding.
        """
        real_T = video.frame_mask_BT
        regions = self.norm(regions_QTHWD).flatten(2, 3)
        sentence = self.sentence(text.sentence_QD)
        match = torch.einsum('qtnd,qd->qtn', regions, sentence)
        location = self.location(regions).squeeze(-1)
        location = location + match / regions.shape[-1] ** 0.5
        location = location.masked_fill(~video.real_BTHW.flatten(2), -1e4)
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
        )

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
            ``loss_actionness``; and ``box_iou``, the IoU at the true places.
        """
        num_frames = output.start_QT.shape[1]
        device = output.start_QT.device
        boxes_QT4, valid_QT = _true_boxes(samples, video)
        losses = self._box_loss(output, video, boxes_QT4, valid_QT)
        losses['loss_match'] = self.weights['match'] * self._match_loss(
            output, video, boxes_QT4, valid_QT
        )
        edges = _edges(samples, num_frames, device)[clip_of_query]
        spans_Q2 = torch.cat([s.gt_queries.spans for s in samples]).to(edges)
        losses.update(self._span_loss(output, video, spans_Q2, edges))
        return losses

    def _box_loss(
        self,
        output: TubeOutput,
        video: VideoFeatures,
        boxes_QT4: Tensor,
        valid_QT: Tensor,
    ) -> dict[str, Tensor]:
        centres = video.centres_BTHW2.flatten(2, 3)[valid_QT]
        truth = boxes_QT4[valid_QT]
        positive = positive_regions(
            truth, centres, video.stride, self.centre_radius
        )
        count = max(len(truth), 1)
        # A set of regions may lack the target where no track forced it in.
        found = positive.any(-1)
        location = any_positive_cross_entropy(
            output.location_QTN[valid_QT][found], positive[found]
        )
        share = positive / positive.sum(-1, keepdim=True).clamp(min=1)
        l1, giou, iou = _box_distances(
            output.boxes_QTN4[valid_QT], truth, positive, share, video
        )
        return dict(
            loss_location=self.weights['location'] * location.sum() / count,
            loss_l1=self.weights['l1'] * l1 / count,
            loss_giou=self.weights['giou'] * giou / count,
            box_iou=iou.detach() / count,
        )

    def _match_loss(
        self,
        output: TubeOutput,
        video: VideoFeatures,
        boxes_QT4: Tensor,
        valid_QT: Tensor,
    ) -> Tensor:
        """Focal loss (arXiv 1708.02002): does a region show the tube?

        Regions of the same object outside its span are negatives, which is
        how the action is learned where it happens.
        """
        logits = output.location_QTN
        centres = video.centres_BTHW2.flatten(2, 3)
        inside = valid_QT[..., None]
        positive = inside & positive_regions(
            boxes_QT4, centres, video.stride, self.centre_radius
        )
        # Between the positives and the edge of the box nothing is asked.
        within = inside & positive_regions(
            boxes_QT4, centres, video.stride, 0.5
        )
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
        negatives: TextFeatures,
        query_of_negative: Tensor,
    ) -> dict[str, Tensor]:
        """What the true tube does, against captions of other actions.

        The regions of the true tube, before they meet any word, must fit
        the action of their caption better than those of the captions in
        which only the action is replaced: looks cannot tell these apart.

        Args:
            video (VideoFeatures): The clip of each query.
            samples (Sequence[GroundingDataSample]): With ``gt_queries``.
            text (TextFeatures): Q queries.
            negatives (TextFeatures): V captions with another action.
            query_of_negative (Tensor): The query of each, has shape (V,).

        Returns:
            dict: ``loss_action``; and ``action_accuracy``, the share of
            tubes whose own caption fits best.
        """
        boxes_QT4, valid_QT = _true_boxes(samples, video)
        centres = video.centres_BTHW2.flatten(2, 3)
        shown = valid_QT[..., None] & positive_regions(
            boxes_QT4, centres, video.stride, self.centre_radius
        )
        shown = shown.to(video.regions_BTHWD.dtype)
        tube = torch.einsum(
            'qtn,qtnd->qd', shown, video.regions_BTHWD.flatten(2, 3)
        )
        tube = tube / shown.sum((1, 2)).clamp(min=1)[:, None]
        tube = F.normalize(self.tube_action(tube), dim=-1)
        own = F.normalize(self.text_action(text.action_QD), dim=-1)
        other = F.normalize(self.text_action(negatives.action_QD), dim=-1)
        # Up to 40 the exponentials below stay finite.
        scale = self.action_scale.exp().clamp(max=40)
        own_Q = scale * (tube * own).sum(-1)
        other_V = scale * (tube[query_of_negative] * other).sum(-1)
        if own_Q.dtype in (torch.float16, torch.bfloat16):
            own_Q, other_V = own_Q.float(), other_V.float()
        total = own_Q.exp().index_add(0, query_of_negative, other_V.exp())
        asked = torch.zeros_like(own_Q).index_fill(0, query_of_negative, 1.0)
        count = asked.sum().clamp(min=1)
        loss = ((total.log() - own_Q) * asked).sum() / count
        beaten = torch.zeros_like(own_Q).index_add(
            0,
            query_of_negative,
            (other_V >= own_Q[query_of_negative]).to(own_Q),
        )
        right = ((beaten == 0) * asked).sum() / count
        return dict(
            loss_action=self.weights['action'] * loss,
            action_accuracy=right.detach(),
        )

    def _span_loss(
        self,
        output: TubeOutput,
        video: VideoFeatures,
        spans_Q2: Tensor,
        edges_QT1: Tensor,
    ) -> dict[str, Tensor]:
        num_bins = output.start_QT.shape[1]
        boundary = output.start_QT.new_zeros(())
        offset = output.start_QT.new_zeros(())
        logits = (output.start_QT, output.end_QT)
        for side in (0, 1):
            place = to_bins(spans_Q2[:, side], edges_QT1, bool(side))
            index = bin_of(place, bool(side), num_bins)
            # The target is centred where the boundary is, not at its bin.
            boundary = boundary + boundary_kl(
                logits[side], place - 0.5, self.sigma
            )
            told = output.offsets_QT2[..., side].gather(1, index[:, None])
            offset = offset + (told.squeeze(1) - (place - index)).abs()
        mask = video.frame_mask_BT
        middle = (edges_QT1[:, 1:] + edges_QT1[:, :-1]) / 2
        inside = (middle >= spans_Q2[:, :1]) & (middle < spans_Q2[:, 1:])
        actionness = F.binary_cross_entropy_with_logits(
            output.actionness_QT, inside.float(), reduction='none'
        )
        return dict(
            loss_boundary=self.weights['boundary'] * boundary.mean(),
            loss_offset=self.weights['offset'] * offset.mean(),
            loss_actionness=self.weights['actionness']
            * (actionness * mask).sum()
            / mask.sum(),
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
        truth, place, centres = self._tracks(video, samples)
        positive = positive_regions(
            truth, centres, video.stride, self.centre_radius
        )
        logits = video.objectness_BTHW.flatten(2).flatten(0, 1)
        target = torch.zeros_like(logits)
        target.index_add_(0, place, positive.to(target.dtype))
        bce = F.binary_cross_entropy_with_logits(
            logits, target.clamp(max=1), reduction='none'
        )
        real = video.real_BTHW.flatten(2).flatten(0, 1)
        raw = video.raw_boxes_BTHW4.flatten(2, 3).flatten(0, 1)[place]
        told = decode_boxes(raw, centres, video.stride)
        share = positive / positive.sum(-1, keepdim=True).clamp(min=1)
        l1, giou, _ = _box_distances(told, truth, positive, share, video)
        count = max(len(truth), 1)
        weight = self.weights['track']
        return dict(
            loss_object=weight * (bce * real).sum() / count,
            loss_track_l1=weight * self.weights['l1'] * l1 / count,
            loss_track_giou=weight * self.weights['giou'] * giou / count,
        )

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
        spans, span_scores = self._decode_span(
            output, _query_edges(output, samples, clip_of_query)
        )
        boxes, scores = self._decode_boxes(output)
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
                    bboxes=_to_original(boxes[mine, :length], sample),
                    scores=scores[mine, :length],
                    span_scores=span_scores[mine],
                    action_consistency=consistency[mine, :length],
                )
            )
        return results

    def _decode_span(
        self, output: TubeOutput, edges_QT1: Tensor
    ) -> tuple[Tensor, Tensor]:
        # Off the very edges, so that no span is empty.
        offsets = output.offsets_QT2.float().clamp(1e-4, 1 - 1e-4)
        start = output.start_QT.float().log_softmax(-1)
        end = output.end_QT.float().log_softmax(-1)
        num_bins = start.shape[1]
        joint = start[:, :, None] + end[:, None]
        if self.actionness_decode:
            frame = output.actionness_QT.float()
            gain = F.logsigmoid(frame) - F.logsigmoid(-frame)
            total = F.pad(gain.cumsum(1), (1, 0))
            inside = total[:, None, 1:] - total[:, :-1, None]
            joint = joint + self.actionness_decode * inside
        order = torch.ones(
            num_bins, num_bins, dtype=torch.bool, device=joint.device
        ).triu()
        # Start and end in one bin need their offsets in order.
        ordered = offsets[..., 0] < offsets[..., 1]
        allowed = order & (
            ~torch.eye(num_bins, device=joint.device).bool()
            | torch.diag_embed(ordered)
        )
        joint = joint.masked_fill(~allowed, float('-inf'))
        best = joint.flatten(1)
        # A clip of one frame whose offsets are out of order: all of it.
        none = best.isneginf().all(1)
        index = best.argmax(1)
        first, last = index // num_bins, index % num_bins
        low = offsets[..., 0].gather(1, first[:, None]).squeeze(1)
        high = offsets[..., 1].gather(1, last[:, None]).squeeze(1)
        low = low.masked_fill(none, 0.0)
        high = high.masked_fill(none, 1.0)
        spans = torch.stack(
            [
                from_bins(first, low, edges_QT1),
                from_bins(last, high, edges_QT1),
            ],
            dim=-1,
        )
        score = best.gather(1, index[:, None]).squeeze(1)
        return spans, score.masked_fill(none, 0.0).exp().clamp(max=1)

    def _decode_boxes(self, output: TubeOutput) -> tuple[Tensor, Tensor]:
        """Choose a region a frame; returns (Q, T, 4) and (Q, T)."""
        log_prob = output.location_QTN.float().log_softmax(-1)
        number = min(self.link_candidates, log_prob.shape[-1])
        if not self.link_weight:
            number = 1
        best, index = log_prob.topk(number, dim=-1)
        boxes = output.boxes_QTN4.float().gather(
            2, index[..., None].expand(-1, -1, -1, 4)
        )
        # Padding comes last and must not pull at the frames before it.
        real = ~output.start_QT.isneginf()
        choice = _link(best, boxes, self.link_weight * real)
        picked = boxes.gather(2, choice[..., None, None].expand(-1, -1, 1, 4))
        score = best.gather(2, choice[..., None]).squeeze(-1).exp()
        return picked.squeeze(2), score


def _edges(
    samples: Sequence[GroundingDataSample],
    num_frames: int,
    device: torch.device,
) -> Tensor:
    return bin_edges(
        [s.frame_inds for s in samples],
        [s.segment for s in samples],
        num_frames,
    ).to(device)


def _true_boxes(
    samples: Sequence[GroundingDataSample], video: VideoFeatures
) -> tuple[Tensor, Tensor]:
    """Boxes (Q, T, 4) and validity (Q, T) of the true tubes, padded to T."""
    num_frames = video.frame_mask_BT.shape[1]
    boxes, valid = [], []
    for sample in samples:
        truth = sample.gt_queries
        grow = num_frames - truth.bboxes.shape[1]
        boxes.append(F.pad(truth.bboxes, (0, 0, 0, grow)))
        valid.append(F.pad(truth.valid, (0, grow)))
    return torch.cat(boxes), torch.cat(valid)


def _query_edges(
    output: TubeOutput,
    samples: Sequence[GroundingDataSample],
    clip_of_query: Tensor,
) -> Tensor:
    """Edges of the bins of each query, of its kept frames only."""
    num_frames = output.start_QT.shape[1]
    device = output.start_QT.device
    if output.kept_QS is None:
        return _edges(samples, num_frames, device)[clip_of_query]
    inds, segments = [], []
    for clip, kept in zip(
        clip_of_query.tolist(), output.kept_QS.cpu().numpy()
    ):
        frame_inds = samples[clip].frame_inds
        inds.append(frame_inds[kept[kept < len(frame_inds)]])
        segments.append(samples[clip].segment)
    return bin_edges(inds, segments, num_frames).to(device)


def _box_distances(
    told_XN4: Tensor,
    truth_X4: Tensor,
    positive_XN: Tensor,
    share_XN: Tensor,
    video: VideoFeatures,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of L1 (in frame sizes), 1 - GIoU and IoU at the true places."""
    rows = positive_XN.nonzero(as_tuple=True)[0]
    told, truth = told_XN4[positive_XN], truth_X4[rows]
    share = share_XN[positive_XN]
    size = told.new_tensor(video.frame_size).repeat(2)
    l1 = ((told - truth).abs() / size).sum(-1)
    iou, giou = box_iou_pairs(told, truth)
    return (
        (l1 * share).sum(),
        ((1 - giou) * share).sum(),
        (iou * share).sum(),
    )


def _link(
    log_prob_QTC: Tensor, boxes_QTC4: Tensor, weight_QT: Tensor
) -> Tensor:
    """Viterbi over candidates: likely regions whose boxes overlap in time.

    ``weight_QT`` says how much a frame must overlap the one before it.
    """
    num_frames = log_prob_QTC.shape[1]
    score = log_prob_QTC[:, 0]
    back = []
    for frame in range(1, num_frames):
        iou, _ = box_iou_pairs(
            boxes_QTC4[:, frame - 1, :, None], boxes_QTC4[:, frame, None]
        )
        weight = weight_QT[:, frame, None, None]
        step, origin = (score[:, :, None] + weight * iou).max(1)
        back.append(origin)
        score = step + log_prob_QTC[:, frame]
    choice = [score.argmax(-1)]
    for origin in reversed(back):
        choice.append(origin.gather(1, choice[-1][:, None]).squeeze(1))
    return torch.stack(choice[::-1], dim=1)


def _to_original(boxes: Tensor, sample: GroundingDataSample) -> Tensor:
    """From pixels of the input to those of the original video, clipped."""
    height, width = sample.img_shape
    x1, y1, x2, y2 = sample.crop_box
    if sample.get('flip', False):
        boxes = boxes[..., [2, 1, 0, 3]] * boxes.new_tensor([-1, 1, -1, 1])
        boxes = boxes + boxes.new_tensor([width, 0, width, 0])
    scale = boxes.new_tensor([(x2 - x1) / width, (y2 - y1) / height])
    boxes = boxes * scale.repeat(2) + boxes.new_tensor([x1, y1, x1, y1])
    ori_height, ori_width = sample.ori_shape
    limit = boxes.new_tensor([ori_width, ori_height] * 2)
    return torch.minimum(boxes.clamp(min=0), limit)
