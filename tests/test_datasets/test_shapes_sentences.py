"""Sentences of the benchmark, mirrored and with another action."""

import copy
from dataclasses import replace

import pytest
from test_datasets import shapes_grammar as grammar
from test_datasets.shapes_things import draw_scenes, sentences_of

from hero_mm.datasets.action_phrases import swap_action
from hero_mm.datasets.shapes.profiles import DEFAULT
from hero_mm.datasets.shapes.world import ACTIONS
from hero_mm.datasets.sides import swap_sides as swap


@pytest.fixture(scope='module')
def scenes():
    return draw_scenes('test', 40, seed=1)


def mirror_event(event):
    sides = {'move_left': 'move_right', 'move_right': 'move_left'}
    return replace(event, action=sides.get(event.action, event.action))


def mirror(world):
    """The world as in a mirror."""
    turned = copy.deepcopy(world)
    for item in turned.things:
        item.centre[:, 0] = DEFAULT.side - item.centre[:, 0]
        item.angle *= -1
        item.events[:] = [mirror_event(e) for e in item.events]
    return turned


def test_a_mirrored_sentence_is_true_in_the_mirrored_video(scenes):
    changed = 0
    for scene in scenes:
        world = mirror(scene.world)
        for sentence, meant in sentences_of(scene):
            text, event = swap(sentence.text), mirror_event(meant)
            changed += text != sentence.text
            assert swap(meant.action) == event.action
            parsed = grammar.parse(text)
            right = [
                other
                for item in world.things
                for other in item.events
                if grammar.truth(parsed, world, item, other) is not False
            ]
            assert right == [event], (sentence.text, text)
    assert changed > 20


def test_the_action_can_be_swapped_in_every_sentence(scenes):
    for scene in scenes:
        for sentence, meant in sentences_of(scene):
            other = 'blink' if meant.action != 'blink' else 'spin'
            true = {*ACTIONS} - {other}
            (text,) = swap_action(sentence.text, meant.action, ACTIONS, true)
            before = grammar.parse(sentence.text)
            # Only what the target does has changed.
            assert grammar.parse(text) == before._replace(action=other)
