"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope='session')
def repo_root() -> Path:
    """The root folder of the repository."""
    return ROOT


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """Folder of real clips and official files; skips where it is absent."""
    folder = Path(
        os.environ.get('HERO_MM_SHARED', ROOT.parent / 'shared' / 'data')
    )
    if not folder.is_dir():
        pytest.skip(f'no shared data at {folder}; set HERO_MM_SHARED')
    return folder
