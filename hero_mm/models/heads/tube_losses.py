"""What the tube head is trained with, apart from its layers.

Shape legend: B clips, Q queries, X annotated boxes, T frames, N regions a
frame, D width. Boxes are xyxy in pixels of the input.
"""

from collections.abc import Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from hero_mm.structures import GroundingDataSample

from ..features import TextFeatures, VideoFeatures
from ..losses import any_positive_cross_entropy
from .region_boxes import (
    box_distances,
    frame_sizes,
    overlapping_regions,
    positive_regions,
    true_boxes,
)
from .region_text_fit import RegionTextFit
from .span_losses import span_losses
from .tube_decoding import TubeOutput, clip_edges


class TubeLosses(BaseModule):
    """Base of :class:`TubeHead`: its losses and their weights.

    Args:
        centre_radius (float): Which regions answer for a box, see
            :func:`positive_regions`.
        proposal_iou (float): Which proposals do.
        sigma (float): Width of the boundary targets, in bins.
        loss_weights (dict, optional): Overrides of the weights.
        init_cfg (dict, optional): Initialization config.
    """

    region_text_fit: RegionTextFit

    def __init__(
        self,
        centre_radius: float,
        proposal_iou: float,
        sigma: float,
        loss_weights: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.centre_radius = centre_radius
        self.proposal_iou = proposal_iou
        self.sigma = sigma
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
