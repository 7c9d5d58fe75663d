"""TubeMetric through MMEngine's evaluator, with made-up samples."""

import logging

import numpy as np
import pytest
import torch
from mmengine import fileio
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from hero_mm.datasets.annotation import GroundTruths, load_annotation
from hero_mm.evaluation import TubeMetric, evaluate_tubes, load_predictions
from hero_mm.structures import GroundingDataSample

LEFT = [10.0, 10.0, 30.0, 30.0]
RIGHT = [50.0, 10.0, 70.0, 30.0]


def make_sample(
    spans=((2, 6), (4, 8)), boxes=(LEFT, RIGHT), frames=(0, 4, 8), ids='ab'
):
    """A clip with two sentences, each with one box on all frames."""
    sample = GroundingDataSample(
        metainfo=dict(
            video_id='v', frame_inds=np.array(frames), segment=(0, 10)
        )
    )
    sample.queries = InstanceData(query_ids=list(ids))
    bboxes = torch.tensor(boxes).float()[:, None].repeat(1, len(frames), 1)
    sample.pred_queries = InstanceData(
        spans=torch.tensor(spans).float(),
        bboxes=bboxes,
        span_scores=torch.tensor([0.5, 0.25])[: len(spans)],
    )
    return sample


def run(samples, meta_file, size=None, **config):
    """Score samples the way a test loop does."""
    evaluator = Evaluator(dict(type='hero_mm.TubeMetric', **config))
    evaluator.dataset_meta = {'ann_file': str(meta_file)}
    evaluator.process(samples, None)
    return evaluator.evaluate(size or len(samples))


def test_scores(tiny_annotation):
    # The data set has one item (clip) but two sentences.
    result = run([make_sample()], tiny_annotation, size=1)
    assert result['tube/m_vIoU'] == 1.0
    assert result['tube/declarative/vIoU@0.5'] == 1.0
    assert all(isinstance(value, float) for value in result.values())
    sample = make_sample(spans=((4, 8), (4, 8)), boxes=(LEFT, LEFT))
    result = run([sample], 'none.json', ann_file=str(tiny_annotation))
    assert result['tube/declarative/m_tIoU'] == pytest.approx(2 / 6)
    assert result['tube/interrogative/m_tIoU'] == 1.0
    assert result['tube/interrogative/gt_m_vIoU'] == 0.0
    # Missing queries score 0.
    sample = make_sample(ids='a', spans=((2, 6),), boxes=(LEFT,))
    result = run([sample], tiny_annotation)
    assert result['tube/m_vIoU'] == 0.5
    assert result['tube/interrogative/m_vIoU'] == 0.0
    metric = TubeMetric()
    metric.process(None, [make_sample().to_dict()] * 3)
    assert len(metric.results) == 3


def test_the_dump(tiny_annotation, tmp_path):
    sample = make_sample(frames=(2, 6))
    sample.queries.texts = ['the cup turns', 'what turns?']
    sample.pred_queries.bboxes[0, 1] += 8.0
    # What is predicted twice keeps the first.
    second = make_sample(spans=((0, 1), (0, 1)))
    path, weights = tmp_path / 'dump.json', str(tmp_path / 'run/best.pth')
    files = dict(dump=str(path), checkpoint=weights)
    run([sample, second], tiny_annotation, **files)
    predictions, metainfo = load_predictions(path)
    # Linear between sampled frames, held at the ends.
    frames, boxes = predictions['a']['boxes']
    assert frames.tolist() == list(range(10))
    left = boxes[:, 0].tolist()
    assert left == [10, 10, 10, 12, 14, 16, 18, 18, 18, 18]
    assert predictions['a']['span'] == [2, 6]
    assert predictions['b']['score'] == 0.25
    assert predictions['b']['video'] == 'v'
    assert predictions['b']['text'] == 'what turns?'
    # The checkpoint from where the file lies, so that both may be moved.
    about = dict(dataset='tiny', split='test', query_ids='by hand')
    assert metainfo == dict(about, checkpoint='run/best.pth')


def test_a_dump_scores_the_same(tiny_annotation, tmp_path):
    torch.manual_seed(0)
    sample = make_sample()
    sample.pred_queries.bboxes += torch.randn(2, 3, 4) * 3
    sample.pred_queries.spans += torch.rand(2, 2)
    path = tmp_path / 'dump.json'
    result = run([sample], tiny_annotation, dump=str(path))
    truths = load_annotation(tiny_annotation).ground_truths()
    again = evaluate_tubes(truths, load_predictions(path)[0])
    assert 0 < again['m_vIoU'] < 1
    assert result == {f'tube/{key}': value for key, value in again.items()}


def test_truths_are_made_when_they_are_asked_for(tiny_annotation):
    """All boxes of a large split would fill the memory."""
    metric = TubeMetric(ann_file=str(tiny_annotation))
    metric.dataset_meta = {}
    truths, _, _ = metric._load_truths()
    assert type(truths) is GroundTruths


def test_log_has_protocol_and_counts(tiny_annotation, monkeypatch):
    lines = []
    monkeypatch.setattr(
        'hero_mm.evaluation.tube_metric.print_log',
        lambda text, logger, level=logging.INFO: lines.append((level, text)),
    )
    clip = make_sample(ids='ax')
    run([clip, clip], tiny_annotation)
    *warned, (_, table) = lines
    assert {level for level, _ in warned} == {logging.WARNING}
    assert "'b'" in warned[0][1] and "'x'" in warned[1][1]
    assert 'Protocol tubedetr' in table
    assert '2 queries, 1 without a prediction' in table
    assert '2 queries were predicted more than once' in table


def test_half_precision_predictions(tiny_annotation):
    sample = make_sample()
    for name in ('spans', 'bboxes', 'span_scores'):
        value = sample.pred_queries[name]
        sample.pred_queries[name] = value.bfloat16()
    assert run([sample], tiny_annotation)['tube/m_vIoU'] == 1.0


def test_what_is_wrong_is_named(tiny_annotation):
    sample = make_sample()
    sample.pred_queries.bboxes[1, 2, 0] = float('nan')
    with pytest.raises(ValueError, match="query 'b': the box on frame 8"):
        run([sample], tiny_annotation)
    sample = make_sample(spans=((2, 6), (float('inf'), 8)))
    with pytest.raises(ValueError, match="query 'b': span must be finite"):
        run([sample], tiny_annotation)
    sample = make_sample().to_dict()
    sample['frame_inds'] = np.arange(4)
    with pytest.raises(ValueError, match="'a': 4 frames have 3 boxes"):
        TubeMetric().process(None, [sample])
    del sample['pred_queries']
    with pytest.raises(ValueError, match="video 'v' has no 'pred_queries'"):
        TubeMetric().process(None, [sample])
    with pytest.raises(ValueError, match='Unknown protocol'):
        TubeMetric(protocol='nope')
    with pytest.raises(ValueError, match=r'\.json'):
        TubeMetric(dump='predictions.pkl')
    metric = TubeMetric()
    metric.process(None, [make_sample().to_dict()])
    with pytest.raises(ValueError, match='ann_file'):
        metric.evaluate(1)


def test_the_annotation_may_lie_in_a_storage(tiny_annotation, monkeypatch):
    asked = []

    class Shelf(fileio.LocalBackend):
        def get(self, filepath):
            asked.append(filepath)
            return super().get(tiny_annotation)

    name = 'hero_mm.test.shelf'
    monkeypatch.setitem(fileio.backends.backends, name, Shelf)
    result = run(
        [make_sample()], 'far/ann.json', backend_args=dict(backend=name)
    )
    assert result['tube/m_vIoU'] == 1.0 and asked == ['far/ann.json']
