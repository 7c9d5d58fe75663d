"""Every row of docs/model_zoo.md: it runs, or is refused in words."""

import pytest
import torch

from hero_mm.apis import model_zoo
from hero_mm.apis.model_zoo import rows as zoo_rows
from hero_mm.apis.model_zoo import towers

ROWS = {}
DOC = 'docs/model_zoo.md'


def pytest_generate_tests(metafunc):
    """The rows need the configs, which lie beside the tests."""
    if 'row' in metafunc.fixturenames:
        root = metafunc.config.rootpath
        rows = model_zoo.all_rows(root / 'configs')
        metafunc.parametrize('row', rows, ids=[row.name for row in rows])


@pytest.fixture(scope='module')
def written(repo_root):
    return model_zoo.cells_of((repo_root / DOC).read_text(encoding='utf-8'))


def check_alone_and_beside(encoder):
    """A clip gives what it gives beside a longer and larger one."""
    encoder.eval()
    frames, height, width = 3, 61, 70
    both = dict(
        imgs=torch.zeros(2, 5, 3, 64, 96),
        frame_mask=torch.ones(2, 5, dtype=torch.bool),
        pixel_mask=torch.ones(2, 64, 96, dtype=torch.bool),
    )
    clip = torch.randn(frames, 3, height, width)
    both['imgs'][0] = torch.randn(5, 3, 64, 96)
    both['imgs'][1, :frames, :, :height, :width] = clip
    both['frame_mask'][1, frames:] = False
    both['pixel_mask'][1, height:] = False
    both['pixel_mask'][1, :, width:] = False
    alone = dict(
        imgs=clip[None],
        frame_mask=torch.ones(1, frames, dtype=torch.bool),
        pixel_mask=torch.ones(1, height, width, dtype=torch.bool),
    )
    with torch.no_grad():
        two, one = encoder(**both), encoder(**alone)
    for small, large in zip(one.levels, two.levels):
        rows, columns = small.shape[-2:]
        torch.testing.assert_close(
            large[1, :frames, :, :rows, :columns],
            small[0],
            atol=1e-3,
            rtol=1e-3,
        )


def test_row(row, written):
    result = model_zoo.try_row(row)
    if result.missing:
        pytest.skip(result.problem)
    assert model_zoo.is_as_it_should(row, result), result.problem
    cells = written[row.name]
    if row.kind == 'refused':
        assert cells == [result.problem]
        return
    check_alone_and_beside(result.encoder)
    if not any('not installed' in cell for cell in cells):
        # What it costs is what the document says.
        wanted = f'{result.parameters / 1e6:.3f} M'
        assert wanted in cells and cells.count('yes') == 2


def test_the_document_has_these_rows(written, repo_root):
    rows = model_zoo.all_rows(repo_root / 'configs')
    heads = {'config', 'video encoder', 'generator', '---'}
    assert set(written) - heads == {row.name for row in rows}


def test_every_variant_is_a_row(repo_root):
    rows = model_zoo.all_rows(repo_root / 'configs')
    folder = repo_root / 'configs/hero'
    files = {path.stem for path in folder.glob('hero_*_vidstg.py')}
    files -= {name for name in files if '-roberta_' in name}
    assert files == {row.name for row in rows if row.kind == 'variant'}


@pytest.mark.parametrize(
    'name', ['hero_r50_vidstg', 'hero_video-swin-t_vidstg']
)
def test_the_full_size_is_that_of_the_document(name, written, repo_root):
    pytest.importorskip('mmdet')
    pytest.importorskip('mmaction')
    path = repo_root / f'configs/hero/{name}.py'
    parameters, flops = model_zoo.count_variant(path)
    assert written[name][-2:] == [
        f'{parameters / 1e6:.3f} M',
        f'{flops / 1e9:,.3f} G',
    ]


def row_of(kind='tower', **parts):
    return model_zoo.Row(kind, 'mine', lambda folder: parts)


def test_a_missing_package_is_told():
    backbone = dict(type='notapackage.Net')
    tower = dict(type='VideoEncoder', embed_dims=16, backbone=backbone)
    result = model_zoo.try_row(row_of(video_encoder=tower))
    assert result.missing and not result.trained
    assert result.problem == 'notapackage not installed'
    assert model_zoo.is_as_it_should(row_of(), result)
    # Before the parts are made, which may need it.
    row = model_zoo.Row('generator', 'mine', None, needs=('nopackage',))
    result = model_zoo.try_row(row)
    assert result.missing and result.problem == 'nopackage not installed'


def test_what_fails_is_told():
    result = model_zoo.try_row(row_of(video_encoder=dict(type='Nothing')))
    assert 'Nothing' in result.problem and not result.missing
    assert not model_zoo.is_as_it_should(row_of(), result)
    # An error of another kind is no refusal.
    refused = model_zoo.Result(problem='KeyError: 3')
    assert not model_zoo.is_as_it_should(row_of('refused'), refused)
    runs = model_zoo.Result(trained=True, predicted=True)
    assert model_zoo.is_as_it_should(row_of(), runs)
    assert not model_zoo.is_as_it_should(row_of('refused'), runs)


def test_packages_of_a_config():
    config = dict(
        type='VideoEncoder',
        backbone=dict(type='mmdet.ResNet', parts=[dict(type='a.B')]),
        neck=[dict(type='mmaction.TPN', depth=50.0)],
    )
    assert set(towers.needed_packages(config)) == {'mmdet', 'mmaction', 'a'}


def test_a_loss_that_is_not_finite_is_a_problem(monkeypatch):
    monkeypatch.setattr(zoo_rows.math, 'isfinite', lambda value: False)
    result = model_zoo.try_row(row_of())
    assert result.problem.startswith('the loss is ') and not result.trained


TEXT = f"""# Title

{model_zoo.table.BEGIN}
| old | table |
{model_zoo.table.END}

After.
"""


def test_what_stands_round_the_tables_stays():
    text = model_zoo.replace_section(TEXT, '| new | a |')
    assert text.startswith('# Title\n') and text.endswith('\n\nAfter.\n')
    assert 'old' not in text
    assert model_zoo.cells_of(text) == {'new': ['a']}
    assert model_zoo.replace_section(text, '| new | a |') == text
    with pytest.raises(ValueError, match='no place for the table: write'):
        model_zoo.replace_section('# Title', '')


def test_the_tables():
    rows = [
        model_zoo.Row('variant', 'v', dict),
        model_zoo.Row('generator', 'g', dict),
        model_zoo.Row('tower', 't', dict),
        model_zoo.Row('refused', 'r', dict),
    ]
    runs = model_zoo.Result(
        trained=True, predicted=True, parameters=1234567, flops=5 * 10**9
    )
    fails = model_zoo.Result(problem='words', trained=True)
    results = [runs, runs, fails, model_zoo.Result(problem='no', refused=True)]
    section = model_zoo.zoo_section(rows, results, {'v': (10**6, 10**12)})
    cells = model_zoo.cells_of(section)
    counts = ['1.235 M', '5.000 G', 'yes', 'yes']
    assert cells['v'][3:] == [*counts, '1.000 M', '1,000.000 G']
    assert cells['g'] == counts
    assert cells['t'][3:] == ['', '', 'yes', 'words']
    assert cells['r'] == ['no']
