"""Contrastive action correspondence: which frames show the named action.

The abstract of HERO says that weakly supervised contrastive learning splits
the frames into *action-consistent* and *action-independent* ones by the
semantic correspondence of video and caption. It gives no formula. We choose:
the similarity of each region to the action vector, its smooth maximum over
the regions of a frame, the mean of the best frames as the score of a (video,
caption) pair, and two terms, neither of which sees a temporal label:

- InfoNCE over the pairs of the batch in both directions, with captions in
  which only the action phrase is replaced as hard negatives; captions of the
  same action are no negatives of each other;
- the best frames are parted from the rest.

Shape legend: B clips, Q queries, V hard negatives, T frames, N regions a
frame, E width of the common space.
"""

import zlib
from typing import Optional

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, get_rank, get_world_size
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.registry import MODELS

from ..features import TextFeatures, VideoFeatures


@MODELS.register_module()
class ContrastiveActionHead(BaseModule):
    """Score frames by their correspondence with the action of a sentence.

    Args:
        embed_dims (int): Width of the features of video and text.
        common_dims (int): Width E of the common space.
        top_ratio (float): Share of the frames whose mean is the score of a
            video, and which the second term parts from the rest.
        temperature (float): Start of the learned temperature of InfoNCE.
        region_temperature (float): Of the smooth maximum over regions.
        margin (float): Wanted distance of the best frames from the rest, in
            units of cosine similarity.
        loss_weight (float): Weight of the contrastive term.
        part_weight (float): Weight of the second term, which confirms what
            the first one found and cannot find anything itself.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        embed_dims: int,
        common_dims: int = 32,
        top_ratio: float = 0.25,
        temperature: float = 0.1,
        region_temperature: float = 0.5,
        margin: float = 0.3,
        loss_weight: float = 1.0,
        part_weight: float = 0.1,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.video = nn.Linear(embed_dims, common_dims)
        self.text = nn.Linear(embed_dims, common_dims)
        self.log_scale = nn.Parameter(torch.tensor(1 / temperature).log())
        self.offset = nn.Parameter(torch.tensor(0.3))
        self.top_ratio = top_ratio
        self.region_temperature = region_temperature
        self.margin = margin
        self.loss_weight = loss_weight
        self.part_weight = part_weight

    def _scale(self) -> Tensor:
        return self.log_scale.exp().clamp(max=100)

    def _regions(self, video: VideoFeatures) -> Tensor:
        """Regions in the common space, unit length, (B, T, N, E)."""
        common = F.normalize(self.video(video.regions_BTHWD), dim=-1)
        return common.flatten(2, 3)

    def _frame_scores(self, sim: Tensor, region_mask: Tensor) -> Tensor:
        """Smooth maximum over regions: (..., T, N) to (..., T)."""
        sim = sim.masked_fill(~region_mask, -1e4)
        tau = self.region_temperature
        count = region_mask.sum(-1).clamp(min=1).log()
        return tau * (torch.logsumexp(sim / tau, dim=-1) - count)

    def forward(
        self, video: VideoFeatures, text: TextFeatures, clip_of_query: Tensor
    ) -> Tensor:
        """Score the frames of each query's clip.

        Args:
            video (VideoFeatures): B clips.
            text (TextFeatures): Q queries.
            clip_of_query (Tensor): Clip of each query, has shape (Q,).

        Returns:
            Tensor: Logits of action consistency, has shape (Q, T); their
            sigmoid is the degree in [0, 1].
        """
        regions = self._regions(video)[clip_of_query]
        action = F.normalize(self.text(text.action_QD), dim=-1)
        sim = torch.einsum('qtne,qe->qtn', regions, action)
        mask = video.real_BTHW.flatten(2)[clip_of_query]
        scores = self._frame_scores(sim, mask)
        return self._scale() * (scores - self.offset)

    def _top_mean(self, scores: Tensor, frame_mask: Tensor) -> Tensor:
        """Mean over the best frames: (..., T) to (...)."""
        scores = scores.masked_fill(~frame_mask, -1e4)
        number = (frame_mask.sum(-1) * self.top_ratio).ceil().clamp(min=1)
        ordered = scores.sort(-1, descending=True).values
        steps = torch.arange(scores.shape[-1], device=scores.device)
        chosen = (steps < number[..., None]).to(scores.dtype)
        return (ordered * chosen).sum(-1) / number

    def _pair_scores(self, video: VideoFeatures, action_VE: Tensor) -> Tensor:
        """Scores of all clips with all captions, (B, V)."""
        regions = self._regions(video)
        sim = torch.einsum('btne,ve->bvtn', regions, action_VE)
        mask = video.real_BTHW.flatten(2)[:, None]
        scores = self._frame_scores(sim, mask)
        return self._top_mean(scores, video.frame_mask_BT[:, None])

    def loss(
        self,
        video: VideoFeatures,
        text: TextFeatures,
        clip_of_query: Tensor,
        predicates: list[str],
        negatives: Optional[TextFeatures] = None,
        query_of_negative: Optional[Tensor] = None,
    ) -> dict[str, Tensor]:
        """Contrast pairs; no temporal label is used.

        Args:
            video (VideoFeatures): B clips.
            text (TextFeatures): Q queries.
            clip_of_query (Tensor): Clip of each query, has shape (Q,).
            predicates (list[str]): The action named by each query; queries
                with the same one are not contrasted.
            negatives (TextFeatures, optional): V captions in which only the
                action is replaced.
            query_of_negative (Tensor, optional): The query that each of them
                was made from, has shape (V,).

        Returns:
            dict: ``loss_action_pair`` and ``loss_action_part``.
        """
        action = F.normalize(self.text(text.action_QD), dim=-1)
        hard = None
        if negatives is not None and query_of_negative is not None:
            swapped = F.normalize(self.text(negatives.action_QD), dim=-1)
            regions = self._regions(video)[clip_of_query[query_of_negative]]
            sim = torch.einsum('vtne,ve->vtn', regions, swapped)
            clip = clip_of_query[query_of_negative]
            hard = self._top_mean(
                self._frame_scores(sim, video.real_BTHW.flatten(2)[clip]),
                video.frame_mask_BT[clip],
            )
        return dict(
            loss_action_pair=self.loss_weight
            * self._pair_loss(
                video,
                action,
                clip_of_query,
                kinds_of(predicates).to(action.device),
                hard,
                query_of_negative,
            ),
            loss_action_part=self.part_weight
            * self._part_loss(video, text, clip_of_query),
        )

    def _pair_loss(
        self,
        video: VideoFeatures,
        action_QE: Tensor,
        clip_of_query: Tensor,
        kind_Q: Tensor,
        hard_V: Optional[Tensor],
        query_of_negative: Optional[Tensor],
    ) -> Tensor:
        """Symmetric InfoNCE; captions come from all processes.

        A caption of the same action is true of another clip, too, as far as
        the action goes: it is no negative there.
        """
        captions, owner, kind = action_QE, clip_of_query, kind_Q
        if get_world_size() > 1:
            captions, owner, kind = _gather_captions(
                action_QE, clip_of_query, kind_Q, len(video.regions_BTHWD)
            )
        scores = self._scale() * self._pair_scores(video, captions)
        num_clips = len(scores)
        offset = get_rank() * num_clips if get_world_size() > 1 else 0
        rows = torch.arange(num_clips, device=scores.device) + offset
        own = rows[:, None] == owner
        # Caption to videos: which clip of the batch does it speak of?
        mine = ((owner >= offset) & (owner < offset + num_clips)).nonzero()
        mine = mine.squeeze(1)
        # Clips with another caption of this action do not count.
        same_kind = kind[:, None] == kind
        shared = (own.to(scores.dtype) @ same_kind.to(scores.dtype)) > 0
        rivals = scores.masked_fill(shared & ~own, float('-inf'))
        to_video = F.cross_entropy(rivals.t()[mine], owner[mine] - offset)
        # Video to captions: its own one against those of other videos and
        # those made from it; other captions of the video are true as well.
        positive = scores[own]
        clip, caption = own.nonzero(as_tuple=True)
        others = scores.masked_fill(own, float('-inf'))[clip]
        others = others.masked_fill(same_kind[caption], float('-inf'))
        logits = torch.cat([positive[:, None], others], dim=1)
        if hard_V is not None and query_of_negative is not None:
            place = caption.new_full((len(captions),), -1)
            place[caption] = torch.arange(len(caption), device=place.device)
            first = mine.min() if len(mine) else 0
            hard = torch.full_like(positive, float('-inf'))[:, None]
            width = torch.bincount(query_of_negative).max()
            hard = hard.repeat(1, int(width))
            column = _rank_in_group(query_of_negative)
            row = place[query_of_negative + first]
            hard = hard.index_put((row, column), self._scale() * hard_V)
            logits = torch.cat([logits, hard], dim=1)
        target = torch.zeros_like(clip)
        return (to_video + F.cross_entropy(logits, target)) / 2

    def _part_loss(
        self, video: VideoFeatures, text: TextFeatures, clip_of_query: Tensor
    ) -> Tensor:
        """Best frames against the rest of the same video."""
        logits = self.forward(video, text, clip_of_query)
        scores = logits / self._scale() + self.offset
        mask = video.frame_mask_BT[clip_of_query]
        best = self._top_mean(scores, mask)
        count = mask.sum(-1)
        number = (count * self.top_ratio).ceil().clamp(min=1)
        total = (scores * mask).sum(-1)
        rest = (total - best * number) / (count - number).clamp(min=1)
        has_rest = (count > number).to(scores.dtype)
        return (F.relu(self.margin - (best - rest)) * has_rest).mean()


def _rank_in_group(group: Tensor) -> Tensor:
    """Number the members of each group from 0: [3, 3, 5] to [0, 1, 0]."""
    same = group[:, None] == group
    return torch.tril(same, diagonal=-1).sum(1)


def kinds_of(predicates: list[str]) -> Tensor:
    """Number actions, alike in all processes."""
    return torch.tensor([zlib.crc32(name.encode()) for name in predicates])


def _gather_captions(
    action_QE: Tensor, clip_of_query: Tensor, kind_Q: Tensor, num_clips: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Captions of all processes; those of the others carry no gradient."""
    sizes = all_gather(torch.tensor([len(action_QE)], device=action_QE.device))
    longest = int(torch.stack(list(sizes)).max())
    grow = longest - len(action_QE)
    captions = all_gather(F.pad(action_QE.detach(), (0, 0, 0, grow)))
    owners = all_gather(F.pad(clip_of_query, (0, grow)))
    kinds = all_gather(F.pad(kind_Q, (0, grow)))
    captions[get_rank()] = F.pad(action_QE, (0, 0, 0, grow))
    parts = [c[: int(n)] for c, n in zip(captions, sizes)]
    owner = [
        o[: int(n)] + rank * num_clips
        for rank, (o, n) in enumerate(zip(owners, sizes))
    ]
    kind = [k[: int(n)] for k, n in zip(kinds, sizes)]
    return torch.cat(parts), torch.cat(owner), torch.cat(kind)
