"""From pixels to a drawn answer, and what goes wrong on the way.

The commands are run as users run them, on a benchmark of twenty videos, two of
which are broken. A training that is killed and resumed must end as one that
ran through. Wrong files and words give one paragraph that names what was wrong
and the cure.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
import torch
from forks import Forks
from tiny_hero import write_config

ROOT = Path(__file__).resolve().parent.parent
BROKEN = 'not a video'
EPOCHS = 3
MORE = f"""
prepare = dict(out='data', num_videos=dict(train=12, val=4, test=4), workers=1)
train_dataloader['batch_size'] = 4
train_cfg = dict(max_epochs={EPOCHS})
param_scheduler = [
    dict(type='OneCycleLR', eta_max=3e-3, pct_start=0.06,
         total_steps={EPOCHS}, by_epoch=True, convert_to_iter_based=True)]
"""
ENVIRONMENT = {'PYTHONPATH': str(ROOT), 'COLUMNS': '200'}
TRAIN = (ROOT / 'tools/train.py', 'tiny.py', '--work-dir')
TEST = ROOT / 'tools/test.py'
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def forks():
    with Forks(ENVIRONMENT) as forks:
        yield forks


@pytest.fixture(scope='module')
def run(place, forks):
    """Function: run a command line of Python; gives what it wrote."""

    def call(*words):
        code, text = forks.run(place, *words, limit=300)
        assert code == 0, text
        return text

    return call


@pytest.fixture(scope='module')
def place(tmp_path_factory, shapes_data):
    """A folder with data; a video to train and one to validate are broken."""
    folder = tmp_path_factory.mktemp('place')
    shutil.copytree(shapes_data, folder / 'data')
    write_config(folder / 'tiny.py', more=MORE)
    for split in ('train', 'val'):
        broken_video(folder, split).write_text(BROKEN)
    return folder


def broken_video(folder, split):
    """Path of the first video of a split."""
    annotation = json.loads((folder / f'data/{split}.json').read_text())
    first = annotation['data_list'][0]['video_id']
    path = annotation['videos'][first]['path']
    return folder / 'data/vidor/video' / path


@pytest.fixture(scope='module')
def whole(place, run):
    """Work dir and log of a training that ran through."""
    log = run(*TRAIN, 'whole', '--seed', 3)
    return place / 'whole', log


@pytest.fixture(scope='module')
def resumed(place, run):
    """Work dir and log of one that was killed after its first epoch.

    It is resumed without a word about the seed, which the checkpoint knows.
    """
    work = place / 'killed'
    process = subprocess.Popen(
        [sys.executable, *map(str, TRAIN), 'killed', '--seed', '3'],
        cwd=place,
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Its workers are killed with it.
        start_new_session=True,
    )
    limit = time.monotonic() + 200
    while not (work / 'last_checkpoint').is_file():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (work / f'epoch_{EPOCHS}.pth').exists()
    return work, run(*TRAIN, 'killed', '--resume')


def last_scores(work):
    """The scores of the last validation."""
    logs = sorted(work.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for line in logs[-1].read_text().splitlines()]
    found = [line for line in lines if 'tube/m_vIoU' in line][-1]
    assert found['step'] == EPOCHS
    return {k: v for k, v in found.items() if k.startswith('tube/')}


def load(work):
    return torch.load(work / f'epoch_{EPOCHS}.pth', weights_only=False)


def test_a_killed_training_ends_as_one_that_ran_through(whole, resumed):
    """Equal to the last bit with one thread; 1e-6 leaves room for more."""
    first, second = load(whole[0]), load(resumed[0])
    for part in ('state_dict', 'ema_state_dict'):
        assert first[part].keys() == second[part].keys()
        for name, value in first[part].items():
            torch.testing.assert_close(
                second[part][name], value, rtol=1e-6, atol=1e-6, msg=name
            )
    steps = [state['step'] for state in first['optimizer']['state'].values()]
    others = [state['step'] for state in second['optimizer']['state'].values()]
    assert steps == others and min(steps) > EPOCHS
    assert first['param_schedulers'] == second['param_schedulers']
    assert last_scores(whole[0]) == pytest.approx(
        last_scores(resumed[0]), abs=1e-6
    )
    log = resumed[1]
    assert 'resumed epoch: 1' in log and 'Epoch(train) [1]' not in log
    # It is random at all.
    average = first['ema_state_dict']['module.tube_head.span_out.bias']
    bias = first['state_dict']['tube_head.span_out.bias']
    assert not torch.equal(bias, average)


@pytest.mark.parametrize(
    ('split', 'met', 'ended'),
    [
        ('train', 'skipped in training; broken so far: 1 of 12', ''),
        ('val', 'left out; broken so far: 1 of 4', ' and scored 0'),
    ],
)
def test_a_broken_video_ends_nothing(place, whole, split, met, ended):
    path = broken_video(place, split)
    log = whole[1]
    assert f'{path.name}: not a readable video' in log
    assert log.count(f'({met}') == 1
    # MMEngine shows the same warning once.
    count = f'data/{split}.json were left out{ended}: {path.stem}'
    assert log.count(count) == 1


@pytest.fixture(scope='module')
def tested(run, whole):
    """Log of a test that wrote its predictions."""
    words = ('tiny.py', 'whole', '--work-dir', 'tested')
    return run(TEST, *words, '--dump', 'whole/predictions.json')


def test_the_dump_gives_the_scores_of_the_log(place, run, tested):
    words = ('--ann', 'data/test.json', '--json', 'scores.json')
    tool = ROOT / 'tools/analysis_tools/eval_tubes.py'
    run(tool, *words, '--pred', 'whole/predictions.json', '--strict')
    scores = json.loads((place / 'scores.json').read_text())
    assert scores['missing'] == scores['unknown'] == 0
    logged = next((place / 'tested').glob('*/*.json'))
    logged = json.loads(logged.read_text().splitlines()[-1])
    compared = {k: v for k, v in logged.items() if k.startswith('tube/')}
    assert len(compared) > 3
    for name, value in compared.items():
        assert scores[name.partition('/')[2]] == pytest.approx(value), name


def test_the_report_is_written(place, run, tested):
    log = run(ROOT / 'tools/analysis_tools/report.py', 'whole')
    assert 'index.html' in log
    page = (place / 'whole/report/index.html').read_text()
    assert 'm_vIoU' in page and '<img' in page


def test_the_answer_is_drawn_and_can_be_played(place, run, whole):
    video = sorted((place / 'data/vidor/video').rglob('*.mp4'))[-1]
    words = ('-m', 'hero_mm.cli', 'ground', video, 'the red circle spins .')
    log = run(*words, '--model', 'whole', '--out', 'drawn')
    assert 'the red circle spins .' in log
    with av.open(str(video)) as container:
        wanted = sum(1 for _ in container.decode(video=0))
    with av.open(str(place / f'drawn/{video.stem}_0.mp4')) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == 'h264'
        assert stream.codec_context.pix_fmt == 'yuv420p'
        assert sum(1 for _ in container.decode(video=0)) == wanted
    assert (place / f'drawn/{video.stem}_0.png').stat().st_size > 1000


def test_a_test_leaves_the_training_as_it_is(place, run, whole):
    """Whatever config it is tested with: beside what is there."""
    work, _ = whole
    before = {path: path.read_bytes() for path in sorted(work.glob('*.*'))}
    (place / 'other.py').write_text((place / 'tiny.py').read_text())
    run(TEST, 'other.py', 'whole')
    after = {path: path.read_bytes() for path in sorted(work.glob('*.*'))}
    assert after == before
    assert list((work / 'test').glob('*/*.log'))
    assert not (place / 'work_dirs').exists()


def test_a_runner_with_strategies(place, run):
    """It trains, resumes and tests by our tools, on two processes."""
    (place / 'flexible.py').write_text(
        "_base_ = 'tiny.py'\nrunner_type = 'FlexibleRunner'\n"
    )
    words = '-m torch.distributed.run --standalone --nproc_per_node=2'
    flags = 'flexible.py --work-dir flexible --seed 3 --launcher pytorch'
    train = [*words.split(), TRAIN[0], *flags.split()]
    run(*train)
    work = place / 'flexible'
    first = load(work)
    (work / f'epoch_{EPOCHS}.pth').unlink()
    log = run(*train, '--resume', work / f'epoch_{EPOCHS - 1}.pth')
    assert f'resumed epoch: {EPOCHS - 1}' in log
    second = load(work)
    for part in ('state_dict', 'ema_state_dict'):
        for name, value in first[part].items():
            torch.testing.assert_close(
                second[part][name], value, rtol=1e-6, atol=1e-6, msg=name
            )
    assert first['param_schedulers'] == second['param_schedulers']
    answers = []
    for config in ('flexible.py', 'tiny.py'):
        dump = place / f'{config}.json'
        last = work / f'epoch_{EPOCHS}.pth'
        run(TEST, config, last, '--dump', dump)
        answers.append(json.loads(dump.read_text())['predictions'])
    assert answers[0] == answers[1]


@pytest.fixture(scope='module')
def bad(place, whole):
    """Files that are cut or of something else, videos that are empty."""
    raw = json.loads((place / 'data/train.json').read_text())
    (place / 'data/cut.json').write_text(json.dumps(raw)[:1000])
    raw['data_list'][0]['queries'][0].pop('span')
    (place / 'data/keyless.json').write_text(json.dumps(raw))
    for split in ('train', 'test'):
        raw = json.loads((place / f'data/{split}.json').read_text())
        for video in raw['videos'].values():
            path = place / 'nothing' / video['path']
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b'')
    weights = load(whole[0])['state_dict']
    other = {k: v for k, v in weights.items() if k.partition('.')[0] != 'neck'}
    torch.save(dict(meta={}, state_dict=other), place / 'other.pth')
    data = (place / f'whole/epoch_{EPOCHS}.pth').read_bytes()
    (place / 'half.pth').write_bytes(data[: len(data) // 2])
    for name in ('blank.pth', 'data/blank.json'):
        (place / name).write_bytes(b'')


SET = '--cfg-options train_dataloader.dataset'
HALF = 'half.pth is not a readable checkpoint', 'Copy it again'
NO_VIDEO = 'videos cannot be read', "'nothing'"
TRAINING, TESTING = (*TRAIN, 'bad'), (TEST, 'tiny.py')


@pytest.mark.parametrize(
    ('tool', 'words', 'said'),
    [
        (
            TRAINING,
            f'{SET}.ann_file=data/keyless.json',
            ['keyless.json', "key 'span' is missing"],
        ),
        (TRAINING, f'{SET}.ann_file=data/cut.json', ['cut.json', 'JSON']),
        (TRAINING, f'{SET}.ann_file=data/blank.json', ['blank.json', 'JSON']),
        (
            TRAINING,
            '--cfg-options val_dataloader.dataset.ann_file=data/no.json',
            ['data/no.json', 'make it by:  python tools/dataset_converters'],
        ),
        (
            TRAINING,
            f'{SET}.data_prefix.video=films',
            ['The folder of videos is missing', '/films'],
        ),
        (
            TRAINING,
            f'{SET}.data_prefix.video=nothing',
            ['train.json: 12 of its 12', *NO_VIDEO],
        ),
        (
            TRAINING,
            '--resume other.pth',
            ['other.pth holds no optimizer', 'load_from='],
        ),
        (TRAINING, '--resume half.pth', HALF),
        (TRAINING, '--cfg-options load_from=half.pth', HALF),
        (
            TRAINING,
            '--cfg-options load_from=blank.pth',
            ['blank.pth is not a readable checkpoint', 'Copy it again'],
        ),
        (TRAINING, '--resume no.pth', ["'no.pth' does not exist"]),
        (TESTING, 'other.pth', ['other.pth does not fit', 'Use the config']),
        (TESTING, 'no.pth', ["'no.pth' does not exist", 'the work dir of a']),
        (
            TESTING,
            'whole --cfg-options test_dataloader.dataset.data_prefix.'
            'video=nothing',
            ['test.json: 4 of its 4', *NO_VIDEO],
        ),
    ],
)
def test_the_error_names_what_is_wrong_and_the_cure(
    place, forks, bad, tool, words, said
):
    code, text = forks.run(place, *tool, *words.split(), limit=300)
    assert code == 1 and 'Traceback' not in text, text
    _, mark, message = text.rpartition('\nerror: ')
    assert mark, text
    for part in said:
        assert part in message, message
    # A paragraph, and the line that says how to see more.
    assert len(message.strip().splitlines()) <= 9, message


def test_one_broken_video_ends_no_test(place, run, whole):
    """The last test of this file: the videos are others now."""
    raw = json.loads((place / 'data/test.json').read_text())
    name, video = next(iter(raw['videos'].items()))
    (place / 'data/vidor/video' / video['path']).write_bytes(b'')
    text = run(TEST, 'tiny.py', 'whole')
    missing = sum(
        len(clip['queries'])
        for clip in raw['data_list']
        if clip['video_id'] == name
    )
    assert f'{name}.mp4: the file is empty' in text
    assert '(left out; broken so far: 1 of 4 videos)' in text
    assert f'{missing} without a prediction (scored 0)' in text
    assert f'test.json were left out and scored 0: {name}' in text
