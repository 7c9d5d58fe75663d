"""docs/: pages are linked, listed, built without a warning; notebooks run."""

import importlib
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / 'docs'
NOTEBOOKS = sorted((DOCS / 'tutorials').glob('*.ipynb'))
PAGES = [*ROOT.glob('*.md'), *DOCS.glob('*.md'), ROOT / 'demo/README.md']
LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)\)')
ENTRY = re.compile(r'^\.\. auto\w+:: (hero_mm(?:\.\w+)*)\.(\w+)$', re.M)


def headings(page):
    """Anchors of a page, as the usual host names them."""
    text = re.sub(r'^```.*?^```', '', page.read_text(), flags=re.M | re.S)
    for title in re.findall(r'^#+ (.*)$', text, re.M):
        words = re.sub(r'[^\w\- ]', '', title.lower())
        yield words.replace(' ', '-')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text(encoding='utf-8')):
        if re.match(r'\w+:', link):
            continue
        name, _, anchor = link.partition('#')
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in headings(target), link


def test_every_page_is_in_the_contents():
    listed = set((DOCS / 'index.md').read_text().split())
    assert {page.stem for page in DOCS.glob('*.md')} - {'index'} <= listed


def test_the_reference_lists_what_is_public():
    entries = ENTRY.findall((DOCS / 'api.md').read_text())
    listed = {name for _, name in entries}
    for module in {module for module, _ in entries}:
        public = importlib.import_module(module)
        for name in public.__all__:
            kind = type(getattr(public, name)).__name__
            if kind not in ('module', 'dict', 'str'):
                assert name in listed, f'{module}.{name}'
    for module, name in entries:
        assert hasattr(importlib.import_module(module), name), name


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    if not find_spec('sphinx'):
        pytest.skip('needs the extra docs')
    command = [sys.executable, '-m', 'sphinx', '-W', '-q', '-b', 'html']
    subprocess.run([*command, str(DOCS), str(tmp_path)], check=True)
    assert 'TubeInferencer' in (tmp_path / 'api.html').read_text()


def cells(path):
    """The code of a notebook."""
    found = json.loads(path.read_text(encoding='utf-8'))['cells']
    return [''.join(c['source']) for c in found if c['cell_type'] == 'code']


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_clean(path):
    """No outputs, no counts: they would differ in each commit."""
    for cell in json.loads(path.read_text())['cells']:
        assert not cell.get('outputs')
        assert cell.get('execution_count') is None
    for code in cells(path):
        compile(code, path.name, 'exec')


@pytest.mark.slow
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
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
