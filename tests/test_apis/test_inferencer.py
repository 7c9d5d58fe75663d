"""Ask a tiny fake model about a tiny video."""

import json
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from fake_grounder import CONFIG, save_weights, save_work, write_video
from mmengine.config import Config

from hero_mm.apis import TubeInferencer
from hero_mm.apis.inputs import describe_video, find_weights, load_config
from hero_mm.datasets.video_reader import VideoError
from hero_mm.evaluation import load_predictions
from hero_mm.files import WriteError
from hero_mm.models import WordTextEncoder
from hero_mm.visualization import render

FRAMES, WIDTH, HEIGHT, FPS = 40, 64, 48, 20
BEST = 'best_tube_m_vIoU_epoch_1.pth'
BARE = dict(CONFIG, test_dataloader=dict(dataset=dict(type='D')))


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp('video') / 'my clip.mp4'
    return write_video(path, range(0, 4 * FRAMES, 4), FPS)


@pytest.fixture
def work_dir(tmp_path):
    folder = save_work(tmp_path / 'work')
    save_weights(folder / BEST)
    save_weights(folder / 'other.pth', 5)
    return folder


@pytest.fixture
def inferencer(work_dir):
    return TubeInferencer(work_dir, device='cpu')


def test_one_prediction_a_sentence(inferencer, video):
    result = inferencer(video, [' red square', 'What moves?'])
    assert result['visualization'] == []
    first, second = result['predictions']
    assert first['video'] == str(video) and first['fps'] == FPS
    assert first['size'] == [WIDTH, HEIGHT]
    assert first['frame_count'] == FRAMES and first['segment'] == [0, FRAMES]
    assert len(first['action']['scores']) == 8
    assert first['query'] == 'red square' and first['span'] == [10.0, 30.0]
    assert first['span_seconds'] == [0.5, 1.5]
    assert first['score'] == pytest.approx(0.10)
    assert second['score'] == pytest.approx(0.11)
    assert first['frames'] == list(range(10, 30))
    # 8 frames at 2, 7, 12, ... 37: the box moves 30 pixels in 35 frames.
    boxes = np.array(first['bboxes'])
    assert boxes.shape == (20, 4)
    np.testing.assert_allclose(
        boxes[:, 0], (np.arange(10, 30) - 2) * 30 / 35, atol=1e-4
    )
    assert inferencer.model.input_shape == (1, 8, 3, 24, 32)
    json.dumps(result)


def test_many_sentences_cost_one_pass(work_dir, video):
    inferencer = TubeInferencer(work_dir, device='cpu', batch_size=2)
    features = inferencer.encode_video(video)
    texts = ['a', 'bb', 'ccc', 'dddd', 'eeeee']
    tubes = inferencer.ground(features, texts)
    tubes += inferencer.ground(features, 'again')
    assert inferencer.model.encoded == 1
    assert inferencer.model.asked == [
        ['a', 'bb'],
        ['ccc', 'dddd'],
        ['eeeee'],
        ['again'],
    ]
    assert [tube['query'] for tube in tubes] == [*texts, 'again']
    scores = [tube['score'] for tube in tubes[:5]]
    np.testing.assert_allclose(scores, [0.01, 0.02, 0.03, 0.04, 0.05])


def test_unknown_words_are_said_once(inferencer, video, monkeypatch):
    said = []
    monkeypatch.setattr('hero_mm.apis.inferencer._warn', said.append)
    features = inferencer.encode_video(video)
    inferencer.ground(features, 'qwxz')
    assert said == [], 'not every encoder has a vocabulary'
    inferencer.model.text_encoder = WordTextEncoder(
        8, vocabulary=['red square'], num_layers=1, num_heads=1
    )
    for texts in (['the red square', 'the qwxz', 'red'], ['the qwxz']):
        inferencer.ground(features, texts)
    assert len(said) == 2
    assert 'not trained with the, qwxz; it reads' in said[1]


def test_results_are_drawn(inferencer, video, tmp_path):
    out = tmp_path / 'out'
    first = inferencer(video, ['one', 'two'], out_dir=out)['visualization']
    kinds = ['.png', '.mp4', '.png', '.mp4']
    assert [Path(path).suffix for path in first] == kinds
    with av.open(first[1]) as container:
        seconds = container.duration / av.time_base
    assert seconds == pytest.approx(FRAMES / FPS, abs=0.1)
    # Drawings of an earlier call stay.
    before = [Path(path).read_bytes() for path in first]
    again = inferencer(video, ['one', 'two'], out_dir=out)['visualization']
    assert not set(first) & set(again)
    assert [Path(path).read_bytes() for path in first] == before


def test_seconds_are_those_of_the_file(inferencer, tmp_path):
    """Of 40 frames the first 20 last 1/20 s each, the others 1/5 s."""
    path = tmp_path / 'uneven.mp4'
    stamps = [*range(20), *range(20, 100, 4)]
    with av.open(str(path), 'w') as output:
        stream = output.add_stream('libx264', rate=20)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.codec_context.time_base = Fraction(1, 20)
        for stamp in stamps:
            image = np.full((HEIGHT, WIDTH, 3), stamp, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format='rgb24')
            frame.pts, frame.time_base = stamp, Fraction(1, 20)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    edges = describe_video(path)['frame_edges']
    assert edges[:40] == pytest.approx(np.array(stamps) / 20)
    assert len(edges) == 41 and 4.8 < edges[40] < 5.1
    # From 0.5 s to 2.2 s: frames 10 to 25.
    (tube,) = inferencer(path, 'x', segment=(0.5, 2.2))['predictions']
    assert tube['segment'] == [10, 26]
    start, end = tube['span']
    wanted = np.interp([start, end], np.arange(41), edges)
    assert tube['span_seconds'] == pytest.approx(wanted)
    assert end > 20 and tube['span_seconds'][1] > end / 20


@pytest.mark.parametrize(
    ('segment', 'frames'),
    [
        ((0.5, 1.5), (10, 30)),
        ((10, 30, 'frames'), (10, 30)),
        ((30, 99, 'frames'), (30, 40)),
        ((7.2, 7.4, 'frames'), (7, 8)),
        # An end beyond the video is cut, and said.
        ((1.0, 99.0), (20, 40)),
        ((1.0, float('inf')), (20, 40)),
        # Shorter than a frame: the one that is shown then.
        ((0.51, 0.52), (10, 11)),
        ((1.97, 1.99), (39, 40)),
    ],
)
def test_a_part_of_the_video_is_searched(
    inferencer, video, segment, frames, monkeypatch
):
    said = []
    monkeypatch.setattr(
        'hero_mm.apis.inputs.print_log', lambda text, **_: said.append(text)
    )
    unit = (*segment, 'seconds')[2]
    found = inferencer(video, 'x', segment=segment[:2], unit=unit)
    (tube,) = found['predictions']
    assert tube['segment'] == list(frames)
    quarter = (frames[1] - frames[0]) / 4
    assert tube['span'] == [frames[0] + quarter, frames[1] - quarter]
    assert len(tube['frames']) == len(tube['bboxes']) >= 1
    cut = [f'it is cut to the frames [{frames[0]}' in text for text in said]
    assert cut == [True] * (segment[1] > 50)


@pytest.mark.parametrize(
    ('asked', 'error', 'message'),
    [
        (dict(texts=['a', '  ']), ValueError, 'sentence 1 is empty'),
        (dict(texts=[]), ValueError, 'at least one'),
        (dict(texts=['a', 3]), TypeError, 'sentence 1 is 3'),
        (dict(video=None), TypeError, 'path of a file'),
        (dict(video='https://x.org/a.mp4'), VideoError, 'download it first'),
        (dict(video='empty'), VideoError, 'neither videos nor numbered'),
        (dict(video='none.mp4'), VideoError, 'none.mp4: does not exist'),
        (dict(video='bad.mp4'), VideoError, 'bad.mp4'),
        (dict(video='blank.mp4'), VideoError, 'blank.mp4'),
        (dict(fps=25), VideoError, 'frame rate of its own, 25 is given'),
        (dict(fps=0), ValueError, 'fps must be'),
        (dict(segment=(3.0, 4.0)), ValueError, '40 frames, 2.00 seconds'),
        (dict(segment=(-1, 1)), ValueError, 'begin inside the video'),
        (dict(segment=(1, 1)), ValueError, 'must be'),
        (dict(segment=(1, float('nan'))), ValueError, 'must be'),
        (dict(segment=(1,)), ValueError, 'two numbers'),
        (dict(segment=(40, 50), unit='frames'), ValueError, 'begin inside'),
        (dict(unit='hours'), ValueError, 'unit must be'),
        (dict(out_dir='bad.mp4'), WriteError, 'this is a file'),
    ],
)
def test_what_cannot_be_asked(
    inferencer, video, tmp_path, monkeypatch, asked, error, message
):
    monkeypatch.chdir(tmp_path)
    os.makedirs('empty')
    Path('bad.mp4').write_bytes(b'this is no video' * 50)
    Path('blank.mp4').touch()
    with pytest.raises(error, match=message):
        inferencer(**{'video': video, 'texts': 'x', **asked})
    assert inferencer.model.encoded == 0


def test_the_best_checkpoint_is_taken(work_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inferencer = TubeInferencer(work_dir, device='cpu')
    assert Path(inferencer.weights).name == BEST
    assert not inferencer.model.training
    # A config finds its own work dir.
    os.makedirs('work_dirs')
    os.rename(work_dir, 'work_dirs/fake')
    Config(CONFIG).dump('fake.py')
    assert find_weights('fake.py', load_config('fake.py')).endswith(BEST)


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(model='alone.py'), FileNotFoundError, 'no weights.*weights='),
        (dict(weights='work/other.pth'), ValueError, 'does not fit'),
        (dict(model='.'), FileNotFoundError, 'no config'),
        (dict(model='none'), FileNotFoundError, 'none. does not exist'),
        (dict(model=Config(dict(model={}))), ValueError, 'test_dataloader'),
        (
            dict(model=Config(BARE), weights='work/epoch_1.pth'),
            ValueError,
            'no test_dataloader.dataset.pipeline',
        ),
        (dict(device='nonsense'), ValueError, "'nonsense' cannot be used"),
        (dict(device='cuda:99'), ValueError, "'cuda:99' cannot be used"),
        (dict(batch_size=0), ValueError, 'batch_size'),
        (dict(top_k=0), ValueError, 'top_k'),
        (dict(window=-1), ValueError, 'window'),
        (dict(window='x'), ValueError, 'window'),
    ],
)
def test_what_cannot_be_a_model(
    work_dir, tmp_path, monkeypatch, options, error, message
):
    monkeypatch.chdir(tmp_path)
    os.makedirs('config')
    Config(CONFIG).dump('config/alone.py')
    if options.get('model') == 'alone.py':
        options = dict(model='config/alone.py')
    with pytest.raises(error, match=message):
        TubeInferencer(**{'model': 'work', 'device': 'cpu', **options})


@pytest.fixture
def folder(tmp_path, video):
    """Two videos in a folder of videos."""
    folder = tmp_path / 'videos'
    (folder / 'deep').mkdir(parents=True)
    for name in ('b.mp4', 'deep/a.MP4'):
        (folder / name).write_bytes(video.read_bytes())
    for name in ('notes.txt', '.hidden.mp4'):
        (folder / name).write_text('no video')
    return folder


@pytest.mark.parametrize('batch_size', [1, 2])
def test_folders_and_lists(inferencer, folder, batch_size):
    texts = ['red', 'what moves']
    result = inferencer(str(folder), texts, batch_size=batch_size)
    names = [[t['video'] for t in tubes] for tubes in result['predictions']]
    a, b = str(folder / 'b.mp4'), str(folder / 'deep/a.MP4')
    assert names == [[a, a], [b, b]]
    assert result['visualization'] == [[], []] and 'errors' not in result
    assert inferencer.model.encoded == 2 // batch_size
    (alone,) = inferencer([a], texts)['predictions']
    for tube, other in zip(alone, result['predictions'][0]):
        assert tube['query'] == other['query']
        np.testing.assert_allclose(tube['bboxes'], other['bboxes'], atol=1e-4)


def test_one_broken_video_takes_no_other_along(inferencer, folder):
    (folder / 'aa.mp4').write_text('no video')
    result = inferencer(folder, 'x')
    assert [len(tubes) for tubes in result['predictions']] == [0, 1, 1]
    ((path, words),) = result['errors'].items()
    assert path.endswith('aa.mp4') and 'not a readable video' in words
    with pytest.raises(VideoError, match='aa.mp4'):
        inferencer([folder / 'aa.mp4'], 'x')


def test_what_the_family_offers(inferencer, video, tmp_path, capsys):
    out = tmp_path / 'preds'
    options = dict(return_vis=True, print_result=True, pred_out_dir=out)
    for _ in range(2):
        result = inferencer(video, ['red [/x]', 'blue'], **options)
    assert [sheet.ndim for sheet in result['visualization']] == [3, 3]
    assert 'red [/x]' in capsys.readouterr().out
    # The file of the first call is still there.
    first, _ = sorted(out.iterdir())
    predictions, facts = load_predictions(first)
    assert facts['weights'] == inferencer.weights
    frames, boxes = predictions['0']['boxes']
    assert frames.tolist() == list(range(10, 30)) and boxes.shape == (20, 4)


def test_answers_are_written_before_drawings(
    inferencer, video, tmp_path, monkeypatch
):
    written, out = [], tmp_path / 'pred'

    def fail(*args, **options):
        written.extend(out.iterdir())
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('hero_mm.apis.inferencer.draw_tubes', fail)
    result = inferencer(video, 'x', out_dir=tmp_path / 'o', pred_out_dir=out)
    assert len(result['predictions']) == 1 and result['visualization'] == []
    assert 'not drawn' in result['errors'][str(video)]
    (path,) = written
    assert '0' in load_predictions(path)[0]


def test_a_part_that_one_video_lacks_takes_no_answer_along(
    inferencer, video, tmp_path
):
    short = write_video(tmp_path / 'short.mp4', [0], 5)
    result = inferencer([video, short], 'x', segment=(0.5, 0.7))
    assert len(result['predictions'][0]) == 1 and not result['predictions'][1]
    assert 'inside the video' in result['errors'][str(short)]


def test_pictures_alone_encode_no_film(inferencer, video, monkeypatch):
    monkeypatch.setattr(render.VideoWriter, '__init__', None)
    sheets = inferencer(video, 'x', return_vis=True)['visualization']
    assert sheets[0].ndim == 3
