"""Wrong files and words on the command line: one paragraph, no traceback.

Each case names what was wrong and the cure. All commands run in forks of one
process that has done the imports, so that a case takes a second.
"""

import copy
import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from forks import Forks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny_hero import write_config

from hero_mm.registry import MODELS

ROOT = Path(__file__).resolve().parent.parent
MORE = """
prepare = None
randomness = dict(seed=0)
train_dataloader.update(num_workers=1, batch_size=2)
val_dataloader['num_workers'] = test_dataloader['num_workers'] = 1
"""

# Changes of an annotation: what is done to it, and what must be said.


def first_query(raw):
    return raw['data_list'][0]['queries'][0]


def first_box(raw):
    query = first_query(raw)
    video = raw['videos'][raw['data_list'][0]['video_id']]
    track = video['tracks'][query['track_id']]
    track.pop('runs')
    start, end = query['span']
    track['boxes'] = {str(frame): [9, 2, 9, 22] for frame in range(start, end)}


ANNOTATIONS = {
    'missing-key': (
        lambda raw: first_query(raw).pop('span'),
        ["key 'span' is missing"],
    ),
    'box-without-width': (first_box, ['[9, 2, 9, 22]', 'x2 > x1']),
    'unknown-video': (
        lambda raw: raw['data_list'][0].update(video_id='77'),
        ["unknown video id '77'"],
    ),
}


@pytest.fixture(scope='module')
def place(tmp_path_factory, shapes_data):
    """Data, checkpoints and videos, good and bad."""
    folder = tmp_path_factory.mktemp('bad')
    shutil.copytree(shapes_data, folder / 'data')
    write_config(folder / 'tiny.py', more=MORE)
    write_checkpoints(folder)
    raw = json.loads((folder / 'data/train.json').read_text())
    for name, (change, _) in ANNOTATIONS.items():
        changed = copy.deepcopy(raw)
        change(changed)
        (folder / f'data/{name}.json').write_text(json.dumps(changed))
    (folder / 'data/cut.json').write_text(json.dumps(raw)[:1000])
    (folder / 'data/blank.json').write_text('')
    # Of the test set and of a copy of all the training videos.
    test = json.loads((folder / 'data/test.json').read_text())
    path = next(iter(test['videos'].values()))['path']
    (folder / 'data/vidor/video' / path).write_bytes(b'')
    for video in raw['videos'].values():
        path = folder / 'nothing' / video['path']
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')
    return folder


def write_checkpoints(folder):
    cfg = Config.fromfile(folder / 'tiny.py')
    init_default_scope('hero_mm')
    cfg.model.text_encoder.ann_file = str(folder / 'data/train.json')
    weights = MODELS.build(cfg.model).state_dict()
    torch.save(dict(meta={}, state_dict=weights), folder / 'good.pth')
    other = {
        name: value
        for name, value in weights.items()
        if not name.startswith('neck.')
    }
    torch.save(dict(meta={}, state_dict=other), folder / 'other.pth')
    data = (folder / 'good.pth').read_bytes()
    (folder / 'half.pth').write_bytes(data[: len(data) // 2])
    (folder / 'blank.pth').write_bytes(b'')


def train(*options):
    options = ('--cfg-options', *options) if options else ()
    return (str(ROOT / 'tools/train.py'), 'tiny.py', *options)


def try_out(*words):
    return (str(ROOT / 'tools/test.py'), 'tiny.py', *words)


CASES = {
    **{
        f'training: {name}': (
            train(f'train_dataloader.dataset.ann_file=data/{name}.json'),
            [f'{name}.json', *told],
        )
        for name, (_, told) in ANNOTATIONS.items()
    },
    'training: cut annotation': (
        train('train_dataloader.dataset.ann_file=data/cut.json'),
        ['cut.json', 'JSON'],
    ),
    'training: blank annotation': (
        train('train_dataloader.dataset.ann_file=data/blank.json'),
        ['blank.json', 'JSON'],
    ),
    'training: missing annotation': (
        train('val_dataloader.dataset.ann_file=data/no.json'),
        ['data/no.json', 'make it by:  python tools/dataset_converters'],
    ),
    'training: missing videos': (
        train('train_dataloader.dataset.data_prefix.video=films'),
        ['The folder of videos is missing', '/films'],
    ),
    'training: all videos broken': (
        train('train_dataloader.dataset.data_prefix.video=nothing'),
        ['train.json: 12 of its 12 videos cannot be read', "'nothing'"],
    ),
    'training: checkpoint that is no training': (
        (*train(), '--resume', 'other.pth'),
        ['other.pth holds no optimizer', 'load_from='],
    ),
    'training: half a checkpoint': (
        (*train(), '--resume', 'half.pth'),
        ['half.pth is not a readable checkpoint', 'Copy it again'],
    ),
    'training: blank checkpoint to start from': (
        train('load_from=blank.pth'),
        ['blank.pth is not a readable checkpoint', 'Copy it again'],
    ),
    'training: missing checkpoint': (
        (*train(), '--resume', 'no.pth'),
        ["checkpoint 'no.pth' does not exist"],
    ),
    'testing: checkpoint of another config': (
        try_out('other.pth'),
        ['other.pth does not fit this config', 'Use the config that'],
    ),
    'testing: missing checkpoint': (
        try_out('no.pth'),
        ["checkpoint 'no.pth' does not exist", 'the work dir of a training'],
    ),
    'testing: all videos broken': (
        (*try_out('good.pth'), '--cfg-options')
        + ('test_dataloader.dataset.data_prefix.video=nothing',),
        ['test.json: 4 of its 4 videos cannot be read', "'nothing'"],
    ),
}


@pytest.fixture(scope='module')
def run(place):
    """Function: run a command in the folder; gives exit code and output."""
    with Forks({'PYTHONPATH': str(ROOT), 'COLUMNS': '200'}) as forks:
        yield partial(forks.run, place)


@pytest.mark.slow
@pytest.mark.parametrize('case', CASES)
def test_the_error_names_what_is_wrong_and_the_cure(run, case):
    code, text = run(*CASES[case][0])
    assert code == 1, text
    assert 'Traceback' not in text
    before, mark, message = text.rpartition('\nerror: ')
    assert mark, text
    for told in CASES[case][1]:
        assert told in message, message
    # A paragraph, and the line that says how to see more.
    assert len(message.strip().splitlines()) <= 9, message


@pytest.mark.slow
def test_one_broken_video_ends_no_test(run, place):
    code, text = run(*try_out('good.pth'))
    assert code == 0, text
    raw = json.loads((place / 'data/test.json').read_text())
    name = next(iter(raw['videos']))
    missing = sum(
        len(clip['queries'])
        for clip in raw['data_list']
        if clip['video_id'] == name
    )
    assert f'{name}.mp4: the file is empty' in text
    assert '(left out; broken so far: 1 of 4 videos)' in text
    assert f'{missing} without a prediction (scored 0)' in text
    assert f'test.json were left out and scored 0: {name}' in text
