"""RegionLinker: a slot follows one object, through crossings and pauses."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hero_mm.models import Pyramid, RegionLinker, Regions

SIDE, CELL, DIMS = 96, 8, 16
NOTHING = 0.0


class Scene:
    """Objects on straight ways through a picture, as boxes of one clip.

    Regions carry the number of their object, from 1 on, in the place of a
    score; duplicates a quarter less, and false ones a tenth.
    """

    def __init__(self, frames: int, regions: int) -> None:
        self.boxes = torch.zeros(frames, regions, 4)
        self.tags = torch.full((frames, regions), NOTHING)
        cells = SIDE // CELL
        ground = looks(1, seed=9)[0, :, None, None]
        self.level = ground.expand(frames, DIMS, cells, cells).clone()

    def put(self, frame: int, box, tag: float, look=None) -> None:
        """A region in the next free place of a frame."""
        box = torch.as_tensor(box, dtype=torch.float32)
        place = int((self.tags[frame] != NOTHING).sum())
        self.boxes[frame, place] = box
        self.tags[frame, place] = tag
        if look is not None:
            x0, y0, x1, y1 = (box / CELL).tolist()
            rows = slice(max(int(y0), 0), max(int(y1 + 0.99), 1))
            columns = slice(max(int(x0), 0), max(int(x1 + 0.99), 1))
            self.level[frame, :, rows, columns] = look[:, None, None]

    def shuffle(self, generator: torch.Generator) -> None:
        """Regions of a frame come in the order of their scores: any."""
        for frame in range(len(self.tags)):
            order = torch.randperm(self.tags.shape[1], generator=generator)
            self.boxes[frame] = self.boxes[frame, order]
            self.tags[frame] = self.tags[frame, order]


def batch(*scenes: Scene) -> tuple[Regions, Pyramid]:
    """Scenes of any length beside each other."""
    longest = max(len(scene.tags) for scene in scenes)
    most = max(scene.tags.shape[1] for scene in scenes)
    shape = (len(scenes), longest, most)
    boxes, tags = torch.zeros(*shape, 4), torch.full(shape, NOTHING)
    cells = SIDE // CELL
    level = torch.zeros(*shape[:2], DIMS, cells, cells)
    frames = torch.zeros(shape[:2], dtype=torch.bool)
    for clip, scene in enumerate(scenes):
        length, number = scene.tags.shape
        boxes[clip, :length, :number] = scene.boxes
        tags[clip, :length, :number] = scene.tags
        level[clip, :length] = scene.level
        frames[clip, :length] = True
    pyramid = Pyramid(
        levels=(level,),
        strides=((float(CELL), float(CELL)),),
        frame_mask_BT=frames,
        sizes_B2=torch.full((len(scenes), 2), float(SIDE)),
    )
    return Regions.from_boxes(boxes, tags, tags != NOTHING, frames), pyramid


def square(x: float, y: float, side: float = 12.0) -> list[float]:
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def looks(number: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, DIMS, generator=generator)


def slots_of(linked: Regions, tag: int, clip: int = 0) -> list[int]:
    """The slot of an object in each frame, -1 where it is hidden."""
    here = linked.scores_BTN[clip] == tag
    assert (here.sum(-1) <= 1).all()
    slots = here.float().argmax(-1)
    return torch.where(here.any(-1), slots, -1).tolist()


def test_two_objects_keep_their_slots_where_they_cross():
    scene = Scene(9, 2)
    one, other = looks(2)
    for t in range(9):
        scene.put(t, square(16 + 8 * t, 44), 1, one)
        scene.put(t, square(80 - 8 * t, 52), 2, other)
    scene.shuffle(torch.Generator().manual_seed(0))
    linked = RegionLinker(num_slots=4)(*batch(scene))
    slots = [set(slots_of(linked, tag)) for tag in (1, 2)]
    assert all(len(found) == 1 for found in slots) and slots[0] != slots[1]


def test_looks_decide_where_boxes_do_not(monkeypatch):
    """Two objects move as far as they are apart: by place, they swap."""
    scene = Scene(2, 2)
    one, other = looks(2)
    scene.put(0, square(40, 40), 1, one)
    scene.put(0, square(56, 40), 2, other)
    scene.put(1, square(55, 40), 1, one)
    scene.put(1, square(41, 40), 2, other)
    monkeypatch.setattr('hero_mm.models.linker.APPEARANCE', 2.0)
    linker = RegionLinker(num_slots=2)
    linked = linker(*batch(scene))
    for tag in (1, 2):
        assert len(set(slots_of(linked, tag))) == 1
    # Of two that look alike, the place is all that is known.
    scene.level[:] = 1.0
    linked = linker(*batch(scene))
    assert len(set(slots_of(linked, 1))) == 2


def test_a_longer_pause_begins_a_new_slot():
    scene = Scene(8, 2)
    one, other = looks(2)
    for t in range(8):
        scene.put(t, square(16, 70), 1, one)
        if t in (0, 7):
            scene.put(t, square(16, 20), 2, other)
    linked = RegionLinker(num_slots=3, max_gap=4)(*batch(scene))
    first, *_, last = slots_of(linked, 2)
    assert first != last
    assert len(set(slots_of(linked, 1))) == 1


def test_what_jumps_is_not_linked():
    scene = Scene(2, 1)
    scene.put(0, square(20, 20), 1, looks(1)[0])
    scene.put(1, square(70, 70), 1, looks(1)[0])
    first, last = slots_of(RegionLinker(num_slots=2)(*batch(scene)), 1)
    assert first != last


def test_a_slot_that_pauses_is_not_given_away():
    """While there are slots of chains that have ended."""
    scene = Scene(5, 2)
    many = looks(4)
    for t in (0, 3, 4):
        scene.put(t, square(20, 20), 1, many[0])
    # Both end in frame 1, later than the one above was seen.
    scene.put(1, square(80, 20), 2, many[1])
    scene.put(1, square(20, 80), 3, many[2])
    scene.put(2, square(80, 80), 4, many[3])
    linked = RegionLinker(num_slots=3)(*batch(scene))
    assert len(set(slots_of(linked, 1)) - {-1}) == 1


def test_every_region_goes_into_one_slot():
    generator = torch.Generator().manual_seed(0)
    scene = random_scene(generator)
    regions, pyramid = batch(scene)
    linked = RegionLinker(num_slots=scene.tags.shape[1])(regions, pyramid)
    for t in range(len(scene.tags)):
        before = regions.boxes_BTN4[0, t][regions.mask_BTN[0, t]]
        after = linked.boxes_BTN4[0, t][linked.mask_BTN[0, t]]
        assert sorted(before.tolist()) == sorted(after.tolist())
    hidden = ~linked.mask_BTN
    assert not linked.boxes_BTN4[hidden].any()
    assert not linked.scores_BTN[hidden].any()


def random_chains(generator, frames: int, number: int, gap: int):
    """Which region each one continues, as :meth:`_predecessors` tells it."""

    def chance() -> float:
        return float(torch.rand((), generator=generator))

    mask = torch.rand(frames, number, generator=generator) < chance()
    before = torch.full((frames, number), -1)
    free: list[int] = []
    for place in mask.flatten().nonzero().flatten().tolist():
        frame = place // number
        old = [one for one in free if 0 < frame - one // number <= gap]
        if old and chance() < 0.8:
            before.view(-1)[place] = old[int(len(old) * chance())]
            free.remove(int(before.view(-1)[place]))
        free.append(place)
    return before, mask


def slots_frame_by_frame(before, mask, num_slots: int) -> list[int]:
    """New chains take unused slots, then old ones, then those that pause."""
    number = mask.shape[1]
    chain, real = before.flatten().tolist(), mask.flatten().tolist()
    slots, goes_on = [num_slots] * len(chain), {*chain} - {-1}
    last = [-1] * num_slots
    for frame in range(len(mask)):
        here = range(frame * number, (frame + 1) * number)
        held = {}
        for place in here:
            came = chain[place]
            if real[place] and came >= 0 and last[slots[came]] == came:
                held[place] = slots[came]
        free = sorted(
            set(range(num_slots)) - set(held.values()),
            key=lambda slot: (last[slot] in goes_on, last[slot], slot),
        )
        for place in here:
            if real[place]:
                slots[place] = held[place] if place in held else free.pop(0)
                last[slots[place]] = place
    return slots


def test_slots_are_those_of_a_pass_over_the_frames():
    generator = torch.Generator().manual_seed(0)
    taken = 0
    for number in (1, 3, 5):
        for trial in range(60):
            gap, spare = trial % 6 + 1, trial % 3
            before, mask = random_chains(generator, 12, number, gap)
            linker = RegionLinker(number + spare, gap)
            found = linker._slots(before[None], mask[None])[0]
            wanted = slots_frame_by_frame(before, mask, number + spare)
            assert found.flatten().tolist() == wanted
            taken += int(
                (linker._lost(before.view(1, -1), mask[None]) >= 0).sum()
            )
    # Some lost their slots in a pause.
    assert taken > 50


class Operators(TorchDispatchMode):
    """Counts what is launched."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_long_clips_launch_no_more():
    """But for doublings, in which chains are followed."""
    counts = []
    for frames in (16, 64):
        scene = random_scene(torch.Generator().manual_seed(0), frames)
        with Operators() as seen:
            RegionLinker(num_slots=8)(*batch(scene))
        counts.append(seen.count)
    assert counts[0] < counts[1] < counts[0] + 20


def test_more_regions_than_slots_are_refused():
    with pytest.raises(ValueError, match='3 regions a frame do not fit.*=2'):
        RegionLinker(num_slots=2)(*batch(Scene(2, 3)))
    with pytest.raises(ValueError, match='at least 1; got 2 and 0'):
        RegionLinker(num_slots=2, max_gap=0)


def random_scene(
    generator: torch.Generator,
    frames: int = 16,
    objects: int = 4,
    noise: float = 0.0,
    clutter: bool = False,
) -> Scene:
    """Objects that drift, turn at the edges and hide for 1 to 3 frames.

    Each edge is off by ``noise`` sides; ``clutter`` are duplicates, and a
    false region in every other frame.
    """

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    def off(box: torch.Tensor, amount: float) -> torch.Tensor:
        side = box[2:] - box[:2]
        return box + amount * (2 * rand(4) - 1) * side.repeat(2)

    scene = Scene(frames, objects + 4 * clutter)
    colours = torch.randn(objects, DIMS, generator=generator)
    side = 9 + 14 * rand(objects)
    centre = 16 + 64 * rand(objects, 2)
    speed = (rand(objects, 2) - 0.5) * 0.5 * side[:, None]
    hidden = torch.zeros(objects, dtype=torch.long)
    for t in range(frames):
        for k in range(objects):
            hits = (centre[k] < 8) & (speed[k] < 0)
            hits |= (centre[k] > SIDE - 8) & (speed[k] > 0)
            speed[k] = torch.where(hits, -speed[k], speed[k])
            centre[k] += speed[k]
            hidden[k] -= 1
            if rand(1) < 0.06 and 0 < t < frames - 1 and hidden[k] < -1:
                hidden[k] = int(1 + 3 * rand(1))
            if hidden[k] > 0:
                continue
            box = torch.tensor(square(*centre[k].tolist(), side[k].item()))
            scene.put(t, off(box, noise), k + 1.0, colours[k])
            if clutter and rand(1) < 0.15 and scene.tags[t, -1] == NOTHING:
                scene.put(t, off(box, 3 * noise), k + 0.75)
        if clutter and rand(1) < 0.5 and scene.tags[t, -1] == NOTHING:
            x, y, size = (SIDE * rand(3)).tolist()
            scene.put(t, square(x, y, 6 + size / 4), 0.1)
    scene.shuffle(generator)
    return scene


def kept(linked: Regions, clip: int, longest: int = 4) -> tuple[list, list]:
    """Whether a slot keeps its object: in the next frame, after a pause.

    A duplicate in the slot shows the object as well.
    """
    tags = linked.scores_BTN[clip]
    shown = torch.where(tags > 0.5, tags.ceil(), 0)
    links: list[bool] = []
    gaps: list[bool] = []
    for tag in range(1, int(tags.max()) + 1):
        frames = (tags == tag).any(-1).nonzero().flatten().tolist()
        for old, new in zip(frames, frames[1:]):
            slot = int((tags[old] == tag).float().argmax())
            same = bool(shown[new, slot] == tag)
            if new == old + 1:
                links.append(same)
            elif new - old <= longest:
                gaps.append(same)
    return links, gaps


@pytest.mark.parametrize(
    ('noise', 'clutter'), [(0.0, False), (0.05, False), (0.05, True)]
)
def test_links_and_gaps_of_many_clips(noise, clutter):
    generator = torch.Generator().manual_seed(0)
    scenes = [
        random_scene(generator, noise=noise, clutter=clutter)
        for _ in range(60)
    ]
    linker = RegionLinker(num_slots=scenes[0].tags.shape[1])
    regions, pyramid = batch(*scenes)
    # As HERO does it.
    linked = linker(regions.suppress(0.6), pyramid)
    links, gaps = [], []
    for clip in range(len(scenes)):
        more = kept(linked, clip)
        links += more[0]
        gaps += more[1]
    assert len(links) > 2000 and len(gaps) > 80
    share = [sum(found) / len(found) for found in (links, gaps)]
    assert share[0] >= 0.97 and share[1] >= 0.88, share
