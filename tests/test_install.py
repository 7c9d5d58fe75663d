"""What is built: wheel, source distribution, editable install."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip('setuptools', minversion='70.1')

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = {
    'hero_mm/py.typed',
    'hero_mm/shipped/model.safetensors',
    'hero_mm/shipped/label.json',
    'hero_mm/shipped/example.mp4',
    'hero_mm/engine/hooks/__init__.py',
}
BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2]))
"""


def build(kind, source, target):
    """Build in a source tree; gives the path of what was built."""
    done = subprocess.run(
        [sys.executable, '-c', BUILD, kind, str(target)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target / done.stdout.strip().splitlines()[-1]


def mim_files(root):
    """What belongs into ``hero_mm/.mim``, as paths in a wheel."""
    paths = [
        path.relative_to(root)
        for name in ('configs', 'tools')
        for path in (root / name).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    ]
    names = ['model-index.yml', *(path.as_posix() for path in paths)]
    return {f'hero_mm/.mim/{name}' for name in names}


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A copy of what packaging reads, without anything built before."""
    folder = tmp_path_factory.mktemp('source') / 'hero-mm'
    folder.mkdir()
    for name in ('hero_mm', 'configs', 'tools'):
        ignore = shutil.ignore_patterns('__pycache__', '.mim')
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, folder)
    return folder


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory):
    """A wheel, built from the source distribution as registries do."""
    target = tmp_path_factory.mktemp('dist')
    sdist = build('sdist', source, target)
    shutil.unpack_archive(sdist, target)
    unpacked = target / sdist.name.removesuffix('.tar.gz')
    return zipfile.ZipFile(build('wheel', unpacked, target))


@pytest.mark.slow
def test_wheel_holds_what_mim_and_type_checkers_look_for(wheel):
    names = set(wheel.namelist())
    assert names >= SHIPPED
    assert {path for path in names if '/.mim/' in path} == mim_files(ROOT)
    assert not any(n.startswith(('tests/', 'tools/')) for n in names)
    assert not any(n.endswith('.pyc') for n in names)


@pytest.mark.slow
def test_wheel_asks_for_the_right_things(wheel):
    names = wheel.namelist()
    (path,) = [name for name in names if name.endswith('/METADATA')]
    lines = wheel.read(path).decode().splitlines()
    required = {
        line.partition(': ')[2].replace(' ', '')
        for line in lines
        if line.startswith('Requires-Dist')
    }
    plain = {name for name in required if 'extra==' not in name}
    assert 'torch>=2.4' in plain
    # A compiled mmcv would be written over.
    assert not any(name.startswith('mmcv') for name in plain)
    # What MIM needs is older than what others may want.
    assert not any('<82' in n and 'extra=="all"' in n for n in required)
    assert any(
        name.startswith('mmcv-lite') and name.endswith('extra=="all"')
        for name in required
    )
    (path,) = [name for name in names if name.endswith('/entry_points.txt')]
    assert 'hero-mm = hero_mm.cli:main' in wheel.read(path).decode()


@pytest.mark.slow
def test_editable_install_links_what_mim_looks_for(source, tmp_path):
    build('editable', source, tmp_path)
    mim = source / 'hero_mm/.mim'
    assert (mim / 'tools/train.py').samefile(source / 'tools/train.py')
    assert (mim / 'configs/metafile.yml').is_file()
    # A config that is added later is there without a second install.
    (source / 'configs/later.py').touch()
    assert (mim / 'configs/later.py').is_file()


def test_the_source_distribution_has_what_tests_read():
    """Of the formats of files; folders are named in MANIFEST.in."""
    lines = (ROOT / 'MANIFEST.in').read_text().splitlines()
    kept = {
        words[1]: words[2:]
        for words in map(str.split, lines)
        if words[0] == 'recursive-include'
    }
    assert kept.keys() == {'configs', 'tools', 'demo', 'docs', 'tests'}
    for folder, patterns in kept.items():
        left = [
            str(path)
            for path in (ROOT / folder).rglob('*')
            if path.is_file()
            and '__pycache__' not in path.parts
            and not any(path.match(pattern) for pattern in patterns)
        ]
        assert left == []
