"""What is wrong in an annotation that can be read, alone and with videos."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.checks import (
    ERRORS,
    NOTES,
    audit_annotation,
    audit_videos,
)
from hero_mm.datasets.tracks import Track


@pytest.fixture
def own(toy, tmp_path):
    """A copy of the toy data set that a test may spoil."""
    own = tmp_path / 'own'
    shutil.copytree(toy, own)
    raw = json.loads((own / 'ann.json').read_text())
    for clip in raw['data_list'][1::2]:
        # Else both sentences of the clip were the same.
        clip['queries'][1]['text'] = 'the child kicks it.'
    (own / 'ann.json').write_text(json.dumps(raw))
    return own


@pytest.fixture
def annotation(own):
    """Three videos of 24 frames, 64 x 48; five sentences each."""
    return load_annotation(own / 'ann.json')


def kinds(findings):
    return [finding.kind for finding in findings]


def without_gaps(annotation):
    """All that is found but the gaps that the toy data set has."""
    return [f for f in audit_annotation(annotation) if f.kind != 'gap']


def set_boxes(annotation, make, scale=1):
    """Give all tracks other boxes, in pictures that are ``scale`` larger."""
    frames = np.arange(24.0)
    for video in annotation.videos.values():
        video.width, video.height = scale * video.width, scale * video.height
        for number, track_id in enumerate(video.tracks):
            sides = np.broadcast_arrays(*make(frames, number))
            boxes = np.stack(sides, 1)
            track = Track.from_boxes('cat', range(24), boxes)
            video.tracks[track_id] = track


def test_gaps_are_noted(annotation):
    # The ball is hidden on frames 9, 10, 11 of [6, 14).
    found = list(audit_annotation(annotation))
    assert kinds(found) == ['gap'] * 3
    assert found[0].where == "query '1' of video 'v0'"
    assert found[0].found == '3 of 8, first 9'


def test_boxes_of_a_track(annotation):
    tracks = annotation.videos['v0'].tracks
    boxes = [[0, 0, 9, 9], [64, 0, 70, 9], [-8, -8, 0, 5]]
    tracks['8'] = Track.from_boxes('cat', [3, 4, 6], boxes)
    frames = [0, 5, 10, 15, 20]
    boxes = [[f, 0, f + 9, 9] for f in frames]
    tracks['9'] = Track.from_boxes('cat', frames, boxes)
    outside, keys = without_gaps(annotation)
    assert (outside.kind, keys.kind) == ('outside', 'keys')
    assert outside.where == "video 'v0', track '8'"
    wanted = '2 boxes, first on frame 4: [64, 0, 70, 9] in 64x48'
    assert outside.found == wanted
    assert keys.found.startswith('5 boxes, one every 5 frames')
    tracks['9'] = Track.from_key_frames('cat', frames, boxes)
    assert without_gaps(annotation) == [outside]


@pytest.mark.parametrize(
    ('make', 'scale', 'expected'),
    [
        (lambda f, n: (f / 64, 0, f / 64 + 0.3, 0.4), 1, ['shares'] * 3),
        # A little beyond the picture.
        (lambda f, n: (f / 64, 0, 1.01, 0.4), 9, ['shares'] * 3),
        (lambda f, n: (2 * f, 5 * n, 2 * f + 12, 40), 1, []),
        # What does not move; what moves by half; and lengths.
        (lambda f, n: (f * (1 - n), f / 2 * (1 - n), 40, 30), 1, []),
        (lambda f, n: (1.5 * f * (1 - n), f * (1 - n), 45, 40), 1, ['sides']),
        (lambda f, n: (1.5 * f, f, 1.5 * f + 9, f + 9), 1, []),
    ],
)
def test_units_of_boxes(annotation, make, scale, expected):
    set_boxes(annotation, make, scale)
    assert kinds(audit_annotation(annotation)) == expected


def test_one_text_with_two_truths(annotation):
    first = annotation.data_list[0]
    again = copy.deepcopy(first['queries'][0])
    again.update(query_id='x', text=again['text'].upper())
    first['queries'].append(again)
    # '0' and '3' say the same of two clips, '0' and 'x' have one truth.
    assert not without_gaps(annotation)
    for other in (dict(span=[4, 11]), dict(span=[4, 10], track_id='1')):
        again.update(other)
        (found,) = without_gaps(annotation)
        assert found.kind == 'truths'
        assert found.found.endswith("queries '0', 'x'")


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(count=23), ['length', 'beyond']),
        (dict(count=48), ['cut']),
        (dict(fps=10), ['fps']),
        (dict(size=(64, 64)), ['aspect']),
        (dict(size=(32, 24)), ['size']),
    ],
)
def test_other_videos(annotation, own, toy_tools, options, expected):
    toy_tools.write_video(own / 'video' / 'v2.mp4', **options)
    found = list(audit_videos(annotation, own / 'video'))
    assert kinds(found) == expected
    if 'count' in options:
        assert found[0].found == f'{options["count"]} frames, annotated 24'


def test_a_shorter_video_may_hold_all_that_is_annotated(annotation, own):
    video = annotation.videos['v2']
    annotation.videos['v2'] = replace(video, frame_count=25)
    found = list(audit_videos(annotation, own / 'video'))
    assert kinds(found) == ['length']


@pytest.fixture
def check(run_tool, own):
    """Run the tool on the copy."""

    def run(*flags, videos=True):
        words = ['--videos', own / 'video', '--workers', 1] if videos else []
        return run_tool(
            'analysis_tools/check_dataset', own / 'ann.json', *words, *flags
        )

    return run


def test_the_tool_counts_with_examples(check, own):
    done = check('--show', '1')
    assert done.returncode == 0
    assert '3 videos, 15 sentences' in done.stdout
    assert f'note: 3 {NOTES["gap"]}' in done.stdout
    assert "query '1' of video 'v0'" in done.stdout
    assert 'and 2 more' in done.stdout and 'error' not in done.stdout
    assert 'not looked at' in check(videos=False).stdout
    raw = json.loads((own / 'ann.json').read_text())
    for clip in raw['data_list']:
        clip['queries'] = [q for q in clip['queries'] if q['track_id'] == '0']
    (own / 'ann.json').write_text(json.dumps(raw))
    assert 'nothing found' in check().stdout
    assert '--workers must be 1' in check('--workers', '0').stderr


def test_the_tool_fails_where_something_is_an_error(check, own):
    (own / 'video' / 'v0.mp4').unlink()
    (own / 'video' / 'v1.mp4').write_bytes(b'')
    listed = own / 'out' / 'list.txt'
    done = check('--list', str(listed))
    assert done.returncode == 1 and '2 errors in' in done.stderr
    assert 'v1.mp4: the file is empty' in done.stdout
    assert done.stdout.index('error: 1 videos') < done.stdout.index('note: 3')
    lines = [line.split('\t') for line in listed.read_text().splitlines()]
    wanted = ['broken', *['gap'] * 3, 'missing']
    assert sorted(line[0] for line in lines) == wanted
    raw = json.loads((own / 'ann.json').read_text())
    raw['data_list'][0]['queries'][0]['span'] = [4, 400]
    (own / 'ann.json').write_text(json.dumps(raw))
    done = check()
    assert done.returncode == 1 and 'span [4, 400]' in done.stderr


def test_what_must_be_mended_fails_the_check():
    assert {'shares', 'sides', 'keys', 'outside', 'missing'} <= ERRORS.keys()
