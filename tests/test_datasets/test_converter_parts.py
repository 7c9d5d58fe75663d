"""What all converters share: boxes, sentences, sizes, command line."""

import numpy as np
import pytest

from hero_mm.datasets.converters import (
    Conversion,
    ConversionError,
    ConversionSummary,
)
from hero_mm.datasets.converters.boxes import CUT, make_track, to_corners
from hero_mm.datasets.converters.summary import official_counts
from hero_mm.datasets.entries import Entry
from hero_mm.datasets.tracks import Track, VideoInfo


def _make(numbers, boxes, size=(64, 48), skip_bad=False):
    summary, entry = ConversionSummary('o', skip_bad), Entry('a.json', 'tid 3')
    track = make_track(entry, numbers, boxes, size, summary, 'dog')
    return track, summary


def test_boxes_are_kept_or_cut():
    track, summary = _make([4, 2], [[0, 0, 64, 48], [1, 2, 3, 4]])
    assert track.category == 'dog' and track.boxes.dtype == np.int16
    assert track.boxes.tolist() == [[1, 2, 3, 4], [0, 0, 64, 48]]
    assert track.runs.tolist() == [[2, 3, 0], [4, 5, 1]]
    assert not summary.notes and not summary.repaired
    boxes = [[-5, 0, 9, 9], [0, -5, 9, 9], [9, 9, 65, 9.5], [9, 9, 10, 9.1]]
    track, summary = _make([1, 2, 7, 8], boxes)
    assert track.boxes.dtype == np.float32
    assert track.boxes[1:3].tolist() == [[0, 0, 9, 9], [9, 9, 64, 9.5]]
    assert summary.notes == {CUT: 3}
    assert summary.repaired == [f'{CUT}: a.json, tid 3, frames 1 to 7']
    # Too large a picture for small numbers.
    track, _ = _make([1], [[0, 0, 40000, 9]], size=(50000, 50))
    assert track.boxes.tolist() == [[0, 0, 40000, 9]]


@pytest.mark.parametrize('box', [[64, 5, 70, 9], [5, 5, float('nan'), 9]])
def test_boxes_without_an_area(box):
    with pytest.raises(ConversionError, match='frame 7, tid 3: box .* has no'):
        _make([6, 7], [[1, 1, 2, 2], box])
    track, summary = _make([6, 7], [[1, 1, 2, 2], box], skip_bad=True)
    assert track.runs.tolist() == [[6, 7, 0]]
    assert len(summary.skipped) == 1 and 'frame 7' in summary.skipped[0]
    # What is dropped is not cut.
    assert not summary.notes


@pytest.mark.parametrize(
    ('boxes', 'found'),
    [
        ([[1, 2, 3, 4], [1, 2, 3]], r'frame 7, .* found \[1, 2, 3\]'),
        ([[1, 2, 3, 4], [1, 2, 3, '4']], 'frame 7'),
        ([[1, 2, 3, 4], [[1], [2], [3], [4]]], 'frame 7'),
        ([[1, 2, 3, 4], [1, 2, 3, 10**30]], 'frame 7'),
        ([[1, 2, 3], [1, 2, 3]], 'frame 6'),
    ],
)
def test_things_that_are_no_boxes(boxes, found):
    with pytest.raises(ConversionError, match=found):
        _make([6, 7], boxes, skip_bad=True)
    with pytest.raises(ConversionError, match=found):
        to_corners(Entry('a.json', 'tid 3'), [6, 7], boxes)


def _take(run, query_id='5', segment=(2, 12), **changes):
    query = dict(
        query_id=query_id,
        type='declarative',
        text=' a dog. ',
        span=[4, 9],
        track_id='0',
    )
    entry = Entry('a.json', 'entry 7')
    return run.take(entry, 'v', {**query, **changes}, segment)


def _run(**options):
    """A video of 20 frames with boxes from frame 2 to 14."""
    run = Conversion('val_a.json', 'o.json', **options)
    boxes = np.tile([1, 2, 30, 40], (13, 1))
    tracks = {'0': Track.from_boxes('dog', range(2, 15), boxes)}
    run.place([VideoInfo('v', 'v.mp4', 20, 10.0, 64, 48, tracks)])
    return run


def test_segments_are_cut_and_missing_boxes_named():
    run = _run()
    assert _take(run, segment=(2, 19), span=[2, 15]) == (2, 19)
    assert not run.summary.notes
    assert _take(run, '6', segment=(0, 25), span=[0, 25]) == (0, 20)
    assert run.summary.notes.total() == 1 + 2 + 5
    missing, cut = run.summary.repaired
    assert missing.endswith('sentence 6, entry 7: 0 to 19')
    assert cut.endswith('sentence 6, entry 7: 25 to 20')
    # The whole video.
    assert _take(run, '7', segment=None) == (0, 20)
    # Without a single box there is nothing to score.
    assert not _take(run, '8', segment=(0, 19), span=[15, 17])
    assert 'sentence 8' in run.summary.skipped[0]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(segment=(20, 30)), r'segment \[20, 20\] is empty'),
        (dict(type='asked'), "entry 7: 'type' is 'asked'"),
        (dict(query_id='1'), "entry 7: the id '1' is taken"),
    ],
)
def test_wrong_sentences(changes, message):
    run = _run(skip_bad=True)
    assert _take(run, '1') and not _take(run, **changes)
    (line,) = run.summary.skipped
    assert 'a.json, entry 7' in line
    assert run.summary.sentences == dict(declarative=1)
    run = _run()
    _take(run, '1')
    with pytest.raises(ConversionError, match=message):
        _take(run, **changes)
    with pytest.raises(ConversionError, match='not one sentence is left'):
        _run().save()


def test_published_sizes():
    test = official_counts('vidstg', 'test')
    assert test['sentences'] == 10303 == 4610 + 5693
    for dataset, splits, count in (
        ('vidstg', ('train', 'val', 'test'), 99943),
        ('hcstvg', ('train', 'test'), 5660),
        ('hcstvg-v2', ('train', 'val', 'test'), 16544),
    ):
        sizes = [official_counts(dataset, split) for split in splits]
        assert sum(size['sentences'] for size in sizes) == count
    assert official_counts('vidstg', 'mine') == {}
    summary = ConversionSummary('o', videos=732, official=test)
    summary.sentences.update(declarative=4600)
    text = summary.text()
    assert '732 of 732 published\n' in text
    assert '4,600 of 10,303 published (-5,703)' in text
    # Also what there is none of.
    assert '0 of 5,693 published (-5,693)' in text
    assert text.count('published') == 4
