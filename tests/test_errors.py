"""Which errors are explained, and in which words."""

import ast
import subprocess
import sys

import pytest
import torch
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
from hero_mm.registry import HOOKS


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


def test_an_error_of_ours_is_explained():
    assert "'slurm' needs an accelerator" in explain(raised(ours))


@pytest.mark.parametrize('linked', [True, False])
def test_the_first_cause_is_explained(linked):
    def wrapped():
        try:
            ours()
        except ValueError as error:
            raise KeyError('class Probe') from (error if linked else None)

    error = raised(wrapped)
    assert explain(error).startswith("launcher 'slurm'")


def test_a_loss_that_is_not_finite_is_explained():
    from hero_mm.engine.hooks import FiniteLossHook

    hook = FiniteLossHook()
    hook._first = torch.tensor(3)
    assert 'at iteration 3' in explain(raised(hook._read))


def test_our_words_win_over_those_of_a_library():
    from hero_mm.apis.checkpoint import read_checkpoint

    error = raised(lambda: read_checkpoint(__file__))
    assert error.__cause__ is not None
    assert 'is not a readable checkpoint' in explain(error)


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


def test_an_error_of_a_worker_is_explained():
    error = raised(in_worker(ours))
    assert 'Original Traceback' in str(error)
    assert explain(error).startswith("launcher 'slurm' needs")


def broken():
    from hero_mm.datasets.video_reader import open_video

    with open_video('no/such.mp4'):
        pass


def test_an_error_whose_type_a_worker_loses_is_explained():
    error = raised(in_worker(broken))
    assert type(error) is RuntimeError
    assert explain(error).startswith('video no/such.mp4: does not exist. Cure')


def test_a_foreign_error_of_a_worker_is_left_alone():
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


def test_a_registry_adds_no_words(tmp_path):
    """MMEngine raises the error anew, with the name of the class."""
    cfg = dict(type='hero_mm.TubeVisualizationHook', interval=0)
    error = raised(lambda: HOOKS.build(cfg))
    assert explain(error).startswith('TubeVisualizationHook: interval must')


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


def test_a_missing_file_is_always_explained(tmp_path):
    path = tmp_path / 'absent.txt'
    assert 'absent.txt' in explain(raised(path.read_text))


def test_a_missing_package_of_the_family_names_the_extra():
    error = ModuleNotFoundError("No module named 'mmdet'", name='mmdet')
    assert 'pip install "hero-mm[mmdet]"' in explain(error)


def test_a_missing_module_of_ours_is_a_defect():
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
import os
import runpy
import sys

import mmengine.runner
import torch


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == 'mmcv':
            raise ModuleNotFoundError(f'No module named {name!r}', name='mmcv')


sys.meta_path.insert(0, Absent())
for path in sys.argv[1:]:
    child = os.fork()
    if not child:
        sys.path.insert(0, os.path.dirname(path))
        runpy.run_path(path, run_name='tool')
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
def test_no_tool_shows_a_traceback_where_mmcv_is_missing(repo_root):
    """Each is imported in a process of its own."""
    paths = sorted((repo_root / 'tools').rglob('*.py'))
    paths.append(repo_root / 'demo' / 'demo.py')
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_MMCV, *map(str, paths)],
        cwd=repo_root,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    codes = [int(line) for line in done.stdout.split()]
    assert len(codes) == len(paths), done.stderr
    refusing = {path.name for path, code in zip(paths, codes) if code}
    assert {'train.py', 'test.py', 'vidstg.py', 'demo.py'} <= refusing
    assert 'Traceback' not in done.stderr
    words = 'error: mmcv is not installed; pip install "hero-mm[lite]"'
    assert done.stderr.count(words) == sum(code == 1 for code in codes)
    assert set(codes) == {0, 1}
