"""README.md and docs/: their Python runs, their commands are commands.

A block that cannot run here is fenced as ``no-run: REASON``; it is parsed.
"""

import argparse
import ast
import importlib.util
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import hero_mm

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
FENCE = re.compile(r'^( *)```([^\n]*)\n(.*?)^ *```', re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r'python (tools|demo)/|hero-mm |bash tools/')
# Before a command in the head of a config, and behind it.
LABEL = r'^#( +[\w ]+:)? +| +\(.*\)$'
SHELLS = ('bash', 'shell', 'sh')
MOST_NOT_RUN = 10


def blocks():
    """Page, line, words behind the fence and text of each block."""
    for page in PAGES:
        text = page.read_text(encoding='utf-8')
        for found in FENCE.finditer(text):
            line = text.count('\n', 0, found.start()) + 1
            code = re.sub(rf'^{found[1]}', '', found[3], flags=re.MULTILINE)
            yield page, line, found[2].strip(), code


ALL = [pytest.param(*one, id=f'{one[0].stem}-{one[1]}') for one in blocks()]
PYTHON = [one for one in ALL if one.values[2].startswith('python')]
NOT_RUN = [one for one in ALL if 'no-run' in one.values[2]]


def heads():
    """What the configs say above their code, as blocks."""
    for path in sorted((ROOT / 'configs/hero').glob('*.py')):
        head = path.read_text().partition('_base_')[0].replace('\\\n#', '')
        yield path, 1, '', re.sub(LABEL, '', head, flags=re.MULTILINE)


def commands():
    """The commands of all blocks that are no other language."""
    for page, line, info, code in [*blocks(), *heads()]:
        if info.partition(' ')[0] not in ('', *SHELLS):
            continue
        code = code.replace('\\\n', ' ').replace(' OPTIONS', '')
        for name, value in re.findall(r'^(\w+)="(.*)"$', code, re.MULTILINE):
            code = code.replace(f'${name}', value)
        for command in code.splitlines():
            command = command.removeprefix('$ ').strip()
            if COMMAND.match(command):
                yield pytest.param(command, id=f'{page.stem}-{line}')


@pytest.fixture
def place(tmp_path, monkeypatch, shapes_data):
    """A folder to run in, with the rendered data and the configs."""
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/shapes').symlink_to(shapes_data)
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(('page', 'line', 'info', 'code'), PYTHON)
def test_python(page, line, info, code, place):
    """It runs as it stands, after the blocks before it on the page."""
    from hero_mm.registry import MODELS

    if 'no-run' in info:
        ast.parse(code)
        return
    installed = (Path(hero_mm.__file__).parent / '.mim').exists()
    if 'hero_mm::' in code and not installed:
        pytest.skip('the hub of MMEngine knows installed packages alone')
    # What hero_mm registers when it is first asked stays.
    MODELS.import_from_location()
    before = dict(MODELS.module_dict)
    names = dict(__name__='snippet', vis_backends=[])
    try:
        exec(compile(code, f'{page.name}:{line}', 'exec'), names)
    finally:
        # Parts of one's own that a page registers.
        for name in MODELS.module_dict.keys() - before:
            del MODELS.module_dict[name]


def test_what_is_not_run_has_a_reason():
    assert len(NOT_RUN) <= MOST_NOT_RUN
    for one in NOT_RUN:
        info = one.values[2]
        assert re.fullmatch(r'(python|bash|shell) no-run: .{8,}', info), info


@pytest.mark.parametrize(
    ('page', 'line', 'info', 'code'),
    [one for one in ALL if one.values[2].startswith(SHELLS)],
)
def test_shell(page, line, info, code):
    subprocess.run(['bash', '-n', '-c', code], check=True)


class Parsed(Exception):
    """Nothing runs after the command line was read."""


@pytest.fixture
def read_alone(monkeypatch):
    """Tools read their command line and do nothing."""
    parse = argparse.ArgumentParser.parse_args

    def parse_args(self, args=None, namespace=None):
        raise Parsed(parse(self, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse_args)


@pytest.mark.parametrize('command', commands())
def test_command(command, read_alone, monkeypatch):
    """Its tool is there and takes these arguments; configs exist."""
    words = shlex.split(command.partition(' > ')[0], comments=True)
    for word in words:
        if re.match(r'(configs|demo|tools)/[\w./-]+\.(py|sh)$', word):
            assert (ROOT / word).is_file(), word
    if words[0] == 'bash':
        return
    from hero_mm import cli

    if words[0] == 'hero-mm':
        with pytest.raises(Parsed):
            cli.make_parser().parse_args(words[1:])
        return
    tool = ROOT / words[1]
    monkeypatch.setattr('sys.argv', words[1:])
    # As where Python runs it: some import a tool beside them.
    monkeypatch.syspath_prepend(tool.parent)
    spec = importlib.util.spec_from_file_location(f'tool_{tool.stem}', tool)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(Parsed):
        if hasattr(module, 'main'):
            module.main()
        elif hasattr(module, 'parse_args'):
            module.parse_args()
        else:
            module.run_converter(tool.stem, None)
