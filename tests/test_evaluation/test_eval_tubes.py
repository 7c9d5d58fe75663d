"""The command that scores a prediction file."""

import json

import pytest

from hero_mm.evaluation import dump_predictions

LEFT, RIGHT = [10, 10, 30, 30], [50, 10, 70, 30]


@pytest.fixture(scope='module')
def command(load_tool):
    return load_tool('analysis_tools/eval_tubes').main


def write(path, frames=range(10), about=None, **predictions):
    dump_predictions(
        path,
        {
            key: dict(span=span, boxes=dict.fromkeys(frames, box))
            for key, (span, box) in predictions.items()
        },
        about or dict(model='by hand'),
    )
    return str(path)


@pytest.fixture
def paths(tiny_annotation, tmp_path):
    pred = write(tmp_path / 'pred.json', a=([2, 6], LEFT), b=([4, 6], RIGHT))
    return ['--ann', str(tiny_annotation), '--pred', pred]


def test_prints_the_table(command, paths, capsys):
    assert command(paths) == 0
    out = capsys.readouterr().out
    assert 'Protocol tubedetr' in out
    assert 'interrogative' in out
    # (1 + 0.5) / 2
    assert '75.00' in out


def test_writes_json(command, paths, tmp_path):
    out = tmp_path / 'new' / 'scores.json'
    assert command([*paths, '--json', str(out)]) == 0
    result = json.loads(out.read_text())
    assert result['protocol'] == 'tubedetr'
    assert result['m_vIoU'] == 0.75
    assert result['interrogative/m_tIoU'] == 0.5
    assert (result['queries'], result['missing']) == (2, 0)
    assert result['metainfo'] == {'model': 'by hand'}
    assert 'per_query' not in result


def test_per_query(command, paths, tmp_path):
    out = tmp_path / 'scores.json'
    assert command([*paths, '--per-query', '--json', str(out)]) == 0
    per_query = json.loads(out.read_text())['per_query']
    assert per_query['b'] == dict(tiou=0.5, viou=0.5, gt_viou=1.0)


def test_selection(command, tiny_annotation, tmp_path, capsys):
    pred = write(tmp_path / 'p.json', a=([2, 6], RIGHT), b=([4, 6], RIGHT))
    out = tmp_path / 'scores.json'
    args = ['--ann', str(tiny_annotation), '--pred', pred, '--selection']
    assert command([*args, '--json', str(out)]) == 0
    assert 'Object picked' in capsys.readouterr().out
    selection = json.loads(out.read_text())['selection']
    assert selection['picked'] == selection['other'] == 0.5
    assert selection['interrogative/picked_iou'] == 1.0
    assert selection['declarative/picked_iou'] is None


@pytest.mark.parametrize(
    ('protocol', 'key', 'value'),
    [
        ('tubedetr', 'm_vIoU', 0.75),
        ('stcat', 'm_vIoU', 0.75),
        ('hcstvg', 'm_tIoU', 0.75),
        ('vid_sentence', 'acc_avg', 1.0),
    ],
)
def test_every_protocol(command, paths, tmp_path, protocol, key, value):
    out = tmp_path / 'scores.json'
    args = [*paths, '--protocol', protocol, '--json', str(out)]
    assert command(args) == 0
    assert json.loads(out.read_text())[key] == value


def test_without_interpolation(command, tiny_annotation, tmp_path, capsys):
    sparse = dict(a=([2, 6], LEFT), b=([4, 8], RIGHT))
    pred = write(tmp_path / 'p.json', frames=[2, 4], **sparse)
    out = tmp_path / 'scores.json'
    args = ['--ann', str(tiny_annotation), '--pred', pred]
    args += ['--protocol', 'stcat', '--json', str(out)]
    for flags, value in (([], 1.0), (['--no-interpolate'], 0.375)):
        assert command([*args, *flags]) == 0
        told = (
            'Protocol stcat without interpolation' in capsys.readouterr().out
        )
        assert told is bool(flags)
        result = json.loads(out.read_text())
        assert result['m_vIoU'] == value
        assert result['protocol'] == 'stcat'
        assert result['interpolate'] is not bool(flags)


@pytest.mark.parametrize('fact', ['dataset', 'split', 'query_ids'])
def test_predictions_of_something_else_are_refused(
    command, tiny_annotation, tmp_path, capsys, fact
):
    both = dict(a=([2, 6], LEFT), b=([4, 6], RIGHT))
    pred = write(tmp_path / 'p.json', about={fact: 'other'}, **both)
    args = ['--ann', str(tiny_annotation), '--pred', pred]
    assert command(args) == 1
    error = capsys.readouterr().err
    assert pred in error and str(tiny_annotation) in error
    assert "'other' and " in error and '--force' in error
    assert command([*args, '--force']) == 0


def test_no_query_of_the_annotation(
    command, tiny_annotation, tmp_path, capsys
):
    pred = write(tmp_path / 'p.json', y=([2, 6], LEFT), z=([4, 6], RIGHT))
    args = ['--ann', str(tiny_annotation), '--pred', pred, '--force']
    assert command(args) == 1
    assert "not one of its 2 queries ('y', 'z')" in capsys.readouterr().err


def test_an_unwritable_target_is_told_before_the_scoring(
    command, paths, tmp_path, capsys
):
    (tmp_path / 'file').touch()
    for target in (tmp_path, tmp_path / 'file' / 'scores.json'):
        assert command([*paths, '--json', str(target)]) == 1
        printed = capsys.readouterr()
        assert str(target.parent) in printed.err and not printed.out


def test_missing_prediction(command, tiny_annotation, tmp_path, capsys):
    pred = write(tmp_path / 'half.json', a=([2, 6], LEFT))
    args = ['--ann', str(tiny_annotation), '--pred', pred]
    assert command(args) == 0
    printed = capsys.readouterr()
    assert "warning: 1 of 2 queries have no prediction ('b')" in printed.err
    assert command([*args, '--strict']) == 1
    assert "'b'" in capsys.readouterr().err


def doubts(command, args, tmp_path, capsys):
    """Counts of what is doubtful, and what is said of it."""
    out = tmp_path / 'scores.json'
    assert command([*args, '--json', str(out)]) == 0
    result = json.loads(out.read_text())
    names = ('ungraded', 'boxless', 'elsewhere')
    return tuple(result[name] for name in names), capsys.readouterr().err


def test_predictions_without_boxes_on_graded_frames(
    command, tiny_annotation, tmp_path, capsys
):
    both = dict(a=([2, 6], LEFT), b=([4, 8], RIGHT))
    args = ['--ann', str(tiny_annotation), '--pred']
    args.append(write(tmp_path / 'p.json', frames=[1, 2, 3, 4, 5], **both))
    counts, error = doubts(command, args, tmp_path, capsys)
    assert counts == (0, 1, 0)
    assert '1 of 2 predictions have no box on some of the fr' in error
    assert "('b'): 2 of 8 frames, 2 of them inside" in error
    counts, error = doubts(
        command, [*args, '--protocol', 'stcat'], tmp_path, capsys
    )
    assert (counts, error) == ((0, 0, 0), '')


def test_sentences_without_a_graded_true_box(
    command, tiny_annotation, tmp_path, capsys
):
    raw = json.loads(tiny_annotation.read_text())
    # At 10 fps every other frame is on the grid.
    raw['videos']['v']['fps'] = 10.0
    raw['data_list'][0]['queries'][0]['span'] = [3, 4]
    tiny_annotation.write_text(json.dumps(raw))
    both = dict(a=([3, 4], LEFT), b=([4, 8], RIGHT))
    args = ['--ann', str(tiny_annotation), '--pred']
    args.append(write(tmp_path / 'p.json', **both))
    counts, error = doubts(command, args, tmp_path, capsys)
    assert counts == (1, 0, 0)
    assert '1 of 2 queries have no true box on a frame that' in error


def test_predictions_outside_the_segment(
    command, tiny_annotation, tmp_path, capsys
):
    raw = json.loads(tiny_annotation.read_text())
    raw['data_list'][0]['segment'] = [1, 9]
    tiny_annotation.write_text(json.dumps(raw))
    both = dict(a=([9, 12], LEFT), b=([4, 8], RIGHT))
    args = ['--ann', str(tiny_annotation), '--pred']
    args.append(write(tmp_path / 'p.json', **both))
    counts, error = doubts(command, args, tmp_path, capsys)
    assert counts == (0, 0, 1)
    assert '1 of 2 predictions have their span or their boxes' in error
    assert "('a'). Are query ids" in error


@pytest.mark.parametrize(
    ('fields', 'found'),
    [
        (dict(video='w'), "'a' of video 'w' and 'v'"),
        (dict(text='what turns on the right'), "'a' of text 'what turns"),
        (dict(video='dir/v.mp4', text='The cup on the left turns.'), None),
        (dict(video=3), "'video' of the prediction of query 'a' must be text"),
    ],
)
def test_video_and_text_are_checked(
    command, tiny_annotation, tmp_path, capsys, fields, found
):
    pred = tmp_path / 'p.json'
    item = dict(span=[2, 6], boxes=dict.fromkeys(range(10), LEFT), **fields)
    dump_predictions(pred, {'a': item})
    args = ['--ann', str(tiny_annotation), '--pred', str(pred)]
    assert command(args) == (found is not None)
    error = capsys.readouterr().err
    assert (found or '') in error
    if isinstance(fields.get('video'), str):
        assert command([*args, '--force']) == 0


@pytest.mark.parametrize('flag', ['--ann', '--pred'])
def test_absent_file_is_a_short_error(command, paths, capsys, flag):
    assert command([*paths, flag, 'gone.json']) == 1
    printed = capsys.readouterr()
    assert 'gone.json' in printed.err
    assert 'Traceback' not in printed.err


def test_broken_prediction_names_the_query(
    command, tiny_annotation, tmp_path, capsys
):
    pred = tmp_path / 'broken.json'
    pred.write_text('{"predictions": {"a": {"span": [0, 1]}}}')
    args = ['--ann', str(tiny_annotation), '--pred', str(pred)]
    assert command(args) == 1
    error = capsys.readouterr().err
    assert str(pred) in error and "query 'a' lacks 'boxes'" in error


def test_unknown_protocol_is_refused(command, paths, capsys):
    with pytest.raises(SystemExit):
        command([*paths, '--protocol', 'nope'])
    assert 'tubedetr' in capsys.readouterr().err
