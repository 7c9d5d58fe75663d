"""The count of broken videos at the end of a run."""

from types import SimpleNamespace

import pytest

from hero_mm.engine.hooks import broken_video_hook
from hero_mm.engine.hooks.broken_video_hook import BrokenVideoHook


def _data(*names, ann_file='a.json'):
    return SimpleNamespace(broken_videos=list(names), ann_file=ann_file)


def _runner(dataset, stage='train'):
    loader = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(**{f'{stage}_dataloader': loader})


@pytest.fixture
def told(monkeypatch):
    lines = []
    monkeypatch.setattr(
        broken_video_hook,
        'print_log',
        lambda message, **unused: lines.append(message),
    )
    return lines


@pytest.mark.parametrize(
    ('stage', 'what'),
    [
        ('train', 'were left out'),
        ('val', 'were left out and scored 0'),
        ('test', 'were left out and scored 0'),
    ],
)
def test_count_and_names(told, stage, what):
    hook = getattr(BrokenVideoHook(), f'after_{stage}')
    hook(_runner(_data('v1', 'v7'), stage))
    assert told == [f'2 broken videos of a.json {what}: v1, v7']


def test_many(told):
    names = [f'v{number:02}' for number in range(52)]
    BrokenVideoHook().after_train(_runner(_data(*names)))
    assert told[0].endswith('v48, v49 and 2 more')


def test_none(told):
    BrokenVideoHook().after_train(_runner(_data()))
    BrokenVideoHook().after_test(_runner([1], 'test'))
    assert told == []


def test_data_sets_in_wrappers(told):
    other = _data('w', ann_file='b.json')
    many = SimpleNamespace(datasets=[_data('v'), other, [1]])
    BrokenVideoHook().after_train(_runner(SimpleNamespace(dataset=many)))
    assert told == [
        '1 broken videos of a.json were left out: v',
        '1 broken videos of b.json were left out: w',
    ]


def test_all_processes_are_asked(told, monkeypatch):
    monkeypatch.setattr(
        broken_video_hook,
        'all_gather_object',
        lambda own: [own, [('a.json', ['b', 'c'])], [('x.json', ['d'])]],
    )
    BrokenVideoHook().after_train(_runner(_data('c', 'a')))
    assert told == [
        '3 broken videos of a.json were left out: a, b, c',
        '1 broken videos of x.json were left out: d',
    ]
