"""The notebooks of docs/tutorials run, cell by cell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / 'docs/tutorials').glob('*.ipynb'))


def cells(path):
    """The code of a notebook."""
    found = json.loads(path.read_text(encoding='utf-8'))['cells']
    return [''.join(c['source']) for c in found if c['cell_type'] == 'code']


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_clean(path):
    """No outputs, no counts: they would differ in each commit."""
    for cell in json.loads(path.read_text())['cells']:
        assert not cell.get('outputs')
        assert cell.get('execution_count') is None
    for code in cells(path):
        compile(code, path.name, 'exec')


@pytest.mark.slow
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
    for name in ('configs', 'tools'):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / 'notebook.py').write_text('\n\n'.join(cells(path)))
    paths = [str(ROOT), os.environ.get('PYTHONPATH', '')]
    done = subprocess.run(
        [sys.executable, 'notebook.py'],
        cwd=tmp_path,
        env=dict(
            os.environ, PYTHONPATH=os.pathsep.join(paths), MPLBACKEND='Agg'
        ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
