"""Three real clips in the official raw form: converted, drawn, stepped on.

Training to the end is described in docs/real_clips.md.
"""

import json
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from hero_mm.datasets import load_annotation
from hero_mm.evaluation import dump_predictions
from hero_mm.registry import DATASETS, METRICS, MODELS
from hero_mm.visualization import GT_COLOR, PRED_COLOR


@pytest.fixture(scope='module')
def clips(shared_data):
    """Folder of the raw clips; skips where it is absent."""
    if not (shared_data / 'real').is_dir():
        pytest.skip('no real clips')
    return shared_data / 'real'


@pytest.fixture(scope='module')
def annotation(clips, tmp_path_factory, load_tool):
    """What the converter writes, called as a command."""
    out = tmp_path_factory.mktemp('own') / 'train.json'
    words = [clips / 'vidstg/open_annotations.json', clips / 'vidor']
    words += ['--videos', clips / 'videos', '--out', out, '--workers', 1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['vidstg.py', *map(str, words)])
        assert load_tool('dataset_converters/vidstg').main() == 0
    return out


@pytest.fixture(scope='module')
def cfg(clips, annotation, repo_root):
    """The config for footage of one's own, with fewer and smaller frames."""
    cfg = Config.fromfile(repo_root / 'configs/hero_custom.py')
    init_default_scope(cfg.default_scope)
    cfg.model.text_encoder.ann_file = str(annotation)
    for name in ('train_dataloader', 'test_dataloader'):
        dataset = cfg[name].dataset
        dataset.ann_file = str(annotation)
        dataset.data_prefix = dict(video=str(clips / 'videos'))
        for step in dataset.pipeline:
            if step.type == 'SampleClipFrames':
                step.max_frames = 24
            elif step.type == 'ResizeClip':
                step.scale = (96, 56)
    return cfg


def test_nothing_is_lost_in_conversion(annotation):
    found = load_annotation(annotation)
    truths = found.ground_truths()
    assert len(found.videos) == 3 and len(truths) == 34
    assert sum(len(clip['queries']) for clip in found.data_list) == 34
    frames = sum(
        end - start
        for video in found.videos.values()
        for track in video.tracks.values()
        for start, end, _ in track.runs.tolist()
    )
    assert frames == 2136


def test_boxes_lie_in_the_decoded_frames(cfg):
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    for index in range(len(dataset)):
        item = dataset[index]
        height, width = item['inputs'].shape[-2:]
        assert width == 96 and 50 <= height <= 56
        truth = item['data_samples'].gt_queries
        boxes = truth.bboxes[truth.valid].numpy()
        assert len(boxes) and (boxes[:, 2:] > boxes[:, :2]).all()
        edge = np.array([width, height, width, height]) + 1e-3
        assert (boxes >= 0).all() and (boxes <= edge).all()


@pytest.mark.slow
def test_steps_bring_the_loss_down_and_every_sentence_is_answered(cfg):
    torch.manual_seed(0)
    np.random.seed(0)
    train = DATASETS.build(cfg.train_dataloader.dataset)
    model = MODELS.build(cfg.model)
    model.init_weights()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    items = [train[index] for index in range(len(train))]
    totals = []
    for step in range(12):
        batch = pseudo_collate([items[step % len(items)]])
        losses = model.train_step(batch, wrapper)
        totals.append(losses['loss'].item())
    assert np.isfinite(totals).all()
    assert np.mean(totals[-4:]) < 0.7 * np.mean(totals[:4])

    test = DATASETS.build(cfg.test_dataloader.dataset)
    metric = METRICS.build(cfg.test_evaluator)
    metric.dataset_meta = test.metainfo
    for index in range(len(test)):
        with torch.no_grad():
            samples = model.eval().test_step(pseudo_collate([test[index]]))
        metric.process(None, [sample.to_dict() for sample in samples])
    assert sum(len(part['queries']) for part in metric.results) == 34
    scores = metric.evaluate(len(test))
    assert 0 <= scores['tube/m_vIoU'] <= 1


# All tools of analysis on them


@pytest.fixture(scope='module')
def run(load_tool):
    return lambda tool, words: load_tool(tool).main(list(map(str, words)))


@pytest.fixture(scope='module')
def pred(annotation):
    """The truth as a prediction, held before and after the true span."""
    truths = load_annotation(annotation).ground_truths()
    guesses = {}
    for query_id, truth in truths.items():
        boxes = list(truth['boxes'].values())
        frames = np.arange(*truth['segment'])
        rows = (frames - truth['span'][0]).clip(0, len(boxes) - 1)
        guesses[query_id] = dict(
            span=truth['span'], boxes=(frames, np.array(boxes)[rows])
        )
    path = annotation.with_name('truth.json')
    dump_predictions(path, guesses)
    return path


def pixels_of(path, color):
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return int((np.abs(image.astype(int) - color).sum(-1) < 40).sum())


@pytest.mark.slow
def test_nothing_is_wrong_with_them(run, clips, annotation, capsys):
    words = [annotation, '--videos', clips / 'videos', '--workers', '1']
    run('analysis_tools/check_dataset', words)
    out = capsys.readouterr().out
    assert '3 videos, 34 sentences' in out and 'error' not in out


def test_what_they_are_made_of(run, annotation, capsys):
    run('analysis_tools/dataset_stats', [annotation])
    out = capsys.readouterr().out
    assert '34 sentences, 9 tracks, 2,136 boxes' in out


def test_the_true_boxes_are_drawn(run, clips, annotation, tmp_path):
    words = [annotation, '--videos', clips / 'videos', '--out', tmp_path]
    words += ['--number', 2, '--form', 'sheet']
    run('visualizations/browse_dataset', words)
    sheets = list(tmp_path.glob('*.png'))
    assert len(sheets) == 2
    assert all(pixels_of(sheet, GT_COLOR) > 500 for sheet in sheets)


@pytest.mark.parametrize('protocol', ['tubedetr', 'hcstvg'])
def test_the_truth_is_right(run, annotation, pred, tmp_path, protocol):
    out = tmp_path / 'scores.json'
    words = ['--ann', annotation, '--pred', pred, '--json', out]
    words += ['--protocol', protocol, '--strict']
    assert run('analysis_tools/eval_tubes', words) == 0
    scores = json.loads(out.read_text())
    assert scores['m_vIoU'] == scores['gt_m_vIoU'] == 1
    assert scores['queries'] == 34


@pytest.mark.slow
def test_the_report(run, clips, annotation, pred, tmp_path):
    words = [pred, '--ann', annotation, '--out', tmp_path, '--cases', 1]
    words += ['--videos', clips / 'videos', '--compare', pred]
    run('analysis_tools/analyze_results', words)
    (sheet,) = (tmp_path / 'cases').glob('best_*.png')
    assert pixels_of(sheet, GT_COLOR) > 200
    assert pixels_of(sheet, PRED_COLOR) > 200
    assert 'Not drawn' not in (tmp_path / 'index.html').read_text()
