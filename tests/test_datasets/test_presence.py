"""What is said of data that is not there."""

from hero_mm.datasets.presence import (
    missing_data,
    missing_file,
    missing_folder,
)

NOTHING = dict(type='GroundingDataset', ann_file='no/a.json')


def test_nothing_is_said_of_what_is_there(tmp_path):
    (tmp_path / 'a.json').write_text('')
    (tmp_path / 'video').mkdir()
    assert missing_file(str(tmp_path / 'a.json')) is None
    assert missing_folder(str(tmp_path)) is None
    assert missing_folder('') is None
    found = missing_data(
        dict(
            type='GroundingDataset',
            data_root=str(tmp_path),
            ann_file='a.json',
            data_prefix=dict(video='video'),
        )
    )
    assert list(found) == []


def test_place_and_cure_are_told(tmp_path):
    text = missing_file(str(tmp_path / 'a.json'), 'make it so')
    assert f'expected at: {tmp_path / "a.json"}' in text
    assert 'make it by:  make it so' in text
    text = missing_file('a.json')
    assert 'python tools/dataset_converters/<data set>.py' in text
    assert '--out a.json' in text
    text = missing_folder(str(tmp_path / 'video'))
    assert f'expected at: {tmp_path / "video"}' in text


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / 'x').write_text('')
    assert missing_folder(str(tmp_path / 'x')) is not None
    assert missing_file(str(tmp_path)) is not None


def test_data_sets_in_wrappers_are_found():
    many = dict(type='ConcatDataset', datasets=[NOTHING, NOTHING])
    once = dict(type='RepeatDataset', times=2, dataset=NOTHING)
    scoped = dict(NOTHING, type='hero_mm.GroundingDataset')
    frames = dict(NOTHING, type='FrameDetectionDataset')
    assert len(list(missing_data(many))) == 2
    assert len(list(missing_data(once))) == 1
    assert len(list(missing_data(scoped))) == 1
    assert len(list(missing_data(frames))) == 1


def test_what_is_not_ours_or_not_on_disk_is_passed_over():
    assert not list(missing_data(dict(type='Other', ann_file='no.json')))
    remote = dict(NOTHING, backend_args=dict(backend='petrel'))
    assert not list(missing_data(remote))
