"""A small run on disk: annotation, videos, predictions."""

import json

import numpy as np
import pytest

from hero_mm.datasets.annotation import load_annotation
from hero_mm.visualization import VideoWriter

FRAMES = 12
BOX, OTHER = [10, 10, 30, 30], [40, 40, 60, 60]


@pytest.fixture(scope='package')
def folder(tmp_path_factory):
    """Four videos with a query each, predicted from best to worst."""
    folder = tmp_path_factory.mktemp('run')
    videos, data_list, predictions = {}, [], {}
    boxes, others = (
        {str(frame): box for frame in range(FRAMES)} for box in (BOX, OTHER)
    )
    for i in range(4):
        with VideoWriter(folder / 'videos' / f'v{i}.mp4', fps=6) as writer:
            for frame in range(FRAMES):
                writer.write(np.full((64, 64, 3), 15 * frame, np.uint8))
        videos[f'v{i}'] = dict(
            path=f'v{i}.mp4',
            frame_count=FRAMES,
            fps=6.0,
            width=64,
            height=64,
            tracks={
                '0': dict(category='a', boxes=boxes),
                '1': dict(category='b', boxes=others),
            },
        )
        query = dict(
            query_id=str(i),
            text=f'the <b>{i}</b> | one',
            type=('declarative', 'interrogative')[i % 2],
            span=[2, 10],
            track_id='0',
            predicate='moves',
            category='a',
        )
        data_list.append(
            dict(video_id=f'v{i}', segment=[0, FRAMES], queries=[query])
        )
        predictions[str(i)] = dict(
            span=[2, 10 - 2 * i], score=0.5, boxes=others if i == 3 else boxes
        )
    metainfo = dict(format='hero_mm/1', dataset='toy', split='test')
    files = {
        'test.json': dict(
            metainfo=metainfo, videos=videos, data_list=data_list
        ),
        'predictions.json': dict(metainfo={}, predictions=predictions),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture
def annotation(folder):
    return load_annotation(folder / 'test.json')


@pytest.fixture
def predictions(folder):
    text = (folder / 'predictions.json').read_text()
    return json.loads(text)['predictions']
