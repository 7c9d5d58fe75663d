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
    tracks = {
        '0': dict(category='a', boxes=boxes),
        '1': dict(category='b', boxes=others),
    }
    size = dict(frame_count=FRAMES, fps=6.0, width=64, height=64)
    known = dict(span=[2, 10], track_id='0', predicate='moves', category='a')
    for i in range(4):
        with VideoWriter(folder / 'videos' / f'v{i}.mp4', fps=6) as writer:
            for frame in range(FRAMES):
                writer.write(np.full((64, 64, 3), 15 * frame, np.uint8))
        videos[f'v{i}'] = dict(size, path=f'v{i}.mp4', tracks=tracks)
        query = dict(
            known,
            query_id=str(i),
            text=f'the <b>{i}</b> | one',
            type=('declarative', 'interrogative')[i % 2],
        )
        data_list.append(
            dict(video_id=f'v{i}', segment=[0, FRAMES], queries=[query])
        )
        predictions[str(i)] = dict(
            span=[2, 10 - 2 * i], score=0.5, boxes=others if i == 3 else boxes
        )
    metainfo = dict(format='hero_mm/1', dataset='toy', split='test')
    content = dict(metainfo=metainfo, videos=videos, data_list=data_list)
    (folder / 'test.json').write_text(json.dumps(content))
    content = dict(metainfo={}, predictions=predictions)
    (folder / 'predictions.json').write_text(json.dumps(content))
    return folder


@pytest.fixture
def annotation(folder):
    return load_annotation(folder / 'test.json')


@pytest.fixture
def predictions(folder):
    text = (folder / 'predictions.json').read_text()
    return json.loads(text)['predictions']
