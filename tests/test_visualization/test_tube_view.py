"""What is taken from a sample to be drawn, and by the visualizer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from hero_mm.registry import VISUALIZERS
from hero_mm.structures import GroundingDataSample
from hero_mm.visualization.tube_view import (
    TubeView,
    choose_sheet_indices,
    resample_view,
    views_from_sample,
)


def make_sample(flip: bool = False) -> GroundingDataSample:
    """Two queries on four frames; the input is half of a 40x20 crop."""
    sample = GroundingDataSample(
        metainfo=dict(
            frame_inds=np.array([10, 20, 30, 40]),
            segment=(10, 50),
            fps=10.0,
            ori_shape=(60, 80),
            img_shape=(10, 20),
            crop_box=(8.0, 4.0, 48.0, 24.0),
            flip=flip,
        )
    )
    sample.queries = InstanceData(texts=['a', 'b'], query_ids=['7', '9'])
    sample.gt_queries = InstanceData(
        spans=torch.tensor([[20.0, 40.0], [10.0, 20.0]]),
        bboxes=torch.tensor([1.0, 2.0, 5.0, 6.0]).expand(2, 4, 4),
        valid=torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0]]).bool(),
    )
    sample.pred_queries = InstanceData(
        spans=torch.tensor([[20.0, 30.5], [10.0, 50.0]]),
        bboxes=torch.arange(32.0).view(2, 4, 4),
        span_scores=torch.tensor([0.5, 0.25]),
        action_consistency=torch.rand(2, 4),
    )
    return sample


@pytest.mark.parametrize(
    'flip,box',
    # 1..5 of 20 is 15..19 before the flip: 30..38 of the crop, which is at 8.
    [(False, [10, 8, 18, 16]), (True, [38, 8, 46, 16])],
)
def test_boxes_of_the_truth_are_mapped_to_the_video(flip, box):
    view = views_from_sample(make_sample(flip))[0]
    np.testing.assert_allclose(view.gt_bboxes[0], box)
    # Predictions are in pixels of the video.
    np.testing.assert_allclose(view.pred_bboxes[1], [4, 5, 6, 7])
    assert (view.text, view.query_id, view.score) == ('a', '7', 0.5)
    assert view.pred_span == (20.0, 30.5) and view.action.shape == (4,)


def test_boxes_show_inside_their_spans_only():
    view = views_from_sample(make_sample())[0]
    shown = [view.pred_box(i) is not None for i in range(4)]
    assert shown == [False, True, True, False]
    true = [view.gt_box(i) is not None for i in range(4)]
    assert true == [False, True, True, False]
    # The end is exclusive.
    view = replace(view, pred_span=(20.0, 30.0))
    assert view.pred_box(1) is not None and view.pred_box(2) is None


def test_what_a_sample_does_not_have():
    sample = make_sample()
    del sample.gt_queries, sample.pred_queries.span_scores
    del sample.pred_queries.action_consistency, sample.queries.query_ids
    view = views_from_sample(sample)[1]
    assert view.gt_span is None and view.gt_box(1) is None
    assert view.score is None and view.action is None
    assert view.query_id == '1'
    # Of a long video the window is shown.
    sample.pred_queries.windows = torch.tensor([[10.0, 30.0], [20.0, 50.0]])
    assert views_from_sample(sample)[1].segment == (20.0, 50.0)
    del sample.pred_queries
    assert views_from_sample(sample)[0].pred_box(1) is None


def test_resampling_is_linear_and_held_at_the_ends():
    view = TubeView(
        'x',
        np.array([10, 20]),
        (0, 40),
        10.0,
        pred_bboxes=np.array([[0.0, 0, 10, 10], [10, 20, 30, 40]]),
        gt_valid=np.array([False, True]),
        action=np.array([0.0, 1.0]),
    )
    dense = resample_view(view, np.array([5, 10, 14, 18, 30]))
    np.testing.assert_allclose(
        dense.pred_bboxes[:, 0], [0, 0, 4, 8, 10], atol=1e-6
    )
    np.testing.assert_allclose(dense.pred_bboxes[2], [4, 8, 18, 22])
    np.testing.assert_allclose(dense.action, [0, 0, 0.4, 0.8, 1])
    assert dense.gt_valid.tolist() == [False, False, False, True, True]
    assert len(dense) == 5 and dense.gt_bboxes is None


@pytest.mark.parametrize('count', [2, 5, 8])
@pytest.mark.parametrize('span', [(0, 100), (40, 44), (90, 100), (200, 210)])
def test_sheet_frames_are_spread_and_show_the_span(count, span):
    view = TubeView('x', np.arange(100), (0, 100), 10.0, gt_span=span)
    picked = choose_sheet_indices(view, count)
    assert len(picked) == count and picked == sorted(set(picked))
    inside = [i for i in picked if span[0] <= i < span[1]]
    possible = max(0, min(span[1], 100) - span[0])
    assert len(inside) >= min(possible, count // 2)
    if count > 2 and span[0] > 0 and span[1] < 100:
        assert picked[0] == 0 and picked[-1] == 99


def test_files_and_backends_get_the_sheet(tmp_path):
    visualizer = VISUALIZERS.build(
        dict(
            type='TubeVisualizer',
            name=str(tmp_path),
            vis_backends=[dict(type='LocalVisBackend')],
            save_dir=str(tmp_path / 'run'),
        )
    )
    given = 'v', np.full((4, 60, 80, 3), 70, np.uint8), make_sample()
    assert visualizer.add_datasample(*given, step=12) == []
    assert len(list((tmp_path / 'run').rglob('v_7_12.png'))) == 1
    folder = tmp_path / 'vis'
    paths = visualizer.add_datasample(*given, out_dir=folder, max_queries=1)
    assert [Path(path).name for path in paths] == ['v_7.png', 'v_7.mp4']
    paths = visualizer.add_datasample(*given, out_dir=folder, video=False)
    assert [Path(path).name for path in paths] == ['v_7.png', 'v_9.png']
