"""``hero-mm ground``: whole folders, resumed, written and shown."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_grounder import CONFIG, FakeGrounder
from mmengine.config import Config

from hero_mm import cli
from hero_mm.apis import TubeInferencer, asking
from hero_mm.apis.answers import answers_csv, best_first, tube_table
from hero_mm.apis.asking import Asking
from hero_mm.apis.inputs import short_names
from hero_mm.evaluation import load_predictions
from hero_mm.models import WordTextEncoder
from hero_mm.visualization import VideoWriter, write_png

TEXTS = ['red', 'what moves', 'the one [/x] that jumps']


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A trained model, a folder of three videos."""
    monkeypatch.chdir(tmp_path)
    os.makedirs('work')
    os.makedirs('videos/sub')
    Config(CONFIG).dump('work/fake.py')
    state = FakeGrounder().state_dict()
    torch.save(dict(meta={}, state_dict=state), 'work/epoch_1.pth')
    for number, name in enumerate(['a', 'b', 'sub/a']):
        with VideoWriter(f'videos/{name}.mp4', fps=10) as writer:
            for value in range(12 + number):
                writer.write(np.full((48, 64, 3), 9 * value, np.uint8))
    return tmp_path


def ask(*words):
    return cli.main(['ground', *words, '--model', 'work', '--device', 'cpu'])


def pairs(path='out/answers.json'):
    with open(path) as file:
        found = json.load(file)['predictions'].values()
    return [(entry['video'], entry['text']) for entry in found]


ALL = [
    (f'videos/{name}.mp4', text)
    for name in ('a', 'b', 'sub/a')
    for text in TEXTS
]


def test_every_sentence_of_every_video(place, capsys):
    assert ask('videos', *TEXTS, '--out', 'out', '--top', '2') == 0
    assert pairs() == ALL
    predictions, facts = load_predictions('out/answers.json')
    assert len(predictions) == 9 and facts['weights'].endswith('epoch_1.pth')
    with open('out/answers.csv') as file:
        rows = list(csv.DictReader(file))
    assert [(row['video'], row['text']) for row in rows] == ALL
    assert rows[0]['fps'] == '10.0' and rows[0]['width'] == '64'
    assert float(rows[3]['end_seconds']) == pytest.approx(0.975)
    # The best answer of each video is that of the longest sentence.
    shown = capsys.readouterr().out
    assert shown.count('[/x]') == 2 and 'what moves' not in shown
    drawn = [p for p in os.listdir('out') if p.endswith('.mp4')]
    assert sorted(drawn) == ['a_2.mp4', 'b_2.mp4']


def test_a_single_path_keeps_its_form(place, capsys):
    assert ask('videos/a.mp4', 'red', 'blue', '--out', 'out') == 0
    shown = capsys.readouterr().out
    assert 'red' in shown and '0.30 to 0.90' in shown
    names = {name for name in os.listdir('out') if name[0] != '.'}
    pictures = {f'a_{n}.{end}' for n in (0, 1) for end in ('png', 'mp4')}
    assert names == pictures | {'answers.json', 'answers.csv'}
    for name in names:
        assert f'out/{name}' in shown


def contents(folder='out'):
    return {
        entry.name: open(entry.path, 'rb').read()
        for entry in os.scandir(folder)
        if entry.name[0] != '.'
    }


def test_a_second_run_replaces_nothing_of_the_first(place, capsys):
    ask('videos/a.mp4', 'red', '--out', 'out')
    before = contents()
    ask('videos/a.mp4', 'blue', '--out', 'out')
    after = contents()
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 * len(before)
    assert pairs('out/answers-2.json') == [('videos/a.mp4', 'blue')]
    # The same command finds its own answers.
    ask('videos/a.mp4', 'red', '--out', 'out')
    assert contents() == after


def test_what_the_user_has_written_stays(place):
    os.makedirs('out')
    for name in ('answers.json', 'answers.csv', 'a_0.png'):
        (place / 'out' / name).write_text('mine')
    ask('videos/a.mp4', 'red', '--out', 'out')
    for name in ('answers.json', 'answers.csv', 'a_0.png'):
        assert (place / 'out' / name).read_text() == 'mine'
    assert pairs('out/answers-2.json') == [('videos/a.mp4', 'red')]


def test_drawings_among_the_videos_are_no_videos(place):
    """And the videos of the user stay."""
    before = (place / 'videos/a.mp4').read_bytes()
    ask('videos', 'red', '--out', 'videos', '--top', '9')
    assert (place / 'videos/a_0.mp4').is_file()
    assert (place / 'videos/a.mp4').read_bytes() == before
    ask('videos', 'red', '--out', 'out')
    assert len(pairs()) == 3


KILLED = """
import os, sys
import fake_grounder
from hero_mm import cli
from hero_mm.apis import asking
real, left = asking.append_line, [int(sys.argv[1])]
def append(path, line):
    if not left[0]:
        with open(path, 'a') as file:
            file.write(line[:20])
            file.flush()
            os.kill(os.getpid(), 9)
    left[0] -= 1
    real(path, line)
asking.append_line = append
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on(place, repo_root):
    """200 videos, five sentences: within a line, then among the drawings."""
    names = [f'videos/{number:03d}.mp4' for number in range(200)]
    for name in names:
        shutil.copyfile('videos/a.mp4', name)
    shutil.rmtree('videos/sub')
    os.remove('videos/a.mp4')
    os.remove('videos/b.mp4')
    texts = [*TEXTS, 'blue', 'who runs?']
    words = ['ground', 'videos', *texts, '--out', 'out', '--top', '2']
    words += ['--model', 'work', '--device', 'cpu']
    path = f'{repo_root}:{repo_root / "tests"}'
    env = {**os.environ, 'PYTHONPATH': path}
    codes = []
    # Answers, then two files, then drawings, a line each.
    for lines in ('333', f'{1000 - 333 + 3}', '9999'):
        done = subprocess.run(
            [sys.executable, '-c', KILLED, lines, *words],
            env=env,
            capture_output=True,
            check=False,
        )
        codes.append(done.returncode)
    assert codes == [-9, -9, 0], done.stderr.decode()
    (state,) = (place / 'out').glob('.*.jsonl')
    answered = []
    for line in state.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if 'stamp' in entry:
            answered.append((entry['video'], entry['query']))
    # Each pair was asked exactly once.
    asked = [(name, text) for name in names for text in texts]
    assert answered == asked and pairs() == asked
    assert len(list((place / 'out').glob('*.mp4'))) == 2
    assert not list((place / 'out').glob('.*part'))


@pytest.mark.parametrize(
    ('seconds', 'told'),
    [
        (99, ['3 of 3 videos']),
        (0, [f'{number} of 3 videos' for number in range(4)]),
    ],
)
def test_progress_without_a_screen(place, monkeypatch, capsys, seconds, told):
    monkeypatch.setattr(cli, 'SECONDS_A_LINE', seconds)
    ask('videos', 'red')
    assert capsys.readouterr().err.splitlines() == told


@pytest.mark.slow
def test_processes_share_a_folder(place, repo_root, capsys):
    """Under torchrun all is answered once, and a stop loses no answer."""
    words = '-m torch.distributed.run --standalone --nproc_per_node=2'
    code = 'import sys, fake_grounder\nfrom hero_mm import cli\n'
    Path('run.py').write_text(f'{code}sys.exit(cli.main())\n')
    path = f'{repo_root}:{repo_root / "tests"}'
    ground = ['run.py', 'ground', 'videos', *TEXTS, '--out', 'out']
    command = [sys.executable, *words.split(), *ground, '--model', 'work']

    def run():
        return subprocess.run(
            [*command, '--device', 'cpu'],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'},
        )

    Path('videos/b.mp4').rename('b.mp4')
    Path('videos/b.mp4').write_text('not a video')
    done = run()
    # Of the second process; the first one says it.
    assert done.returncode == 1
    assert done.stderr.count('1 of 3 videos have no answer') == 1
    assert pairs() == [pair for pair in ALL if '/b.' not in pair[0]]
    states = sorted(Path('out').glob('.hero_mm-*.jsonl'))
    assert len(states) == 1
    os.replace('b.mp4', 'videos/b.mp4')
    before = states[0].read_text()
    done = run()
    assert done.returncode == 0, done.stderr
    assert pairs() == ALL
    states = sorted(Path('out').glob('.hero_mm-*.jsonl'))
    assert len(states) == 2
    # What the first run knew was not asked again.
    lines = ''.join(path.read_text() for path in states).splitlines()
    found = [json.loads(line) for line in lines if '"stamp"' in line]
    asked = [(entry['video'], entry['query']) for entry in found]
    assert sorted(asked) == sorted(ALL)
    # One process reads what several wrote.
    assert before and ask('videos', *TEXTS, '--out', 'out') == 0
    assert pairs() == ALL


def test_weights_that_lie_elsewhere_are_told_apart_by_their_address(place):
    inferencer = TubeInferencer('work', device='cpu', show_progress=False)
    runs = set()
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        inferencer.weights = f'https://host/{name}'
        runs.add(Asking(inferencer, ['videos/a.mp4'], TEXTS).run)
    assert len(runs) == 2


def test_only_what_is_missing_is_asked(place):
    inferencer = TubeInferencer('work', device='cpu')
    run = Asking(inferencer, ['videos'], ['red'], out_dir='out')
    run.answer('videos/a.mp4')
    again = Asking(inferencer, ['videos'], ['red'], out_dir='out')
    again.answer('videos/a.mp4')
    assert inferencer.model.encoded == 1
    time.sleep(0.01)
    os.utime('videos/a.mp4')
    Asking(inferencer, ['videos'], ['red'], out_dir='out').answer(
        'videos/a.mp4'
    )
    assert inferencer.model.encoded == 2, 'the video has changed'
    os.remove('videos/a.mp4')
    again = Asking(inferencer, ['videos'], ['red'], out_dir='out')
    again.answer('videos/b.mp4')
    assert inferencer.model.encoded == 3, 'another one is gone'


def test_a_broken_video_ends_nothing(place, capsys):
    (place / 'videos/aa.mp4').write_text('no video')
    assert ask('videos', 'red', '--out', 'out') == 1
    told = capsys.readouterr().err
    assert '1 of 4 videos have no answer' in told
    assert 'videos/aa.mp4' in told and 'not a readable video' in told
    assert len(pairs()) == 3
    with open('out/answers.json') as file:
        assert 'videos/aa.mp4' in json.load(file)['metainfo']['errors']


def test_a_drawing_error_loses_no_answer(place, monkeypatch, capsys):
    def fail(*args):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(asking, 'draw_tubes', fail)
        assert ask('videos/a.mp4', 'red', '--out', 'out') == 1
    shown = capsys.readouterr()
    assert 'red' in shown.out and 'not drawn' in shown.err
    assert pairs() == [('videos/a.mp4', 'red')]
    assert ask('videos/a.mp4', 'red', '--out', 'out') == 0
    assert (place / 'out/a_0.mp4').is_file()


@pytest.mark.parametrize('kind', ['json', 'csv'])
def test_other_formats_are_alone_on_the_output(place, capsys, kind):
    (place / 'texts.txt').write_text('\ufeffred\n\nblue\n', encoding='utf-8')
    flags = ['--sentences', 'texts.txt', '--format', kind]
    assert ask('videos/a.mp4', *flags, '--videos', 'videos/b.mp4') == 0
    shown = capsys.readouterr().out
    if kind == 'json':
        entries = json.loads(shown)['predictions'].values()
    else:
        entries = list(csv.DictReader(shown.splitlines()))
    assert [(e['video'], e['text']) for e in entries] == [
        (f'videos/{name}.mp4', text)
        for name in 'ab'
        for text in ('red', 'blue')
    ]


def test_pictures_and_a_part(place, capsys):
    os.makedirs('pictures')
    for number in range(12):
        image = np.full((48, 64, 3), number, np.uint8)
        write_png(f'pictures/{number:03d}.png', image)
    assert ask('pictures', 'red') == 1
    assert '--fps 25' in capsys.readouterr().err
    flags = ['--fps', '4', '--segment', '1', '99', '--out', 'out']
    assert ask('pictures', 'red', *flags) == 0
    shown = capsys.readouterr()
    assert '1.50 to 2.50' in shown.out
    assert 'the video ends at 3.00 s' in shown.err
    assert (place / 'out/pictures_0.mp4').is_file()


@pytest.mark.parametrize(
    'words,told',
    [
        (['none.mp4', 'red'], 'none.mp4: does not exist'),
        (['videos/a.mp4', 'videos/b.mp4'], "'videos/b.mp4' is a path"),
        (['videos/a.mp4', 'c.mp4'], "'c.mp4' is a path and no sentence"),
        (['videos/a.mp4'], 'no sentence given'),
        (['videos/a.mp4', ' '], 'sentence 0 is empty'),
        (['http://x.org/a.mp4', 'red'], 'download it first'),
        (['videos/a.mp4', 'red', '--out', 'file'], 'this is a file'),
        (['videos/a.mp4', 'red', '--sentences', 'no'], 'no such file'),
        (['videos/a.mp4', '--sentences', 'cp1252'], 'save it in UTF-8'),
        (['videos/a.mp4', 'red', '--segment', '5', '6'], 'begin inside'),
        (['videos/a.mp4', 'red', '--top', '0'], '--top must be'),
        (['work', 'red'], 'neither videos nor numbered pictures'),
        (['\x1b[31m[/x].mp4', 'red'], '\\x1b[31m[/x].mp4: does not exist'),
    ],
)
def test_words_of_errors(place, capsys, words, told):
    (place / 'file').write_text('mine')
    (place / 'cp1252').write_bytes(b'r\xf6d')
    assert ask(*words) == 1
    shown = capsys.readouterr().err
    assert told in shown.replace('\n', '') and '\x1b' not in shown
    assert (place / 'file').read_text() == 'mine'
    assert not (place / 'out').exists()


def test_unknown_words_are_reported(place, monkeypatch, capsys):
    def with_words(self, *args, **options):
        real(self, *args, **options)
        self.model.text_encoder = WordTextEncoder(
            8, vocabulary=['red square'], num_layers=1, num_heads=1
        )

    real = TubeInferencer.__init__
    monkeypatch.setattr(TubeInferencer, '__init__', with_words)
    texts = ['red', '红色的圆', 'مربع red', '🔴🔵', 'red ' * 70]
    assert ask('videos/a.mp4', *texts, '--format', 'json') == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)['predictions'].values()
    assert [entry['unknown_words'] for entry in found] == [
        [],
        ['红色的圆'],
        ['مربع'],
        ['🔴🔵'],
        [],
    ]
    assert [entry['cut_words'] for entry in found] == [0, 0, 0, 0, 6]
    for word in ('红色的圆', 'مربع', '🔴🔵', 'the last 6 words'):
        assert word in shown.err


def test_formulas_and_escapes(place):
    tube = dict(
        video='=cmd.mp4',
        query='=HYPERLINK("http://x")\x1b[31m',
        score=0.5,
        span=[1.0, 2.0],
        span_seconds=[-0.5, 1.0],
        fps=10.0,
        size=[64, 48],
        segment=[0, 9],
        unknown_words=['@x'],
        cut_words=0,
    )
    (row,) = csv.DictReader(answers_csv([tube]).splitlines())
    assert row['video'] == "'=cmd.mp4" and row['text'].startswith("'=HYPER")
    assert row['unknown_words'] == "'@x" and row['start_seconds'] == '-0.5'
    assert '\x1b' not in row['text']


def test_a_name_that_is_no_text(place):
    try:
        os.rename(b'videos/a.mp4', b'videos/\xff.mp4')
    except OSError:
        pytest.skip('this file system has texts as names alone')
    assert ask('videos', 'red', '--out', 'out', '--top', '9') == 0
    names = {video for video, _ in pairs()}
    assert os.fsdecode(b'videos/\xff.mp4') in names and len(names) == 3
    assert len(list((place / 'out').glob('*.mp4'))) == 3


def test_the_best_come_first():
    tubes = [dict(score=score) for score in (0.1, 0.9, 0.5)]
    assert [t['score'] for t in best_first(tubes, 2)] == [0.9, 0.5]


@pytest.mark.parametrize(('names', 'titles'), [('a', 5), ('ab', 6)])
def test_a_table_of_several_videos_names_them(names, titles):
    tube = dict(query='q', span=(0, 1), span_seconds=(0, 1), score=1)
    tubes = [dict(tube, bboxes=[], video=f'/v/{name}.mp4') for name in names]
    table = tube_table(tubes)
    assert len(table.columns) == titles
    cells = [str(cell) for cell in table.columns[0].cells]
    assert cells == (['q'] if titles == 5 else ['a.mp4', 'b.mp4'])


def test_videos_of_relative_and_absolute_paths_have_names(monkeypatch):
    monkeypatch.chdir('/')
    names = short_names(['a/b.mp4', '/a/c/d.mp4'])
    assert names == {'a/b.mp4': 'b.mp4', '/a/c/d.mp4': 'c/d.mp4'}
    assert short_names([]) == {}
