"""Long videos: windows in order, tubes joined, memory that does not grow."""

import json
import weakref
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from fake_grounder import CONFIG, FakeGrounder, save_work, write_video

from hero_mm import cli
from hero_mm.apis import TubeInferencer
from hero_mm.apis.windows import (
    BestTubes,
    Found,
    Grid,
    agreement,
    cut_windows,
)
from hero_mm.datasets.transforms.sampling import (
    SampleClipFrames,
    fps_grid,
    uniform_grid,
)
from hero_mm.datasets.video_reader import VideoError, open_video
from hero_mm.visualization import write_png

# The fake model sees 8 frames: a window of 2 s of these is 8 of 20.
FPS = 10
EVENT = (83, 95)


class FakeFinder(FakeGrounder):
    """Finds the frames that are bright, and is as sure as they are."""

    def encode_video(self, inputs, data_samples):
        super().encode_video(inputs, data_samples)
        return inputs['imgs'].mean((2, 3, 4))

    def ground(self, features, data_samples):
        samples = super().ground(features, data_samples)
        for sample, light in zip(samples, features):
            bright = (light > 0).nonzero().flatten().tolist()
            if bright:
                frames = sample.frame_inds[[bright[0], bright[-1]]]
                span = torch.tensor([[frames[0] - 1.0, frames[1] + 1.5]])
                start, end = sample.segment
                pred = sample.pred_queries
                pred.spans = span.clamp(start, end).expand(len(pred), 2)
                pred.span_scores = pred.span_scores + 0.5
                # In every window at the same place.
                pred.bboxes = torch.ones_like(pred.bboxes).cumsum(-1) * 5
        return samples


def write(path, number, bright=EVENT):
    greys = [frame % 50 for frame in range(number)]
    greys[slice(*bright)] = [200] * len(greys[slice(*bright)])
    return write_video(path, greys, FPS)


def make(tmp_path, config=CONFIG, **options):
    work = save_work(tmp_path / 'work', config)
    return TubeInferencer(work, device='cpu', **options)


@pytest.fixture(scope='module')
def long_video(tmp_path_factory):
    return write(tmp_path_factory.mktemp('long') / 'long.mp4', 150)


@pytest.fixture
def finder(tmp_path):
    inferencer = make(tmp_path, window=2)
    inferencer.model = FakeFinder().eval()
    return inferencer


def found(span, window, score=0.5, left=0.0, step=2):
    frames = np.arange(window[0] + step // 2, window[1], step)
    boxes = np.tile([left, 0.0, left + 10, 10.0], (len(frames), 1))
    return Found(span, score, window, frames, boxes, np.ones(len(frames)))


@pytest.mark.parametrize('window', [None, 0, 15])
def test_a_short_video_is_answered_as_before(tmp_path, long_video, window):
    asked = make(tmp_path)
    # The fake model draws its action consistency.
    torch.manual_seed(0)
    before = asked(long_video, ['a', 'bb'])
    # Of 15 s: no longer than the window, nor than two of 10 s by itself.
    config = dict(CONFIG, window=10.0)
    inferencer = make(tmp_path, config, window=window)
    torch.manual_seed(0)
    updates = list(inferencer.stream(long_video, ['a', 'bb']))
    assert [one['tube'] for one in updates] == before['predictions']
    assert all(one['final'] for one in updates)
    assert inferencer.model.encoded == 1


@pytest.mark.parametrize(
    'sampler,seconds,length,step',
    [
        (SampleClipFrames(num_frames=8), 2.0, 8, 2.5),
        (SampleClipFrames(num_frames=40), 2.0, 20, 1.0),
        (SampleClipFrames(mode='fps', fps=5, max_frames=10), 2.0, 10, 2.0),
        (SampleClipFrames(mode='fps', fps=5, max_frames=4), 2.0, 4, 2.0),
        (SampleClipFrames(mode='fps', fps=3), 2.0, 6, 10 / 3),
        (SampleClipFrames(mode='fps', fps=25), 2.0, 20, 1.0),
    ],
)
def test_windows_have_the_rate_of_the_clips(sampler, seconds, length, step):
    grid = Grid.of(sampler, FPS, seconds, 0)
    assert grid.length == length and grid.step == pytest.approx(step)
    ranks = list(grid.ranks(100))
    if sampler.mode == 'fps':
        wanted = fps_grid(0, 100, FPS, min(sampler.fps, FPS))
    else:
        wanted = uniform_grid(0, 100, round(100 / step))
    assert ranks == wanted.tolist()
    assert all(grid.edge(n) <= ranks[n] < grid.edge(n + 1) for n in range(30))


def test_a_window_is_what_its_segment_would_be(tmp_path, long_video):
    """What the model gets, and so what it says, to the last bit."""
    inferencer = make(tmp_path, window=2)
    seen, encode = [], inferencer.model.encode_video

    def keep(inputs, samples):
        seen.append((samples[0].segment, inputs['imgs']))
        return encode(inputs, samples)

    inferencer.model.encode_video = keep
    inferencer(long_video, 'a')
    windows = list(seen)
    assert len(windows) == 14
    # A step is 2.5 frames; half a window is 10 of them.
    assert [w[0] for w in windows] == [(n, n + 20) for n in range(0, 140, 10)]
    inferencer.window = 0
    for segment, images in windows[::5]:
        inferencer(long_video, 'a', segment=segment, unit='frames')
        assert torch.equal(seen[-1][1], images)


@pytest.mark.parametrize('number', [1, 8, 9, 13, 16, 17])
def test_every_frame_is_seen_and_the_last_window_is_whole(number):
    grid = Grid(0, 2.0, 8, 0.5)
    frames = [(2 * n + 1, np.zeros(1)) for n in range(number)]
    windows = list(cut_windows(frames, grid, lambda: 2 * number))
    starts = [window.segment[0] for window in windows]
    assert starts == sorted(set(starts)) and starts[0] == 0
    assert (np.diff(starts) <= 8).all()
    assert windows[-1].segment[1] == 2 * number
    assert {len(window.images) for window in windows} == {min(8, number)}
    seen = np.unique(np.concatenate([window.frames_T for window in windows]))
    assert seen.tolist() == [rank for rank, _ in frames]


def test_held_frames_do_not_grow_with_the_video():
    class Picture:
        pass

    alive, most = weakref.WeakSet(), []

    def pictures():
        for rank in range(1000):
            picture = Picture()
            alive.add(picture)
            most.append(len(alive))
            yield rank, picture

    windows = cut_windows(pictures(), Grid(0, 1.0, 8, 0.5), lambda: 1000)
    assert len([window.segment for window in windows]) > 200
    assert max(most) <= 8 + 8 + 2


def test_tubes_of_a_sentence_are_bounded():
    best = BestTubes(3, 2.0)
    scores = [(start * 37 % 101) / 101 for start in range(0, 2000, 10)]
    for place, score in enumerate(scores):
        start = 10 * place
        # Each jumps to another place: no two are one.
        best.add(found((start + 2, start + 6), (start, start + 20), score))
        assert len(best._kept) <= 3 * 4 + 2
    assert [tube.score for tube in best.best()] == sorted(scores)[:-4:-1]


def test_agreement_is_that_of_what_both_saw():
    first = found((10, 20), (0, 20))
    assert agreement(first, found((10, 26), (10, 30))) == pytest.approx(1)
    # Frames 11, 13, 15, 17, 19 were seen by both.
    second = found((16, 26), (10, 30))
    assert agreement(first, second) == pytest.approx(2 / 5)
    elsewhere = found((10, 26), (10, 30), left=5)
    assert agreement(first, elsewhere) == pytest.approx(1 / 3)
    # What only one of them saw says nothing.
    assert agreement(found((0, 8), (0, 20)), found((22, 30), (10, 30))) == 0
    assert agreement(first, found((22, 30), (20, 40))) == 0


@pytest.mark.parametrize(
    'first,second,wanted',
    [
        # Cut off by the end of the first window, seen whole by the second.
        (((12, 20), 0.5), ((12, 25), 0.9), (12, 25)),
        (((12, 20), 0.9), ((13, 25), 0.5), (12, 25)),
        # Cut off by the start of the second.
        (((5, 16), 0.5), ((10, 16), 0.9), (5, 16)),
        # Longer than what both see.
        (((4, 20), 0.5), ((10, 30), 0.9), (4, 30)),
        # A double: both saw all of it.
        (((12, 17), 0.5), ((12, 16), 0.9), (12, 16)),
        (((12, 17), 0.9), ((12, 16), 0.5), (12, 17)),
    ],
)
def test_a_tube_that_crosses_a_border_is_one(first, second, wanted):
    one = found(first[0], (0, 20), first[1])
    two = found(second[0], (10, 30), second[1])
    best = BestTubes(5, 2.0)
    best.add(one)
    best.add(two)
    (tube,) = best.best()
    assert tube.span == wanted and tube.score == 0.9
    inside = tube.frames_N[tube.inside(tube.frames_N)]
    assert (np.diff(tube.frames_N) == 2).all()
    assert inside[0] <= wanted[0] + 2 and inside[-1] >= wanted[1] - 2


def test_a_tube_may_be_longer_than_windows():
    best = BestTubes(2, 2.0)
    for start in range(0, 200, 10):
        window = (start, start + 20)
        best.add(found(window, window, 0.5 + start / 1000))
    (tube,) = best.best()
    assert tube.span == (0, 210) and tube.window == (0, 210)
    assert len(tube.frames_N) == len(np.unique(tube.frames_N)) == 105


def test_two_that_differ_stay_two():
    best = BestTubes(5, 2.0)
    best.add(found((12, 18), (0, 20), 0.9))
    best.add(found((12, 18), (10, 30), 0.5, left=30))
    best.add(found((32, 36), (20, 40), 0.7))
    assert [tube.score for tube in best.best()] == [0.9, 0.7, 0.5]


def test_an_event_in_a_long_video_is_found(finder, long_video, tmp_path):
    result = finder(long_video, ['a', 'bb'], out_dir=tmp_path / 'out')
    first, second = result['predictions']
    assert first['query'] == 'a' and second['query'] == 'bb'
    # To a step of 2.5 frames.
    assert first['span'] == pytest.approx(EVENT, abs=2.5)
    assert first['span_seconds'] == pytest.approx(
        np.array(first['span']) / FPS, abs=0.01
    )
    assert first['segment'] == [0, 150] and first['frame_count'] == 150
    assert len(first['frames']) == len(first['bboxes']) > 5
    assert first['score'] == pytest.approx(0.51)
    low, high = first['window']
    assert low <= EVENT[0] and EVENT[1] <= high and high - low <= 40
    scores = [other['score'] for other in first['others']]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 4 and scores[0] < 0.1
    json.dumps(result)
    # Each is drawn with what was seen around it.
    names = [Path(path).suffix for path in result['visualization']]
    assert names == ['.png', '.mp4', '.png', '.mp4']
    with open_video(result['visualization'][1]) as reader:
        assert reader.frame_count / reader.fps < 4.5


def test_what_is_found_is_said_before_the_end(finder, long_video):
    encoded = []
    decode = finder.pipeline.transforms[1]
    pack = decode.pack
    decode.pack = lambda *given: encoded.append(1) or pack(*given)
    stream = finder.stream(long_video, ['a', 'bb'])
    first = next(stream)
    assert not first['final'] and len(encoded) == 1
    assert first['searched'] == [0, 20] and first['number'] == 0
    assert first['searched_seconds'] == [0, 2]
    rest = list(stream)
    assert [one['number'] for one in rest if one['final']] == [0, 1]
    assert rest[-1]['searched'] == [0, 150]
    said = [one for one in rest if one['tube']['score'] > 0.5]
    assert EVENT[0] < said[0]['searched'][1] <= EVENT[0] + 20


def test_a_part_is_searched_in_windows(finder, long_video):
    (tube,) = finder(long_video, 'a', segment=(5.0, 12.0))['predictions']
    assert tube['segment'] == [50, 120]
    assert tube['span'] == pytest.approx(EVENT, abs=2.5)


def test_long_and_short_videos_together(finder, long_video, tmp_path):
    short = write(tmp_path / 'short.mp4', 15)
    result = finder([short, long_video], 'a', batch_size=2)
    first, second = result['predictions']
    assert 'window' not in first[0] and first[0]['frame_count'] == 15
    assert 'window' in second[0] and second[0]['frame_count'] == 150


def test_a_folder_of_pictures_is_searched(finder, tmp_path):
    for frame in range(120):
        value = 200 if EVENT[0] <= frame < EVENT[1] else 9
        image = np.full((48, 64, 3), value, np.uint8)
        write_png(tmp_path / 'pictures' / f'{frame:04d}.png', image)
    (tube,) = finder(tmp_path / 'pictures', 'a', fps=FPS)['predictions']
    assert tube['span'] == pytest.approx(EVENT, abs=2.5)
    assert tube['span_seconds'][0] == pytest.approx(tube['span'][0] / FPS)


def test_a_cut_off_file_is_refused_at_its_end(finder, long_video, tmp_path):
    whole, path = tmp_path / 'whole.mkv', tmp_path / 'cut.mkv'
    with av.open(str(long_video)) as source, av.open(str(whole), 'w') as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    content = whole.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    updates = []
    with pytest.raises(VideoError, match='cut.mkv: cut off'):
        for update in finder.stream(path, 'a'):
            updates.append(update['final'])
    assert updates and not any(updates)
    assert finder(whole, 'a')['predictions'][0]['frame_count'] == 150


def test_the_command_says_what_it_finds(tmp_path, long_video, capsys):
    make(tmp_path)
    words = ['ground', str(long_video), 'red', 'what moves?', '--window', '2']
    words += ['--model', str(tmp_path / 'work'), '--device', 'cpu']
    out = tmp_path / 'out'
    assert cli.main([*words, '--out', str(out)]) == 0
    assert 'searched 2.0 s: "red"' in capsys.readouterr().err
    entries = json.loads((out / 'answers.json').read_text())['predictions']
    assert len(entries['0']['others']) == 4 and 'window' in entries['0']
    assert 'boxes' in entries['0']['others'][0]
    assert len(list(out.glob('*.mp4'))) == 2


def test_a_long_video_that_is_hardly_looked_at_is_said(tmp_path, monkeypatch):
    """Of 60 s, the eight frames are 7.5 s apart."""
    path, said = write(tmp_path / 'minute.mp4', 600), []
    monkeypatch.setattr('hero_mm.apis.inferencer._warn', said.append)
    make(tmp_path, dict(CONFIG, window=2.0))(path, 'a')
    assert said == []
    make(tmp_path)(path, 'a')
    (text,) = said
    assert 'one frame in 8 s' in text and 'window=SECONDS' in text
