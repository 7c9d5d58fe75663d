"""The tool that writes docs/model_zoo.md."""

import pytest

from hero_mm.apis import model_zoo


@pytest.fixture
def tool(load_tool, monkeypatch):
    """On two rows, one of which is refused where it should run."""
    module = load_tool('analysis_tools/model_zoo')
    rows = [
        model_zoo.Row('generator', 'ours', lambda folder: {}),
        model_zoo.Row(
            'tower',
            'broken',
            lambda folder: dict(video_encoder=dict(type='NoSuchEncoder')),
        ),
    ]
    monkeypatch.setattr(model_zoo, 'all_rows', lambda configs: rows)
    return module


@pytest.fixture
def document(tmp_path):
    path = tmp_path / 'zoo.md'
    begin, end = model_zoo.table.BEGIN, model_zoo.table.END
    path.write_text(f'before\n{begin}\n{end}\nafter\n')
    return path


def test_the_document_is_written_though_a_row_fails(
    tool, document, explain, capsys
):
    told = explain(tool, '--out', document)
    assert told.startswith('1 rows fail: broken')
    text = document.read_text()
    assert text.startswith('before\n') and text.endswith('\nafter\n')
    cells = model_zoo.cells_of(text)
    assert cells['ours'][-2:] == ['yes', 'yes']
    assert 'NoSuchEncoder' in cells['broken'][-2]


def test_check_writes_nothing(tool, document, capsys):
    before = document.read_text()
    with pytest.raises(ValueError, match='1 rows fail: broken'):
        tool.main(['--check', '--out', str(document)])
    assert document.read_text() == before
    told = capsys.readouterr().out
    assert 'ok    ours: runs' in told and 'FAILS broken: ' in told


def test_only_some_rows(tool, capsys):
    tool.main(['--check', '--only', 'our'])
    assert capsys.readouterr().out == 'ok    ours: runs\n'
    with pytest.raises(SystemExit):
        tool.parse_args(['--only', 'our'])


def test_a_document_without_a_place_is_told_at_once(tool, tmp_path, explain):
    path = tmp_path / 'zoo.md'
    path.write_text('nothing')
    assert 'no place for the table' in explain(tool, '--out', path)
    assert path.read_text() == 'nothing'
