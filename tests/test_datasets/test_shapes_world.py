"""Worlds of moving shapes: schedules, motion, looks, bars."""

import numpy as np
import pytest
from test_datasets.shapes_things import still

from hero_mm.datasets.shapes.profiles import DEFAULT, LONG, PROBES, PROFILES
from hero_mm.datasets.shapes.render import render, visible_boxes
from hero_mm.datasets.shapes.world import (
    ACTIONS,
    Bar,
    Event,
    World,
    draw_world,
    hide_some,
    perform,
)


def states(thing):
    """All that can be seen of an object, a row a frame."""
    turn = np.stack([np.cos(thing.angle), np.sin(thing.angle)], axis=1)
    size = thing.radius[:, None]
    # Angles count as far as a corner moves by them, in pixels.
    return np.hstack(
        [thing.centre, size, size * turn, 20.0 * thing.white[:, None]]
    )


@pytest.mark.parametrize('profile, number', [(DEFAULT, 60), (LONG, 2)])
def test_worlds_are_as_their_profile_says(profile, number):
    for seed in range(number):
        world = draw_world(np.random.default_rng(seed), profile)
        assert sorted(world.order) == list(range(len(world.things)))
        assert len(world.things) in profile.objects
        looks = [thing.look for thing in world.things]
        assert len(set(looks)) < len(looks)
        longest = max(profile.longest.values())
        for tid, thing in enumerate(world.things):
            assert len(thing.events) in profile.events
            idle = np.ones(profile.num_frames, dtype=bool)
            for event in thing.events:
                assert event.tid == thing.tid == tid
                assert 0 <= event.begin < event.end <= profile.num_frames
                least = max(ACTIONS[event.action], profile.shortest)
                assert least <= event.end - event.begin <= longest
                # What snaps back changes once more right after it.
                idle[event.begin : event.end + 1] = False
            for one, two in zip(thing.events, thing.events[1:]):
                assert two.begin - one.end >= profile.idle
            assert (thing.centre > 0).all()
            assert (thing.centre < profile.side).all()
            low, high = profile.radius[thing.look.size]
            assert low <= thing.radius[idle].min(initial=low)
            assert thing.radius[idle].max(initial=low) <= high
            change = np.abs(np.diff(states(thing), axis=0)).max(axis=1)
            assert change[idle[1:]].max(initial=0) < 1e-9


@pytest.mark.parametrize('action', ACTIONS)
@pytest.mark.parametrize('name', ['default', 'long', 'fast', 'long-actions'])
def test_every_second_frame_shows_the_action(name, action):
    """No motion looks like standing still at half the frame rate."""
    profile = {**PROFILES, **PROBES}[name]
    shortest = max(ACTIONS[action], profile.shortest)
    for seed in range(10):
        for length in (shortest, max(profile.longest.values())):
            end = 8 + length
            thing = still(0, 'plain red square', (9, 9), frames=99)
            event = Event(0, action, 8, end)
            perform(np.random.default_rng(seed), thing, event, profile)
            seen = states(thing)
            # The first frame of an event already differs.
            assert np.abs(seen[8] - seen[7]).max() > 0.1
            for phase in (8, 9):
                inside = seen[phase:end:2]
                steps = np.abs(np.diff(inside, axis=0)).max(axis=1)
                # It never looks as if it had stopped for a while.
                assert steps.max() > 0.2
                assert ((steps[:-1] > 0.2) | (steps[1:] > 0.2)).all()


def test_a_bar_is_moved_to_hide_what_stops_behind_it():
    words, how = 'plain red star', dict(radius=5.0, frames=96)
    mover = still(0, words, (20, 50), **how)
    mover.centre[30:60, 0] = 48
    mover.centre[60:, 0] = 80
    other = still(1, words, (15, 15), **how)
    bar = Bar(upright=True, start=5.0, width=16.0, depth=1)
    tried = [
        hide_some(
            np.random.default_rng(seed), bar, [mover, other], [1, 0], LONG
        )
        for seed in range(10)
    ]
    # Places are tried at random, and not for ever.
    found = [moved for moved in tried if moved != bar]
    assert len(found) > 5
    for moved in found:
        assert moved.upright and moved.start < 48 < moved.start + 16
        # In front of the last of the order, too.
        assert moved.depth == 2
        world = World([mover, other], [1, 0], moved, 0, LONG)
        boxes, seen = visible_boxes(world)
        assert (seen[0, 30:60] == 0).all() and not boxes[0, 30:60].any()
        assert (seen[0, :30] > 0.9).all() and (seen[0, 60:] > 0.9).all()
        middle = render(world)[45][50, 48].astype(int)
        assert np.ptp(middle) < 30 and middle.max() < 80
    mover.centre[:] = mover.centre[0]
    rng = np.random.default_rng(0)
    assert hide_some(rng, bar, [mover, other], [1, 0], LONG) == bar
