"""What a training logged is read back."""

import json

from hero_mm.visualization.training_log import read_training_log


def write(work_dir, time, entries, tail=''):
    folder = work_dir / time / 'vis_data'
    folder.mkdir(parents=True)
    lines = ''.join(json.dumps(entry) + '\n' for entry in entries)
    (folder / 'scalars.json').write_text(lines + tail)


def train(step, loss, epoch=1):
    return dict(
        lr=0.1, loss=loss, loss_box=loss / 2, time=0.5, epoch=epoch, step=step
    )


def scores(step, value):
    return {'tube/m_vIoU': value, 'tube/declarative/m_vIoU': 9, 'step': step}


def test_losses_and_scores_are_told_apart(tmp_path):
    entries = [train(10, 4.0), scores(1, 0.2), train(20, 3.0, 2)]
    write(tmp_path, '20260101_000000', entries)
    log = read_training_log(tmp_path)
    assert log.train['loss'] == {10: 4.0, 20: 3.0}
    assert log.scores['tube/m_vIoU'] == {1: 0.2}
    assert log.by_epoch


def test_a_resumed_training_goes_on(tmp_path):
    write(tmp_path, '20260101_000000', [train(10, 4.0), train(20, 3.5)])
    write(tmp_path, '20260102_000000', [train(20, 3.0), train(30, 2.0)])
    log = read_training_log(tmp_path)
    assert log.train['loss'] == {10: 4.0, 20: 3.0, 30: 2.0}


def test_a_line_cut_by_a_kill_is_left_out(tmp_path):
    write(tmp_path, '20260101_000000', [train(10, 4.0)], '{"loss": 3.1, "st')
    assert read_training_log(tmp_path).train['loss'] == {10: 4.0}


def test_facts(tmp_path):
    write(tmp_path, 'a', [train(10, 4.0), train(240, 3.0, 2)])
    assert read_training_log(tmp_path).facts() == {
        'iterations': '240',
        'epochs': '2',
        'seconds an iteration': '0.50',
        'minutes of training': 'about 2',
    }


def test_charts(tmp_path):
    write(tmp_path, 'a', [train(10, 4.0), train(20, 3.0), scores(1, 0.2)])
    charts = read_training_log(tmp_path).charts()
    assert set(charts) == {'losses', 'scores', 'learning_rate'}
    assert charts['losses'].index('>loss<') < charts['losses'].index(
        '>loss_box<'
    )
    assert '>epoch<' in charts['scores'] and '>iteration<' in charts['losses']
    assert charts['scores'].count('>m_vIoU<') == 1, 'not one a sentence type'


def test_a_folder_without_training(tmp_path):
    log = read_training_log(tmp_path)
    assert log.charts() == {} and log.facts() == {}
