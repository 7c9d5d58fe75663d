"""Files that are there as a whole or not at all."""

import builtins
import errno
import multiprocessing
import os
import re
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from hero_mm.evaluation.prediction_file import dump_predictions
from hero_mm.files import (
    WriteError,
    adding,
    append_line,
    check_folder,
    replacing,
    write_bytes,
    write_text,
)
from hero_mm.registry import METRICS
from hero_mm.visualization import VideoWriter, write_png

ROOT = Path(__file__).resolve().parent.parent
NOISE = np.random.default_rng(0).integers(0, 255, (24, 96, 96, 3), np.uint8)


def write_mp4(path):
    with VideoWriter(path, fps=5) as writer:
        for image in NOISE:
            writer.write(image)


def save_weights(path):
    with replacing(path) as part, open(part, 'wb') as file:
        torch.save(dict(a=torch.randn(50000)), file)


def predictions(path):
    tube = dict(span=[0, 1000], boxes={n: [0, 0, 1, 1] for n in range(1000)})
    dump_predictions(path, dict(a=tube))


def dump_results(path):
    init_default_scope('hero_mm')
    metric = METRICS.build(dict(type='DumpResults', out_file_path=str(path)))
    metric.process(None, [dict(a=torch.randn(50000))])
    metric.evaluate(1)


WRITERS = {
    'a.bin': lambda path: write_bytes(path, bytes(60000)),
    'a.txt': lambda path: write_text(path, 'word ' * 20000),
    'a.png': lambda path: write_png(path, NOISE[0].repeat(2, 0)),
    'a.mp4': write_mp4,
    'a.pth': save_weights,
    'a.json': predictions,
    'a.pkl': dump_results,
}


@contextmanager
def small_disk(size=10000):
    """A real error of the operating system in the midst of a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize('name', WRITERS)
@pytest.mark.parametrize('before', [None, b'old'])
def test_a_file_that_does_not_fit_leaves_what_was_there(
    tmp_path, name, before
):
    path = tmp_path / 'folder' / name
    path.parent.mkdir()
    if before is not None:
        path.write_bytes(before)
    with (
        pytest.raises(WriteError, match=rf'{name}.* cannot be written'),
        small_disk(),
    ):
        WRITERS[name](path)
    left = [one.name for one in path.parent.iterdir()]
    assert left == ([] if before is None else [name])
    assert before is None or path.read_bytes() == before
    WRITERS[name](path)
    assert max(p.stat().st_size for p in path.parent.iterdir()) > 10000


@pytest.mark.parametrize('name', ['ENOSPC', 'EROFS', 'EACCES'])
@pytest.mark.parametrize('where', ['open', 'fsync', 'replace'])
def test_errors_are_said_in_words(tmp_path, monkeypatch, name, where):
    path = tmp_path / 'a.json'
    path.write_text('old')

    def fail(*args, **options):
        raise OSError(getattr(errno, name), 'injected')

    with monkeypatch.context() as patch:
        module = builtins if where == 'open' else os
        patch.setattr(module, where, fail)
        with pytest.raises(WriteError, match=r'a\.json cannot.*; ') as caught:
            write_text(path, 'new')
    assert caught.value.errno == getattr(errno, name)
    assert [one.name for one in tmp_path.iterdir()] == ['a.json']
    assert path.read_text() == 'old'


def test_a_device_that_is_full():
    with pytest.raises(WriteError, match='/dev/full.*No space left'):
        write_text('/dev/full', 'x')
    assert not os.path.isfile('/dev/full')
    write_text('/dev/null', 'x')
    assert not os.path.isfile('/dev/null')


def test_a_name_that_is_no_text_is_escaped(tmp_path):
    write_text(tmp_path / 'a.txt', os.fsdecode(b'caf\xe9'))
    assert (tmp_path / 'a.txt').read_bytes() == b'caf\\udce9'


@pytest.mark.parametrize(
    'place,words',
    [('file', 'this is a folder'), ('old.txt/new.txt', 'is a file')],
)
def test_places_that_cannot_be(tmp_path, place, words):
    (tmp_path / 'file').mkdir()
    (tmp_path / 'old.txt').write_text('old')
    with pytest.raises(WriteError, match=words):
        write_text(tmp_path / place, 'x')
    assert (tmp_path / 'old.txt').read_text() == 'old'


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / 'out').write_text('mine')
    with pytest.raises(WriteError, match='out cannot.*this is a file'):
        check_folder(tmp_path / 'out')
    assert check_folder(tmp_path / 'a' / 'b').is_dir()


def test_other_errors_stay_what_they_are(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match='input'),
        replacing(tmp_path / 'a.txt') as part,
    ):
        part.write_text((tmp_path / 'input').read_text())
    assert list(tmp_path.iterdir()) == []


def test_links_and_rights_stay(tmp_path):
    (tmp_path / 'real').write_text('old')
    (tmp_path / 'real').chmod(0o640)
    (tmp_path / 'link').symlink_to('real')
    write_text(tmp_path / 'link', 'new')
    assert (tmp_path / 'link').is_symlink()
    assert (tmp_path / 'real').read_text() == 'new'
    assert (tmp_path / 'real').stat().st_mode & 0o777 == 0o640


def test_a_file_that_another_process_removes_meanwhile(tmp_path, monkeypatch):
    copy_mode = shutil.copymode

    def removed(target, part):
        target.unlink()
        copy_mode(target, part)

    monkeypatch.setattr(shutil, 'copymode', removed)
    path = tmp_path / 'kept.txt'
    path.write_text('old')
    write_text(path, 'new')
    assert path.read_text() == 'new' and os.listdir(tmp_path) == ['kept.txt']


def test_what_is_added_replaces_nothing(tmp_path):
    (tmp_path / 'a.txt').write_text('of the user')
    places = []
    for number in range(2):
        with adding(tmp_path / 'a.txt') as draft:
            draft.part.write_text(str(number))
        places.append(draft.path.name)
    assert places == ['a-2.txt', 'a-3.txt']
    with adding(tmp_path / 'a.txt', lambda p: '0' in p.read_text()) as draft:
        draft.part.write_text('again')
    assert draft.path.name == 'a-2.txt'
    texts = [one.read_text() for one in sorted(tmp_path.iterdir())]
    assert texts == ['again', '1', 'of the user']


def test_adding_where_links_are_unknown(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(errno.EPERM, 'no links here')

    monkeypatch.setattr(os, 'link', fail)
    for _ in range(2):
        with adding(tmp_path / 'a.txt') as draft:
            draft.part.write_text('x')
    names = sorted(one.name for one in tmp_path.iterdir())
    assert names == ['a-2.txt', 'a.txt']


def add_many(folder):
    for _ in range(20):
        with adding(folder / 'a.txt') as draft:
            draft.part.write_text('x')


def test_processes_that_add_at_once_lose_nothing(tmp_path):
    with multiprocessing.get_context('fork').Pool(3) as pool:
        pool.map(add_many, [tmp_path] * 3, chunksize=1)
    assert len(list(tmp_path.glob('*.txt'))) == 60
    assert len(list(tmp_path.iterdir())) == 60


def test_lines_are_added_to_whole_lines(tmp_path):
    path = tmp_path / 'new' / 'state.jsonl'
    append_line(path, 'one')
    path.write_text(path.read_text() + 'cut o')
    append_line(path, 'two')
    assert path.read_text().splitlines() == ['one', 'cut o', 'two']


WRITES = re.compile(
    r"\.write_(text|bytes)\(|open\(.*'[wax]b?\+?'|\.savefig\(|imwrite\("
    r'|torch\.save\(|np\.save\(|json\.dump\('
)
# What stands in a line that writes beside a place, or into memory.
HARMLESS = re.compile(r'part\b|file[,)]|buffer|stream|_draft')
OTHERS = {
    # Where torch, locks, logs and temporary folders have ways of their own.
    'hero_mm/files.py',
    'hero_mm/config.py',
    'hero_mm/engine/hooks/checkpoint_hook.py',
    'hero_mm/apis/ablation/scheduler.py',
    # A video in a temporary folder; a switch of the system.
    'hero_mm/apis/benchmark/long.py',
    'hero_mm/apis/benchmark/running.py',
    'hero_mm/apis/benchmark/timing.py',
    'tools/analysis_tools/host_suites.py',
}


@pytest.mark.parametrize('room', ['hero_mm', 'tools', 'demo'])
def test_nobody_writes_in_another_way(room):
    found = [
        f'{path}: {line}'
        for path in sorted((ROOT / room).rglob('*.py'))
        for line in path.read_text().splitlines()
        if WRITES.search(line)
        and not HARMLESS.search(line)
        and str(path.relative_to(ROOT)) not in OTHERS
    ]
    assert found == []
