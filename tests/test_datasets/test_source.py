"""Where the data lie that a tool is pointed at."""

from pathlib import Path

import pytest
from mmengine.config import Config

from hero_mm.datasets.source import (
    dataset_config,
    dataset_paths,
    find_source,
    missing_data,
    missing_paths,
)

CONFIG = """
val_dataloader = dict(dataset=dict(type='RepeatDataset', dataset=dict(
    data_root={root!r}, ann_file='ann.json', make_command='make it',
    data_prefix=dict(video='video'))))
"""


def test_the_data_set_inside_wrappers():
    inner = dict(ann_file='a.json')
    cfg = Config(
        dict(train_dataloader=dict(dataset=dict(dataset=dict(dataset=inner))))
    )
    assert dataset_config(cfg, 'train').ann_file == 'a.json'
    with pytest.raises(ValueError, match='test_dataloader'):
        dataset_config(cfg, 'test')


@pytest.mark.parametrize(
    ('dataset', 'expected'),
    [
        (dict(ann_file='a.json'), ('a.json', '.')),
        (
            dict(
                ann_file='a.json',
                data_root='root',
                data_prefix=dict(video='v'),
            ),
            ('root/a.json', 'root/v'),
        ),
        (
            dict(
                ann_file='/x/a.json',
                data_root='root',
                data_prefix=dict(video='/v'),
            ),
            ('/x/a.json', '/v'),
        ),
    ],
)
def test_paths_are_joined_as_the_data_set_does(dataset, expected):
    assert dataset_paths(dataset) == tuple(map(Path, expected))


def test_an_annotation_file(toy):
    source = find_source(toy / 'ann.json')
    assert source.ann_file == toy / 'ann.json'
    assert source.video_dir is None and source.dataset is None
    source = find_source(str(toy / 'ann.json'), toy / 'video')
    assert source.video_dir == toy / 'video'


def test_a_config(toy, tmp_path):
    config = tmp_path / 'c.py'
    config.write_text(CONFIG.format(root=str(toy)))
    source = find_source(config, split='val')
    assert source.ann_file == toy / 'ann.json'
    assert source.video_dir == toy / 'video'
    assert source.dataset['make_command'] == 'make it'
    # What the user says wins.
    assert find_source(config, tmp_path, 'val').video_dir == tmp_path


def test_what_is_missing_is_told(toy, tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.py. does not exist'):
        find_source('gone.py')
    with pytest.raises(FileNotFoundError, match='annotation file is missing'):
        find_source(tmp_path / 'gone.json')
    with pytest.raises(FileNotFoundError, match='folder of videos'):
        find_source(toy / 'ann.json', tmp_path / 'gone')
    config = tmp_path / 'c.py'
    config.write_text(CONFIG.format(root=str(tmp_path)))
    with pytest.raises(FileNotFoundError, match='make it'):
        find_source(config, split='val')


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
