"""Frames of videos as images of mmdet."""

import numpy as np
import pytest
from mmengine.dataset import pseudo_collate

from hero_mm.datasets import Track, load_annotation, save_annotation
from hero_mm.datasets.frame_detection_dataset import annotated_frames
from hero_mm.registry import DATASETS

COUNT = 24


def build(folder, **options):
    return DATASETS.build(
        dict(
            type='FrameDetectionDataset',
            ann_file=str(folder / 'ann.json'),
            data_prefix=dict(video=str(folder / 'video')),
            **options,
        )
    )


def test_items_are_the_middles_of_equal_parts(toy, toy_tools):
    dataset = build(toy, frames_per_video=3, test_mode=True)
    assert len(dataset) == 3 * 3
    assert dataset.metainfo['classes'] == ('object',)
    frames = [dataset[i]['frame_inds'].tolist() for i in range(4)]
    assert frames == [[3], [11], [19], [3]]
    item = dataset[4]
    assert item['video_id'] == 'v1' and item['img_id'] == 4
    # BGR, as mmdet takes it.
    assert toy_tools.is_frame(item['img'][..., ::-1], 11)
    assert item['img'].flags['C_CONTIGUOUS']
    assert item['img_shape'] == item['ori_shape'] == (48, 64)
    assert (item['height'], item['width']) == (48, 64)
    # The ball is out of sight in frames 9 to 11.
    first, second = (dataset[place]['instances'] for place in (0, 1))
    assert [one['bbox'] for one in first] == [[7, 5, 17, 25], [10, 5, 20, 25]]
    assert [one['bbox'] for one in second] == [[15, 5, 25, 25]]
    assert first[0]['bbox_label'] == first[1]['bbox_label'] == 0


def test_training_draws_any_frame_of_its_part(toy):
    dataset = build(toy, frames_per_video=2)
    np.random.seed(0)
    frames = {int(dataset[1]['frame_inds'][0]) for _ in range(60)}
    assert frames == set(range(12, 24))
    dataset.set_epoch(1, 7)
    assert len({int(dataset[1]['frame_inds'][0]) for _ in range(9)}) == 1


def test_frames_without_objects_are_no_items(toy, toy_tools, tmp_path):
    annotation = load_annotation(toy / 'ann.json')
    video = annotation.videos['v0']
    assert len(annotated_frames(video)) == COUNT
    frames = [3, 4, 9]
    boxes = toy_tools.make_boxes(frames)
    video.tracks = {'0': Track.from_boxes('x', frames, boxes)}
    clip = dict(
        video_id='v0',
        segment=[0, COUNT],
        queries=[toy_tools.make_query('0', (2, 10))],
    )
    save_annotation(tmp_path / 'ann.json', {}, {'v0': video}, [clip])
    (tmp_path / 'video').symlink_to(toy / 'video')
    dataset = build(tmp_path, frames_per_video=8, test_mode=True)
    assert [int(item['frame_inds'][0]) for item in dataset] == frames


def test_boxes_follow_another_encoding(toy, toy_tools, tmp_path):
    (tmp_path / 'video').mkdir()
    toy_tools.make_annotation(tmp_path, videos=1, write=False)
    toy_tools.write_video(tmp_path / 'video/v0.mp4', size=(128, 96))
    item = build(tmp_path, frames_per_video=1, test_mode=True)[0]
    assert item['img'].shape == (96, 128, 3) and item['ori_shape'] == (96, 128)
    assert item['instances'][0]['bbox'] == [30, 10, 50, 50]


def test_a_broken_video_is_replaced_or_named(toy, toy_tools, tmp_path):
    toy_tools.make_annotation(tmp_path, videos=2)
    (tmp_path / 'video/v0.mp4').write_bytes(b'no video')
    for test_mode in (False, True):
        dataset = build(tmp_path, frames_per_video=1, test_mode=test_mode)
        assert dataset[0]['video_id'] == 'v1'
        assert dataset.broken_videos == ['v0']


def test_pipelines_of_mmdet_take_them(toy):
    pytest.importorskip('mmdet')
    import mmdet.datasets.transforms  # noqa: F401

    pipeline = [
        dict(type='mmdet.LoadAnnotations', with_bbox=True),
        dict(type='mmdet.PackDetInputs'),
    ]
    packed = build(toy, frames_per_video=2, test_mode=True, pipeline=pipeline)
    batch = pseudo_collate([packed[i] for i in range(2)])
    assert batch['inputs'][0].shape == (3, 48, 64)
    sample = batch['data_samples'][1]
    assert sample.gt_instances.labels.tolist() == [0, 0]
    boxes = sample.gt_instances.bboxes.tensor
    assert boxes.tolist() == [[21, 5, 31, 25], [38, 5, 48, 25]]
