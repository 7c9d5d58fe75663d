"""Fixtures of the score tests."""

import json
from pathlib import Path

import pytest


def _query(query_id, text, kind, span, track_id):
    return dict(
        query_id=query_id, text=text, type=kind, span=span, track_id=track_id
    )


@pytest.fixture
def tiny_annotation(tmp_path) -> Path:
    """An annotation file: one clip of ten frames, two sentences."""
    tracks = {
        str(place): dict(
            category='cup', boxes={str(frame): box for frame in range(10)}
        )
        for place, box in enumerate([[10, 10, 30, 30], [50, 10, 70, 30]])
    }
    size = dict(frame_count=10, fps=5.0, width=100, height=50)
    queries = [
        _query('a', 'the cup on the left turns', 'declarative', [2, 6], '0'),
        _query('b', 'what turns on the right', 'interrogative', [4, 8], '1'),
    ]
    about = dict(dataset='tiny', split='test', query_ids='by hand')
    content = dict(
        metainfo=dict(format='hero_mm/1', **about),
        videos=dict(v=dict(path='v.mp4', tracks=tracks, **size)),
        data_list=[dict(video_id='v', segment=[0, 10], queries=queries)],
    )
    path = tmp_path / 'tiny.json'
    path.write_text(json.dumps(content))
    return path
