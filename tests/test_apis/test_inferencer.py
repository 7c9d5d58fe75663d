"""Ask a tiny fake model about a tiny video."""

import json
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from fake_grounder import CONFIG, FakeGrounder
from mmengine.config import Config

from hero_mm.apis import TubeInferencer
from hero_mm.apis.inputs import (
    check_texts,
    describe_video,
    find_weights,
    load_config,
    pick_device,
    pipeline_steps,
)
from hero_mm.datasets.video_reader import VideoError
from hero_mm.evaluation import load_predictions
from hero_mm.files import WriteError
from hero_mm.models import WordTextEncoder
from hero_mm.visualization import VideoWriter, write_png

FRAMES, WIDTH, HEIGHT, FPS = 40, 64, 48, 20


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp('video') / 'my clip.mp4'
    with VideoWriter(path, fps=FPS) as writer:
        for value in range(FRAMES):
            image = np.full((HEIGHT, WIDTH, 3), 4 * value, np.uint8)
            writer.write(image)
    return path


def save_weights(path, width=2):
    model = FakeGrounder(width)
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)


@pytest.fixture
def work_dir(tmp_path):
    folder = tmp_path / 'work'
    folder.mkdir()
    Config(CONFIG).dump(str(folder / 'fake.py'))
    save_weights(folder / 'epoch_2.pth')
    save_weights(folder / 'best_tube_m_vIoU_epoch_1.pth')
    return folder


@pytest.fixture
def inferencer(work_dir):
    return TubeInferencer(work_dir, device='cpu')


def test_one_prediction_a_sentence(inferencer, video):
    result = inferencer(video, ['red square', 'What moves?'])
    assert result['visualization'] == []
    first, second = result['predictions']
    assert set(result) == {'predictions', 'visualization'}
    assert {'query', 'span', 'span_seconds', 'score', 'frames', 'bboxes'} < (
        set(first)
    )
    assert first['video'] == str(video) and first['fps'] == FPS
    assert first['size'] == [WIDTH, HEIGHT]
    assert first['frame_count'] == FRAMES and first['segment'] == [0, FRAMES]
    assert len(first['action']['scores']) == 8
    assert first['query'] == 'red square' and first['span'] == [10.0, 30.0]
    assert first['span_seconds'] == [0.5, 1.5]
    assert first['score'] == pytest.approx(0.10)
    assert second['score'] == pytest.approx(0.11)
    assert first['frames'] == list(range(10, 30))
    json.dumps(result)


def test_boxes_are_dense_and_in_pixels_of_the_video(inferencer, video):
    (tube,) = inferencer(video, 'red square')['predictions']
    boxes = np.array(tube['bboxes'])
    assert boxes.shape == (20, 4)
    # 8 frames at 2, 7, 12, ... 37: the box moves 30 pixels in 35 frames.
    np.testing.assert_allclose(
        boxes[:, 0], (np.arange(10, 30) - 2) * 30 / 35, atol=1e-4
    )
    np.testing.assert_allclose(boxes[:, 3], 30)


def test_the_pipeline_of_the_config_is_used(inferencer, video):
    inferencer(video, 'red square')
    assert inferencer.model.input_shape == (1, 8, 3, 24, 32)


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


def test_unknown_words_are_told_once(inferencer, video, monkeypatch):
    told = []
    module = 'hero_mm.apis.inferencer'
    monkeypatch.setattr(
        f'{module}.print_log', lambda text, **unused: told.append(text)
    )
    features = inferencer.encode_video(video)
    inferencer.ground(features, 'qwxz')
    assert told == [], 'not every encoder has a vocabulary'
    inferencer.model.text_encoder = WordTextEncoder(
        8, vocabulary=['red square'], num_layers=1, num_heads=1
    )
    inferencer.ground(features, ['the red square', 'the qwxz', 'red'])
    inferencer.ground(features, ['the qwxz', 'a square'])
    assert [text.split('"')[1] for text in told] == [
        *('the red square', 'the qwxz', 'a square'),
    ]
    assert 'not trained with the, qwxz; it reads' in told[1]
    (tube,) = inferencer.ground(features, 'a qwxz squáre' + ' red' * 70)
    assert tube['unknown_words'] == ['a', 'qwxz', 'squáre']
    assert tube['cut_words'] == 11
    assert 'last 11 words' in told[-1]


def test_results_are_drawn(inferencer, video, tmp_path):
    result = inferencer(video, ['one', 'two'], out_dir=tmp_path / 'out')
    names = [Path(path).name for path in result['visualization']]
    assert names == [
        'my_clip_0~7777da4e95f5.png',
        'my_clip_0~7777da4e95f5.mp4',
        'my_clip_1~360a6addfe32.png',
        'my_clip_1~360a6addfe32.mp4',
    ]
    with av.open(result['visualization'][1]) as container:
        seconds = container.duration / av.time_base
        assert container.streams.video[0].codec_context.name == 'h264'
    assert seconds == pytest.approx(FRAMES / FPS, abs=0.1)


@pytest.mark.parametrize(
    'segment,unit', [((0.5, 1.5), 'seconds'), ((10, 30), 'frames')]
)
def test_a_part_of_the_video_can_be_searched(inferencer, video, segment, unit):
    result = inferencer(video, 'x', segment=segment, unit=unit)
    (tube,) = result['predictions']
    assert tube['span'] == [15.0, 25.0]
    assert tube['span_seconds'] == [0.75, 1.25]


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
    facts = describe_video(path)
    edges = facts['frame_edges']
    assert edges[:40] == pytest.approx(np.array(stamps) / 20)
    assert len(edges) == 41 and 4.8 < edges[40] < 5.1
    # From 0.5 s to 2.2 s: frames 10 to 25.
    assert describe_video(path, (0.5, 2.2))['segment'] == (10, 26)
    (tube,) = inferencer(path, 'x', segment=(0.5, 2.2))['predictions']
    start, end = tube['span']
    numbers = np.arange(41)
    wanted = np.interp([start, end], numbers, edges)
    assert tube['span_seconds'] == pytest.approx(wanted)
    assert end > 20 and tube['span_seconds'][1] > end / 20


@pytest.mark.parametrize(
    'segment,unit,frames',
    [
        ((1.0, 99.0), 'seconds', (20, 40)),
        ((30, 99), 'frames', (30, 40)),
        ((1.0, float('inf')), 'seconds', (20, 40)),
        # Shorter than a frame: the one that is shown then.
        ((0.51, 0.52), 'seconds', (10, 11)),
        ((1.97, 1.99), 'seconds', (39, 40)),
        ((7, 8), 'frames', (7, 8)),
        ((7.2, 7.4), 'frames', (7, 8)),
    ],
)
def test_an_end_beyond_the_video_is_cut(
    video, segment, unit, frames, monkeypatch
):
    said = []
    monkeypatch.setattr(
        'hero_mm.apis.inputs.print_log', lambda text, **_: said.append(text)
    )
    assert describe_video(video, segment, unit)['segment'] == frames
    assert len(said) == (segment[1] > 50)
    assert all('it is cut to the frames [' in text for text in said)


@pytest.mark.parametrize('segment', [(7, 8), (0, 1), (39, 99)])
def test_a_segment_of_one_frame_has_an_answer(inferencer, video, segment):
    result = inferencer(video, 'x', segment=segment, unit='frames')
    (tube,) = result['predictions']
    assert tube['frames'] == [segment[0]] and len(tube['bboxes']) == 1


@pytest.mark.parametrize(
    'segment,unit,message',
    [
        ((3.0, 4.0), 'seconds', '40 frames, 2.00 seconds'),
        ((-1, 4), 'frames', 'must be'),
        ((9, 9), 'frames', 'must be'),
        ((40, 50), 'frames', 'begin inside the video'),
        ((float('nan'), 1), 'seconds', 'must be'),
        ((1, float('nan')), 'seconds', 'must be'),
        ((1,), 'seconds', 'two numbers'),
        ((0, 1), 'hours', 'unit'),
    ],
)
def test_bad_segments(video, segment, unit, message):
    with pytest.raises(ValueError, match=message):
        describe_video(video, segment, unit)


@pytest.mark.parametrize(
    'texts,error,message',
    [
        ('', ValueError, 'sentence 0 is empty'),
        (['a', '  '], ValueError, 'sentence 1 is empty'),
        ([], ValueError, 'at least one'),
        (['a', 3], TypeError, 'sentence 1 is 3'),
    ],
)
def test_bad_sentences(inferencer, video, texts, error, message):
    with pytest.raises(error, match=message):
        inferencer(video, texts)
    assert inferencer.model.encoded == 0, 'told before the video is read'


def test_sentences_are_stripped():
    assert check_texts(' a red square ') == ['a red square']


def test_a_video_that_was_cut_off(tmp_path):
    path = tmp_path / 'half.mp4'
    noise = np.random.default_rng(0).integers(0, 255, (20, HEIGHT, WIDTH, 3))
    with VideoWriter(path, fps=FPS) as writer:
        for image in noise.astype(np.uint8):
            writer.write(image)
    # Its index stands in front.
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match=r'half.mp4: cut off: it holds'):
        describe_video(path)


@pytest.mark.parametrize('video', [np.zeros((2, 4, 4, 3)), None, 3])
def test_a_video_is_a_path(inferencer, video):
    with pytest.raises(TypeError, match='path of a file'):
        inferencer(video, 'x')


def test_the_best_checkpoint_is_taken(inferencer, work_dir):
    assert Path(inferencer.weights).name == 'best_tube_m_vIoU_epoch_1.pth'
    (work_dir / 'best_tube_m_vIoU_epoch_1.pth').unlink()
    weights = TubeInferencer(work_dir, device='cpu').weights
    assert Path(weights).name == 'epoch_2.pth'


def test_weights_are_loaded(work_dir):
    stored = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    inferencer = TubeInferencer(
        work_dir / 'fake.py', work_dir / 'epoch_2.pth', device='cpu'
    )
    weight = stored['state_dict']['layer.weight']
    assert torch.equal(inferencer.model.layer.weight, weight)
    assert not inferencer.model.training


def test_a_config_finds_its_own_work_dir(work_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs('work_dirs')
    os.rename(work_dir, 'work_dirs/fake')
    Config(CONFIG).dump('fake.py')
    cfg = load_config('fake.py')
    assert 'best_' in find_weights('fake.py', cfg)


def test_no_weights_is_an_error(tmp_path):
    Config(CONFIG).dump(str(tmp_path / 'alone.py'))
    with pytest.raises(FileNotFoundError, match='no weights.*weights='):
        TubeInferencer(tmp_path / 'alone.py', device='cpu')


def test_weights_of_another_config_are_refused(work_dir):
    save_weights(work_dir / 'other.pth', width=5)
    with pytest.raises(ValueError, match=r'other\.pth.*does not fit'):
        TubeInferencer(work_dir, work_dir / 'other.pth', device='cpu')


def test_a_folder_without_config(tmp_path):
    with pytest.raises(FileNotFoundError, match='no config'):
        load_config(tmp_path)
    with pytest.raises(FileNotFoundError, match='none. does not exist'):
        load_config(tmp_path / 'none')


def test_half_a_config():
    with pytest.raises(ValueError, match='test_dataloader'):
        load_config(Config(dict(model=dict(type='FakeGrounder'))))


@pytest.mark.parametrize('device', ['nonsense', 'cuda:99'])
def test_an_unknown_device(device):
    with pytest.raises(ValueError, match=f'device {device!r} cannot be used'):
        pick_device(device)


def test_a_batch_of_none_is_refused(work_dir):
    with pytest.raises(ValueError, match='batch_size'):
        TubeInferencer(work_dir, device='cpu', batch_size=0)


def test_the_pipeline_is_found_in_wrapped_data_sets():
    inner = CONFIG['test_dataloader']['dataset']
    cfg = Config(
        dict(test_dataloader=dict(dataset=dict(type='W', dataset=inner)))
    )
    names = [step['type'] for step in pipeline_steps(cfg)]
    assert names == [
        'SampleClipFrames',
        'DecodeFrames',
        'ResizeClip',
        'PackGroundingInputs',
    ]
    with pytest.raises(ValueError, match='pipeline'):
        pipeline_steps(Config(dict(test_dataloader=dict(dataset=dict()))))


@pytest.fixture
def folder(tmp_path, video):
    """Two videos in a folder of videos, and one of pictures."""
    folder = tmp_path / 'videos'
    (folder / 'deep').mkdir(parents=True)
    for name in ('b.mp4', 'deep/a.MP4'):
        (folder / name).write_bytes(video.read_bytes())
    (folder / 'notes.txt').write_text('no video')
    (folder / '.hidden.mp4').write_text('no video')
    pictures = tmp_path / 'pictures'
    pictures.mkdir()
    for number in range(12):
        image = np.full((HEIGHT, WIDTH, 3), 9 * number, np.uint8)
        write_png(pictures / f'{number:04d}.png', image)
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


def test_a_folder_of_pictures_is_one_video(inferencer, folder):
    pictures = folder.parent / 'pictures'
    with pytest.raises(VideoError, match='pictures: a folder.*--fps 25'):
        inferencer(pictures, 'x')
    (tube,) = inferencer(pictures, 'x', fps=4)['predictions']
    assert tube['span'] == [3, 9] and tube['span_seconds'] == [0.75, 2.25]
    with pytest.raises(ValueError, match='fps must be'):
        inferencer(pictures, 'x', fps=0)


def test_one_broken_video_takes_no_other_along(inferencer, folder):
    (folder / 'aa.mp4').write_text('no video')
    result = inferencer(folder, 'x', batch_size=3)
    assert [len(tubes) for tubes in result['predictions']] == [0, 1, 1]
    ((path, words),) = result['errors'].items()
    assert path.endswith('aa.mp4') and 'not a readable video' in words
    with pytest.raises(VideoError, match='aa.mp4'):
        inferencer([folder / 'aa.mp4'], 'x')


def test_what_the_family_offers(inferencer, video, tmp_path, capsys):
    out = tmp_path / 'preds'
    for _ in range(2):
        result = inferencer(
            video,
            ['red [/x]', 'blue'],
            return_vis=True,
            print_result=True,
            pred_out_dir=out,
        )
    assert [sheet.ndim for sheet in result['visualization']] == [3, 3]
    assert 'red [/x]' in capsys.readouterr().out
    # The file of the first call is still there.
    files = sorted(out.iterdir())
    assert len(files) == 2
    predictions, facts = load_predictions(files[0])
    assert facts['weights'] == inferencer.weights
    raw = json.loads(files[0].read_text())['predictions']['0']
    assert raw['video'] == str(video) and raw['text'] == 'red [/x]'
    assert raw['fps'] == FPS and raw['size'] == [WIDTH, HEIGHT]
    frames, boxes = predictions['0']['boxes']
    assert frames.tolist() == list(range(10, 30)) and boxes.shape == (20, 4)


def test_a_drawing_error_loses_no_answer(
    inferencer, video, tmp_path, monkeypatch
):
    def fail(*args, **options):
        raise OSError(28, 'No space left on device')

    module = 'hero_mm.apis.inferencer'
    warned = []
    with monkeypatch.context() as patch:
        patch.setattr(f'{module}.draw_tubes', fail)
        patch.setattr(f'{module}._warn', warned.append)
        result = inferencer(
            video, 'x', out_dir=tmp_path / 'o', pred_out_dir=tmp_path / 'p'
        )
    assert len(result['predictions']) == 1 and result['visualization'] == []
    assert 'not drawn' in result['errors'][str(video)] and len(warned) == 1
    assert len(list((tmp_path / 'p').iterdir())) == 1


def test_drawings_of_an_earlier_call_stay(inferencer, video, tmp_path):
    first = inferencer(video, 'x', out_dir=tmp_path / 'o')['visualization']
    before = [Path(path).read_bytes() for path in first]
    again = inferencer(video, 'x', out_dir=tmp_path / 'o')['visualization']
    assert not set(first) & set(again)
    assert [Path(path).read_bytes() for path in first] == before


def test_folders_that_are_files_are_refused_first(inferencer, video, tmp_path):
    (tmp_path / 'out').write_text('mine')
    with pytest.raises(WriteError, match='this is a file'):
        inferencer(video, 'x', out_dir=tmp_path / 'out')
    assert inferencer.model.encoded == 0


@pytest.mark.parametrize(
    'path,words',
    [
        ('https://example.org/a.mp4', 'not fetched: it is.*download it first'),
        ('{tmp}/empty', 'neither videos nor numbered pictures'),
        ('{tmp}/none.mp4', 'none.mp4: does not exist'),
        ('{tmp}/bad.mp4', 'bad.mp4'),
        ('{tmp}/blank.mp4', 'blank.mp4'),
    ],
)
def test_videos_that_are_none(inferencer, tmp_path, path, words):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'bad.mp4').write_bytes(b'this is no video' * 50)
    (tmp_path / 'blank.mp4').touch()
    with pytest.raises(VideoError, match=words):
        inferencer(path.format(tmp=tmp_path), 'x')
