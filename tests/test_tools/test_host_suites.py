"""Suites of the hosts, with and without hero_mm."""

import os

import pytest
from programs import ROOT, run_program

pytestmark = pytest.mark.slow
SUITE = """
import os, sys, time
def test_passes(): pass
def test_fails(): assert 0
def test_crashes(): os._exit(77)
def test_takes_too_long(): time.sleep(99)
def test_is_lost(): assert 'hero_mm' not in sys.modules
def test_is_won(): assert 'hero_mm' in sys.modules
"""


def run(hosts, *words, code):
    tool = ROOT / 'tools/analysis_tools/host_suites.py'
    # Without the folder of our tests.
    env = dict(HERO_MM_HOSTS=hosts and str(hosts), PYTHONPATH=str(ROOT))
    return run_program(tool, *words, code=code, timeout=None, **env)


def test_what_is_lost_is_listed(tmp_path):
    (tmp_path / 'mmcv/tests').mkdir(parents=True)
    (tmp_path / 'mmcv/tests/test_some.py').write_text(SUITE)
    # Options of plugins that are not here.
    (tmp_path / 'mmcv/pytest.ini').write_text('[pytest]\naddopts = --none')
    # What is installed is tested, not the checkout.
    (tmp_path / 'mmcv/mmcv').mkdir()
    (tmp_path / 'mmcv/mmcv/__init__.py').write_text('raise SystemExit(9)')
    done = run(tmp_path, '--limit', '3', code=1)
    counts = '4 failed, 2 passed'
    assert done.stdout.splitlines() == [
        f'mmcv without hero_mm: {counts}',
        f'mmcv with hero_mm: {counts}',
        'mmcv: 1 pass with it alone, 1 lost',
        'lost: tests/test_some.py::test_is_lost',
    ]


def test_without_checkouts_it_says_what_to_do(tmp_path):
    for hosts in (None, tmp_path):
        assert 'clone the versions' in run(hosts, code=2).stderr


@pytest.mark.parametrize(
    'name', ['mmcv', 'mmdetection', 'mmaction2', 'mmengine']
)
def test_no_host_test_is_lost(name):
    hosts = os.environ.get('HERO_MM_HOSTS')
    if not hosts or not os.path.isdir(os.path.join(hosts, name)):
        pytest.skip(f'HERO_MM_HOSTS names no checkout of {name}')
    run(hosts, name, code=0)
