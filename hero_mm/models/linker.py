"""Linking: regions of neighbouring frames become slots that follow objects.

One-to-one assignments between frames 1, 2, ... apart, all of them at once, and
then a slot for each chain of regions, without a loop over the frames.

Shape legend: B clips, T frames, N regions a frame, S slots, D width.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from hero_mm.errors import UserError
from hero_mm.registry import MODELS

from .features import Pyramid
from .regions import Regions, read_centres

# What a cosine distance of 1 between features costs, in squared sizes of a
# box.
APPEARANCE = 0.5
# Pairs that cost more are not linked; those of half of it go first.
MAX_COST = 3.0


def mutual_best(score: Tensor, rounds: int = 3) -> Tensor:
    """Assign rows and columns one to one, the best pairs first.

    Of scores (..., R, C), allowed from 0 on. In each round, those that are
    each other's best are paired. Gives the row of each column, or -1.
    """
    row_of = score.new_full(score.shape[:-2] + score.shape[-1:], -1.0).long()
    for left in reversed(range(rounds)):
        best_row, row = score.max(-2)
        column = score.argmax(-1)
        places = torch.arange(score.shape[-1], device=score.device)
        mutual = (column.gather(-1, row) == places) & (best_row >= 0)
        row_of = torch.where(mutual, row, row_of)
        if not left:
            break
        # Paired rows and columns take no further part.
        taken = torch.zeros_like(score[..., 0], dtype=torch.bool)
        taken = _mark(taken, row, mutual)
        score = score.masked_fill(
            taken[..., None] | mutual[..., None, :], -1.0
        )
    return row_of


def _mark(flags: Tensor, index: Tensor, value: Tensor) -> Tensor:
    """Flags like (..., R), True at index (..., C) where value is True."""
    count = torch.zeros_like(flags, dtype=torch.long)
    return count.scatter_add(-1, index, value.long()) > 0


@MODELS.register_module()
class RegionLinker(BaseModule):
    """Put the regions of a clip into ``num_slots`` slots.

    A slot may pause for up to ``max_gap - 1`` frames and keep its place.
    """

    def __init__(self, num_slots: int, max_gap: int = 8) -> None:
        super().__init__()
        if min(num_slots, max_gap) < 1:
            raise UserError(
                'num_slots and max_gap must be at least 1; got '
                f'{num_slots} and {max_gap}'
            )
        self.num_slots = num_slots
        self.max_gap = max_gap

    @torch.no_grad()
    def forward(self, regions: Regions, pyramid: Pyramid) -> Regions:
        """N regions a frame to S slots, of which empty ones are masked.

        ValueError where there are fewer slots than regions.
        """
        number = regions.mask_BTN.shape[-1]
        if number > self.num_slots:
            raise UserError(
                f'{number} regions a frame do not fit into num_slots='
                f'{self.num_slots}: set model.linker.num_slots to at least '
                'model.max_regions'
            )
        before = self._predecessors(regions, pyramid)
        slots = self._slots(before, regions.mask_BTN)
        # The last place collects what has no slot.
        source = slots.new_full((*slots.shape[:2], self.num_slots + 1), -1)
        places = torch.arange(number, device=slots.device)
        source = source.scatter(2, slots, places.expand_as(slots))[..., :-1]
        filled = source >= 0
        picked = regions.pick(source.clamp(min=0))
        return replace(
            picked,
            mask_BTN=picked.mask_BTN & filled,
            boxes_BTN4=picked.boxes_BTN4 * filled[..., None],
            scores_BTN=picked.scores_BTN * filled,
        )

    def _predecessors(self, regions: Regions, pyramid: Pyramid) -> Tensor:
        """The region that each one continues, in T * N, or -1, (B, T, N)."""
        looks = F.normalize(read_centres(pyramid, regions.boxes_BTN4), dim=-1)
        mask = regions.mask_BTN
        before = torch.full_like(mask, -1, dtype=torch.long)
        has_next = torch.zeros_like(mask)
        gaps = range(1, min(self.max_gap, mask.shape[1] - 1) + 1)
        costs = [_cost(regions, looks, gap) for gap in gaps]
        # Sure links first, over pauses too: what stands near to an object
        # while it is hidden does not take its slot.
        for limit in (MAX_COST / 2, MAX_COST):
            for gap, cost in zip(gaps, costs):
                free = mask[:, :-gap] & ~has_next[:, :-gap]
                open_ = mask[:, gap:] & (before[:, gap:] < 0)
                asked = free[..., None] & open_[..., None, :]
                row = mutual_best((limit - cost).masked_fill(~asked, -1.0))
                found = row >= 0
                first = torch.arange(len(cost[0]), device=mask.device)
                place = first[:, None] * mask.shape[-1] + row
                before[:, gap:] = torch.where(found, place, before[:, gap:])
                has_next[:, :-gap] |= _mark(free, row.clamp(min=0), found)
        return before

    def _slots(self, before: Tensor, mask: Tensor) -> Tensor:
        """The slot of each region, (B, T, N); what there is none of, S.

        Chains of regions take slots in turn: those of the past first that
        have ended for longest.
        """
        frames, number = before.shape[1:]
        place = torch.arange(frames * number, device=before.device)
        flat, real = before.flatten(1), mask.flatten(1)
        lost_at = self._lost(flat, mask)
        # Where a slot was taken in a pause, another chain begins behind it.
        linked = (flat >= 0) & real
        came = torch.where(linked, flat, place)
        linked &= lost_at.gather(1, came) < 0
        first = _follow(torch.where(linked, came, place), frames)
        begins = real & ~linked
        turn = begins.cumsum(1) - 1
        # Chains in the order in which their slots become free.
        ends = real & ~_mark(flat, came, linked)
        whole = len(place)
        freed = place // number * 2 * whole + place
        freed = torch.where(
            lost_at < 0, freed, (2 * lost_at - 1) * whole + place
        )
        freed = freed.masked_fill(~ends, 2 * whole * (frames + 1))
        ended = first.gather(1, freed.argsort(dim=1))
        # The first S chains take new slots, the others follow another one.
        followed = ended.gather(1, (turn - self.num_slots).clamp(min=0))
        follows = begins & (turn >= self.num_slots)
        source = _follow(torch.where(follows, followed, place), frames)
        slots = turn.gather(1, source).gather(1, first)
        return slots.masked_fill(~real, self.num_slots).view(before.shape)

    def _lost(self, flat: Tensor, mask: Tensor) -> Tensor:
        """When the slot of a region that pauses is taken, or -1, (B, T * N).

        Where slots do not suffice, those that pause for longest lose theirs.
        """
        clips, frames, number = mask.shape
        lost_at = flat.new_full(mask.shape, -1)
        gaps = range(1, min(self.max_gap, frames))
        if not gaps:
            return lost_at.flatten(1)
        place = torch.arange(flat.shape[1], device=flat.device)
        # The frame in which each goes on; the last place collects the others.
        goes_on = flat.new_full((clips, len(place) + 1), -1).scatter(
            1,
            torch.where(flat >= 0, flat, len(place)),
            (place // number).expand_as(flat),
        )[:, :-1]
        goes_on = goes_on.view(mask.shape)
        # Whether a region of so many frames before pauses here, (B, T, G, N).
        here = torch.arange(frames, device=flat.device)[:, None]
        pauses = torch.stack(
            [
                F.pad(goes_on, (0, 0, gap, 0), value=-1)[:, :frames] > here
                for gap in gaps
            ],
            2,
        )
        # The latest first: of the nearest frame, and there the last.
        turn = pauses.flip(3).flatten(2).cumsum(2).view(pauses.shape).flip(3)
        free = self.num_slots - mask.sum(2)
        loses = pauses & (turn > free[:, :, None, None])
        for gap in reversed(gaps):
            lost = F.pad(loses[:, gap:, gap - 1], (0, 0, 0, gap))
            lost_at = torch.where(lost, here + gap, lost_at)
        return lost_at.flatten(1)


def _follow(index: Tensor, length: int) -> Tensor:
    """Where chains (B, R) of up to ``length`` steps end."""
    for _ in range(length.bit_length()):
        index = index.gather(1, index)
    return index


def _cost(regions: Regions, looks: Tensor, gap: int) -> Tensor:
    """Cost of all pairs ``gap`` frames apart, (B, T - gap, N, N)."""
    boxes, times = regions.boxes_BTN4, regions.times_BT
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    side = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-2)
    size = side.prod(-1).sqrt()
    old, new = slice(None, -gap), slice(gap, None)

    def squares(value: Tensor) -> Tensor:
        """Of differences in x and y; axes of two numbers are slow."""
        x, y = (
            one[:, old, :, None] - one[:, new, None]
            for one in value.unbind(-1)
        )
        return x.square() + y.square()

    mean = (size[:, old, :, None] + size[:, new, None]) / 2
    # Frames may have been left out between them.
    steps = (times[:, new] - times[:, old]).clamp(min=1)[..., None, None]
    far = squares(centre) / (steps * mean.square())
    alike = torch.einsum('btnd,btmd->btnm', looks[:, old], looks[:, new])
    return far + squares(side.log()) + APPEARANCE * (1 - alike.to(far))
