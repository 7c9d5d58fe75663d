"""The visualizer writes sheets and videos and feeds the backends."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from hero_mm.registry import VISUALIZERS
from hero_mm.structures import GroundingDataSample
from hero_mm.visualization import TubeView
from hero_mm.visualization.render import playback_fps

T = 6


def make_sample() -> GroundingDataSample:
    sample = GroundingDataSample(
        metainfo=dict(
            video_id='v/1',
            frame_inds=np.arange(0, 5 * T, 5),
            segment=(0, 5 * T),
            fps=10.0,
            ori_shape=(32, 48),
            img_shape=(32, 48),
        )
    )
    sample.queries = InstanceData(texts=['one', 'two'], query_ids=['3', '4'])
    sample.pred_queries = InstanceData(
        spans=torch.tensor([[0.0, 30.0], [5.0, 20.0]]),
        bboxes=torch.tensor([4.0, 4, 20, 20]).expand(2, T, 4),
    )
    return sample


@pytest.fixture
def visualizer(tmp_path):
    return VISUALIZERS.build(
        dict(
            type='TubeVisualizer',
            name=str(tmp_path),
            vis_backends=[dict(type='LocalVisBackend')],
            save_dir=str(tmp_path / 'run'),
            num_frames=4,
        )
    )


FRAMES = np.full((T, 32, 48, 3), 70, np.uint8)


def test_files_of_every_query(visualizer, tmp_path):
    paths = visualizer.add_datasample(
        'v_1', FRAMES, make_sample(), out_dir=tmp_path / 'vis'
    )
    names = [Path(path).name for path in paths]
    assert names == ['v_1_3.png', 'v_1_3.mp4', 'v_1_4.png', 'v_1_4.mp4']
    assert cv2.imread(paths[0]).shape[1] >= 384
    with av.open(paths[1]) as container:
        stream = container.streams.video[0]
        count = sum(1 for _ in container.decode(video=0))
    assert count == T and float(stream.average_rate) == pytest.approx(2)
    assert stream.width % 2 == 0 and stream.height % 2 == 0


def test_backends_get_the_sheet(visualizer, tmp_path):
    paths = visualizer.add_datasample('v', FRAMES, make_sample(), step=12)
    assert paths == []
    stored = list((tmp_path / 'run').rglob('v_3_12.png'))
    assert len(stored) == 1


def test_queries_and_video_can_be_left_out(visualizer, tmp_path):
    paths = visualizer.add_datasample(
        'v',
        FRAMES,
        make_sample(),
        out_dir=tmp_path / 'vis',
        video=False,
        max_queries=1,
    )
    assert [Path(path).suffix for path in paths] == ['.png']


def test_a_sample_is_needed(visualizer):
    with pytest.raises(TypeError, match='GroundingDataSample'):
        visualizer.add_datasample('v', FRAMES)


def test_a_sheet_of_one_frame_is_refused():
    with pytest.raises(ValueError, match='num_frames'):
        VISUALIZERS.build(
            dict(type='TubeVisualizer', name='one', num_frames=1)
        )


def test_videos_play_in_real_time():
    def view(frames):
        return TubeView('x', np.array(frames), (0, 99), 30.0)

    assert playback_fps(view([0, 3, 6])) == pytest.approx(10)
    assert playback_fps(view([4])) == 1
    assert playback_fps(view([0, 90])) == 1, 'never slower than one a second'
