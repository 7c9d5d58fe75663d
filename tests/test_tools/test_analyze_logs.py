"""What a training logged: read back and drawn."""

import json

import pytest

from hero_mm.visualization.training_log import read_training_log

# Step, epoch, loss, time.
ROWS = [
    (10, 1, 4.0, 0.9),
    (20, 1, 3.0, 0.3),
    (30, 1, 2.5, 0.5),
    (40, 2, 2.0, 0.7),
    (50, 2, 1.0, 0.2),
]


def entries():
    """As MMEngine writes them: the scores of an epoch after its losses."""
    keys = ('step', 'epoch', 'loss', 'time')
    lines = [dict(zip(keys, row), lr=0.1, loss_box=row[2] / 2) for row in ROWS]
    for place, epoch, score in ((3, 1, 0.25), (6, 2, 0.5)):
        found = {'tube/m_vIoU': score, 'tube/declarative/m_vIoU': 9}
        lines.insert(place, {**found, 'time': 7.0, 'step': epoch})
    return lines


def write(path, lines, tail=''):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join([*map(json.dumps, lines), tail]))
    return path


@pytest.fixture
def work(tmp_path):
    """A work dir whose second run repeats two iterations and is killed."""
    work = tmp_path / 'work'
    write(work / '20260101_000000/vis_data/scalars.json', entries())
    again = [dict(line, loss=9.0) for line in entries()[4:6]]
    path = work / '20260102_000000/vis_data/scalars.json'
    write(path, again, '{"loss": 3.1, "st')
    return work


@pytest.fixture
def log(tmp_path):
    return write(tmp_path / 'scalars.json', entries())


@pytest.fixture
def plot(tool, monkeypatch, tmp_path):
    """Lines that ``plot_curve`` draws, by name, and their axis."""
    kept, real = [], tool.line_chart

    def line_chart(series, title, label):
        lines = {one.name: (list(one.x), list(one.y)) for one in series}
        kept.append((lines, label))
        return real(series, title, label)

    monkeypatch.setattr(tool, 'line_chart', line_chart)

    def call(*words):
        words = ['plot_curve', *words, '--out', tmp_path / 'new/curve.svg']
        tool.main([str(word) for word in words])
        assert (tmp_path / 'new/curve.svg').read_text().startswith('<?xml')
        return kept[-1]

    return call


def test_a_work_dir_is_all_its_runs(work):
    log = read_training_log(work)
    assert log.by_epoch and log.scores['tube/m_vIoU'] == {1: 0.25, 2: 0.5}
    losses = {10: 4.0, 20: 3.0, 30: 2.5, 40: 9.0, 50: 9.0}
    assert log.train['loss'] == losses
    assert log.facts() == {
        'iterations': '50',
        'epochs': '2',
        'seconds an iteration': '0.50',
        'minutes of training': 'about 0',
    }
    charts = log.charts()
    assert charts['losses'].index('>loss<') < charts['losses'].index(
        '>loss_box<'
    )
    assert '>epoch<' in charts['scores'] and '>iteration<' in charts['losses']
    assert charts['scores'].count('>m_vIoU<') == 1, 'not one a sentence type'
    empty = read_training_log(work.parent / 'none')
    assert not any(empty.charts().values()) and empty.facts() == {}


def test_losses_stand_at_iterations(plot, log, work):
    lines, label = plot(log, work, '--keys', 'loss', 'lr')
    names = [f'{path} {key}' for path in (log, work) for key in ('loss', 'lr')]
    assert list(lines) == names and label == 'iteration'
    steps = [10, 20, 30, 40, 50]
    assert lines[names[0]] == (steps, [4.0, 3.0, 2.5, 2.0, 1.0])
    assert lines[names[2]] == (steps, [4.0, 3.0, 2.5, 9.0, 9.0])


def test_scores_stand_at_epochs_or_where_these_ended(plot, log):
    lines, label = plot(log, '--keys', 'tube/m_vIoU')
    assert [*lines.values()] == [([1, 2], [0.25, 0.5])] and label == 'epoch'
    lines, label = plot(log, '--keys', 'loss', 'tube/m_vIoU')
    assert lines['tube/m_vIoU'] == ([30, 50], [0.25, 0.5])
    assert label == 'iteration'


def test_a_training_without_epochs(plot, tmp_path):
    lines = entries()
    for line in lines:
        line.pop('epoch', None)
    lines[3]['step'], lines[-1]['step'] = 30, 50
    log = write(tmp_path / 'scalars.json', lines)
    lines, label = plot(log, '--keys', 'tube/m_vIoU')
    assert [*lines.values()] == [([30, 50], [0.25, 0.5])]
    assert label == 'iteration'


@pytest.mark.parametrize('content', [None, b'[1, 2]\n3\n', b'\xff\x00PK'])
def test_what_cannot_be_drawn_is_said(tool, explain, log, tmp_path, content):
    with pytest.raises(SystemExit):
        tool.main(['plot_curve', str(log), '--out', 'a.png'])
    words = '--out', tmp_path / 'a.svg', '--keys', 'los'
    said = explain(tool, 'plot_curve', log, *words)
    assert "no 'los' but epoch, loss" in said
    path = tmp_path / 'none.json'
    if content is not None:
        path.write_bytes(content)
    said = explain(tool, 'plot_curve', path, *words)
    assert f"{path} has no 'los' but nothing; give a scalars.json" in said
    assert not (tmp_path / 'a.svg').exists()
