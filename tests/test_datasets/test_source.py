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
ALONE = dict(ann_file='a.json')
FOLDER = dict(data_root='root', data_prefix=dict(video='v'))
NOTHING = dict(type='GroundingDataset', ann_file='no/a.json')


def test_the_data_set_inside_wrappers():
    for joined, message in (
        (dict(datasets=[ALONE, dict(ann_file='b.json')]), 'a.json, b.json'),
        (dict(type='Other'), 'test_dataloader'),
    ):
        cfg = dict(
            train_dataloader=dict(dataset=dict(dataset=dict(dataset=ALONE))),
            test_dataloader=dict(dataset=dict(dataset=joined)),
        )
        assert dataset_config(Config(cfg), 'train').ann_file == 'a.json'
        with pytest.raises(ValueError, match=message):
            dataset_config(Config(cfg), 'test')


def test_paths_are_joined_as_the_data_set_does():
    assert dataset_paths(ALONE) == (Path('a.json'), Path('.'))
    found = dataset_paths(dict(FOLDER, **ALONE))
    assert found == (Path('root/a.json'), Path('root/v'))


def test_sources(toy, tmp_path):
    source = find_source(toy / 'ann.json')
    assert source.ann_file == toy / 'ann.json'
    assert source.video_dir is None and source.dataset is None
    source = find_source(str(toy / 'ann.json'), toy / 'video')
    assert source.video_dir == toy / 'video'
    config = tmp_path / 'c.py'
    config.write_text(CONFIG.format(root=str(toy)))
    source = find_source(config, split='val')
    assert source.ann_file == toy / 'ann.json'
    assert source.video_dir == toy / 'video'
    assert source.dataset['make_command'] == 'make it'
    # What the user says wins.
    assert find_source(config, tmp_path, 'val').video_dir == tmp_path


def test_what_is_missing_is_named(toy, tmp_path):
    config = tmp_path / 'c.py'
    config.write_text(CONFIG.format(root=str(tmp_path)))
    for source, folder, message in (
        ('gone.py', None, 'gone.py. does not exist'),
        (tmp_path / 'gone.json', None, 'annotation file is missing'),
        (toy / 'ann.json', tmp_path / 'gone', 'folder of videos'),
        (config, None, 'make it'),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            find_source(source, folder, 'val')
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
def test_data_sets_of_a_config(config, count, toy):
    assert len(list(missing_data(config))) == count
    there = dict(NOTHING, ann_file='ann.json', data_root=str(toy))
    assert not list(missing_data(dict(there, data_prefix=dict(video='video'))))
