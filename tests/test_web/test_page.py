"""The page itself: in a real browser, under load, against intruders."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from hero_mm.apis import TubeInferencer
from hero_mm.apis.package import SHIPPED
from hero_mm.pretrained.reading import read_weights_file
from hero_mm.visualization import VideoWriter
from hero_mm.web import desk

pytestmark = pytest.mark.slow
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
TEXT, OTHER = json.loads((SHIPPED / 'example.json').read_text())['texts']


def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def need(module):
    """A module of the extras that the page needs."""
    return pytest.importorskip(
        module,
        reason=f'no browser test without {module}: hero-mm[web,browser]',
    )


@pytest.fixture(scope='module')
def inferencer():
    return TubeInferencer(device='cpu')


@pytest.fixture(scope='module')
def serving(inferencer, tmp_path_factory):
    """Starts the page; gives it."""
    need('gradio')
    from hero_mm.web.page import running

    folder = tmp_path_factory.mktemp('videos')
    shutil.copyfile(SHIPPED / 'example.mp4', folder / 'choice.mp4')
    videos = {'choice.mp4': str(folder / 'choice.mp4')}

    def start(**options):
        return running(inferencer, videos, port=free_port(), **options)

    return start


@pytest.fixture(scope='module')
def page(serving):
    with serving(max_mb=5, max_seconds=10) as page:
        yield page


@pytest.fixture
def browser():
    need('playwright')
    from playwright.sync_api import sync_playwright

    path = os.environ.get('HERO_MM_BROWSER') or next(
        filter(None, map(shutil.which, BROWSERS)), None
    )
    if path is None:
        pytest.skip('no browser here; apt-get install chromium')
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=['--no-sandbox']
        )
        yield browser
        browser.close()


def status(url, data=None):
    try:
        with urllib.request.urlopen(url, data, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_user_in_a_browser(page, browser, inferencer, tmp_path, monkeypatch):
    monkeypatch.setattr(desk, 'GRACE_SECONDS', 0.5)
    with VideoWriter(tmp_path / 'long.mp4', fps=8) as writer:
        for _ in range(96):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    (tmp_path / 'broken.mp4').write_text('no video at all')
    shutil.copyfile(SHIPPED / 'example.mp4', tmp_path / 'mine.mp4')
    size = dict(width=1280, height=900)
    tab = browser.new_page(viewport=size, accept_downloads=True)
    tab.set_default_timeout(120_000)
    foreign, errors = [], []
    tab.on('request', lambda r: foreign.append(r.url) if is_foreign(r) else 0)
    tab.on('pageerror', lambda error: errors.append(str(error)))
    tab.goto(page.local_url)
    tab.get_by_text('moving shapes (the embedded benchmark').wait_for()
    take = tab.locator('input[type=file]').first
    button = tab.get_by_role('button', name='Ask')

    # What goes wrong is said on the page.
    button.click()
    tab.get_by_text('choose a video or upload one first').wait_for()
    for name, said in (('broken', 'video'), ('long', 'lasts longer than')):
        take.set_input_files(tmp_path / f'{name}.mp4')
        error = tab.get_by_text(f'{name}.mp4').filter(has_text=said)
        error.first.wait_for()
        tab.get_by_label('Remove this file').or_(
            tab.get_by_label('Clear')
        ).first.click()
    take.set_input_files(tmp_path / 'mine.mp4')
    tab.get_by_text('mine.mp4: 4.00 s, 32 frames').wait_for()
    box = tab.get_by_label('sentences, one a line')
    box.fill('   ')
    button.click()
    tab.get_by_text('type a sentence').wait_for()
    for close in tab.get_by_label('Close').all()[::-1]:
        close.click()

    box.fill(f'{TEXT}\n{OTHER}')
    button.click()
    rows = tab.locator('.hero-row')
    rows.nth(1).wait_for()
    assert rows.count() == 2 and tab.locator('.hero-row polyline').count() == 2
    video = tab.locator('#hero-video video')
    video.wait_for()
    tab.wait_for_function(
        "document.querySelector('#hero-video video').readyState >= 1"
    )
    for row in (rows.nth(0), rows.nth(1)):
        row.click()
        at = video.evaluate('(v) => v.currentTime')
        assert at == pytest.approx(float(row.get_attribute('data-at')))
    assert video.evaluate('(v) => v.videoWidth') == 384
    with tab.expect_download() as download:
        tab.locator('a[download="answers.json"]').first.click()
    content = json.loads(Path(download.value.path()).read_text())
    wanted = inferencer(SHIPPED / 'example.mp4', [TEXT, OTHER])['predictions']
    found = list(content['predictions'].values())
    assert [entry['text'] for entry in found] == [TEXT, OTHER]
    for tube, entry in zip(wanted, found):
        np.testing.assert_allclose(entry['span'], tube['span'], atol=2e-3)
        assert entry['score'] == pytest.approx(tube['score'], abs=1e-3)
        boxes = list(entry['boxes'].values())
        np.testing.assert_allclose(boxes, tube['bboxes'], atol=2e-2)
    if os.environ.get('HERO_MM_SCREENSHOT'):
        # Both tubes are seen there.
        rows.nth(0).click()
        tab.wait_for_timeout(1000)
        tab.screenshot(path=os.environ['HERO_MM_SCREENSHOT'], full_page=True)
    (visit,) = page.desk.visits.values()
    folder, upload = visit.folder, Path(visit.video)
    assert folder.is_dir() and upload.is_file()
    tab.close()
    for _ in range(600):
        if not folder.exists() and not upload.exists():
            break
        threading.Event().wait(0.1)
    files = filter(Path.is_file, page.desk.root.rglob('*'))
    # Gradio leaves empty ones.
    assert not any(path.stat().st_size for path in files)
    assert foreign == [] and errors == []


def is_foreign(request):
    return not request.url.startswith(
        ('http://127.0.0.1', 'data:', 'blob:', 'about:')
    )


def call(url, name, *data, session=None):
    """What the page answers to who speaks to it without a browser."""
    url = f'{url}gradio_api/call/{name}'
    head = {'Content-Type': 'application/json'}
    body = json.dumps(dict(data=data, session_hash=session)).encode()
    request = urllib.request.Request(url, body, head)
    code, body = status(request)
    assert code == 200, body
    return status(f'{url}/{json.loads(body)["event_id"]}')[1]


def test_only_own_files_can_be_read(page, repo_root):
    url = page.local_url
    choice = page.desk.videos['choice.mp4']
    for path in (
        '/etc/passwd',
        str(repo_root / 'setup.py'),
        f'{page.desk.root}/../../etc/passwd',
        choice,
        'http://localhost:1/x',
        'https://example.org/',
    ):
        assert status(f'{url}gradio_api/file={path}')[0] >= 400, path
    good = call(url, 'choose', 'choice.mp4')
    assert b'event: complete' in good and b'32 frames' in good
    for path in ('/etc/passwd', choice, 'http://203.0.113.1/a.mp4'):
        given = dict(path=path, meta=dict(_type='gradio.FileData'))
        assert b'event: error' in call(url, 'upload', given), path
    for name in ('../choice.mp4', choice):
        assert b'event: error' in call(url, 'choose', name), name
    assert status(f'{url}gradio_api/upload', b'x')[0] >= 400


def test_nothing_leaves_this_machine(page):
    with pytest.raises(PermissionError, match='no request to other'):
        socket.create_connection(('203.0.113.1', 80), 5)
    with pytest.raises(PermissionError, match='no request to other'):
        socket.getaddrinfo('example.org', 80)
    code, body = status(page.local_url)
    assert code == 200 and b'fonts.googleapis' not in body


def test_the_password(serving):
    with serving(password='secret') as page:
        url = page.local_url
        assert status(f'{url}config')[0] == 401
        for word, code in (('wrong', 400), ('secret', 200)):
            data = f'username=me&password={word}'.encode()
            assert status(f'{url}login', data)[0] == code
    assert not page.desk.root.exists()


def test_a_port_that_is_taken(page, inferencer):
    from hero_mm.web.page import running

    port = int(page.local_url.rstrip('/').rpartition(':')[2])
    with (
        pytest.raises(ValueError, match='give another one with --port'),
        running(inferencer, {}, port=port),
    ):
        pass


@contextmanager
def command(folder, *options):
    """The page in a process of its own, with temporary files in `folder`."""
    need('gradio')
    port = free_port()
    run = subprocess.Popen(
        [sys.executable, '-m', 'hero_mm.cli', 'web', '--port', str(port)]
        + [str(option) for option in options],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, TMPDIR=str(folder)),
        # Where tests run in the background, children would ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        for line in run.stdout:
            if 'the page:' in line:
                break
        yield run, f'http://127.0.0.1:{port}/'
    finally:
        run.kill()
        run.communicate()


def ask(url, session, text, start=0):
    """Answer and files of a question about the whole of a clip."""
    said = call(url, 'ask', text, start, 4, session=session).decode()
    data = said.rpartition('event: complete\ndata: ')[2]
    _, answer, files = json.loads(data)
    assert len(files) == 3
    return answer


@pytest.fixture
def work_dir(tmp_path, repo_root):
    """As a training leaves it, with the shipped weights."""
    work_dir = tmp_path / 'work'
    work_dir.mkdir()
    cfg = Config.fromfile(repo_root / 'configs/hero_shapes.py')
    cfg.dump(str(work_dir / 'hero_shapes.py'))
    weights = dict(state_dict=read_weights_file(SHIPPED / 'model.safetensors'))
    torch.save(weights, work_dir / 'best_tube_m_vIoU_epoch_2.pth')
    return work_dir


def test_the_command_with_a_work_dir(tmp_path, work_dir, inferencer):
    """It says where the page is, and leaves nothing when interrupted."""
    video = tmp_path / 'choice.mp4'
    shutil.copyfile(SHIPPED / 'example.mp4', video)
    options = '--model', work_dir, '--videos', video
    with command(tmp_path, *options) as (run, url):
        code, body = status(url)
        assert code == 200 and b'model: hero_shapes' in body
        assert b'example: moving shapes' not in body
        call(url, 'choose', video.name, session='a')
        (tube,) = inferencer(video, TEXT)['predictions']
        start, end = tube['span_seconds']
        answer = ask(url, 'a', TEXT)
        assert f'{TEXT} ({start:.2f} to {end:.2f} s)' in answer
        assert len(list(tmp_path.glob('hero_mm_web*'))) == 1
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=120) in (0, 130)
        assert list(tmp_path.glob('hero_mm_web*')) == []


def memory(pid):
    pages = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='/proc')
def test_twenty_sessions_at_once(tmp_path):
    """200 requests: none is lost, all are as in a row, memory stays."""
    shutil.copyfile(SHIPPED / 'example.mp4', tmp_path / 'choice.mp4')
    texts = [
        f'the {c} {s} spins'
        for c in ('red', 'blue')
        for s in ('square', 'circle', 'star', 'triangle', 'shape')
    ]

    def visit(number):
        session = f'session{number}'
        call(url, 'choose', 'choice.mp4', session=session)
        found = []
        for at in range(10):
            at = (at + number) % 10
            found.append((at, ask(url, session, texts[at], at % 2)))
            done.append(memory(run.pid))
        return found

    done = []
    with command(tmp_path, '--videos', tmp_path / 'choice.mp4') as (run, url):
        serial = dict(visit(0))
        assert len(set(serial.values())) == 10
        done.clear()
        with ThreadPoolExecutor(20) as pool:
            answers = [
                pair for one in pool.map(visit, range(20)) for pair in one
            ]
    assert len(answers) == 200
    assert all(answer == serial[at] for at, answer in answers)
    # The server alone; its clients are in this process.
    assert max(done[-20:]) < max(done[:50]) + 50, 'memory grows'
