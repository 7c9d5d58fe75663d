"""Linking: regions of neighbouring frames become slots that follow objects.

One-to-one assignments between frames 1, 2, ... apart, all of them at once, and
then one pass over the frames that hands each chain of regions a slot.

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
        """The slot of each region, (B, T, N); what there is none of, S."""
        clips, frames, number = before.shape
        whole = frames * number
        slots = before.new_full((clips, whole), self.num_slots)
        # The last region of each slot so far.
        holder = before.new_full((clips, self.num_slots), -1)
        flat = before.flatten(1)
        goes_on = _mark(flat, flat.clamp(min=0), flat >= 0)
        for frame in range(frames):
            came = before[:, frame]
            slot = slots.gather(1, came.clamp(min=0))
            safe = slot.clamp(max=self.num_slots - 1)
            held = (came >= 0) & (slot < self.num_slots)
            held &= holder.gather(1, safe) == came
            held &= mask[:, frame]
            # Slots of chains that have ended come first, those unused for
            # longest; a slot that only pauses is taken last.
            used = _mark(holder, safe, held)
            pauses = goes_on.gather(1, holder.clamp(min=0)) & (holder >= 0)
            rank = holder + whole * pauses + 2 * whole * used
            order = rank.argsort(dim=1, stable=True)
            new = mask[:, frame] & ~held
            turn = (new.cumsum(1) - 1).clamp(min=0)
            slot = torch.where(held, slot, order.gather(1, turn))
            slot = slot.masked_fill(~mask[:, frame], self.num_slots)
            place = torch.arange(number, device=slot.device) + frame * number
            slots[:, frame * number : (frame + 1) * number] = slot
            holder = F.pad(holder, (0, 1)).scatter(
                1, slot, place.expand_as(slot)
            )[:, : self.num_slots]
        return slots.view(before.shape)


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
