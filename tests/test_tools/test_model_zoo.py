"""docs/model_zoo.md: rows run, or are refused in words; its tool.

``HERO_MM_ZOO=1`` compares every row with the document.
"""

import os
import shutil

import pytest
import torch
import zoo
from programs import run_program

DOC = 'docs/model_zoo.md'
# Small variants, towers and whole detectors take seconds: the slow tests have
# one of a kind, with HERO_MM_ZOO set all. test_configs.py runs the variants.
SLOW_KINDS = ('variant', 'tower', 'detector')
SUITE = (
    # Layouts: frames, clips of two rates, windows, two towers.
    'hero_swin-t_vidstg',
    'hero_slowfast-r50_vidstg',
    'hero_mvit-s_vidstg',
    'hero_r50-slowonly-r50_vidstg',
    # Frames alone, frames of one clip, clips, clips whose steps are several
    # frames, windows, and windows whose patches are no power of two.
    'mmdet HRNet',
    'mmaction2 TSM, temporal pooling',
    'mmaction2 X3D',
    'mmaction2 I3D',
    'mmaction2 SlowOnly, windows of 8',
    'mmaction2 ViT (VideoMAE), patches of 14',
    'ours + mmaction2 SlowOnly',
    # Necks: more levels than the backbone, several, the coarsest first, one.
    'neck FPN, 5 levels',
    'necks FPN and BFP',
    'neck YOLOV3Neck',
    'neck DilatedEncoder',
    # Detectors: of two stages, dense, of queries, prompted, refused.
    'Faster R-CNN',
    'FCOS',
    'YOLOX',
    'Deformable DETR',
    'GLIP',
    'LD',
    'Soft Teacher',
    'SOLO',
)


def pytest_generate_tests(metafunc):
    """The rows need the configs, which lie beside the tests."""
    if 'row' in metafunc.fixturenames:
        rows = zoo.all_rows(metafunc.config.rootpath / 'configs')
        assert {*SUITE} <= {r.name for r in rows if r.kind in SLOW_KINDS}
        metafunc.parametrize(
            'row',
            [
                pytest.param(
                    row,
                    id=row.name,
                    marks=[pytest.mark.slow] * (row.kind in SLOW_KINDS),
                )
                for row in rows
                if row.kind not in SLOW_KINDS
                or row.name in SUITE
                or os.environ.get('HERO_MM_ZOO')
            ],
        )


@pytest.fixture(scope='module')
def written(repo_root, tool):
    return tool.cells_of((repo_root / DOC).read_text(encoding='utf-8'))


def check_alone_and_beside(encoder):
    """A clip gives what it gives beside a longer and larger one."""
    encoder.eval()
    frames, height, width = 3, 61, 70
    imgs = torch.randn(2, 5, 3, 64, 96)
    frame_mask = torch.ones(2, 5, dtype=torch.bool)
    pixel_mask = torch.ones(2, 64, 96, dtype=torch.bool)
    frame_mask[1, frames:] = False
    pixel_mask[1, height:] = pixel_mask[1, :, width:] = False
    imgs[1] *= frame_mask[1, :, None, None, None] * pixel_mask[1]
    with torch.no_grad():
        two = encoder(imgs, frame_mask, pixel_mask)
        one = encoder(
            imgs[1:, :frames, :, :height, :width],
            frame_mask[1:, :frames],
            pixel_mask[1:, :height, :width],
        )
    for small, large in zip(one.levels, two.levels):
        rows, columns = small.shape[-2:]
        torch.testing.assert_close(
            large[1, :frames, :, :rows, :columns],
            small[0],
            atol=1e-3,
            rtol=1e-3,
        )


def test_row(row, written, tool):
    result = zoo.try_row(row)
    if result.missing:
        pytest.skip(result.problem)
    assert result.is_right_for(row), result.problem
    if row.kind not in ('detector', 'language', 'refused'):
        check_alone_and_beside(result.encoder)
    cells = written[row.name]
    if not any('install' in cell for cell in cells):
        # What it costs and what it says is what the document says.
        found = tool.cells_of_row(row, result)
        assert cells[: len(found)] == found


@pytest.fixture(scope='module')
def rows(repo_root):
    return zoo.all_rows(repo_root / 'configs')


def test_the_document_has_these_rows(written, rows, tool):
    heads = {head[0] for _, head in tool.TABLES.values()} | {'---'}
    assert set(written) - heads == {row.name for row in rows}


@pytest.mark.parametrize(
    'name', ['hero_r50_vidstg', 'hero_video-swin-t_vidstg']
)
def test_the_full_size_is_that_of_the_document(name, written, rows, tool):
    (row,) = (row for row in rows if row.name == name)
    assert written[name][-2:] == tool.whole_cells(row)


def row_of(kind='tower', name='mine', **parts):
    return zoo.Row(kind, name, lambda folder: parts)


def test_the_document_is_written_though_a_row_fails(
    tool, tmp_path, monkeypatch, capsys
):
    broken = row_of(name='broken', video_encoder=dict(type='NoSuchEncoder'))
    rows = [row_of('generator', 'ours'), broken]
    monkeypatch.setattr(zoo, 'all_rows', lambda configs: rows)
    page = tmp_path / 'zoo.md'
    monkeypatch.setattr(tool, 'PAGE', page)

    page.write_text(f'before\n{tool.BEGIN}\n{tool.END}\nafter\n')
    with pytest.raises(ValueError, match='1 rows fail: broken'):
        tool.main([])
    said = capsys.readouterr().out
    assert 'ok    ours: runs' in said and 'FAILS broken: ' in said
    text = page.read_text()
    assert text.startswith('before\n') and text.endswith('\nafter\n')
    cells = tool.cells_of(text)
    assert cells['ours'][-2:] == ['yes', 'yes']
    assert 'NoSuchEncoder' in cells['broken'][-2]
    # Some rows again: the others stay as they are.
    # So do the versions that they were tried with.
    old = text.replace('NoSuchEncoder', 'as it was')
    page.write_text(old.replace('Written with torch', 'Written with old'))
    tool.main(['--only', 'our'])
    text = page.read_text()
    assert 'as it was' in tool.cells_of(text)['broken'][-2]
    assert 'Written with old' in text and 'Written with torch' not in text


@pytest.mark.parametrize(
    ('name', 'wanted'),
    [
        ('model_zoo', 'tests/zoo.py, which no wheel has'),
        ('host_suites', 'pip install "hero-mm[dev]"'),
    ],
)
def test_tools_for_a_checkout_say_so_in_a_wheel(
    name, wanted, repo_root, tmp_path
):
    """Where there are no tests, and no pytest."""
    folder = tmp_path / 'hero_mm/.mim/tools/analysis_tools'
    folder.mkdir(parents=True)
    (tmp_path / 'pytest.py').write_text(
        'raise ModuleNotFoundError("No module named \'pytest\'")'
    )
    shutil.copy(repo_root / f'tools/analysis_tools/{name}.py', folder)
    path = dict(PYTHONPATH=f'{tmp_path}:{repo_root}')
    done = run_program(folder / f'{name}.py', '--help', code=1, **path)
    assert wanted in done.stderr and 'Traceback' not in done.stderr
