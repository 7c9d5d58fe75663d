"""Items of the data set, and what happens to broken videos."""

import logging
import os
import pickle
import resource
import shutil

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hero_mm.datasets import GroundingDataset, grounding_dataset
from hero_mm.datasets.annotation import AnnotationError
from hero_mm.datasets.tracks import VideoInfo
from hero_mm.registry import DATASETS
from hero_mm.structures import GroundingDataSample

PIPELINE = [
    dict(type='SampleClipFrames', num_frames=6),
    dict(type='DecodeFrames'),
    dict(type='LoadTubes'),
    dict(type='SwapActionPhrase', num_negatives=2),
    dict(type='ResizeClip', scale=(32, 32)),
    dict(type='RandomFlipClip', prob=0.5),
    dict(type='RandomTubeCrop', prob=0.5),
    dict(type='PackGroundingInputs'),
]
DECODE = [
    dict(type='SampleClipFrames', num_frames=2),
    dict(type='DecodeFrames'),
    dict(type='PackGroundingInputs'),
]


def _config(folder, pipeline=(), **options):
    return dict(
        type='GroundingDataset',
        data_root=str(folder),
        ann_file='ann.json',
        data_prefix=dict(video='video'),
        pipeline=list(pipeline),
        **options,
    )


def _build(*args, **options):
    return DATASETS.build(_config(*args, **options))


def _ids(item):
    return [query['query_id'] for query in item['queries']]


def _samples(dataset, indices=range(6)):
    return [dataset[index]['data_samples'] for index in indices]


@pytest.fixture
def broken(toy, tmp_path):
    """The toy data set, whose first video is not one."""
    folder = tmp_path / 'broken'
    shutil.copytree(toy, folder)
    (folder / 'video' / 'v0.mp4').write_text('nothing')
    return folder


@pytest.fixture
def warnings(monkeypatch):
    """Messages and levels of what is logged."""
    logged = []

    def keep(message, logger, level):
        logged.append((message, level))

    monkeypatch.setattr('hero_mm.datasets.grounding_dataset.print_log', keep)
    return logged


def test_an_item_is_a_clip_with_its_sentences(toy):
    dataset = _build(toy)
    assert len(dataset) == 6
    assert dataset.metainfo['dataset'] == 'toy'
    item = dataset[0]
    assert item['video_id'] == 'v0'
    assert item['video_path'] == str(toy / 'video' / 'v0.mp4')
    assert item['segment'] == (0, 24)
    assert (item['frame_count'], item['fps']) == (24, 8.0)
    assert (item['width'], item['height']) == (64, 48)
    assert _ids(item) == ['0', '1', '2']
    assert isinstance(item['video_info'], VideoInfo)
    assert item['predicates'] == ['hold', 'kick', 'ride', 'watch']
    assert item['video_predicates'] == ['hold', 'kick', 'ride', 'watch']
    assert item['sample_idx'] == 0
    boxes, valid = item['video_info'].track_boxes('1', [9, 12])
    assert valid.tolist() == [False, True] and boxes[1, 0] == 28


def test_queries_are_bounded(toy):
    np.random.seed(0)
    train = _build(toy, max_queries=2)
    assert len(train) == 6
    drawn = {tuple(_ids(train[0])) for _ in range(40)}
    assert drawn == {('0', '1'), ('0', '2'), ('1', '2')}
    test = _build(toy, max_queries=2, test_mode=True)
    parts = [_ids(item) for item in test]
    assert parts[:3] == [['0', '1'], ['2'], ['3', '4']]
    assert sum(parts, []) == [str(number) for number in range(15)]
    with pytest.raises(ValueError, match='max_queries must be >= 1'):
        _build(toy, max_queries=0)


def test_from_file_to_sample(toy):
    dataset = pickle.loads(pickle.dumps(_build(toy, PIPELINE)))
    for index in range(len(dataset)):
        np.random.seed(index)
        packed = dataset[index]
        inputs, sample = packed['inputs'], packed['data_samples']
        assert inputs.shape[:2] == (6, 3)
        assert isinstance(sample, GroundingDataSample)
        assert inputs.shape[2:] == sample.img_shape
        assert sample.gt_queries.valid.any(1).all()
        valid = sample.gt_queries.bboxes[sample.gt_queries.valid]
        height, width = sample.img_shape
        assert (valid[:, 2:] > valid[:, :2]).all()
        assert (valid[:, 2:] <= torch.tensor([width, height]) + 1e-4).all()
        assert len(sample.queries.negative_texts) == len(sample.queries)


def test_items_do_not_share_what_transforms_change(toy):
    flip = dict(type='RandomFlipClip', prob=1.0)
    pipeline = [*PIPELINE[:3], flip, PIPELINE[-1]]
    dataset = _build(toy, pipeline, serialize_data=False)
    texts = [sample.queries.texts for sample in _samples(dataset, [0] * 3)]
    assert texts[0][0] == 'the child on the right is watching the ball.'
    assert texts[0] == texts[1] == texts[2]


def test_subset_and_lazy(toy):
    dataset = _build(toy, DECODE, lazy_init=True)
    assert dataset.broken_videos == []
    assert _samples(dataset.get_subset([5]), [0])[0].video_id == 'v2'


def test_what_is_missing_or_wrong(toy, tmp_path):
    command = 'python tools/dataset_converters/vidstg.py A B --out C'
    with pytest.raises(FileNotFoundError) as caught:
        GroundingDataset('none.json', data_root=str(toy), make_command=command)
    text = str(caught.value)
    assert str(toy / 'none.json') in text and command in text
    with pytest.raises(FileNotFoundError, match='folder of videos'):
        GroundingDataset(str(toy / 'ann.json'), dict(video=str(toy / 'films')))
    (tmp_path / 'ann.json').write_text('{}')
    with pytest.raises(AnnotationError, match="key 'metainfo' is missing"):
        GroundingDataset(str(tmp_path / 'ann.json'))


def _drawn(dataset, indices=range(6)):
    """What was drawn at random for some items."""
    return [
        (s.video_id, s.flip, s.crop_box, s.queries.negative_texts)
        for s in _samples(dataset, indices)
    ]


def test_an_epoch_draws_the_same_whatever_came_before(toy):
    dataset = _build(toy, PIPELINE)
    # Without an epoch each access draws anew.
    np.random.seed(0)
    assert _drawn(dataset, [0] * 8) != _drawn(dataset, [0] * 8)
    dataset.set_epoch(1, 7)
    np.random.seed(3)
    wanted = np.random.rand()
    np.random.seed(3)
    first = _drawn(dataset)
    # The random state of the process is left alone.
    assert np.random.rand() == wanted
    dataset.set_epoch(2, 7)
    assert _drawn(dataset) != first
    again = _build(toy, PIPELINE)
    again.set_epoch(1, 7)
    assert _drawn(again, range(5, -1, -1)) == first[::-1]
    again.set_epoch(1, 8)
    assert _drawn(again) != first


def test_workers_that_run_on_learn_of_the_epoch(toy):
    dataset = _build(toy, PIPELINE)
    loader = DataLoader(
        dataset,
        num_workers=2,
        persistent_workers=True,
        collate_fn=lambda batch: batch[0],
    )
    for epoch in (0, 1):
        dataset.set_epoch(epoch, 5)
        found = [item['data_samples'].crop_box for item in loader]
        assert found == [item[2] for item in _drawn(dataset)]


def test_broken_in_training(broken, warnings):
    np.random.seed(0)
    dataset = _build(broken, DECODE)
    for _ in range(3):
        ids = [sample.video_id for sample in _samples(dataset)]
        assert 'v0' not in ids and ids[2:] == ['v1', 'v1', 'v2', 'v2']
    assert dataset.broken_videos == ['v0']
    # It is not opened again.
    (broken / 'video' / 'v0.mp4').unlink()
    shutil.copy(broken / 'video' / 'v1.mp4', broken / 'video' / 'v0.mp4')
    assert _samples(dataset, [0])[0].video_id != 'v0'
    ((message, level),) = warnings
    assert 'v0.mp4: not a readable video' in message
    assert '(skipped in training; broken so far: 1 of 3 vid' in message
    assert level == logging.WARNING


@pytest.mark.parametrize('test_mode', [False, True])
def test_broken_in_workers_is_counted_in_the_main_process(broken, test_mode):
    dataset = _build(broken, DECODE, test_mode=test_mode)
    loader = DataLoader(
        dataset, batch_size=2, num_workers=2, collate_fn=lambda batch: batch
    )
    samples = [item['data_samples'] for batch in loader for item in batch]
    assert len(samples) == 6
    assert all(sample.video_id != 'v0' for sample in samples)
    assert dataset.broken_videos == ['v0']


def test_a_broken_video_is_replaced_alike_when_it_is_known(broken, warnings):
    first = _build(broken, PIPELINE)
    first.set_epoch(0, 0)
    met = _drawn(first, [0, 1, 0, 1])
    assert met[:2] == met[2:] and 'v0' not in [item[0] for item in met]


def test_broken_in_testing_is_left_out(broken, warnings, monkeypatch):
    module = 'hero_mm.datasets.grounding_dataset'
    monkeypatch.setattr(f'{module}.get_rank', lambda: 1)
    # In the middle, so that items come before and after.
    shutil.move(broken / 'video' / 'v1.mp4', broken / 'video' / 'v0.mp4')
    (broken / 'video' / 'v1.mp4').write_text('nothing')
    dataset = _build(broken, DECODE, test_mode=True)
    for _ in range(2):
        # The next clip takes its place, whose queries are scored once.
        firsts = [s.queries.query_ids[0] for s in _samples(dataset)]
        assert firsts == ['0', '3', '10', '10', '10', '13']
    assert dataset.broken_videos == ['v1']
    ((message, level),) = warnings
    assert 'v1.mp4: not a readable video' in message
    assert '(left out; broken so far: 1 of 3 videos)' in message
    # Other processes than the first show nothing below an error.
    assert level == logging.ERROR
    # The last clip is followed by the first.
    (broken / 'video' / 'v2.mp4').unlink()
    for index in (5, -1):
        assert _samples(dataset, [index])[0].queries.query_ids[0] == '0'


@pytest.mark.parametrize('test_mode', [False, True])
def test_all_broken_ends_with_an_error(broken, warnings, test_mode):
    np.random.seed(0)
    if test_mode:
        dataset = _build(broken, DECODE, test_mode=True, max_refetch=1)
        message = '1 of its 3 videos cannot be read, and none of 2 items'
        with pytest.raises(ValueError, match=message):
            dataset[0]
    for name in ('v1', 'v2'):
        (broken / 'video' / f'{name}.mp4').unlink()
    dataset = _build(broken, DECODE, max_refetch=30, test_mode=test_mode)
    with pytest.raises(ValueError, match='3 of its 3 videos cannot be read'):
        dataset[0]
    assert dataset.broken_videos == ['v0', 'v1', 'v2']


def test_through_a_storage_backend(toy):
    args = dict(backend='local')
    decode = dict(type='DecodeFrames', backend_args=args)
    pipeline = [DECODE[0], decode, DECODE[2]]
    dataset = _build(toy, pipeline, backend_args=args)
    plain = _build(toy, DECODE)
    assert torch.equal(dataset[1]['inputs'], plain[1]['inputs'])


def test_too_few_file_descriptors_are_said(toy, monkeypatch):
    """Else a worker would wait for ever."""
    monkeypatch.setattr(grounding_dataset, 'get_worker_info', lambda: True)
    limit = len(os.listdir('/proc/self/fd')) + 20
    monkeypatch.setattr(resource, 'getrlimit', lambda kind: (limit, limit))
    dataset = _build(toy, DECODE)
    assert len(dataset.__getitems__([0, 5])) == 2
    with pytest.raises(OSError, match='file descriptors left.*ulimit -n'):
        dataset.__getitems__([0] * 40)
