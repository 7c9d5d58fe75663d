"""Suites of the hosts, with and without hero_mm."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
TOOL = 'tools/analysis_tools/host_suites.py'
SUITE = """
import os, sys, time
def test_passes(): pass
def test_fails(): assert 0
def test_crashes(): os._exit(77)
def test_takes_too_long(): time.sleep(99)
def test_is_lost(): assert 'hero_mm' not in sys.modules
def test_is_won(): assert 'hero_mm' in sys.modules
"""


def run(repo_root, hosts, *words):
    env = {key: v for key, v in os.environ.items() if key != 'HERO_MM_HOSTS'}
    if hosts:
        env['HERO_MM_HOSTS'] = str(hosts)
    return subprocess.run(
        [sys.executable, repo_root / TOOL, *words],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_lost_is_listed(repo_root, tmp_path):
    (tmp_path / 'mmcv/tests').mkdir(parents=True)
    (tmp_path / 'mmcv/tests/test_some.py').write_text(SUITE)
    # Options of plugins that are not here.
    (tmp_path / 'mmcv/pytest.ini').write_text('[pytest]\naddopts = --none')
    # What is installed is tested, not the checkout.
    (tmp_path / 'mmcv/mmcv').mkdir()
    (tmp_path / 'mmcv/mmcv/__init__.py').write_text('raise SystemExit(9)')
    done = run(repo_root, tmp_path, '--limit', '3')
    counts = '4 failed, 2 passed'
    assert done.stdout.splitlines() == [
        f'mmcv without hero_mm: {counts}',
        f'mmcv with hero_mm: {counts}',
        'mmcv: 1 pass with it alone, 1 lost',
        'lost: tests/test_some.py::test_is_lost',
    ]
    assert done.returncode == 1


def test_without_checkouts_it_says_what_to_do(repo_root, tmp_path):
    for hosts in (None, tmp_path):
        done = run(repo_root, hosts)
        assert done.returncode == 2 and 'clone the versions' in done.stderr


@pytest.mark.parametrize(
    'name', ['mmcv', 'mmdetection', 'mmaction2', 'mmengine']
)
def test_no_host_test_is_lost(repo_root, name):
    hosts = os.environ.get('HERO_MM_HOSTS')
    if not hosts or not os.path.isdir(os.path.join(hosts, name)):
        pytest.skip(f'HERO_MM_HOSTS names no checkout of {name}')
    done = run(repo_root, hosts, name)
    assert done.returncode == 0, done.stdout + done.stderr
