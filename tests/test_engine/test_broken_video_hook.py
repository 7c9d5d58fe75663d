"""The count of broken videos at the end of a run."""

from types import SimpleNamespace

import pytest

from hero_mm.engine.hooks import broken_video_hook
from hero_mm.engine.hooks.broken_video_hook import BrokenVideoHook


def _runner(names):
    dataset = SimpleNamespace(broken_videos=names, ann_file='a.json')
    loader = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(train_dataloader=loader, test_dataloader=loader)


@pytest.fixture
def told(monkeypatch):
    lines = []
    monkeypatch.setattr(
        broken_video_hook,
        'print_log',
        lambda message, **unused: lines.append(message),
    )
    return lines


@pytest.mark.parametrize('stage', ['after_train', 'after_test'])
def test_count_and_names(told, stage):
    getattr(BrokenVideoHook(), stage)(_runner(['v1', 'v7']))
    assert told == ['2 broken videos of a.json were left out: v1, v7']


def test_many(told):
    BrokenVideoHook(most=2).after_train(_runner(['a', 'b', 'c', 'd']))
    assert told[0].endswith('a, b and 2 more')


def test_none(told):
    BrokenVideoHook().after_train(_runner([]))
    other = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=[1]))
    BrokenVideoHook().after_test(other)
    assert told == []
