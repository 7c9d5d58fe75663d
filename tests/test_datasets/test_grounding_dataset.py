"""Items of the data set, and what happens to broken videos."""

import copy
import logging
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hero_mm.datasets import GroundingDataset
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


def _build(folder, pipeline=(), **options):
    return DATASETS.build(
        dict(
            type='GroundingDataset',
            data_root=str(folder),
            ann_file='ann.json',
            data_prefix=dict(video='video'),
            pipeline=list(pipeline),
            **options,
        )
    )


@pytest.fixture
def broken(toy, tmp_path):
    """The toy data set, whose first video is not one."""
    folder = tmp_path / 'broken'
    shutil.copytree(toy, folder)
    (folder / 'video' / 'v0.mp4').write_text('nothing')
    return folder


@pytest.fixture
def warnings(monkeypatch):
    told = []

    def keep(message, logger=None, level=logging.INFO):
        if level >= logging.WARNING:
            told.append(message)

    monkeypatch.setattr('hero_mm.datasets.grounding_dataset.print_log', keep)
    return told


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
    assert [query['query_id'] for query in item['queries']] == ['0', '1', '2']
    assert isinstance(item['video_info'], VideoInfo)
    assert item['predicates'] == ['hold', 'kick', 'ride', 'watch']
    assert item['video_predicates'] == ['hold', 'kick', 'ride', 'watch']
    assert item['sample_idx'] == 0
    boxes, valid = item['video_info'].track_boxes('1', [9, 12])
    assert valid.tolist() == [False, True] and boxes[1, 0] == 28


def test_an_item_is_a_sentence(toy):
    dataset = _build(toy, group_queries=False, test_mode=True)
    assert len(dataset) == 15
    ids = [q['query_id'] for item in dataset for q in item['queries']]
    assert ids == [str(number) for number in range(15)]


def test_queries_are_bounded(toy):
    np.random.seed(0)
    train = _build(toy, max_queries=2)
    assert len(train) == 6
    drawn = {
        tuple(q['query_id'] for q in train[0]['queries']) for _ in range(40)
    }
    assert drawn == {('0', '1'), ('0', '2'), ('1', '2')}
    test = _build(toy, max_queries=2, test_mode=True)
    parts = [[q['query_id'] for q in item['queries']] for item in test]
    assert parts[:3] == [['0', '1'], ['2'], ['3', '4']]
    assert sum(parts, []) == [str(number) for number in range(15)]
    with pytest.raises(ValueError, match='max_queries must be >= 1'):
        _build(toy, max_queries=0)


def test_clip_sizes(toy):
    seconds, queries = _build(toy).clip_sizes()
    assert seconds.tolist() == [3.0, 1.5] * 3
    assert queries.tolist() == [3, 2] * 3
    assert _build(toy, max_queries=2).clip_sizes()[1].tolist() == [2] * 6
    subset = _build(toy, indices=[1, 2])
    assert subset.clip_sizes()[0].tolist() == [1.5, 3.0]


def test_from_file_to_sample_and_again_with_the_same_seed(toy):
    dataset = _build(toy, PIPELINE)
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
        np.random.seed(index)
        again = dataset[index]
        assert (again['inputs'] == inputs).all()
        assert again['data_samples'].queries.texts == sample.queries.texts
        assert torch.equal(
            again['data_samples'].gt_queries.bboxes, sample.gt_queries.bboxes
        )


def test_items_do_not_share_what_transforms_change(toy):
    flip = [
        *PIPELINE[:3],
        dict(type='RandomFlipClip', prob=1.0),
        dict(type='PackGroundingInputs'),
    ]
    for serialize in (True, False):
        dataset = _build(toy, flip, serialize_data=serialize)
        texts = [dataset[0]['data_samples'].queries.texts for _ in range(3)]
        assert texts[0][0] == 'the child on the right is watching the ball.'
        assert texts[0] == texts[1] == texts[2]


def test_a_pickled_data_set_is_small_and_works(toy):
    dataset = pickle.loads(pickle.dumps(_build(toy, PIPELINE)))
    assert dataset[3]['inputs'].shape[0] == 6


def test_subset_and_lazy(toy):
    dataset = _build(toy, DECODE, lazy_init=True)
    assert dataset.broken_videos == []
    assert len(dataset.get_subset([0, 5])) == 2
    assert dataset.get_subset([5])[0]['data_samples'].video_id == 'v2'


def test_missing_annotation_says_how_to_make_it(toy):
    command = 'python tools/dataset_converters/vidstg.py A B --out C'
    with pytest.raises(FileNotFoundError) as caught:
        GroundingDataset('none.json', data_root=str(toy), make_command=command)
    text = str(caught.value)
    assert str(toy / 'none.json') in text and command in text
    assert len(text.splitlines()) <= 5
    with pytest.raises(FileNotFoundError, match='tools/dataset_converters'):
        GroundingDataset(str(toy / 'none.json'))


def test_missing_folder_of_videos(toy):
    message = 'folder of videos is missing.\n  expected at: .*films'
    with pytest.raises(FileNotFoundError, match=message):
        GroundingDataset(str(toy / 'ann.json'), dict(video=str(toy / 'films')))


def test_bad_annotation(tmp_path):
    (tmp_path / 'ann.json').write_text('{}')
    with pytest.raises(AnnotationError, match="key 'metainfo' is missing"):
        GroundingDataset(str(tmp_path / 'ann.json'))


def test_broken_in_training(broken, warnings):
    np.random.seed(0)
    dataset = _build(broken, DECODE)
    for _ in range(3):
        ids = [dataset[index]['data_samples'].video_id for index in range(6)]
        assert 'v0' not in ids and ids[2:] == ['v1', 'v1', 'v2', 'v2']
    assert dataset.broken_videos == ['v0']
    assert len(warnings) == 1
    # It is not opened again.
    (broken / 'video' / 'v0.mp4').unlink()
    shutil.copy(broken / 'video' / 'v1.mp4', broken / 'video' / 'v0.mp4')
    assert dataset[0]['data_samples'].video_id != 'v0'
    assert 'v0.mp4: not a readable video' in warnings[0]
    assert '(skipped in training; broken so far: 1 of 3 vid' in warnings[0]


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


@pytest.mark.parametrize('test_mode', [False, True])
def test_all_broken_ends_with_an_error(broken, warnings, test_mode):
    for name in ('v1', 'v2'):
        (broken / 'video' / f'{name}.mp4').unlink()
    np.random.seed(0)
    dataset = _build(broken, DECODE, max_refetch=30, test_mode=test_mode)
    with pytest.raises(ValueError, match='none of its 3 videos can be read'):
        dataset[0]
    assert dataset.broken_videos == ['v0', 'v1', 'v2']
    assert len(warnings) == 3


def _drawn(dataset, indices):
    """What was drawn at random for some items."""
    samples = [dataset[index]['data_samples'] for index in indices]
    return [
        (s.video_id, s.flip, s.crop_box, s.queries.negative_texts)
        for s in samples
    ]


def test_an_epoch_draws_the_same_whatever_came_before(toy):
    dataset = _build(toy, PIPELINE)
    dataset.set_epoch(1, 7)
    first = _drawn(dataset, range(6))
    dataset.set_epoch(2, 7)
    assert _drawn(dataset, range(6)) != first
    again = _build(toy, PIPELINE)
    again.set_epoch(1, 7)
    assert _drawn(again, range(5, -1, -1)) == first[::-1]
    again.set_epoch(1, 8)
    assert _drawn(again, range(6)) != first


def test_without_an_epoch_each_access_draws_anew(toy):
    dataset = _build(toy, PIPELINE)
    np.random.seed(0)
    assert _drawn(dataset, [0] * 8) != _drawn(dataset, [0] * 8)


def test_drawing_leaves_the_random_state_of_the_process_alone(toy):
    dataset = _build(toy, PIPELINE)
    dataset.set_epoch(0, 0)
    np.random.seed(3)
    wanted = np.random.rand()
    np.random.seed(3)
    dataset[0]
    assert np.random.rand() == wanted


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
        assert found == [item[2] for item in _drawn(dataset, range(6))]


def test_a_broken_video_is_replaced_alike_when_it_is_known(broken, warnings):
    first = _build(broken, PIPELINE)
    first.set_epoch(0, 0)
    met = _drawn(first, [0, 1, 0, 1])
    assert met[:2] == met[2:] and 'v0' not in [item[0] for item in met]


def test_broken_in_testing_is_left_out(broken, warnings):
    # In the middle, so that items come before and after.
    shutil.move(broken / 'video' / 'v1.mp4', broken / 'video' / 'v0.mp4')
    (broken / 'video' / 'v1.mp4').write_text('nothing')
    dataset = _build(broken, DECODE, test_mode=True)
    for _ in range(2):
        samples = [dataset[index]['data_samples'] for index in range(6)]
        ids = [sample.video_id for sample in samples]
        # The next clip takes its place, whose queries are scored once.
        assert ids == ['v0', 'v0', 'v2', 'v2', 'v2', 'v2']
        firsts = [sample.queries.query_ids[0] for sample in samples]
        assert firsts == ['0', '3', '10', '10', '10', '13']
    assert dataset.broken_videos == ['v1']
    assert len(warnings) == 1 and 'v1.mp4: not a readable video' in warnings[0]
    assert '(left out; broken so far: 1 of 3 videos)' in warnings[0]


def test_the_last_clip_is_followed_by_the_first(broken, warnings):
    shutil.move(broken / 'video' / 'v2.mp4', broken / 'video' / 'v0.mp4')
    dataset = _build(broken, DECODE, test_mode=True)
    assert dataset[5]['data_samples'].queries.query_ids[0] == '0'
    assert dataset[-1]['data_samples'].queries.query_ids[0] == '0'


def test_too_many_broken_in_a_row_end_with_an_error(broken, warnings):
    dataset = _build(broken, DECODE, test_mode=True, max_refetch=1)
    message = '2 items in a row cannot be read, 1 of its 3 videos are broken'
    with pytest.raises(ValueError, match=message):
        dataset[0]


@pytest.mark.parametrize(
    ('rank', 'level'), [(0, logging.WARNING), (1, logging.ERROR)]
)
def test_broken_is_told_by_every_process(broken, monkeypatch, rank, level):
    """Other processes than the first show nothing below an error."""
    levels = []
    module = 'hero_mm.datasets.grounding_dataset'
    monkeypatch.setattr(f'{module}.get_rank', lambda: rank)
    monkeypatch.setattr(
        f'{module}.print_log',
        lambda message, logger, level: levels.append(level),
    )
    _build(broken, DECODE, test_mode=True)[0]
    assert levels == [level]


def test_skip_broken(broken, warnings):
    dataset = _build(broken, DECODE, test_mode=True, skip_broken=True)
    ids = [dataset[index]['data_samples'].video_id for index in range(4)]
    assert len(dataset) == 4 and 'v0' not in ids
    assert dataset.broken_videos == ['v0']
    assert 'v0.mp4' in warnings[0]
    assert '1 of 3 videos' in warnings[1] and 'v0' in warnings[1]


@pytest.mark.parametrize('line', ['v0', 'v0.mp4'])
def test_broken_file(broken, warnings, line):
    (broken / 'bad.txt').write_text(f'{line}\n\nother\n')
    dataset = _build(
        broken,
        DECODE,
        test_mode=True,
        broken_file=str(broken / 'bad.txt'),
    )
    assert len(dataset) == 4 and dataset.broken_videos == ['v0']
    assert len(warnings) == 1 and 'left out as broken: v0' in warnings[0]


def test_a_missing_broken_file_is_named(toy):
    with pytest.raises(FileNotFoundError, match='broken_file .*no.txt does'):
        _build(toy, broken_file=str(toy / 'no.txt'))


def test_through_a_storage_backend(toy):
    args = dict(backend='local')
    decode = dict(type='DecodeFrames', backend_args=args)
    pipeline = [DECODE[0], decode, DECODE[2]]
    dataset = _build(toy, pipeline, backend_args=args)
    plain = _build(toy, DECODE)
    assert torch.equal(dataset[1]['inputs'], plain[1]['inputs'])


_LOADER = """
import os, resource, sys
from torch.utils.data import DataLoader
from mmengine.dataset import pseudo_collate
import hero_mm.datasets
from hero_mm.registry import DATASETS

dataset = DATASETS.build(eval(sys.stdin.read()))
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
for limit in map(int, sys.argv[1:]):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    loader = iter(
        DataLoader(
            dataset, 3, num_workers=1, collate_fn=pseudo_collate, timeout=60
        )
    )
    before = len(os.listdir('/proc/self/fd'))
    try:
        batch = next(loader)
        used = len(os.listdir('/proc/self/fd')) - before
        print(limit, used, len(batch['data_samples'][0].gt_queries))
    except OSError as error:
        print(str(error).splitlines()[-1])
    del loader
    batch = None
"""


def test_few_file_descriptors(toy):
    config = dict(
        type='GroundingDataset',
        data_root=str(toy),
        ann_file='ann.json',
        data_prefix=dict(video='video'),
        pipeline=PIPELINE,
    )
    done = subprocess.run(
        [sys.executable, '-c', _LOADER, '1024', '40', '22'],
        input=repr(config),
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    many, few, none = done.stdout.splitlines()
    limit, used, queries = map(int, many.split())
    assert used <= 2 * 3 and queries in (2, 3)
    assert few.split()[0] == '40'
    assert 'of 22 file descriptors left' in none and 'ulimit -n' in none


def test_a_sample_is_the_same_in_another_process(toy):
    sample = _build(toy, PIPELINE)[0]['data_samples']
    sample.gt_queries.extra = torch.ones(len(sample.gt_queries)).bfloat16()
    for copied in (pickle.loads(pickle.dumps(sample)), copy.deepcopy(sample)):
        assert copied.metainfo.keys() == sample.metainfo.keys()
        for name in ('queries', 'gt_queries', 'gt_tracks'):
            ours, theirs = sample.get(name), copied.get(name)
            assert set(ours.keys()) == set(theirs.keys())
            for field, value in ours.items():
                if isinstance(value, torch.Tensor):
                    assert torch.equal(value, theirs[field])
                    assert value.dtype == theirs[field].dtype
                elif isinstance(value, np.ndarray):
                    assert np.array_equal(value, theirs[field])
                else:
                    assert value == theirs[field]
    copied.gt_queries.spans += 1
    assert not torch.equal(copied.gt_queries.spans, sample.gt_queries.spans)
