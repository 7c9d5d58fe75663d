"""Speed as ratios: the loops score as we do, and every part runs small."""

import json
from argparse import Namespace

import numpy as np
import pytest

from hero_mm.apis.benchmark import counting, running, scoring
from hero_mm.apis.complexity import count_flops
from hero_mm.apis.random_clips import config_without_data, make_item
from hero_mm.evaluation.functional import PROTOCOLS
from hero_mm.registry import MODELS


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('analysis_tools/benchmark')


@pytest.fixture
def small(repo_root):
    """Words of a small model, clip and repetition."""
    config = str(repo_root / 'configs' / 'hero_shapes.py')
    sizes = '--batch 2 --queries-a-clip 2 --frames 4 --size 32 32 --repeat 1'
    return ['--config', config, '--device', 'cpu', *sizes.split(), '--parts']


def test_queries_are_as_long_as_those_of_vidstg():
    truths, guesses = scoring.make_queries(2000, seed=1)
    segment = [item['segment'][1] / item['fps'] for item in truths.values()]
    span = [
        (item['span'][1] - item['span'][0]) / item['fps']
        for item in truths.values()
    ]
    assert np.median(segment) == pytest.approx(19.3, rel=0.1)
    assert np.mean(segment) == pytest.approx(27.7, rel=0.1)
    assert max(segment) <= 134.0
    assert np.median(span) == pytest.approx(3.7, rel=0.15)
    for key, guess in guesses.items():
        assert len(guess['boxes'][0]) == truths[key]['segment'][1]


def test_scoring_and_decoding(tool, tmp_path, capsys):
    few = '--queries 20 --repeat 1 --frames 4 --video-frames 30'
    clip = '--video-size 64 48 --video-keys 5 9 --parts scoring decoding'
    tool.main([*few.split(), *clip.split()])
    out = capsys.readouterr().out
    for name in (*PROTOCOLS, 'reading the file'):
        assert f'\n{name} ' in out
    assert out.count('30 frames of 64 x 48') == 2
    assert out.count('the same, reduced while decoded') == 2
    video = tmp_path / 'mine.mp4'
    running.write_clip(video, 12, (32, 32))
    words = ['--parts', 'decoding', '--video', str(video), '--repeat', '1']
    tool.main([*words, '--frames', '99'])
    assert 'decoded of 12 frames of 32 x 32' in capsys.readouterr().out


@pytest.mark.parametrize('amp', [False, True])
def test_the_model(tool, small, amp, capsys, monkeypatch):
    made, wrap = [], running._wrapper
    monkeypatch.setattr(
        running, '_wrapper', lambda *args: made.append(wrap(*args)) or made[-1]
    )
    tool.main([*small, 'model', *(['--amp'] if amp else [])])
    out = capsys.readouterr().out
    for attention in ('as configured', 'joint attention'):
        assert f'{attention}: training step' in out
        assert f'{attention}: inference, clip encoded for each' in out
    assert 'no memory' not in out
    kind = 'BFloat16OptimWrapper' if amp else 'OptimWrapper'
    assert {type(one).__name__ for one in made} == {kind}


def test_the_loader(tool, small, shapes_data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tool.main([*small, 'loader'])
    assert 'no data' in capsys.readouterr().out
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/shapes').symlink_to(shapes_data)
    tool.main([*small, 'loader'])
    out = capsys.readouterr().out
    assert 'loader, one worker' in out and 'training step on cpu' in out


@pytest.mark.slow
def test_long_videos(tool, tmp_path):
    """Each is as long as asked for, and searched to its end."""
    path = tmp_path / 'found.json'
    words = '--parts long --minutes 0.1 0.3 --size 64 48 --json'
    tool.main([*words.split(), str(path)])
    (table,) = json.loads(path.read_text())['tables']
    head, first, second = table['rows']
    assert first[0] == '0.1 min of 64 x 48'
    # Whole examples of four seconds; the last window may end before them.
    for row, seconds in ((first, 6), (second, 18)):
        frames, peak, ratio, whole, soon = map(float, row[1:])
        assert 25 * seconds <= frames <= 25 * (seconds + 4)
        assert peak > 100 and 0 < soon < whole and 0.8 < ratio < 1.2


def numbers(table):
    """The first number of each row of a table, by its name."""
    return {row[0]: float(row[1]) for row in table['rows'][1:]}


@pytest.mark.slow
def test_operations_and_memory(tool, small, tmp_path, monkeypatch):
    """Of shapes, and stored with the machine and the versions."""
    monkeypatch.setattr(
        counting, 'CLIPS', ((4, (32, 32), 1), (4, (32, 32), 2))
    )
    monkeypatch.setattr(counting, 'FRAMES', (8, 16))
    monkeypatch.setattr(counting, 'REGIONS', (4, 8))
    path = tmp_path / 'found.json'
    parts = ['parts', 'growth', 'memory', 'training']
    tool.main([*small, *parts, '--json', str(path)])
    found = json.loads(path.read_text())
    assert {'torch', 'platform', 'load', 'device'} <= set(found['machine'])
    tables = {table['part']: table for table in found['tables']}
    assert list(tables) == parts
    one = numbers(tables['parts'])
    named = set(one) - {'behind the pyramid', "TubeDETR's layers"}
    assert {'backbone', 'pyramid', 'rest of the clip', 'reasoning'} <= named
    growth = {row[0]: float(row[4]) for row in tables['growth']['rows'][1:]}
    assert 0.8 < growth['frames'] < 1.2
    kept = [row[3] for row in tables['memory']['rows'][1:]]
    assert len(kept) == 2
    training = tables['training']['rows']
    assert [len(row) for row in training] == [5] * 5
    peer, one, half, five = (float(row[1]) for row in training[1:])
    assert min(peer, half) > 0 and half <= one < five


def test_shapes_count_as_values_do(small):
    """A clip of shapes costs what a clip of pixels costs."""
    config = small[1]
    cfg = config_without_data(config, None)
    model = MODELS.build(cfg.model)
    real = count_flops(model, [make_item(4, (64, 48), 1, 0)])
    found = counting.Shapes(config).count(4, (64, 48))
    del real['text encoder'], found['text encoder']
    assert found == real


def test_an_exponent():
    sizes = (32, 64, 128)
    costs = [3 * size**1.5 for size in sizes]
    assert counting.exponent(sizes, costs) == pytest.approx(1.5)


@pytest.mark.slow
def test_all_of_vidstg(small, tmp_path, monkeypatch):
    """Two sentences on one segment, one on another."""
    entry = dict(vid='a', fps=10.0, width=64, height=64, questions=[])
    entry['captions'] = [{}]
    entries = [
        dict(entry, used_segment=dict(begin_fid=0, end_fid=end))
        for end in (100, 100, 60)
    ]
    path = tmp_path / 'test_annotations.json'
    path.write_text(json.dumps(entries))
    monkeypatch.setattr(counting, 'SHORT', 64)
    # A scout saves the layers behind the first ones: there must be some.
    deep = {'model.video_encoder.backbone.num_blocks': (1, 20)}
    args = Namespace(config=small[1], cfg_options=deep, vidstg=path)
    rows = {row[0]: row[1:] for row in counting.vidstg_rows(args)}
    assert rows['3 sentences, 2 clips'][0] == '80 frames'
    shares = [float(row[1][2:]) for row in list(rows.values())[1:5]]
    assert shares[0] == 1 < shares[2] < shares[3]


def test_the_suite_is_all_parts(tool):
    args = tool.parse_args(['--suite'])
    assert args.parts == list(tool.PARTS)
    large = tool.settings(args, 'parts')
    assert large.config == tool.LARGE and large.frames == 64
    given = tool.settings(tool.parse_args(['--frames', '9']), 'parts')
    assert given.frames == 9


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--parts', 'nothing'], 'choose from'),
        (['--repeat', '0'], '--repeat must be 1 or more'),
        (['--queries-a-clip', '0'], '--queries-a-clip must be 1'),
        (['--parts', 'vidstg'], 'needs --vidstg FILE'),
    ],
)
def test_flags_that_do_not_fit(tool, words, said, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(words)
    assert said in capsys.readouterr().err
