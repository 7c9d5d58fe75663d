"""Tools, loaded as modules: their ``main(argv)`` is called in the process."""

import pytest


@pytest.fixture(scope='module')
def tool(request, load_tool):
    """The tool that a file of tests is named after."""
    name = request.path.stem.removeprefix('test_')
    return load_tool(f'analysis_tools/{name}')


@pytest.fixture
def explain(capsys):
    """What a tool tells its user about a wrong call, as one paragraph."""
    from hero_mm.errors import run_tool

    def call(tool, *words):
        def body():
            tool.main([str(word) for word in words])

        # As if the body stood in the tool, so that its errors are its own.
        body.__code__ = body.__code__.replace(co_filename=tool.__file__)
        capsys.readouterr()
        assert run_tool(body) == 1
        told = capsys.readouterr().err
        assert 'Traceback' not in told and told.startswith('\nerror: ')
        return told.partition('error: ')[2]

    return call
