"""Three real clips from their raw form through all tools of analysis."""

import json
import sys

import cv2
import numpy as np
import pytest

from hero_mm.datasets import load_annotation
from hero_mm.evaluation import dump_predictions
from hero_mm.visualization.drawing import GT_COLOR, PRED_COLOR


@pytest.fixture(scope='module')
def run(load_tool):
    return lambda tool, words: load_tool(tool).main(list(map(str, words)))


@pytest.fixture(scope='module')
def clips(shared_data):
    if not (shared_data / 'real').is_dir():
        pytest.skip('no real clips')
    return shared_data / 'real'


@pytest.fixture(scope='module')
def ann(clips, load_tool, tmp_path_factory):
    """The annotation that the converter writes."""
    out = tmp_path_factory.mktemp('real') / 'open.json'
    words = [clips / 'vidstg/open_annotations.json', clips / 'vidor']
    words += ['--videos', clips / 'videos', '--out', out, '--workers', 1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['vidstg.py', *map(str, words)])
        assert load_tool('dataset_converters/vidstg').main() == 0
    return out


@pytest.fixture(scope='module')
def pred(ann):
    """The truth as a prediction, held before and after the true span."""
    annotation = load_annotation(ann)
    guesses = {}
    for query_id, truth in annotation.ground_truths().items():
        boxes = list(truth['boxes'].values())
        frames = np.arange(*truth['segment'])
        rows = (frames - truth['span'][0]).clip(0, len(boxes) - 1)
        guesses[query_id] = dict(
            span=truth['span'], boxes=(frames, np.array(boxes)[rows])
        )
    path = ann.with_name('truth.json')
    dump_predictions(path, guesses)
    return path


def pixels_of(path, color):
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return int((np.abs(image.astype(int) - color).sum(-1) < 40).sum())


@pytest.mark.slow
def test_nothing_is_wrong_with_them(run, clips, ann, capsys):
    words = [ann, '--videos', clips / 'videos', '--workers', '1']
    run('analysis_tools/check_dataset', words)
    out = capsys.readouterr().out
    assert '3 videos, 34 sentences' in out and 'error' not in out


def test_what_they_are_made_of(run, ann, capsys):
    run('analysis_tools/dataset_stats', [ann])
    out = capsys.readouterr().out
    assert '34 sentences, 9 tracks, 2,136 boxes' in out


def test_the_true_boxes_are_drawn(run, clips, ann, tmp_path):
    words = [ann, '--videos', clips / 'videos', '--out', tmp_path]
    words += ['--number', 2, '--form', 'sheet']
    run('visualizations/browse_dataset', words)
    sheets = list(tmp_path.glob('*.png'))
    assert len(sheets) == 2
    assert all(pixels_of(sheet, GT_COLOR) > 500 for sheet in sheets)


@pytest.mark.parametrize('protocol', ['tubedetr', 'hcstvg'])
def test_the_truth_is_right(run, ann, pred, tmp_path, protocol):
    out = tmp_path / 'scores.json'
    words = ['--ann', ann, '--pred', pred, '--json', out]
    words += ['--protocol', protocol, '--strict']
    assert run('analysis_tools/eval_tubes', words) == 0
    scores = json.loads(out.read_text())
    assert scores['m_vIoU'] == scores['gt_m_vIoU'] == 1
    assert scores['queries'] == 34


@pytest.mark.slow
def test_the_report(run, clips, ann, pred, tmp_path):
    words = [pred, '--ann', ann, '--out', tmp_path, '--cases', 1]
    words += ['--videos', clips / 'videos', '--compare', pred]
    run('analysis_tools/analyze_results', words)
    (sheet,) = (tmp_path / 'cases').glob('best_*.png')
    assert pixels_of(sheet, GT_COLOR) > 200
    assert pixels_of(sheet, PRED_COLOR) > 200
    assert 'Not drawn' not in (tmp_path / 'report.md').read_text()
