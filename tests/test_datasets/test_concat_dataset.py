"""Several files as one data set: its items, and the scores of all of them."""

import shutil

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from hero_mm.datasets.annotation import load_annotation
from hero_mm.evaluation import (
    check_match,
    evaluate_tubes,
    load_predictions,
)
from hero_mm.registry import DATASETS

PIPELINE = [
    dict(type='SampleClipFrames', num_frames=4),
    dict(type='DecodeFrames'),
    dict(type='LoadTubes'),
    dict(type='PackGroundingInputs'),
]


def config(folder, **options) -> dict:
    return dict(
        type='GroundingDataset',
        data_root=str(folder),
        ann_file='ann.json',
        data_prefix=dict(video='video'),
        test_mode=True,
        pipeline=PIPELINE,
        **options,
    )


@pytest.fixture()
def other(toy, tmp_path):
    """The same clips under the same ids, in another file."""
    shutil.copytree(toy, tmp_path / 'other')
    return tmp_path / 'other'


def build(*configs):
    return DATASETS.build(dict(type='ConcatDataset', datasets=[*configs]))


def scores(dataset, wrong=(), metrics=({},)) -> dict:
    """Of predictions that are true, but for some queries."""
    evaluator = Evaluator(
        [dict(type='hero_mm.TubeMetric', **options) for options in metrics]
    )
    evaluator.dataset_meta = dataset.metainfo
    for place in range(len(dataset)):
        sample = dataset[place]['data_samples']
        truth = sample.gt_queries
        tracks = sample.gt_tracks.bboxes[truth.track_index]
        spans = truth.spans.clone()
        for row, query in enumerate(sample.queries.query_ids):
            if query in wrong:
                spans[row] = torch.tensor([30.0, 31.0])
        sample.pred_queries = InstanceData(
            spans=spans,
            bboxes=tracks,
            span_scores=torch.ones(len(spans)),
        )
        evaluator.process([sample], None)
    return evaluator.evaluate(len(dataset))


def ids_of(dataset) -> list[str]:
    return [
        query
        for place in range(len(dataset))
        for query in dataset[place]['data_samples'].queries.query_ids
    ]


def test_each_query_has_an_id_of_its_own(toy, other):
    alone = DATASETS.build(config(toy))
    both = build(config(toy), config(other))
    assert len(both) == 2 * len(alone)
    ids = ids_of(both)
    wanted = ids_of(alone)
    assert ids == [f'{k}/{query}' for k in (0, 1) for query in wanted]
    # One alone keeps its ids.
    assert '0' in wanted
    facts = both.metainfo
    assert facts['dataset'] == 'toy'
    assert facts['ann_file'] == [
        str(toy / 'ann.json'),
        str(other / 'ann.json'),
    ]


def test_all_files_are_scored(toy, other):
    both = build(config(toy), config(other))
    assert scores(both)['tube/m_tIoU'] == 1
    count = len(ids_of(both))
    got = scores(both, wrong=['1/0', '1/5'])['tube/m_tIoU']
    assert got == pytest.approx(1 - 2 / count)


def test_a_part_of_the_data_set_is_scored_alone(toy, other):
    """What it does not serve is not missing."""
    part = DATASETS.build(config(toy, indices=2))
    assert scores(part)['tube/m_tIoU'] == 1
    served = ids_of(part)
    assert part.metainfo['served'] == served
    got = scores(part, wrong=served[:1])['tube/m_tIoU']
    assert got == pytest.approx(1 - 1 / len(served))
    both = build(config(toy, indices=[1]), config(other))
    assert scores(both)['tube/m_tIoU'] == 1
    whole = len(ids_of(DATASETS.build(config(other))))
    assert len(ids_of(both)) == 2 + whole


def test_each_data_set_is_scored_by_its_own_protocol(toy, other, tmp_path):
    path = other / 'ann.json'
    path.write_text(path.read_text().replace('"toy"', '"other"'))
    both = build(config(toy), config(other))
    dump = tmp_path / 'other.json'
    metrics = [
        dict(dataset='toy', prefix='toy'),
        dict(dataset='other', prefix='other', protocol='vid_sentence')
        | dict(dump=str(dump)),
    ]
    wrong = ['1/0', '1/5']
    found = scores(both, wrong, metrics)
    assert found['toy/m_tIoU'] == 1
    assert {key.partition('/')[0] for key in found} == {'toy', 'other'}
    assert 'other/acc_avg' in found
    # What is written is of that file, under the ids that it has there.
    predictions, about = load_predictions(dump)
    assert about['dataset'] == 'other'
    whole = load_annotation(path)
    assert set(predictions) == set(whole.ground_truths())
    check_match(dump, predictions, about, whole)
    rows = evaluate_tubes(whole.ground_truths(), predictions, per_query=True)
    missed = {k for k, row in rows['per_query'].items() if row['tiou'] < 1}
    assert missed == {'0', '5'}
    # One alone may be called by its name, too.
    alone = DATASETS.build(config(other))
    one = scores(alone, metrics=[dict(dataset='other')])
    assert one['tube/m_tIoU'] == 1
    for name in ('third', 'toy'):
        with pytest.raises(ValueError, match=f'{name!r} must be one of .*oth'):
            scores(alone, metrics=[dict(dataset=name)])
