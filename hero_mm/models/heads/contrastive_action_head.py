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
from collections.abc import Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, get_rank, get_world_size
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample

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

    def _actions(self, text: TextFeatures) -> Tensor:
        """Actions in the common space, unit length, (V, E)."""
        return F.normalize(self.text(text.action_QD), dim=-1)

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
        scores = self._own_scores(
            self._regions(video), video, self._actions(text), clip_of_query
        )
        return self._scale() * (scores - self.offset)

    def _own_scores(
        self,
        regions_BTNE: Tensor,
        video: VideoFeatures,
        action_VE: Tensor,
        clip_V: Tensor,
    ) -> Tensor:
        """Scores of the frames of one clip a caption, (V, T)."""
        sim = torch.einsum('vtne,ve->vtn', regions_BTNE[clip_V], action_VE)
        return self._frame_scores(sim, video.real_BTHW.flatten(2)[clip_V])

    def _top_mean(self, scores: Tensor, frame_mask: Tensor) -> Tensor:
        """Mean over the best frames: (..., T) to (...)."""
        scores = scores.masked_fill(~frame_mask, -1e4)
        number = (frame_mask.sum(-1) * self.top_ratio).ceil().clamp(min=1)
        ordered = scores.sort(-1, descending=True).values
        steps = torch.arange(scores.shape[-1], device=scores.device)
        chosen = (steps < number[..., None]).to(scores.dtype)
        return (ordered * chosen).sum(-1) / number

    def _pair_scores(
        self, regions_BTNE: Tensor, video: VideoFeatures, action_VE: Tensor
    ) -> Tensor:
        """Scores of all clips with all captions, (B, V)."""
        sim = torch.einsum('btne,ve->bvtn', regions_BTNE, action_VE)
        scores = self._frame_scores(sim, video.real_BTHW.flatten(2)[:, None])
        return self._top_mean(scores, video.frame_mask_BT[:, None])

    def loss(
        self,
        video: VideoFeatures,
        text: TextFeatures,
        clip_of_query: Tensor,
        kind_Q: Tensor,
        negatives: Optional[TextFeatures] = None,
        query_of_negative: Optional[Tensor] = None,
    ) -> dict[str, Tensor]:
        """Contrast pairs; no temporal label is used.

        Args:
            video (VideoFeatures): B clips.
            text (TextFeatures): Q queries, clip by clip.
            clip_of_query (Tensor): Clip of each query, has shape (Q,).
            kind_Q (Tensor): The action named by each query, see
                :func:`action_kinds`; queries with the same one are not
                contrasted.
            negatives (TextFeatures, optional): V captions in which only the
                action is replaced.
            query_of_negative (Tensor, optional): The query that each of them
                was made from, has shape (V,).

        Returns:
            dict: ``loss_action_pair`` and ``loss_action_part``.
        """
        regions, action = self._regions(video), self._actions(text)
        hard = action.new_zeros(len(action), 0)
        if negatives is not None and query_of_negative is not None:
            clip = clip_of_query[query_of_negative]
            frames = self._own_scores(
                regions, video, self._actions(negatives), clip
            )
            # Scaled before the gaps are filled: the gradient of 0 x inf is
            # no number.
            score = self._scale() * self._top_mean(
                frames, video.frame_mask_BT[clip]
            )
            hard = _in_rows(score, query_of_negative, len(action))
        pair = self._pair_loss(
            regions, video, action, clip_of_query, kind_Q, hard
        )
        part = self._part_loss(
            self._own_scores(regions, video, action, clip_of_query),
            video.frame_mask_BT[clip_of_query],
        )
        return dict(
            loss_action_pair=self.loss_weight * pair,
            loss_action_part=self.part_weight * part,
        )

    def _pair_loss(
        self,
        regions_BTNE: Tensor,
        video: VideoFeatures,
        action_QE: Tensor,
        clip_of_query: Tensor,
        kind_Q: Tensor,
        hard_QX: Tensor,
    ) -> Tensor:
        """Symmetric InfoNCE; captions come from all processes.

        A caption of the same action is true of another clip, too, as far as
        the action goes: it is no negative there.
        """
        num_clips = len(regions_BTNE)
        action_VE, owner_V, kind_V, mine = action_QE, clip_of_query, kind_Q, 0
        if get_world_size() > 1:
            action_VE, owner_V, kind_V, mine = _gather_captions(
                action_QE, clip_of_query, kind_Q, num_clips
            )
        scores = self._pair_scores(regions_BTNE, video, action_VE)
        scores_BV = self._scale() * scores
        queries = torch.arange(len(action_QE), device=action_QE.device)
        same_QV = kind_Q[:, None] == kind_V
        clips = torch.arange(num_clips, device=owner_V.device)
        owned_BV = clips[:, None] == owner_V
        # Caption to videos: which clip of the batch does it speak of? Clips
        # with another caption of this action do not count.
        shared_QB = same_QV.to(scores) @ owned_BV.t().to(scores) > 0
        shared_QB &= clips != clip_of_query[:, None]
        rivals_QB = scores_BV.t()[mine + queries]
        rivals_QB = rivals_QB.masked_fill(shared_QB, float('-inf'))
        to_video = F.cross_entropy(rivals_QB, clip_of_query)
        # Video to captions: its own one against those of other videos and
        # those made from it; other captions of the video are true as well.
        others_QV = scores_BV[clip_of_query].masked_fill(
            owned_BV[clip_of_query] | same_QV, float('-inf')
        )
        own_Q = scores_BV[clip_of_query, mine + queries]
        logits = torch.cat([own_Q[:, None], others_QV, hard_QX], dim=1)
        to_caption = F.cross_entropy(logits, torch.zeros_like(queries))
        return (to_video + to_caption) / 2

    def _part_loss(self, scores_QT: Tensor, mask_QT: Tensor) -> Tensor:
        """Best frames against the rest of the same video."""
        best = self._top_mean(scores_QT, mask_QT)
        count = mask_QT.sum(-1)
        number = (count * self.top_ratio).ceil().clamp(min=1)
        total = (scores_QT * mask_QT).sum(-1)
        rest = (total - best * number) / (count - number).clamp(min=1)
        has_rest = (count > number).to(best.dtype)
        return (F.relu(self.margin - (best - rest)) * has_rest).mean()


def action_kinds(samples: Sequence[GroundingDataSample]) -> Tensor:
    """Number the actions of sentences, alike in all processes.

    A sentence whose action is not annotated (an empty predicate) may name
    the same one as the other sentences of its clip, and is taken to name
    another one than those of other clips.

    Args:
        samples (Sequence[GroundingDataSample]): B samples with
            ``queries.predicates``.

    Returns:
        Tensor: int64, has shape (Q,).
    """
    first = get_rank() * 2**20 + 1
    return torch.tensor(
        [
            zlib.crc32(name.encode()) if name else -(first + clip)
            for clip, sample in enumerate(samples)
            for name in sample.queries.predicates
        ],
        dtype=torch.long,
    )


def _in_rows(value_V: Tensor, row_V: Tensor, num_rows: int) -> Tensor:
    """Values side by side in their rows, -inf where there are fewer."""
    place = _rank_in_group(row_V)
    width = int(place.max()) + 1 if len(place) else 0
    rows = value_V.new_full((num_rows, width), float('-inf'))
    return rows.index_put((row_V, place), value_V)


def _rank_in_group(group: Tensor) -> Tensor:
    """Number the members of each group from 0: [3, 3, 5] to [0, 1, 0]."""
    same = group[:, None] == group
    return torch.tril(same, diagonal=-1).sum(1)


def _gather_captions(
    action_QE: Tensor, clip_of_query: Tensor, kind_Q: Tensor, num_clips: int
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Captions of all processes; those of the others carry no gradient.

    Returns actions, owners (clips of this process count from 0), kinds, and
    the place of the first caption of this process.
    """
    numbers = torch.tensor([len(action_QE), num_clips])
    sizes = torch.stack(all_gather(numbers.to(action_QE.device))).tolist()
    rank = get_rank()
    before = [sum(size[1] for size in sizes[:at]) for at in range(len(sizes))]
    grow = max(size[0] for size in sizes) - len(action_QE)
    actions = all_gather(F.pad(action_QE.detach(), (0, 0, 0, grow)))
    owners = all_gather(F.pad(clip_of_query, (0, grow)))
    kinds = all_gather(F.pad(kind_Q, (0, grow)))
    actions[rank] = F.pad(action_QE, (0, 0, 0, grow))
    owners = [one + at - before[rank] for one, at in zip(owners, before)]
    action_VE, owner_V, kind_V = (
        torch.cat([part[: size[0]] for part, size in zip(parts, sizes)])
        for parts in (actions, owners, kinds)
    )
    return action_VE, owner_V, kind_V, sum(n for n, _ in sizes[:rank])
