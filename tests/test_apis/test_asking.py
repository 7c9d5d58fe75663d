"""``hero-mm ground``: whole folders, resumed, written and shown."""

import csv
import json
import logging
import os
import shutil
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from fake_grounder import save_work, write_video
from mmengine.logging import MMLogger
from programs import run_program

from hero_mm import cli
from hero_mm.apis import TubeInferencer, asking
from hero_mm.apis.answers import answers_csv
from hero_mm.apis.asking import Asking
from hero_mm.apis.inputs import short_names
from hero_mm.evaluation import load_predictions
from hero_mm.models import WordTextEncoder
from hero_mm.visualization import write_png

TEXTS = ['red', 'what moves', 'the one [/x] that jumps']


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A trained model, a folder of three videos."""
    monkeypatch.chdir(tmp_path)
    os.makedirs('videos/sub')
    save_work('work')
    for number, name in enumerate(['a', 'b', 'sub/a']):
        write_video(f'videos/{name}.mp4', range(0, 9 * (12 + number), 9))
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
    # The table of several videos names them.
    assert 'b.mp4' in shown
    drawn = [p for p in os.listdir('out') if p.endswith('.mp4')]
    assert sorted(drawn) == ['a_2.mp4', 'b_2.mp4']


def contents(folder='out'):
    return {
        entry.name: open(entry.path, 'rb').read()
        for entry in os.scandir(folder)
        if entry.name[0] != '.'
    }


def test_a_second_run_replaces_nothing_of_the_first(place, capsys):
    ask('videos/a.mp4', 'red', '--out', 'out')
    before, shown = contents(), capsys.readouterr().out
    assert set(before) == {
        *('a_0.png', 'a_0.mp4', 'answers.json', 'answers.csv')
    }
    assert '0.30 to 0.90' in shown
    assert all(f'out/{name}' in shown for name in before)
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
    names = 'answers.json', 'answers.csv', 'a_0.png'
    for name in names:
        (place / 'out' / name).write_text('mine')
    ask('videos/a.mp4', 'red', '--out', 'out')
    assert {(place / 'out' / name).read_text() for name in names} == {'mine'}
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


def run(*words, code=0):
    return run_program(*words, '--model', 'work', '--device', 'cpu', code=code)


def answered(states):
    """Pairs that were asked, in order; a kill cut some lines off."""
    found = []
    for line in '\n'.join(p.read_text() for p in states).splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if 'stamp' in entry:
            found.append((entry['video'], entry['query']))
    return found


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on(place):
    """200 videos, five sentences: within a line, then among the files."""
    os.makedirs('many')
    names = [f'many/{number:03d}.mp4' for number in range(200)]
    for name in names:
        shutil.copyfile('videos/a.mp4', name)
    texts = [*TEXTS, 'blue', 'who runs?']
    words = ['ground', 'many', *texts, '--out', 'out', '--top', '2']
    # Answers, then two files, a line each.
    for lines, code in ((333, -9), (1000 - 333 + 1, -9), (9999, 0)):
        run('-c', KILLED, lines, *words, code=code)
    # Each pair was asked exactly once.
    asked = [(name, text) for name in names for text in texts]
    assert answered((place / 'out').glob('.*.jsonl')) == asked == pairs()
    assert len(list((place / 'out').glob('*.mp4'))) == 2
    assert not list((place / 'out').glob('.*part'))


@pytest.mark.slow
def test_processes_share_a_folder(place):
    """Under torchrun all is answered once, and a stop loses no answer."""
    words = '-m torch.distributed.run --standalone --nproc_per_node=2'
    code = 'import sys, fake_grounder\nfrom hero_mm import cli\n'
    Path('run.py').write_text(f'{code}sys.exit(cli.main())\n')
    ground = ['run.py', 'ground', 'videos', *TEXTS, '--out', 'out']
    Path('videos/b.mp4').rename('b.mp4')
    Path('videos/b.mp4').write_text('not a video')
    # Of the second process; the first one says it.
    done = run(*words.split(), *ground, code=1)
    assert done.stderr.count('1 of 3 videos have no answer') == 1
    assert pairs() == [pair for pair in ALL if '/b.' not in pair[0]]
    os.replace('b.mp4', 'videos/b.mp4')
    run(*words.split(), *ground)
    assert pairs() == ALL
    # What the first run knew was not asked again.
    states = sorted(Path('out').glob('.hero_mm-*.jsonl'))
    assert len(states) == 2 and sorted(answered(states)) == sorted(ALL)
    # One process reads what several wrote.
    assert ask('videos', *TEXTS, '--out', 'out') == 0
    assert pairs() == ALL


def test_only_what_is_missing_is_asked(place):
    inferencer = TubeInferencer('work', device='cpu')

    def encoded(video):
        run = Asking(inferencer, ['videos'], ['red'], out_dir='out')
        run.answer(f'videos/{video}.mp4')
        return inferencer.model.encoded

    assert encoded('a') == encoded('a') == 1
    time.sleep(0.01)
    os.utime('videos/a.mp4')
    assert encoded('a') == 2, 'the video has changed'
    os.remove('videos/a.mp4')
    assert encoded('b') == 3, 'another one is gone'


def test_runs_are_named_by_what_is_asked(place):
    inferencer = TubeInferencer('work', device='cpu')
    runs = {Asking(inferencer, ['videos'], TEXTS).run}
    for name, value in (
        ('window', 2.0),
        ('window', 3.0),
        # Of what lies elsewhere the address must do.
        ('weights', 'https://host/epoch_1.pth'),
        ('weights', 'https://host/epoch_2.pth'),
    ):
        setattr(inferencer, name, value)
        runs.add(Asking(inferencer, ['videos'], TEXTS).run)
    # Another config, or another version, may answer otherwise.
    inferencer.cfg.model.more = 1
    runs.add(Asking(inferencer, ['videos'], TEXTS).run)
    assert len(runs) == 6


def test_a_broken_video_ends_nothing(place, capsys):
    (place / 'videos/aa.mp4').write_text('no video')
    assert ask('videos', 'red', '--out', 'out') == 1
    shown = capsys.readouterr().err
    assert '1 of 4 videos have no answer' in shown
    assert 'videos/aa.mp4' in shown and 'not a readable video' in shown
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
    ('words', 'message'),
    [
        (['videos/a.mp4', 'videos/b.mp4'], "'videos/b.mp4' is a path"),
        (['videos/a.mp4', 'c.mp4'], "'c.mp4' is a path and no sentence"),
        (['videos/a.mp4'], 'no sentence given'),
        (['videos/a.mp4', 'red', '--out', 'file'], 'this is a file'),
        (['videos/a.mp4', 'red', '--sentences', 'no'], 'no such file'),
        (['videos/a.mp4', 'red', '--sentences', 'videos'], 'no such file'),
        (['videos/a.mp4', '--sentences', 'cp1252'], 'save it in UTF-8'),
        (['videos/a.mp4', 'red', '--top', '0'], '--top must be'),
        (['\x1b[31m[/x].mp4', 'red'], '\\x1b[31m[/x].mp4: does not exist'),
    ],
)
def test_words_of_errors(place, capsys, words, message):
    (place / 'file').write_text('mine')
    (place / 'cp1252').write_bytes(b'r\xf6d')
    assert ask(*words) == 1
    shown = capsys.readouterr().err
    assert message in shown.replace('\n', '') and '\x1b' not in shown
    assert (place / 'file').read_text() == 'mine'


def test_unknown_words_are_reported(place, monkeypatch, capsys):
    def with_words(self, *args, **options):
        real(self, *args, **options)
        self.model.text_encoder = WordTextEncoder(
            8, vocabulary=['red square'], num_layers=1, num_heads=1
        )

    real = TubeInferencer.__init__
    monkeypatch.setattr(TubeInferencer, '__init__', with_words)
    texts = ['red', '红色的圆', 'مربع red', 'red ' * 70]
    assert ask('videos/a.mp4', *texts, '--format', 'json') == 0
    shown = capsys.readouterr()
    found = list(json.loads(shown.out)['predictions'].values())
    unknown = [entry['unknown_words'] for entry in found]
    assert unknown == [[], ['红色的圆'], ['مربع'], []]
    assert [entry['cut_words'] for entry in found] == [0, 0, 0, 6]
    for word in ('红色的圆', 'مربع', 'the last 6 words'):
        assert word in shown.err


def test_formulas_and_escapes():
    tube = dict(query='=HYPERLINK("http://x")\x1b[31m', score=0.5, fps=10.0)
    tube.update(video='=cmd.mp4', span=[1.0, 2.0], span_seconds=[-0.5, 1.0])
    tube.update(size=[64, 48], segment=[0, 9], cut_words=0)
    text = answers_csv([dict(tube, unknown_words=['@x'])])
    (row,) = csv.DictReader(text.splitlines())
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


def test_videos_of_relative_and_absolute_paths_have_names(monkeypatch):
    monkeypatch.chdir('/')
    names = short_names(['a/b.mp4', '/a/c/d.mp4'])
    assert names == {'a/b.mp4': 'b.mp4', '/a/c/d.mp4': 'c/d.mp4'}


def test_a_command_is_needed():
    with pytest.raises(SystemExit, match='2'):
        cli.main([])


def test_a_command_leaves_the_warnings_of_its_host_on(monkeypatch):
    monkeypatch.setattr(MMLogger, '_instance_dict', OrderedDict())
    logger = MMLogger.get_instance('host', log_level='INFO')
    with cli._quiet():
        assert not logger.isEnabledFor(logging.WARNING)
    assert logger.isEnabledFor(logging.WARNING)
