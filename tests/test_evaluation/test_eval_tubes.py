"""The command that scores a prediction file."""

import json

import pytest

from hero_mm.errors import run_tool
from hero_mm.evaluation import dump_predictions

LEFT, RIGHT = [10, 10, 30, 30], [50, 10, 70, 30]
BOTH = dict(a=([2, 6], LEFT), b=([4, 8], RIGHT))


@pytest.fixture
def run(load_tool, tiny_annotation, tmp_path, capsys):
    """Score predictions; gives status, scores, what is printed and errors."""
    tool = load_tool('analysis_tools/eval_tubes')

    def run(tubes, *flags, frames=range(10), about=None, **fields):
        pred, out = tmp_path / 'pred.json', tmp_path / 'new' / 'scores.json'
        items = {
            key: dict(span=span, boxes=dict.fromkeys(frames, box), **fields)
            for key, (span, box) in tubes.items()
        }
        dump_predictions(pred, items, about)
        words = ['--ann', str(tiny_annotation), '--pred', str(pred)]
        words += ['--json', str(out), *flags]
        status = run_tool(lambda: tool.main(words))
        scores = json.loads(out.read_text()) if status == 0 else {}
        return status, scores, *capsys.readouterr()

    return run


def test_scores(run):
    half = dict(a=([2, 6], LEFT), b=([4, 6], RIGHT))
    _, scores, out, err = run(half, about=dict(model='by hand'))
    assert 'Protocol tubedetr' in out and 'interrogative' in out
    # (1 + 0.5) / 2
    assert '75.00' in out and not err
    assert scores['protocol'] == 'tubedetr'
    assert scores['m_vIoU'] == 0.75
    assert scores['interrogative/m_tIoU'] == 0.5
    assert (scores['queries'], scores['missing']) == (2, 0)
    assert scores['metainfo'] == {'model': 'by hand'}
    assert 'per_query' not in scores
    _, scores, _, _ = run(half, '--per-query', '--protocol', 'vid_sentence')
    assert scores['per_query']['b'] == dict(tiou=0.5, viou=0.5, gt_viou=1.0)
    assert scores['acc_avg'] == 1


def test_selection(run):
    tubes = dict(a=([2, 6], RIGHT), b=([4, 6], RIGHT))
    _, scores, out, _ = run(tubes, '--selection')
    assert 'Object picked' in out
    selection = scores['selection']
    assert selection['picked'] == selection['other'] == 0.5
    assert selection['interrogative/picked_iou'] == 1.0
    assert selection['declarative/picked_iou'] is None


@pytest.mark.parametrize(
    ('flags', 'value'), [([], 1.0), (['--no-interpolate'], 0.375)]
)
def test_without_interpolation(run, flags, value):
    how = ['--protocol', 'stcat', *flags]
    _, scores, out, _ = run(BOTH, *how, frames=[2, 4])
    assert ('Protocol stcat without interpolation' in out) is bool(flags)
    assert scores['m_vIoU'] == value
    assert scores['interpolate'] is not bool(flags)


@pytest.mark.parametrize(
    ('fields', 'found'),
    [
        (dict(about=dict(split='other')), "'other' and 'test'"),
        (dict(video='w'), "'a' of video 'w' and 'v'"),
        (dict(text='what turns on the right'), "'a' of text 'what turns"),
        (dict(video='dir/v.mp4', text='The cup on the left turns.'), None),
    ],
)
def test_predictions_of_something_else_are_refused(run, fields, found):
    one = dict(a=([2, 6], LEFT))
    status, _, _, err = run(one, **fields)
    assert status == (found is not None)
    assert (found or '') in err
    assert run(one, '--force', **fields)[0] == 0


def test_missing_prediction(run):
    one = dict(a=([2, 6], LEFT))
    _, _, _, err = run(one)
    assert (
        'warning: 1 of 2 queries have no prediction' in err and "('b')" in err
    )
    status, _, _, err = run(one, '--strict')
    assert status == 1 and "'b'" in err


def test_scores_that_say_little(run, tiny_annotation):
    _, scores, _, err = run(BOTH, frames=[1, 2, 3, 4, 5])
    assert scores['boxless'] == 1
    assert (
        '1 of 2 queries are predicted and have no box on some' in err
        and "('b')" in err
    )
    stcat = '--protocol', 'stcat'
    _, scores, _, err = run(BOTH, *stcat, frames=[1, 2, 3, 4, 5])
    assert (scores['boxless'], err) == (0, '')
    content = json.loads(tiny_annotation.read_text())
    # At 10 fps every other frame is on the grid.
    content['videos']['v']['fps'] = 10.0
    (clip,) = content['data_list']
    clip['queries'][0]['span'] = [3, 4]
    clip['segment'] = [0, 9]
    tiny_annotation.write_text(json.dumps(content))
    _, scores, _, err = run(BOTH | dict(b=([9, 12], RIGHT)))
    assert (scores['ungraded'], scores['elsewhere']) == (1, 1)
    assert '1 of 2 queries have no true box on a frame that' in err
    assert '1 of 2 queries have their predicted span' in err


def test_files_that_are_not_there(run, tmp_path):
    (tmp_path / 'file').touch()
    for flag, target in (
        ('--ann', tmp_path / 'gone.json'),
        ('--pred', tmp_path / 'gone.json'),
        ('--json', tmp_path),
        ('--json', tmp_path / 'file' / 'scores.json'),
    ):
        status, _, _, err = run(BOTH, flag, str(target))
        assert status == 1
        assert str(target.parent) in err and 'Traceback' not in err
