"""Speed as ratios: the loops score as we do, and every part runs small."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from hero_mm.evaluation.functional import PROTOCOLS, score_tubes


@pytest.fixture(scope='module')
def path(repo_root):
    return repo_root / 'tools' / 'analysis_tools' / 'benchmark.py'


@pytest.fixture(scope='module')
def tool(path):
    spec = importlib.util.spec_from_file_location('benchmark', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def queries(tool):
    return tool.make_queries(60)


@pytest.mark.parametrize('protocol', list(PROTOCOLS))
@pytest.mark.parametrize('overlap', ['plain_overlap', 'array_overlap'])
def test_the_loops_give_the_same_scores(tool, queries, protocol, overlap):
    truths, guesses = queries
    scores = score_tubes(truths, guesses, protocol)
    true_dicts, dicts = tool.as_dicts(truths), tool.as_dicts(guesses)
    loop = np.array(
        [
            tool.loop_scores(
                protocol, true_dicts[key], dicts[key], getattr(tool, overlap)
            )
            for key in truths
        ]
    )
    np.testing.assert_allclose(loop[:, 0], scores.tiou, atol=1e-12)
    np.testing.assert_allclose(loop[:, 1], scores.viou, atol=1e-12)
    np.testing.assert_allclose(loop[:, 2], scores.gt_viou, atol=1e-12)
    # Worth comparing: neither all right nor all wrong.
    assert 0.2 < scores.tiou.mean() < 0.9
    assert 0.3 < scores.gt_viou.mean() < 0.95


def test_queries_are_as_long_as_those_of_vidstg(tool):
    truths, guesses = tool.make_queries(2000, seed=1)
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


def test_overlap_of_two_boxes(tool):
    for overlap in (tool.plain_overlap, tool.array_overlap):
        assert overlap([0, 0, 4, 4], [2, 0, 6, 4]) == pytest.approx(1 / 3)
        assert overlap([0, 0, 4, 4], [4, 0, 6, 4]) == 0


def test_a_median_is_told(tool):
    calls = []
    assert tool.time_of(lambda: calls.append(1), 3) >= 0
    assert len(calls) == 3


def test_scoring_and_decoding(tool, capsys):
    small = '--queries 20 --loop-queries 5 --repeat 1 --frames 4'
    clip = '--video-frames 30 --video-size 64 48 --parts evaluation data'
    tool.main([*small.split(), *clip.split()])
    out = capsys.readouterr().out
    for protocol in PROTOCOLS:
        assert f'{protocol}, loop of Python' in out
    assert 'reading the file' in out
    assert '30 frames of 64 x 48' in out and 'the whole clip' in out


def test_a_video_of_the_user_is_decoded(tool, tmp_path, capsys):
    video = tmp_path / 'mine.mp4'
    tool.write_clip(video, 12, (32, 32))
    words = ['--parts', 'data', '--video', str(video), '--repeat', '1']
    tool.main([*words, '--frames', '99'])
    out = capsys.readouterr().out
    assert 'mine.mp4: 12 frames of 32 x 32' in out


@pytest.mark.parametrize('amp', [False, True])
def test_the_model(tool, repo_root, amp, capsys):
    config = repo_root / 'configs' / 'hero_shapes.py'
    words = ['--parts', 'model', '--config', str(config), '--device', 'cpu']
    sizes = '--batch 2 --queries-a-clip 2 --frames 4 --size 32 32 --repeat 1'
    tool.main([*words, *sizes.split(), *(['--amp'] if amp else [])])
    out = capsys.readouterr().out
    assert ('in bfloat16' in out) is amp
    for name in (
        'as configured: training step',
        'as configured: inference, clip encoded for each sentence',
        'joint attention: inference',
        'twice the regions: training step',
        'joint attention, twice the regions: training step',
    ):
        assert name in out
    assert 'no memory' not in out


def test_a_model_without_reasoning_has_no_other_attention(tool, repo_root):
    config = repo_root / 'configs' / 'hero_shapes.py'
    args = tool.parse_args(
        ['--config', str(config), '--cfg-options', 'model.neck=None']
    )
    cfg = tool.config_without_data(args.config, args.cfg_options)
    assert [name for name, _ in tool._variants(cfg)] == ['as configured']


def test_a_model_on_files_has_no_more_regions(tool, repo_root):
    config = repo_root / 'configs' / 'hero_shapes.py'
    cfg = tool.config_without_data(config, {})
    (_, first), _, (_, more), (_, last) = tool._variants(cfg)
    assert more.max_regions == 2 * first.max_regions
    assert more.linker.num_slots == 2 * first.linker.num_slots
    assert last.neck.attention == last.region_encoder.attention == 'joint'
    assert 'attention' not in first.neck and 'attention' not in more.neck
    cfg.model.proposal_generator = dict(type='FileProposals')
    names = [name for name, _ in tool._variants(cfg)]
    assert names == ['as configured', 'joint attention']


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        (['--parts', 'nothing'], "choose from 'evaluation'"),
        (['--repeat', '0'], '--repeat must be 1 or more'),
        (['--queries-a-clip', '0'], '--queries-a-clip must be 1'),
    ],
)
def test_flags_that_do_not_fit(tool, words, told, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(words)
    assert told in capsys.readouterr().err.replace(
        'choose from evaluation', "choose from 'evaluation'"
    )


@pytest.mark.slow
def test_a_device_that_is_not_there(path):
    done = subprocess.run(
        [sys.executable, str(path), '--parts', 'model', '--device', 'cuda:99'],
        capture_output=True,
        text=True,
        check=False,
        cwd=path.parents[2],
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 1
    assert "'cuda:99' cannot be used" in done.stderr
    assert 'Traceback' not in done.stderr
