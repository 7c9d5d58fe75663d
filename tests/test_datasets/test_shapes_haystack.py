"""Long videos of many scenes: true once, nearly true in each minute."""

import json

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

MINUTES = 5
SIZES = {'1min': 2, '5min': 0, '20min': 0, '60min': 0}


@pytest.fixture(scope='module')
def haystack():
    return draw_haystack(1, 3, HAYSTACKS['5min'])


def test_a_sentence_is_true_of_one_event_and_nearly_of_many(haystack):
    worlds = [scene.world for scene in haystack.scenes]
    minutes = np.array_split(np.arange(len(worlds)), MINUTES)
    asked = 0
    for scene, start in zip(haystack.scenes, haystack.starts):
        for entry in scene.entries:
            asked += 1
            statement = entry.caption.statement
            true = [
                event
                for world in worlds
                for event in world.events
                if event.action == statement.action
                and statement.look.fits(world.things[event.tid].look)
            ]
            assert true == [entry.event]
            assert sum(is_true(statement, world) for world in worlds) == 1
            assert statement.look.colour and statement.look.shape
            # Each minute has both kinds of near-misses.
            counts = np.array([near_misses(statement, w) for w in worlds])
            for places in minutes:
                assert (counts[places].sum(0) >= 1).all()
            # A clip holds the event and no cut.
            low, high = haystack.clips[entry.caption.text]
            assert high - low == CLIP
            assert start <= low <= start + entry.event.begin
            end = start + scene.world.profile.num_frames
            assert start + entry.event.end <= high <= end
    assert asked == 5


def test_cuts_have_no_period(haystack):
    """Nor do they fall on the borders of windows."""
    starts = haystack.starts
    assert set(range(0, MINUTES * 480, 480)) <= set(starts)
    lengths = np.diff([*starts, MINUTES * 480])
    assert lengths.min() >= 56 and lengths.max() <= 112
    phases = np.bincount([start % 16 for start in starts])
    assert phases.max() < len(starts) / 2


def test_the_files_are_those_of_a_benchmark(tmp_path):
    build = dict(profile='haystack', workers=1, progress=False)
    summary = build_shapes(tmp_path, SIZES, **build)
    assert summary['splits']['1min']['captions'] == 10
    assert summary['profile'] == 'haystack' and summary['rendered'] == 2
    annotation = load_annotation(tmp_path / '1min.json')
    truths = annotation.ground_truths()
    (film, _) = sorted(tmp_path.glob('vidor/video/*/*.mp4'))
    assert film.stat().st_size < 1e6
    with open_video(film) as reader:
        assert reader.frame_count == 480 and reader.size == (64, 64)
    meta = json.loads((tmp_path / 'vidstg/1min_meta.json').read_text())
    questions = read_questions(tmp_path, '1min')
    for question, told, truth in zip(
        questions, meta, truths.values(), strict=True
    ):
        tid, (begin, end) = question.answer
        assert truth['span'] == (begin, end)
        assert question.clip == truth['segment'] == (0, 480)
        assert question.look.fits(question.looks[tid])
        assert (tid, question.action, (begin, end)) in question.events
        first, last = told['clip']
        assert first <= begin < end <= last
        for frame in range(begin, end):
            assert truth['boxes'][frame] == pytest.approx(
                question.tracks[tid][frame]
            )
