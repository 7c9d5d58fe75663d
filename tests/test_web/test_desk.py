"""What stands behind the page: visits, limits, files, answers."""

import json
import os
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from pathlib import Path

import numpy as np
import pytest

from hero_mm import cli
from hero_mm.apis import TubeInferencer
from hero_mm.apis.package import SHIPPED
from hero_mm.web import desk as desk_module
from hero_mm.web.desk import COLORS, Desk, check_sentences
from hero_mm.web.page import videos_to_choose

WHOLE = (0.0, 4.0)
TEXTS = ['the red square spins', 'What moves left?']
EXAMPLE = SHIPPED / 'example.mp4'


@pytest.fixture(scope='module')
def inferencer():
    return TubeInferencer(device='cpu')


@pytest.fixture
def desk(inferencer, tmp_path):
    (tmp_path / 'root').mkdir()
    videos = {'example': str(EXAMPLE)}
    return Desk(inferencer, tmp_path / 'root', videos, 60)


def upload(desk, folder, name='mine.mp4', source=EXAMPLE):
    """A file where Gradio puts it."""
    path = desk.root / folder / name
    path.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, path)
    return str(path)


def read(answer):
    """The entries of the JSON file of an answer."""
    _, (_, path, _) = answer
    return list(json.loads(Path(path).read_text())['predictions'].values())


def test_the_numbers_are_those_of_the_inferencer(desk, inferencer):
    desk.open('a', None, upload(desk, 'x'))
    answer = desk.ask('a', TEXTS, WHOLE)
    wanted = inferencer(EXAMPLE, TEXTS)['predictions']
    for tube, entry in zip(wanted, read(answer), strict=True):
        assert entry['text'] == tube['query'] and entry['video'] == 'mine.mp4'
        np.testing.assert_allclose(entry['span'], tube['span'], atol=2e-3)
        boxes = list(entry['boxes'].values())
        np.testing.assert_allclose(boxes, tube['bboxes'], atol=2e-2)
    text = Path(answer[1][1]).read_text()
    facts = json.loads(text)['metainfo']
    assert 'moving shapes' in facts['trained_on']
    assert facts['weights'] == 'model.safetensors'
    assert str(SHIPPED.parent) not in text


def test_a_clip_is_encoded_once_for_all_visits(desk, monkeypatch):
    segments, encode = [], desk.inferencer.encode_video

    def counted(video, segment, **options):
        segments.append(segment)
        return encode(video, segment, **options)

    monkeypatch.setattr(desk.inferencer, 'encode_video', counted)
    for key in ('a', 'b'):
        desk.open(key, 'example')
        desk.ask(key, TEXTS[:1], WHOLE)
    first = read(desk.ask('a', TEXTS[:1], WHOLE))
    both = read(desk.ask('a', TEXTS[::-1], (0.0, 3.99)))
    assert segments == [WHOLE]
    assert desk._encoded.cache_info().maxsize == desk_module.KEPT_CLIPS
    assert both[1] == first[0]
    part = read(desk.ask('a', TEXTS[:1], (1.0, 3.0)))[0]
    assert segments[1:] == [(1.0, 3.0)] and part['segment'] == [8, 24]


def test_a_long_clip_is_searched_in_windows(desk, inferencer, monkeypatch):
    monkeypatch.setattr(inferencer, 'window', 2.0)
    desk.open('a', 'example')
    entries = read(desk.ask('a', TEXTS, WHOLE))
    wanted = inferencer(EXAMPLE, TEXTS)['predictions']
    for tube, entry in zip(wanted, entries, strict=True):
        assert entry['window'] == tube['window']
        np.testing.assert_allclose(entry['span'], tube['span'], atol=2e-3)


def test_what_is_asked_wrongly_is_said(desk, monkeypatch):
    with pytest.raises(ValueError, match='upload one first'):
        desk.ask('nobody', TEXTS, WHOLE)
    for name in (None, '', '../example', str(EXAMPLE)):
        with pytest.raises(ValueError, match='choose a video of the list'):
            desk.open('a', name)
    desk.open('a', 'example')
    for texts, message in (
        (['  ', ''], 'type a sentence'),
        ([str(n) for n in range(21)], '21 sentences.* takes 20'),
        (['x' * 501], '501 letters'),
    ):
        with pytest.raises(ValueError, match=message):
            desk.ask('a', texts, WHOLE)
    assert check_sentences([' a ', 'b', 'a']) == ['a', 'b']
    with pytest.raises(ValueError, match='^example: .* inside the video'):
        desk.ask('a', TEXTS, (9.0, 10.0))
    monkeypatch.setattr(desk_module, 'MOST_PIXELS', 64 * 64 - 1)
    with pytest.raises(ValueError, match='example has pictures of 64x64 pix'):
        desk.open('a', 'example')
    monkeypatch.undo()
    desk.max_seconds = 3
    with pytest.raises(ValueError, match='example lasts longer than 3 s'):
        desk.open('a', 'example')
    # The clip before it is gone: no answer is about another one.
    with pytest.raises(ValueError, match='upload one first'):
        desk.ask('a', TEXTS, WHOLE)
    # Hours are refused by their header.
    monkeypatch.setattr(desk_module, 'describe_video', None)
    desk.max_seconds = 1
    with pytest.raises(ValueError, match='lasts longer than 1 s'):
        desk.open('a', 'example')


def test_another_video_waits_for_the_answer_about_the_first(desk, monkeypatch):
    path = upload(desk, 'x')
    desk.open('a', None, path)
    find, seen = desk._find, []

    def find_late(visit, texts):
        later = pool.submit(desk.open, 'a', 'example')
        with pytest.raises(TimeoutError):
            later.result(0.2)
        seen.append(os.path.exists(visit.video))
        yield from find(visit, texts)

    monkeypatch.setattr(desk, '_find', find_late)
    with ThreadPoolExecutor() as pool:
        _, files = pool.submit(desk.ask, 'a', TEXTS, WHOLE).result()
    assert seen == [True] and os.path.exists(files[0])
    assert desk.visits['a'].name == 'example' and not os.path.exists(path)


def test_the_same_upload_again_stays(desk):
    """It has the same path: Gradio names its folder by what is in it."""
    path = upload(desk, 'x')
    for _ in range(2):
        desk.open('a', None, path)
    assert os.path.exists(path) and desk.ask('a', TEXTS[:1], WHOLE)


def test_a_broken_upload_is_named_without_its_place(desk, tmp_path):
    (tmp_path / 'text').write_text('no video')
    path = upload(desk, 'x', 'broken.mp4', tmp_path / 'text')
    with pytest.raises(ValueError, match=r'broken\.mp4') as error:
        desk.open('a', None, path)
    assert str(desk.root) not in str(error.value)
    assert not os.path.exists(path)


def test_what_a_visit_leaves(desk, tmp_path):
    path = upload(desk, 'x')
    for key in ('a', 'b'):
        desk.open(key, None, path)
    _, files = desk.ask('a', TEXTS[:1], WHOLE)
    assert all(map(os.path.isfile, files))
    desk.close('a')
    assert not any(map(os.path.exists, files))
    # The other visit has uploaded the same.
    assert os.path.isfile(path)
    desk.open('b', 'example')
    assert not os.path.exists(path)
    desk.close('b')
    desk.close('b')
    assert EXAMPLE.is_file() and not desk.visits
    # A file outside of the root is nobody's upload.
    outside = tmp_path / 'mine.mp4'
    shutil.copyfile(EXAMPLE, outside)
    desk.open('c', None, str(outside))
    desk.visits['c'].used -= desk_module.IDLE_SECONDS + 1
    desk.open('d', 'example')
    assert set(desk.visits) == {'d'} and outside.is_file()
    assert os.listdir(desk.root) == []


def test_a_tab_that_comes_back_keeps_its_clip(desk, monkeypatch):
    """Its connection broke for a moment."""
    monkeypatch.setattr(desk_module, 'GRACE_SECONDS', 0.5)
    for key in ('stays', 'goes'):
        desk.open(key, 'example')
        desk.leave(key)
    desk.ask('stays', TEXTS[:1], WHOLE)
    for _ in range(200):
        if set(desk.visits) == {'stays'}:
            break
        time.sleep(0.05)
    time.sleep(0.6)
    assert set(desk.visits) == {'stays'}


def test_hostile_sentences_are_shown_not_obeyed(desk):
    desk.open('a', 'example')
    text = '<img src=x onerror=alert(1)> & a </svg>'
    shown, _ = desk.ask('a', [text], WHOLE)
    assert '<img' not in shown and shown.count('</svg>') == 1
    assert '&lt;img src=x' in shown and 'was not trained with' in shown


def test_each_tube_has_a_colour_and_a_place_to_jump_to(desk):
    desk.open('a', 'example')
    answer = desk.ask('a', TEXTS, (1.0, 4.0))
    html = answer[0]
    jumps = [float(at) for at in re.findall(r'data-at="([\d.]+)"', html)]
    # The drawn video begins with the segment, at frame 8 of 8 a second.
    wanted = [np.ceil(entry['span'][0] - 8) / 8 for entry in read(answer)]
    np.testing.assert_allclose(jumps, wanted, atol=1e-3)
    assert all(f'rgb{color}' in html for color in COLORS[:2])
    assert html.count('<polyline') == 2


def test_videos_to_choose_have_short_names(tmp_path):
    (tmp_path / 'sub').mkdir()
    for name in ('a.mp4', 'sub/a.mp4'):
        shutil.copyfile(EXAMPLE, tmp_path / name)
    found = videos_to_choose([str(tmp_path)])
    paths = {name: str(tmp_path / name) for name in ('a.mp4', 'sub/a.mp4')}
    assert found == paths and videos_to_choose([]) == {}


def test_without_gradio_its_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    assert cli.main(['web']) == 1
    assert 'pip install "hero-mm[web]"' in capsys.readouterr().err


def test_the_help_shows_examples(capsys):
    with pytest.raises(SystemExit):
        cli.main(['--help'])
    shown = capsys.readouterr().out
    words = set(re.findall('^  hero-mm ([a-z]+)', shown, re.MULTILINE))
    assert words == {'ground', 'web', 'export', 'doctor'}


def test_a_shell_can_complete(capsys):
    pytest.importorskip('shtab')
    with pytest.raises(SystemExit):
        cli.main(['--print-completion', 'bash'])
    assert '--max-seconds' in capsys.readouterr().out
