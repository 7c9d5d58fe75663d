"""Profiles of the renderer: the default's bytes, the long one's figures."""

import hashlib
import json

import numpy as np
import pytest
from mmengine.config import Config
from test_datasets import shapes_grammar as grammar
from test_datasets.shapes_things import check_truth, read_table, still

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.shapes import build_shapes
from hero_mm.datasets.shapes.bars import hidden_runs, hide_some
from hero_mm.datasets.shapes.meaning import Judge
from hero_mm.datasets.shapes.motion import perform
from hero_mm.datasets.shapes.profiles import LONG, PROBES, PROFILES
from hero_mm.datasets.shapes.questions import read_questions
from hero_mm.datasets.shapes.render import render, visible_boxes
from hero_mm.datasets.shapes.scene import (
    ACTIONS,
    SIZES,
    Bar,
    Event,
    Look,
    World,
)
from hero_mm.datasets.shapes.sentences import hard_statements
from hero_mm.datasets.shapes.statistics import describe
from hero_mm.datasets.shapes.video import (
    draw_video,
    meanings,
    vidor_annotation,
    vidstg_entries,
)
from hero_mm.registry import DATASETS

# Of the code before there were profiles.
BYTES = {
    ('train', 0, 0): 'a278b1fcb18b9438',
    ('train', 4499, 7): '8bf7bdc50233072f',
    ('val', 3, 0): '1e2a2fa619d23129',
    ('test', 1, 7): 'e7b757ae60dda27a',
    ('test', 2, 0): '644d88e1d64e2ff4',
}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('long')
    sizes = {'train': 4, 'val': 0, 'test': 40}
    build_shapes(folder, sizes, workers=1, progress=False, profile='long')
    return folder


@pytest.fixture(scope='module')
def questions(root):
    return read_questions(root, 'test')


@pytest.fixture(scope='module')
def rows(oracles, questions):
    return oracles.score_oracles(questions)


@pytest.fixture(scope='module')
def videos():
    return [draw_video('test', index, 1, LONG) for index in range(25)]


def thing(tid, place, *events, radius=8.0, frames=96):
    size = dict(radius=radius, frames=frames)
    return still(tid, 'plain red star', place, *events, **size)


@pytest.mark.parametrize('which', BYTES, ids=str)
def test_the_default_profile_keeps_its_bytes(which):
    video = draw_video(*which)
    world = video.world
    notes = [vidor_annotation(video), vidstg_entries(video), meanings(video)]
    digest = hashlib.sha256(json.dumps(notes).encode())
    drawn = world.order, world.bar, world.backdrop_seed
    digest.update(repr(drawn).encode())
    for item in world.things:
        for path in (item.centre, item.radius, item.angle):
            # No -0.0, and no last digit of a sine.
            digest.update((np.round(path, 6) + 0.0).tobytes())
        digest.update(item.white.tobytes())
    assert digest.hexdigest()[:16] == BYTES[which]


def test_profiles_are_sound():
    assert list(PROFILES) == ['default', 'long', 'haystack']
    for profile in (*PROFILES.values(), *PROBES.values()):
        for name in ('objects', 'sizes', 'actions', 'events'):
            chances = getattr(profile, name)
            assert sum(chances.values()) == pytest.approx(1), name
        assert set(profile.longest) >= set(profile.events)
        assert set(profile.sizes) == set(profile.radius) == set(SIZES)
        assert set(profile.target_actions or ()) <= set(ACTIONS)
        # Size words do not touch.
        ranges = [profile.radius[size] for size in SIZES]
        for (_, high), (low, _) in zip(ranges, ranges[1:]):
            assert low >= 1.3 * high
        for number, longest in profile.longest.items():
            least = number * max(6, profile.shortest)
            assert least + (number - 1) * profile.idle <= profile.num_frames
            low, high = profile.travel
            assert max(low, profile.pace * longest) <= high


@pytest.mark.slow
def test_a_long_video_is_larger(root):
    annotation = load_annotation(root / 'test.json')
    assert annotation.metainfo['dataset'] == 'shapes-long'
    for video in annotation.videos.values():
        assert (video.width, video.height) == (96, 96)
        assert (video.frame_count, video.fps) == (96, 8)
    clip = json.loads((root / 'vidstg/test_annotations.json').read_text())[0]
    assert clip['used_segment'] == {'begin_fid': 0, 'end_fid': 95}
    assert json.loads((root / 'shapes.json').read_text())['profile'] == 'long'


@pytest.mark.slow
def test_the_figures_of_the_long_profile(questions):
    """Those that docs/benchmark_shapes.md promises."""
    found = describe(questions)
    assert 0.15 < found["answer's share of the clip"] < 0.30
    covered = found['share of the clip in which some object does the action']
    assert covered >= 0.5
    assert found['objects hidden for two sampled frames or more'] >= 0.1
    assert found['sentences whose target is one of them'] > 0.03
    assert found['answers across a border of windows of 8'] > 0.8
    assert found['answers across a border of windows of 16'] > 0.25
    assert found['orders in time apart in windows of 8'] > 0.6
    assert found['orders in time apart in windows of 16'] > 0.3
    kinds = [question.kind for question in questions]
    for kind in ('basic', 'spatial', 'temporal'):
        assert kinds.count(kind) > 0.15 * len(kinds)


@pytest.mark.slow
def test_guesses_fail_on_the_long_profile(rows, best_of):
    assert best_of(rows, 'blind') < 0.20
    assert best_of(rows, 'appearance') < 0.35
    assert best_of(rows, 'action') < 0.50
    assert best_of(rows, 'time') < 0.50
    assert best_of(rows, 'relation') < 0.80


@pytest.mark.slow
def test_the_tables_of_the_docs(questions, rows, repo_root):
    """40 of 300 videos confirm them, but for sampling."""
    page = (repo_root / 'docs/benchmark_shapes.md').read_text()
    told = read_table(page, '| sentences | `data/shapes`')
    found = describe(questions)
    assert list(told) == list(found)
    for name, number in found.items():
        if name != 'sentences':
            ours = told[name][1]
            # Few sentences tell an order.
            off = 0.25 if name.startswith('orders') else 0.12
            assert ours == pytest.approx(number, rel=0.1, abs=off), name
    told = read_table(page, '| guess | m_tIoU')
    groups = [rows[name]['group'] for name in told]
    assert set(groups) == {row['group'] for row in rows.values()}
    for name, numbers in told.items():
        keys = ('m_tIoU', 'm_vIoU', 'gt_m_vIoU')
        ours = [rows[name][key] for key in keys]
        assert numbers == pytest.approx(ours, abs=0.08), name
    assert max(told[n][1] for n, g in zip(told, groups) if g == 'blind') < 0.2


@pytest.mark.parametrize('name', ['long', *PROBES])
def test_every_sentence_is_true_for_one_event_only(name):
    profile = PROBES.get(name, LONG)
    split = name if name in PROBES else 'train'
    for index in range(8):
        check_truth(draw_video(split, index, 2, profile))


@pytest.mark.slow
def test_what_a_sentence_refers_to_is_seen(videos):
    """Of the default profile only the target has to be."""
    asked = 0
    for video in videos:
        looks = [t.look for t in video.world.things]
        for entry in video.entries:
            for sentence in (entry.caption, *entry.questions):
                relation = sentence.statement.relation
                if relation is None:
                    continue
                asked += 1
                if relation.action is None:
                    (tid,) = (
                        i
                        for i, x in enumerate(looks)
                        if relation.object.fits(x)
                    )
                    span = entry.event
                else:
                    (span,) = (
                        event
                        for event in video.world.events
                        if event.action == relation.action
                        and (
                            event.tid == entry.event.tid
                            if relation.object is None
                            else relation.object.fits(looks[event.tid])
                        )
                    )
                    tid = span.tid
                assert (video.seen[tid, span.begin : span.end] > 0).all()
    assert asked > 50


def test_a_hidden_anchor_is_not_told():
    one = thing(0, (20, 20), ('spin', 5, 20), ('grow', 60, 80))
    two = thing(1, (60, 60), ('grow', 5, 20))
    world = World([one, two], [0, 1], None, 0, LONG)
    seen = np.ones((2, 96))
    told = hard_statements(Judge(world, seen), one.events[1])
    assert any(s.relation and s.relation.action == 'spin' for s in told)
    seen[0, 10:12] = 0
    told = hard_statements(Judge(world, seen), one.events[1])
    assert not any(s.relation and s.relation.action == 'spin' for s in told)


def test_margins_grow_with_the_frame():
    """Beside: 5 pixels of 64 are 7.5 of 96."""
    for gap, beside in [(7.0, True), (8.0, None), (19.0, False)]:
        one = thing(0, (20, 20), ('spin', 5, 20))
        two = thing(1, (20, 36 + gap))
        two.look = Look('plain', 'blue', 'star')
        rival = thing(2, (80, 80), ('spin', 5, 20))
        world = World([one, two, rival], [0, 1, 2], None, 0, LONG)
        parsed = grammar.parse('the red star beside the blue star spins.')
        truth = grammar.truth(parsed, world, one, one.events[0])
        assert truth is beside
        said = {
            s.relation.word
            for s in hard_statements(Judge(world), one.events[0])
            if s.relation
        }
        assert ('beside' in said) is (beside is True)


@pytest.mark.parametrize('action', ACTIONS)
@pytest.mark.parametrize('name', ['long', 'fast', 'long-actions'])
def test_every_second_frame_shows_the_action(name, action):
    profile = PROBES.get(name, LONG)
    for seed in range(10):
        for length in (
            max(profile.shortest, 8),
            max(profile.longest.values()),
        ):
            item = thing(0, (0, 0), frames=profile.num_frames)
            event = Event(0, action, 0, length)
            perform(np.random.default_rng(seed), item, event, profile)
            turn = np.stack([np.cos(item.angle), np.sin(item.angle)], 1)
            state = np.hstack(
                [
                    item.centre,
                    8 * turn,
                    item.radius[:, None],
                    20.0 * item.white[:, None],
                ]
            )
            steps = np.abs(np.diff(state[1:length:2], axis=0)).max(axis=1)
            assert ((steps[:-1] > 0.2) | (steps[1:] > 0.2)).all()


def test_hidden_runs():
    def runs(text):
        return hidden_runs(np.array([c == 'x' for c in text]))

    assert runs('..xx.x...') == [(2, 4), (5, 6)]
    # Seen before and after.
    assert runs('xx..xxx') == []
    assert runs('....') == runs('xxxx') == []


def test_a_bar_is_moved_to_hide_what_stops_behind_it():
    mover = thing(0, (20, 50), radius=5.0)
    mover.centre[30:60, 0] = 48
    mover.centre[60:, 0] = 80
    still = thing(1, (15, 15), radius=5.0)
    bar = Bar(upright=True, start=5.0, width=16.0, depth=1)
    tried = [
        hide_some(
            np.random.default_rng(seed), bar, [mover, still], [1, 0], LONG
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
        world = World([mover, still], [1, 0], moved, 0, LONG)
        boxes, seen = visible_boxes(world)
        assert (seen[0, 30:60] == 0).all() and not boxes[0, 30:60].any()
        assert (seen[0, :30] > 0.9).all() and (seen[0, 60:] > 0.9).all()
        frame = render(world)[45]
        assert frame.shape == (96, 96, 3)
        middle = frame[50, 48].astype(int)
        assert np.ptp(middle) < 30 and middle.max() < 80


def test_a_bar_that_can_hide_nothing_stays():
    bar = Bar(upright=True, start=5.0, width=16.0, depth=1)
    things = [thing(0, (20, 50)), thing(1, (70, 70))]
    rng = np.random.default_rng(0)
    assert hide_some(rng, bar, things, [0, 1], LONG) == bar


def test_profiles_do_not_mix(root, tmp_path):
    with pytest.raises(ValueError, match="holds the profile 'long', not 'd"):
        build_shapes(root, {'train': 4, 'val': 0, 'test': 40})
    with pytest.raises(ValueError, match="'big'; there are default, long"):
        build_shapes(tmp_path, profile='big')
    sizes = {'train': 0, 'val': 0, 'test': 1}
    build_shapes(tmp_path, sizes, workers=1, progress=False)
    assert 'profile' not in json.loads((tmp_path / 'shapes.json').read_text())
    with pytest.raises(ValueError, match="'default', not 'long'"):
        build_shapes(tmp_path, sizes, profile='long')


def test_the_config_reads_it(root, repo_root):
    cfg = Config.fromfile(repo_root / 'configs/_base_/datasets/shapes-long.py')
    assert cfg.prepare.profile == 'long'
    assert cfg.prepare.out in cfg.train_dataloader.dataset.ann_file
    for name in ('train', 'test'):
        dataset = cfg[f'{name}_dataloader'].dataset
        assert '--profile long --out data/shapes-long' in dataset.make_command
        dataset.ann_file = str(root / f'{name}.json')
        dataset.data_prefix = dict(video=str(root / 'vidor/video'))
        packed = DATASETS.build(dataset)[0]
        assert packed['inputs'].shape == (48, 3, 96, 96)
