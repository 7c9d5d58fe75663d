"""Long videos of many scenes: true once, nearly true in each minute."""

import json
from collections import Counter

import numpy as np
import pytest

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.shapes import build_shapes
from hero_mm.datasets.shapes.haystack import (
    CLIP,
    draw_haystack,
    is_true,
    near_misses,
)
from hero_mm.datasets.shapes.profiles import HAYSTACKS
from hero_mm.datasets.shapes.questions import read_questions
from hero_mm.datasets.video_reader import open_video

SPLIT, MINUTES = '5min', 5
SIZES = {'1min': 2, '5min': 0, '20min': 0, '60min': 0}


@pytest.fixture(scope='module')
def haystack():
    return draw_haystack(0, 0, HAYSTACKS[SPLIT])


def asked(haystack):
    return [
        (entry, scene, start)
        for scene, start in zip(haystack.scenes, haystack.starts)
        for entry in scene.entries
    ]


def test_a_sentence_is_true_of_one_event(haystack):
    assert len(asked(haystack)) == 5
    for entry, _, _ in asked(haystack):
        statement = entry.caption.statement
        true = [
            event
            for scene in haystack.scenes
            for event in scene.world.events
            if event.action == statement.action
            and statement.look.fits(scene.world.things[event.tid].look)
        ]
        assert true == [entry.event]
        assert statement.look.colour and statement.look.shape
        worlds = [scene.world for scene in haystack.scenes]
        assert sum(is_true(statement, world) for world in worlds) == 1


@pytest.mark.parametrize('split', ['1min', SPLIT])
def test_each_minute_has_near_misses_of_both_kinds(split):
    haystack = draw_haystack(1, 3, HAYSTACKS[split])
    minutes = HAYSTACKS[split].minutes
    scenes = np.array_split(np.arange(len(haystack.scenes)), minutes)
    for minute, places in enumerate(scenes):
        assert haystack.starts[places[0]] == minute * 60 * 8
        for entry, _, _ in asked(haystack):
            counts = [
                near_misses(
                    entry.caption.statement, haystack.scenes[place].world
                )
                for place in places
            ]
            looks, actions = np.sum(counts, axis=0)
            assert looks >= 1 and actions >= 1


def test_cuts_have_no_period(haystack):
    """Nor do they fall on the borders of windows."""
    lengths = np.diff([*haystack.starts, MINUTES * 480])
    assert lengths.min() >= 56 and lengths.max() <= 112
    phases = Counter(start % 16 for start in haystack.starts)
    assert max(phases.values()) < len(haystack.starts) / 2


def test_a_clip_holds_the_event_and_no_cut(haystack):
    for entry, scene, start in asked(haystack):
        low, high = haystack.clips[entry.caption.text]
        assert high - low == CLIP
        assert start <= low <= start + entry.event.begin
        end = start + scene.world.profile.num_frames
        assert start + entry.event.end <= high <= end


def test_it_depends_on_nothing_else(haystack):
    again = draw_haystack(0, 0, HAYSTACKS[SPLIT])
    assert again.entries() == haystack.entries()
    other = draw_haystack(1, 0, HAYSTACKS[SPLIT])
    assert other.entries() != haystack.entries()


def test_the_files_are_those_of_a_benchmark(tmp_path):
    build = dict(profile='haystack', workers=1, progress=False)
    summary = build_shapes(tmp_path, SIZES, **build)
    assert summary['splits']['1min']['captions'] == 10
    assert summary['profile'] == 'haystack' and summary['rendered'] == 2
    assert build_shapes(tmp_path, SIZES, **build)['rendered'] == 0
    annotation = load_annotation(tmp_path / '1min.json')
    truths = annotation.ground_truths()
    assert len(truths) == 10
    (film, _) = sorted(tmp_path.glob('vidor/video/*/*.mp4'))
    assert film.stat().st_size < 1e6
    with open_video(film) as reader:
        assert reader.frame_count == 480 and reader.size == (64, 64)
    questions = read_questions(tmp_path, '1min')
    meta = json.loads((tmp_path / 'vidstg/1min_meta.json').read_text())
    for question, told, truth in zip(
        questions, meta, truths.values(), strict=True
    ):
        tid, (begin, end) = question.answer
        assert truth['span'] == (begin, end)
        assert question.clip == truth['segment'] == (0, 480)
        assert question.look.fits(question.looks[tid])
        assert [tid, question.action, (begin, end)] in [
            list(event) for event in question.events
        ]
        first, last = told['clip']
        assert first <= begin < end <= last
        boxes = question.tracks[tid]
        assert set(range(begin, end)) <= set(boxes)
        for frame in range(begin, end):
            assert truth['boxes'][frame] == pytest.approx(boxes[frame])
