"""Worlds of moving shapes: schedules, motion, looks."""

import numpy as np
import pytest
from test_datasets.shapes_things import still

from hero_mm.datasets.shapes.motion import animate, perform
from hero_mm.datasets.shapes.profiles import DEFAULT, LONG
from hero_mm.datasets.shapes.scene import (
    ACTIONS,
    COLOURS,
    MOVES,
    SHAPES,
    SIZES,
    Event,
    Look,
)
from hero_mm.datasets.shapes.world import draw_world

NUM_FRAMES, SIDE = DEFAULT.num_frames, DEFAULT.side
RADIUS = DEFAULT.radius


@pytest.fixture(scope='module')
def worlds():
    return [draw_world(np.random.default_rng([5, i])) for i in range(80)]


@pytest.fixture(scope='module')
def long_worlds():
    draws = (np.random.default_rng([1, i]) for i in range(25))
    return [draw_world(rng, LONG) for rng in draws]


def acting(action, begin=8, end=18, seed=0, size='plain', radius=7.0):
    """An object in the middle that does one action."""
    place = SIDE / 2, SIDE / 2
    thing = still(0, f'{size} red square', place, radius=radius)
    event = Event(0, action, begin, end)
    perform(np.random.default_rng(seed), thing, event)
    return thing


def states(thing):
    """All that can be seen of an object, a row a frame."""
    turn = np.stack([np.cos(thing.angle), np.sin(thing.angle)], axis=1)
    size = thing.radius[:, None]
    # Angles count as far as a corner moves by them, in pixels.
    return np.hstack(
        [thing.centre, size, size * turn, 20.0 * thing.white[:, None]]
    )


def test_a_world_is_drawn_from_the_vocabulary(worlds):
    for world in worlds:
        assert sorted(world.order) == list(range(len(world.things)))
        for tid, thing in enumerate(world.things):
            assert thing.tid == tid
            assert thing.look.size in SIZES
            assert thing.look.colour in COLOURS
            assert thing.look.shape in SHAPES


def test_radius_belongs_to_the_size_word(worlds):
    for thing in (thing for world in worlds for thing in world.things):
        busy = np.zeros(NUM_FRAMES, dtype=bool)
        for event in thing.events:
            if event.action in ('grow', 'shrink'):
                busy[event.begin : event.end] = True
        low, high = RADIUS[thing.look.size]
        idle = thing.radius[~busy]
        assert (idle >= low).all() and (idle <= high).all()


def test_events_are_apart_and_objects_in_the_frame(worlds, long_worlds):
    for world in (*worlds, *long_worlds):
        profile = world.profile
        assert len(world.things) in profile.objects
        longest = max(profile.longest.values())
        for thing in world.things:
            assert len(thing.events) in profile.events
            for event in thing.events:
                assert event.tid == thing.tid
                assert 0 <= event.begin < event.end <= profile.num_frames
                least = max(ACTIONS[event.action], profile.shortest)
                assert least <= event.end - event.begin <= longest
            for one, two in zip(thing.events, thing.events[1:]):
                assert two.begin - one.end >= profile.idle
            assert (thing.centre > 0).all()
            assert (thing.centre < profile.side).all()


def test_an_idle_object_is_still(worlds):
    for thing in (thing for world in worlds for thing in world.things):
        moving = np.zeros(NUM_FRAMES, dtype=bool)
        for event in thing.events:
            moving[event.begin : event.end] = True
            # What snaps back changes once more right after the event.
            if event.end < NUM_FRAMES:
                moving[event.end] = True
        change = np.abs(np.diff(states(thing), axis=0)).max(axis=1)
        assert change[~moving[1:]].max(initial=0) < 1e-9


def test_all_actions_and_looks_occur(worlds):
    events = [event for world in worlds for event in world.events]
    assert {event.action for event in events} == set(ACTIONS)
    looks = [thing.look for world in worlds for thing in world.things]
    assert {look.size for look in looks} == set(SIZES)
    assert {look.colour for look in looks} == set(COLOURS)
    assert {look.shape for look in looks} == set(SHAPES)


def test_worlds_are_full_of_confusers(worlds):
    numbers = []
    for world in worlds:
        looks = [thing.look for thing in world.things]
        assert [look.size for look in looks].count('huge') <= 2
        assert len(set(looks)) < len(looks)
        assert len({event.action for event in world.events}) <= 4
        numbers.append(len(set(looks)))
    # Two or three; a third huge object is made a plain one: a fourth look.
    assert max(numbers) <= 4
    assert np.mean(np.array(numbers) <= 3) > 0.9


def test_objects_seldom_cover_each_other_for_long(worlds):
    shares = []
    for world in worlds:
        for one in world.things:
            for two in world.things[: one.tid]:
                gap = np.hypot(*(one.centre - two.centre).T)
                reach = 0.7 * (one.radius + two.radius)
                shares.append((gap < reach).mean())
    assert np.mean(np.array(shares) > 0.5) < 0.03


@pytest.mark.parametrize('action', ACTIONS)
@pytest.mark.parametrize('phase', [0, 1])
def test_every_second_frame_shows_the_action(action, phase):
    """No motion looks like standing still at half the frame rate."""
    for seed in range(20):
        for begin in (8, 9):
            thing = acting(action, begin, begin + ACTIONS[action], seed)
            seen = states(thing)[phase::2]
            frames = np.arange(NUM_FRAMES)[phase::2]
            inside = seen[(frames >= begin) & (frames < thing_end(thing))]
            steps = np.abs(np.diff(inside, axis=0)).max(axis=1)
            assert steps.max() > 1.0
            # It never looks as if it had stopped for a while.
            assert ((steps[:-1] > 0.3) | (steps[1:] > 0.3)).all()


def thing_end(thing):
    """End of the only event, read off the motion."""
    change = np.abs(np.diff(states(thing), axis=0)).max(axis=1)
    moved = np.flatnonzero(change > 1e-9)
    return int(moved.max()) + 1


@pytest.mark.parametrize('action', ACTIONS)
def test_the_first_frame_of_an_event_already_differs(action):
    for seed in range(10):
        seen = states(acting(action, seed=seed))
        assert np.abs(seen[8] - seen[7]).max() > 0.1
        assert np.abs(seen[:8] - seen[0]).max() < 1e-9


@pytest.mark.parametrize('action', MOVES)
def test_a_move_goes_far_and_straight(action):
    for seed in range(20):
        thing = acting(action, seed=seed)
        way = thing.centre[-1] - thing.centre[0]
        along = way @ MOVES[action]
        assert 14 <= along <= 27.1
        assert np.hypot(*way) == pytest.approx(along)
        steps = np.diff(thing.centre[7:18], axis=0) @ MOVES[action]
        assert (steps > 1).all()


def test_spin_turns_far_and_stays():
    for seed in range(20):
        turn = np.diff(acting('spin', seed=seed).angle)
        assert (np.rad2deg(np.abs(turn[7:17])) >= 28).all()
        # Two frames are less than half a turn: the sense can be seen.
        assert (np.rad2deg(np.abs(turn[7:17])) < 90).all()
        assert not turn[17:].any()


@pytest.mark.parametrize('size', SIZES)
def test_grow_and_shrink_snap_back(size):
    radius = RADIUS[size][0]
    grown = acting('grow', size=size, radius=radius)
    shrunk = acting('shrink', size=size, radius=radius)
    assert grown.radius.max() >= 1.35 * radius
    assert shrunk.radius.min() <= 0.5 * radius
    for thing in (grown, shrunk):
        assert (thing.radius[18:] == radius).all()
        assert (thing.radius[:8] == radius).all()


def test_blink_and_shake_hold_two_frames():
    for seed in range(10):
        blink = acting('blink', seed=seed)
        beats = [1, 1, 0, 0, 1, 1, 0, 0, 1, 1]
        assert blink.white[8:18].tolist() == [bool(beat) for beat in beats]
        shake = acting('shake', seed=seed)
        sides = np.sign(shake.centre[8:18, 0] - SIDE / 2)
        first = sides[0]
        assert sides.tolist() == [first if beat else -first for beat in beats]
        assert (shake.centre[18:, 0] == SIDE / 2).all()


def test_loop_returns_to_its_start():
    for seed in range(10):
        thing = acting('loop', seed=seed)
        assert thing.centre[17] == pytest.approx(thing.centre[0])
        gap = np.hypot(*(thing.centre[8:18] - thing.centre[0]).T)
        assert gap.max() > 10


def test_same_seed_same_world():
    one = draw_world(np.random.default_rng([3, 1]))
    two = draw_world(np.random.default_rng([3, 1]))
    other = draw_world(np.random.default_rng([3, 2]))
    assert one.events == two.events
    assert one.bar == two.bar
    for a, b in zip(one.things, two.things):
        assert (a.centre == b.centre).all()
    assert one.events != other.events


def test_animate_starts_where_it_says():
    events = [Event(2, 'move_left', 3, 9), Event(2, 'move_up', 13, 20)]
    look = Look('tiny', 'blue', 'star')
    thing = animate(np.random.default_rng(0), 2, look, 4.0, events)
    assert thing.tid == 2
    assert (thing.centre[:3] == 0).all()
    assert (thing.centre[-1] < -13.9).all()
    assert (thing.radius == 4.0).all()
