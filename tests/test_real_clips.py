"""Three real clips in the official raw form: converted, drawn, stepped on.

Training to the end is described in docs/real_clips.md.
"""

import json
import sys

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
        load_tool('dataset_converters/vidstg').main()
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


@pytest.mark.slow
def test_nothing_is_wrong_with_them(run, clips, annotation, capsys):
    words = [annotation, '--videos', clips / 'videos', '--workers', '1']
    run('analysis_tools/check_dataset', words)
    out = capsys.readouterr().out
    assert '3 videos, 34 sentences' in out and 'error' not in out


@pytest.mark.parametrize('protocol', ['tubedetr', 'hcstvg'])
def test_the_truth_is_right(run, annotation, pred, tmp_path, protocol):
    out = tmp_path / 'scores.json'
    words = ['--ann', annotation, '--pred', pred, '--json', out]
    words += ['--protocol', protocol, '--strict']
    run('analysis_tools/eval_tubes', words)
    scores = json.loads(out.read_text())
    assert scores['m_vIoU'] == scores['gt_m_vIoU'] == 1
    assert scores['queries'] == 34
