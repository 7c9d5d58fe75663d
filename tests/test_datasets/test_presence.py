"""What is said of data that is not there."""

import pytest

from hero_mm.datasets.presence import missing_data, missing_paths

NOTHING = dict(type='GroundingDataset', ann_file='no/a.json')


def test_nothing_is_said_of_what_is_there(tmp_path):
    (tmp_path / 'a.json').write_text('')
    (tmp_path / 'video').mkdir()
    assert not list(missing_paths(str(tmp_path / 'a.json')))
    there = dict(NOTHING, ann_file='a.json', data_root=str(tmp_path))
    assert not list(missing_data(dict(there, data_prefix=dict(video='video'))))


def test_place_and_cure_are_named(tmp_path):
    # A folder is no file, and a file no folder.
    (tmp_path / 'video').write_text('')
    places = str(tmp_path), str(tmp_path / 'video')
    file, folder = missing_paths(*places, 'make it so')
    assert f'expected at: {tmp_path}\n' in file
    assert 'make it by:  make it so' in file
    assert f'expected at: {tmp_path / "video"}\n' in folder
    (file,) = missing_paths('a.json')
    assert 'tools/dataset_converters/<data set>.py' in file
    assert '--out a.json' in file


@pytest.mark.parametrize(
    ('config', 'count'),
    [
        (dict(type='ConcatDataset', datasets=[NOTHING, NOTHING]), 2),
        (dict(type='RepeatDataset', times=2, dataset=NOTHING), 1),
        (dict(NOTHING, type='hero_mm.GroundingDataset'), 1),
        (dict(NOTHING, type='FrameDetectionDataset'), 1),
        # Not ours, and not on disk.
        (dict(type='Other', ann_file='no.json'), 0),
        (dict(NOTHING, backend_args=dict(backend='petrel')), 0),
    ],
)
def test_data_sets_of_a_config(config, count):
    assert len(list(missing_data(config))) == count
