"""Files of proposals: what is written is read, and nothing else."""

import numpy as np
import pytest

from hero_mm.datasets.proposal_files import (
    load_proposals,
    proposal_path,
    save_proposals,
)

BOXES = [
    np.array([[0, 0, 9, 9], [1.5, 2, 3, 4.25]]),
    np.zeros((0, 4)),
    np.array([[5, 5, 7, 8]]),
]
SCORES = [np.array([0.75, 0.5]), np.zeros(0), np.array([0.25])]
FRAMES = [0, 4, 8]


@pytest.fixture
def folder(tmp_path):
    save_proposals(
        tmp_path, 'v0', FRAMES, BOXES, SCORES, (64, 48), dict(every=4)
    )
    return tmp_path


def test_round_trip(folder):
    found = load_proposals(folder, 'v0')
    assert found.frames.tolist() == FRAMES and found.size == (64, 48)
    assert found.counts.tolist() == [2, 0, 1]
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert found.made_by == dict(every=4)
    assert [found.at(frame)[0] for frame in (1, 3, 5, 99)] == [0, 4, 4, 8]
    for frame, boxes, scores in zip(FRAMES, BOXES, SCORES):
        nearest, box, score = found.at(frame)
        assert nearest == frame
        np.testing.assert_array_equal(box, boxes)
        np.testing.assert_array_equal(score, scores)


@pytest.mark.parametrize('name', ['0000/12', 'a b#2', '../x', 'Ünïcode', '.'])
def test_any_name_of_a_video_is_a_file_of_the_folder(name, tmp_path):
    path = save_proposals(
        tmp_path, name, [0], [np.zeros((1, 4))], [np.ones(1)], (4, 4)
    )
    assert path == proposal_path(tmp_path, name) and path.parent == tmp_path
    assert load_proposals(tmp_path, name).counts.tolist() == [1]
    assert [p.suffix for p in tmp_path.iterdir()] == ['.npz']
    names = ['a/b', 'a_b', 'a%2Fb', 'a b', 'a+b']
    assert len({proposal_path('', name) for name in names}) == len(names)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(frames=[0, 1]), 'do not go together'),
        (dict(frames=[], boxes=[], scores=[]), 'do not go together'),
        (dict(frames=[0, 4, 4]), 'increasing'),
        (dict(scores=SCORES[1:]), 'do not go together'),
        (dict(boxes=[[[0, 0, 9, 9], [1, np.nan, 3, 4]], *BOXES[1:]]), 'nan'),
        (dict(boxes=[np.array([[9, 0, 0, 9]] * 2), *BOXES[1:]]), 'x1, y1'),
        (dict(scores=[[0.75, np.inf], *SCORES[1:]]), 'score inf'),
    ],
)
def test_what_cannot_be_is_not_saved(tmp_path, change, message):
    values = {**dict(frames=FRAMES, boxes=BOXES, scores=SCORES), **change}
    with pytest.raises(ValueError, match=message):
        save_proposals(tmp_path, 'v', **values, size=(4, 4))
    assert not list(tmp_path.iterdir())


def _without_a_count(path, counts=(2, 1, 1)):
    with np.load(path) as data:
        fields = dict(data)
    np.savez(path, **{**fields, 'counts': np.array(counts)})


@pytest.mark.parametrize(
    'spoil',
    [
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: path.write_bytes(b''),
        lambda path: path.write_bytes(b'<html>not found</html>'),
        lambda path: np.savez(path, frames=np.arange(3)),
        lambda path: np.save(path.open('wb'), np.arange(3)),
        _without_a_count,
        lambda path: _without_a_count(path, [4, -2, 1]),
    ],
)
def test_a_broken_file_is_found(spoil, folder):
    with pytest.raises(FileNotFoundError, match="video 'v1'.*extract_propo"):
        load_proposals(folder, 'v1')
    spoil(proposal_path(folder, 'v0'))
    with pytest.raises(ValueError, match=r'v0.npz is no file of proposals.*'):
        load_proposals(folder, 'v0')
