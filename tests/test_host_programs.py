"""Programs that work without hero_mm work after ``import hero_mm``, too.

Each runs in a process of its own, with and without the import: a fork of one
that has imported torch and nothing else.
"""

import textwrap

import pytest
from forks import Forks

PROGRAMS = {
    # MMEngine's loader of URLs reads what hero_mm's would refuse.
    'a checkpoint with a Namespace': """
        import argparse, torch
        from mmengine.runner.checkpoint import CheckpointLoader
        seen = []
        @CheckpointLoader.register_scheme('http://', force=True)
        def load(filename, map_location=None):
            seen.append(filename)
            return dict(args=argparse.Namespace(lr=1))
        IMPORT
        found = CheckpointLoader.load_checkpoint('http://host/a.pth')
        assert found['args'].lr == 1 and seen
        """,
    "MMEngine's own loaders": """
        IMPORT
        from mmengine.runner import checkpoint
        loader = checkpoint.CheckpointLoader._get_checkpoint_loader
        for name in ('http://a/b', 'https://a/b'):
            assert loader(name) is checkpoint.load_from_http, name
        for name in ('torchvision://a', 'modelzoo://a'):
            assert loader(name) is checkpoint.load_from_torchvision, name
        assert loader('/a/b.pth') is checkpoint.load_from_local
        """,
    'a patched torch.load': """
        import argparse, functools, torch
        torch.save(dict(args=argparse.Namespace(lr=1)), 'a.pth')
        torch.load = functools.partial(torch.load, weights_only=False)
        IMPORT
        from mmengine.runner.checkpoint import CheckpointLoader
        found = CheckpointLoader.load_checkpoint('a.pth')
        assert found['args'].lr == 1
        """,
    'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD': """
        import argparse, os, torch
        os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1'
        torch.save(dict(args=argparse.Namespace(lr=1)), 'a.pth')
        IMPORT
        from mmengine.runner.checkpoint import CheckpointLoader
        assert CheckpointLoader.load_checkpoint('a.pth')['args'].lr == 1
        """,
    "a host's own hf://": """
        IMPORT
        from mmengine.runner.checkpoint import CheckpointLoader
        @CheckpointLoader.register_scheme('hf://')
        def load(filename, map_location=None):
            return dict(of=filename)
        found = CheckpointLoader.load_checkpoint('hf://a/b/c')
        assert found == dict(of='hf://a/b/c')
        """,
    "a host's own restricted getattr": """
        import torch
        class Kind:
            pass
        def mine(owner, name):
            assert (owner, name) == (Kind, 'size'), 'not for others'
            return 7
        torch.serialization.add_safe_globals(
            [Kind, (mine, 'builtins.getattr')]
        )
        IMPORT
        class Asks:
            def __reduce__(self):
                return getattr, (Kind, 'size')
        Kind.size = 3
        torch.save(dict(a=Asks()), 'a.pth')
        before = list(torch.serialization.get_safe_globals())
        assert torch.load('a.pth', weights_only=True)['a'] == 7
        AND
        assert torch.load('a.pth', weights_only=True)['a'] == 7
        after = torch.serialization.get_safe_globals()
        assert sorted(map(str, after)) == sorted(map(str, before))
        """,
    'an allow-list that nobody fills': """
        IMPORT
        import mmengine.runner, torch
        listed = map(str, torch.serialization.get_safe_globals())
        assert not [x for x in listed if 'hero_mm' in x or 'mmengine' in x]
        """,
}
# Of ours, after the host's; its checkpoint is not ours to read.
AND = """
from mmengine.logging import HistoryBuffer
from hero_mm.pretrained.reading import read_weights_file
torch.save(dict(hub=HistoryBuffer([1.0], [1])), 'hub.pth')
assert read_weights_file('hub.pth')['hub'].mean() == 1
try:
    read_weights_file('a.pth')
    raise SystemExit('it was read')
except ValueError:
    pass
"""


@pytest.fixture(scope='module')
def forks():
    with Forks({}, ('torch',)) as forks:
        yield forks


@pytest.mark.slow
@pytest.mark.parametrize('name', PROGRAMS)
@pytest.mark.parametrize('imported', [False, True])
def test_host_programs(name, imported, forks, tmp_path):
    code = textwrap.dedent(PROGRAMS[name])
    code = code.replace('IMPORT', 'import hero_mm' if imported else '')
    code = code.replace('AND\n', AND if imported else '\n')
    (tmp_path / 'host.py').write_text(code)
    # The host's classes are those of a module that can be imported.
    (tmp_path / 'run.py').write_text('import host')
    code, said = forks.run(tmp_path, tmp_path / 'run.py')
    assert code == 0, said
