"""Curves and times of a log that was written by hand."""

import json

import pytest

# Step, epoch, loss, time, data_time.
ROWS = [
    (10, 1, 4.0, 0.9, 0.5),
    (20, 1, 3.0, 0.3, 0.1),
    (30, 1, 2.5, 0.5, 0.2),
    (40, 2, 2.0, 0.7, 0.4),
    (50, 2, 1.0, 0.2, 0.0),
]
SCORES = {1: 0.25, 2: 0.5}


def entries():
    """As MMEngine writes them: the scores of an epoch after its losses."""
    lines = [
        dict(
            lr=0.1,
            loss=loss,
            time=time,
            data_time=data_time,
            epoch=epoch,
            iter=step,
            step=step,
        )
        for step, epoch, loss, time, data_time in ROWS
    ]
    lines.insert(3, {'tube/m_vIoU': SCORES[1], 'time': 7.0, 'step': 1})
    lines.append({'tube/m_vIoU': SCORES[2], 'time': 7.0, 'step': 2})
    return lines


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(map(json.dumps, lines)))
    return path


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('analysis_tools/analyze_logs')


@pytest.fixture
def log(tmp_path):
    return write(tmp_path / 'scalars.json', entries())


@pytest.fixture
def plot(tool, monkeypatch, tmp_path):
    """Lines that ``plot_curve`` draws, by name, and the other words."""
    kept, real = [], tool.line_chart

    def line_chart(series, *words):
        lines = {one.name: (list(one.x), list(one.y)) for one in series}
        kept.append((lines, words))
        return real(series, *words)

    monkeypatch.setattr(tool, 'line_chart', line_chart)

    def call(*words):
        words = ['plot_curve', *words, '--out', tmp_path / 'new/curve.svg']
        tool.main([str(word) for word in words])
        return kept[-1]

    return call


def test_the_curve_is_written(plot, log, tmp_path, capsys):
    lines, words = plot(log)
    values = [4.0, 3.0, 2.5, 2.0, 1.0]
    assert lines == {f'{log}_loss': ([10, 20, 30, 40, 50], values)}
    assert words == ('', 'iteration')
    path = tmp_path / 'new/curve.svg'
    assert path.read_text().startswith('<?xml')
    assert str(path) in capsys.readouterr().out


def test_scores_alone_stand_at_epochs(plot, log):
    lines, words = plot(log, '--keys', 'tube/m_vIoU')
    assert [*lines.values()] == [([1, 2], [0.25, 0.5])]
    assert words == ('', 'epoch')


def test_scores_beside_losses_stand_where_their_epoch_ended(plot, log):
    lines, words = plot(
        *(log, '--keys', 'loss', 'tube/m_vIoU'),
        *('--legend', 'the loss', 'the score', '--title', 'Both'),
    )
    assert list(lines) == ['the loss', 'the score']
    assert lines['the score'] == ([30, 50], [0.25, 0.5])
    assert words == ('Both', 'iteration')


def test_two_logs_are_drawn_log_by_log(plot, log, tmp_path):
    half = [dict(line, loss=line['loss'] / 2) for line in entries()[:3]]
    other = write(tmp_path / 'other.json', half)
    words = ('--keys', 'loss', 'lr')
    lines, _ = plot(log, other, *words)
    names = [f'{path}_{key}' for path in (log, other) for key in words[1:]]
    assert list(lines) == names
    assert lines[names[2]] == ([10, 20, 30], [2.0, 1.5, 1.25])


def test_a_work_dir_is_all_its_runs(plot, tmp_path):
    work, lines = tmp_path / 'work', entries()
    write(work / '20260101_000000/vis_data/scalars.json', lines)
    again = [dict(line, loss=9.0) for line in lines[4:6]]
    write(work / '20260102_000000/vis_data/scalars.json', again)
    (line,) = plot(work)[0].values()
    assert line[1] == [4.0, 3.0, 2.5, 9.0, 9.0]


def test_a_training_without_epochs(plot, tmp_path):
    lines = entries()
    for line in lines:
        line.pop('epoch', None)
    lines[3]['step'], lines[-1]['step'] = 30, 50
    log = write(tmp_path / 'scalars.json', lines)
    lines, words = plot(log, '--keys', 'tube/m_vIoU')
    assert [*lines.values()] == [([30, 50], [0.25, 0.5])]
    assert words[1] == 'iteration'


def told(tool, capsys, *words):
    """The last figure of each line of ``cal_train_time``."""
    tool.main(['cal_train_time', *map(str, words)])
    return capsys.readouterr().out.splitlines()


def test_times_leave_the_first_value_of_an_epoch_out(tool, log, capsys):
    # Epoch 1: 0.3 and 0.5; epoch 2: 0.2.
    assert told(tool, capsys, log) == [
        f'-----Analyze train time of {log}-----',
        'slowest epoch 1, average time is 0.4000',
        'fastest epoch 2, average time is 0.2000',
        'time std over epochs is 0.1000',
        'average iter time: 0.3333 s/iter',
        'of which data: 0.1000 s/iter',
        '',
    ]


def test_times_with_outliers(tool, log, capsys):
    # Epoch 1: (0.9 + 0.3 + 0.5) / 3; epoch 2: (0.7 + 0.2) / 2.
    assert told(tool, capsys, log, '--include-outliers')[1:-1] == [
        'slowest epoch 1, average time is 0.5667',
        'fastest epoch 2, average time is 0.4500',
        'time std over epochs is 0.0583',
        'average iter time: 0.5200 s/iter',
        'of which data: 0.2400 s/iter',
    ]


def test_an_only_value_of_an_epoch_counts(tool, tmp_path, capsys):
    log = write(tmp_path / 'scalars.json', entries()[:1])
    assert 'average iter time: 0.9000 s/iter' in told(tool, capsys, log)


def test_what_cannot_be_drawn_is_told(tool, explain, log, tmp_path):
    words = ('plot_curve', log, '--out', tmp_path / 'a.svg')
    told = explain(tool, *words, '--keys', 'los')
    assert "no 'los', but data_time, epoch, iter, loss" in told
    told = explain(tool, *words, '--legend', 'a', 'b')
    assert '--legend has 2 names' in told and 'give 1' in told
    told = explain(tool, 'plot_curve', log, '--out', 'a.png')
    assert '--out a.png: the name must end in .svg' in told
    assert not (tmp_path / 'a.svg').exists()


def test_epochs_without_an_iteration_are_told(tool, explain, tmp_path):
    log = write(tmp_path / 'scalars.json', entries()[:3] + entries()[-1:])
    words = ('--keys', 'loss', 'tube/m_vIoU', '--out', tmp_path / 'a.svg')
    told = explain(tool, 'plot_curve', log, *words)
    assert 'epoch 2 ended; plot scores by themselves' in told


@pytest.mark.parametrize('content', [None, b'', b'[1, 2]\n3\n', b'\xff\x00PK'])
def test_what_is_no_log_is_told(tool, explain, tmp_path, content):
    path = tmp_path / 'scalars.json'
    if content is not None:
        path.write_bytes(content)
    for words in (('plot_curve', '--out', 'a.svg'), ('cal_train_time',)):
        told = explain(tool, words[0], path, *words[1:])
        assert f'{path} is no scalars.json' in told
    path.unlink(missing_ok=True)
    told = explain(tool, 'cal_train_time', tmp_path)
    assert f'{tmp_path} is no scalars.json' in told


def test_a_log_of_scores_has_no_time(tool, explain, tmp_path):
    log = write(tmp_path / 'scalars.json', entries()[-1:])
    assert 'no time of an iteration' in explain(tool, 'cal_train_time', log)
