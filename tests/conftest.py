"""Fixtures shared by all tests."""

import importlib.util
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

# Before torch is imported, and for the commands that tests start: small
# tensors gain nothing from threads, and docs/faq.md tells of a crash.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest
from hypothesis import settings
from mmengine.registry import DefaultScope

# Machines differ and are shared: no test fails by the clock.
settings.register_profile('hero_mm', deadline=None)
settings.load_profile('hero_mm')

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config):
    """Proofs of videos go into a cache of the tests, not of the user."""
    config.hero_mm_cache = tempfile.mkdtemp(prefix='hero_mm_cache')
    os.environ['HERO_MM_CACHE'] = config.hero_mm_cache


def pytest_unconfigure(config):
    shutil.rmtree(config.hero_mm_cache, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    """MMEngine keeps the last default scope; no test leaves one behind.

    Nor do the fixtures that it is the first to ask for: a scope that a
    whole module wants is set for each of its tests. Nor does a command that
    ran beside another one leave warnings switched off.
    """
    before = DefaultScope._instance_dict.copy()
    try:
        return (yield)
    finally:
        DefaultScope._instance_dict = before
        logging.disable(logging.NOTSET)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Where everything is installed, nothing is skipped for want of it."""
    report = yield
    if report.skipped and os.environ.get('HERO_MM_CI'):
        reason = str(report.longrepr[-1])
        if 'FFmpeg' in reason or 'no browser' in reason:
            report.outcome = 'failed'
            report.longrepr = f'HERO_MM_CI is set, and this is {reason}'
    return report


@pytest.fixture(scope='session')
def ffmpeg() -> str:
    """The command line of FFmpeg; skips where it is absent."""
    path = shutil.which('ffmpeg')
    if path is None:
        pytest.skip('FFmpeg has no command here; apt-get install ffmpeg')
    return path


@pytest.fixture(scope='session')
def repo_root() -> Path:
    """The root folder of the repository."""
    return ROOT


@pytest.fixture(scope='session')
def load_tool(repo_root):
    """A tool by its path below ``tools/``, without ``.py``."""

    def load(name):
        path = repo_root / 'tools' / f'{name}.py'
        spec = importlib.util.spec_from_file_location(
            f'tool_{path.stem}', path
        )
        module = importlib.util.module_from_spec(spec)
        # Dataclasses look their module up.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """Folder of real clips and official files; skips where it is absent."""
    folder = Path(
        os.environ.get('HERO_MM_SHARED', ROOT.parent / 'shared' / 'data')
    )
    if not folder.is_dir():
        pytest.skip(f'no shared data at {folder}; set HERO_MM_SHARED')
    return folder


@pytest.fixture(scope='session')
def shapes_data(tmp_path_factory) -> Path:
    """A tiny benchmark of moving shapes; tests change copies of it."""
    from hero_mm.datasets.shapes import build_shapes

    folder = tmp_path_factory.mktemp('shapes')
    sizes = dict(train=12, val=4, test=4)
    build_shapes(folder, sizes, workers=1)
    return folder
