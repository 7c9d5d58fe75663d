"""Which errors are explained, and in which words."""

import ast
import sys
from pathlib import Path

import pytest
import torch
from forks import Forks
from torch._utils import ExceptionWrapper

from hero_mm import errors
from hero_mm.compat import init_cpu_launcher
from hero_mm.errors import (
    NotFiniteError,
    UserError,
    UserTypeError,
    explain,
    explained,
    run_tool,
)
from hero_mm.files import WriteError


def raised(function):
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError('nothing was raised')


def ours():
    init_cpu_launcher({'launcher': 'slurm'})


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cpu')
    monkeypatch.delenv(errors.TRACEBACK, raising=False)


@pytest.mark.parametrize('linked', [True, False])
def test_the_first_cause_is_explained(linked):
    def wrapped():
        try:
            ours()
        except ValueError as error:
            raise KeyError('class Probe') from (error if linked else None)

    error = raised(wrapped)
    assert explain(error).startswith("launcher 'slurm'")


def test_a_library_that_fails_in_our_line_is_left_alone():
    from hero_mm.apis.answers import tube_table

    error = raised(lambda: tube_table([dict(video='v', span=1)]))
    assert isinstance(error, TypeError)
    assert explain(error) is None


def foreign():
    raise ValueError('not of hero_mm')


def in_worker(body):
    """What a data worker makes of an error."""
    try:
        body()
    except ValueError:
        return ExceptionWrapper(sys.exc_info(), 'in worker 0').reraise


def broken():
    from hero_mm.datasets.video_reader import open_video

    with open_video('no/such.mp4'):
        pass


def test_errors_of_workers_are_explained():
    error = raised(in_worker(ours))
    assert 'Original Traceback' in str(error)
    assert explain(error).startswith("launcher 'slurm'")
    # A worker loses its type.
    error = raised(in_worker(broken))
    assert type(error) is RuntimeError
    assert explain(error).startswith('video no/such.mp4: does not exist. Cure')
    assert explain(raised(in_worker(foreign))) is None


@pytest.mark.parametrize(
    'body',
    [
        foreign,
        lambda: torch.zeros(2) @ torch.zeros(3),
        lambda: int('x'),
        lambda: {}['x'],
    ],
)
def test_defects_are_left_alone(body):
    """Also where a line of ours calls what fails."""
    error = raised(body)
    assert explain(error) is None
    with pytest.raises(type(error)):
        run_tool(body)


@pytest.mark.parametrize('kind', [UserTypeError, NotFiniteError, WriteError])
def test_kinds_of_errors_of_the_user(kind):
    def body():
        if kind is WriteError:
            raise kind('x.json', OSError(28, ''))
        raise kind('x')

    assert explain(raised(body)).startswith('x')
    assert issubclass(UserError, ValueError)
    assert issubclass(UserTypeError, TypeError)


def test_our_code_raises_errors_of_the_user(repo_root):
    """A plain ValueError of ours would show its traceback."""
    found = {}
    for room in ('hero_mm', 'tools', 'demo'):
        for path in (repo_root / room).rglob('*.py'):
            names = [
                ast.unparse(node.exc.func)
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Raise)
                and isinstance(node.exc, ast.Call)
            ]
            plain = {'ValueError', 'TypeError', 'FloatingPointError'}
            if plain & set(names):
                found[str(path)] = sorted(plain & set(names))
    assert found == {}, 'raise hero_mm.errors.UserError (UserTypeError)'


def test_what_is_missing(tmp_path):
    path = tmp_path / 'absent.txt'
    assert 'absent.txt' in explain(raised(path.read_text))
    error = ModuleNotFoundError("No module named 'mmdet'", name='mmdet')
    assert 'pip install "hero-mm[mmdet]"' in explain(error)
    # One of ours is a defect.
    error = ModuleNotFoundError('x', name='hero_mm.nowhere')
    assert explain(error) is None


def test_exit_codes_and_words(capsys, monkeypatch):
    assert run_tool(lambda: None) == 0
    assert run_tool(ours) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("\nerror: launcher 'slurm'")
    assert 'Traceback' not in shown and 'HERO_MM_TRACEBACK=1' in shown

    def interrupt():
        raise KeyboardInterrupt

    assert run_tool(interrupt) == 130
    monkeypatch.setenv(errors.TRACEBACK, '1')
    with pytest.raises(ValueError, match='slurm'):
        run_tool(ours)


def test_imports_of_a_tool_are_explained(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv', None)
    with pytest.raises(SystemExit) as left, explained():
        import mmcv.transforms  # noqa: F401
    assert left.value.code == 1
    shown = capsys.readouterr().err
    assert shown.startswith(
        '\nerror: mmcv is not installed; pip install "hero'
    )
    with explained():
        pass
    with pytest.raises(ValueError, match='not of hero_mm'), explained():
        foreign()


WITHOUT_MMCV = """
import sys


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == 'mmcv':
            raise ModuleNotFoundError(f'No module named {name!r}', name='mmcv')


sys.meta_path.insert(0, Absent())
"""


@pytest.mark.slow
def test_no_tool_shows_a_traceback_where_mmcv_is_missing(repo_root, tmp_path):
    (tmp_path / 'without_mmcv.py').write_text(WITHOUT_MMCV)
    path = f'{tmp_path}:{repo_root}'
    imports = ('mmengine.runner', 'torch', 'without_mmcv')
    refusing = set()
    with Forks({'PYTHONPATH': path}, imports) as forks:
        for tool in [*repo_root.glob('tools/**/*.py'), 'demo/demo.py']:
            code, said = forks.run(tmp_path, repo_root / tool)
            assert 'Traceback' not in said and code in (0, 1, 2), said
            if code == 1:
                refusing.add(Path(tool).name)
                assert 'error: mmcv is not installed; pip install' in said
                assert '"hero-mm[lite]"' in said
    assert refusing >= {'train.py', 'test.py', 'vidstg.py', 'demo.py'}
