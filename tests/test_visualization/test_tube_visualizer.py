"""The visualizer writes sheets and videos and feeds the backends."""

from pathlib import Path

import numpy as np
import torch
from mmengine.structures import InstanceData

from hero_mm.registry import VISUALIZERS
from hero_mm.structures import GroundingDataSample

T = 6


def test_files_and_backends_get_the_sheet(tmp_path):
    visualizer = VISUALIZERS.build(
        dict(
            type='TubeVisualizer',
            name=str(tmp_path),
            vis_backends=[dict(type='LocalVisBackend')],
            save_dir=str(tmp_path / 'run'),
        )
    )
    sample = GroundingDataSample(
        metainfo=dict(
            frame_inds=np.arange(0, 5 * T, 5), segment=(0, 5 * T), fps=10.0
        )
    )
    sample.queries = InstanceData(texts=['one', 'two'], query_ids=['3', '4'])
    sample.pred_queries = InstanceData(
        spans=torch.tensor([[0.0, 30.0], [5.0, 20.0]]),
        bboxes=torch.tensor([4.0, 4, 20, 20]).expand(2, T, 4),
    )
    given = 'v', np.full((T, 32, 48, 3), 70, np.uint8), sample
    assert visualizer.add_datasample(*given, step=12) == []
    assert len(list((tmp_path / 'run').rglob('v_3_12.png'))) == 1
    folder = tmp_path / 'vis'
    paths = visualizer.add_datasample(*given, out_dir=folder, max_queries=1)
    assert [Path(path).name for path in paths] == ['v_3.png', 'v_3.mp4']
    paths = visualizer.add_datasample(*given, out_dir=folder, video=False)
    assert [Path(path).name for path in paths] == ['v_3.png', 'v_4.png']
