"""VidSTG's official files as a whole, with boxes made for them."""

import json
from collections import defaultdict

import pytest

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.converters import convert_vidstg

# Split, captions, questions, videos, segments, and sentences whose end is one
# past the last frame of their segment.
SIZES = [
    ('val', 3996, 4960, 602, 2048, 1682),
    ('test', 4610, 5693, 732, 2527, 1745),
]
_BOX = (
    '{"bbox": {"xmin": %d, "ymin": %d, "xmax": %d, "ymax": %d}, '
    '"tracker": "linear", "generated": 1, "tid": %d}'
)


def write_boxes(folder, annotations):
    """Write VidOR's files, with boxes where a sentence needs them.

    Gives their number; some leave the picture a little.
    """
    videos, needed, count = {}, defaultdict(set), 0
    for entry in json.loads(annotations.read_bytes()):
        videos[entry['vid']] = entry
        truth = entry['temporal_gt']
        frames = range(truth['begin_fid'], truth['end_fid'])
        for sentence in entry['captions'] + entry['questions']:
            tid = sentence['target_id']
            needed[entry['vid']].update((frame, tid) for frame in frames)
    keys = ('frame_count', 'fps', 'width', 'height', 'subject/objects')
    for name, video in videos.items():
        rows = [[] for _ in range(video['frame_count'])]
        for frame, tid in needed[name]:
            left, top = tid % 40 - 1, frame % 90
            rows[frame].append(_BOX % (left, top, left + 60, top + 50, tid))
        about = {key: video[key] for key in keys}
        about['relation_instances'] = [video['used_relation']]
        boxes = ', '.join(f'[{", ".join(row)}]' for row in rows)
        text = f'{json.dumps(about)[:-1]}, "trajectories": [{boxes}]}}'
        (folder / f'{name}.json').write_text(text)
        count += len(needed[name])
    return count


def _raw_sentences(entries):
    """All sentences in the order of their numbers, read once more."""
    for entry in entries:
        truth, segment = entry['temporal_gt'], entry['used_segment']
        for said in entry['captions'] + entry['questions']:
            yield (
                entry['vid'],
                [segment['begin_fid'], segment['end_fid'] + 1],
                [truth['begin_fid'], truth['end_fid']],
                said['description'].strip(),
                str(said['target_id']),
            )


@pytest.mark.slow
@pytest.mark.parametrize('sizes', SIZES, ids=['val', 'test'])
def test_no_official_sentence_is_lost(shared_data, tmp_path, sizes):
    split, declarative, interrogative, videos, clips, past = sizes
    folder = shared_data / 'vidstg_official'
    if not folder.is_dir():
        pytest.skip('no official files of VidSTG')
    path = folder / f'{split}_annotations.json'
    (tmp_path / 'vidor').mkdir()
    count = write_boxes(tmp_path / 'vidor', path)
    out = tmp_path / 'out.json'
    summary = convert_vidstg(
        path,
        tmp_path / 'vidor',
        out,
        files=folder / f'{split}_files.json',
        workers=2,
    )
    assert summary.sentences == dict(
        declarative=declarative, interrogative=interrogative
    )
    assert summary.videos == videos and not summary.skipped
    assert summary.clips == clips
    assert set(summary.notes) == {'boxes cut to the picture'}
    # What is published agrees, and each one is named.
    assert summary.text().count(' published') == 4
    assert 'published (' not in summary.text()
    annotation = load_annotation(out)
    assert annotation.metainfo['num_boxes'] == count
    found = {
        query['query_id']: (
            clip['video_id'],
            clip['segment'],
            query['span'],
            query['text'],
            query['track_id'],
        )
        for clip in annotation.data_list
        for query in clip['queries']
    }
    wanted = enumerate(_raw_sentences(json.loads(path.read_bytes())))
    assert found == {str(number): said for number, said in wanted}
    ends = [segment[1] == span[1] for _, segment, span, *_ in found.values()]
    assert sum(ends) == past
