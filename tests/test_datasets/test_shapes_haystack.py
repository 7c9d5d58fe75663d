"""Long videos of many scenes: true once, nearly true in each minute."""

import json

import numpy as np
import pytest
from test_datasets.shapes_things import draw

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.shapes import build_shapes
from hero_mm.datasets.shapes.haystack import CLIP, count_matches
from hero_mm.datasets.shapes.questions import read_questions
from hero_mm.datasets.video_reader import open_video

MINUTES = 5
SIZES = {'1min': 2, '5min': 0, '20min': 0, '60min': 0}


@pytest.fixture(scope='module')
def haystack():
    return draw('5min', 1, 3)


def test_a_sentence_is_true_of_one_event_and_nearly_of_many(haystack):
    worlds = [scene.world for scene in haystack.scenes]
    minutes = np.array_split(np.arange(len(worlds)), MINUTES)
    clips = iter(haystack.clips)
    for scene, _, start in haystack.places():
        for entry in scene.entries:
            statement = entry.caption.statement
            true = [
                event
                for world in worlds
                for event in world.events
                if event.action == statement.action
                and statement.look.fits(world.things[event.tid].look)
            ]
            assert true == [entry.event]
            assert statement.look.colour and statement.look.shape
            # Each minute has both kinds of near-misses.
            counts = np.array([count_matches(statement, w) for w in worlds])
            assert counts[:, 0].sum() == 1
            for places in minutes:
                assert (counts[places, 1:].sum(0) >= 1).all()
            # A clip holds the event and no cut.
            low, high = next(clips)
            assert high - low == CLIP
            assert start <= low <= start + entry.event.begin
            end = start + scene.world.profile.num_frames
            assert start + entry.event.end <= high <= end
    assert len(haystack.clips) == 5


def test_the_files_are_those_of_a_benchmark(tmp_path):
    summary = build_shapes(tmp_path, SIZES, profile='haystack', workers=1)
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
        begin, end = truth['span']
        assert question.truth == truth
        assert question.clip == truth['segment'] == (0, 480)
        first, last = told['clip']
        assert first <= begin < end <= last
