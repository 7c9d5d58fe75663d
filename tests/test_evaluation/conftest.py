"""Fixtures of the score tests."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import tube_reference


@pytest.fixture(scope='session')
def reference() -> ModuleType:
    """The slow second implementation."""
    return tube_reference


def _as_ours(item: dict) -> tuple[dict, dict]:
    """Map raw begin and end numbers of a case, as docs/metrics.md says."""
    first, last = item['segment']
    truth = dict(
        span=item['gt_segment'],
        boxes=item['gt_boxes'],
        segment=[first, last + 1],
        fps=item['fps'],
        query_type=item.get('qtype'),
    )
    return truth, dict(span=item['pred_segment'], boxes=item['pred_boxes'])


@pytest.fixture(scope='session')
def eval_case(shared_data):
    """Give truths, predictions and official answers of a file of cases."""

    def load(name: str, run: str) -> tuple[dict, dict, dict, list]:
        path = shared_data / 'eval_cases' / f'{name}.json'
        if not path.is_file():
            pytest.skip(f'no {path}')
        content = json.loads(path.read_text())
        truths, guesses = {}, {}
        for item in content['items']:
            query_id = str(item['id'])
            truths[query_id], guesses[query_id] = _as_ours(item)
        expected = content['expected'][run]['per_item']
        return truths, guesses, expected, content['items']

    return load


def _query(query_id, text, kind, span, track_id):
    return dict(
        query_id=query_id, text=text, type=kind, span=span, track_id=track_id
    )


@pytest.fixture
def tiny_annotation(tmp_path) -> Path:
    """An annotation file: one clip of ten frames, two sentences."""
    boxes = [[10, 10, 30, 30], [50, 10, 70, 30]]
    tracks = {
        str(place): dict(
            category='cup', boxes={str(frame): box for frame in range(10)}
        )
        for place, box in enumerate(boxes)
    }
    video = dict(
        path='v.mp4', frame_count=10, fps=5.0, width=100, height=50
    ) | dict(tracks=tracks)
    queries = [
        _query('a', 'the cup on the left turns', 'declarative', [2, 6], '0'),
        _query('b', 'what turns on the right', 'interrogative', [4, 8], '1'),
    ]
    content = dict(
        metainfo=dict(
            format='hero_mm/1',
            dataset='tiny',
            split='test',
            query_ids='by hand',
        ),
        videos=dict(v=video),
        data_list=[dict(video_id='v', segment=[0, 10], queries=queries)],
    )
    path = tmp_path / 'tiny.json'
    path.write_text(json.dumps(content))
    return path
