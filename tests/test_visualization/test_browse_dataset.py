"""True tubes drawn from an annotation, and from the pipeline of a config."""

import shutil

import av
import cv2
import numpy as np
import pytest

from hero_mm.registry import DATASETS
from hero_mm.visualization.browse import (
    choose_queries,
    item_views,
    truth_view,
)
from hero_mm.visualization.drawing import GT_COLOR

CONFIG = """
train_dataloader = dict(dataset=dict(
    type='RepeatDataset', times=2, dataset=dict(
        type='GroundingDataset', data_root={root!r}, ann_file='test.json',
        data_prefix=dict(video='videos'), pipeline=[
            dict(type='SampleClipFrames', num_frames=6),
            dict(type='DecodeFrames'),
            dict(type='LoadTubes'),
            dict(type='RandomFlipClip', prob=1.0),
            dict(type='PackGroundingInputs')])))
test_dataloader = dict(dataset=dict(
    type='GroundingDataset', ann_file='gone.json',
    make_command='python make_it.py'))
"""


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('visualizations/browse_dataset')


@pytest.fixture
def config(folder, tmp_path):
    file = tmp_path / 'toy.py'
    file.write_text(CONFIG.format(root=str(folder)))
    return file


@pytest.fixture
def words(folder, tmp_path):
    return [
        str(folder / 'test.json'),
        *('--videos', str(folder / 'videos')),
        *('--out', str(tmp_path / 'out')),
    ]


def near_truth(image):
    """Pixels in the colour of the truth."""
    return np.abs(image.astype(int) - np.array(GT_COLOR)).sum(-1) < 60


class TestChoice:
    def test_the_draw_is_that_of_the_seed(self, annotation):
        def draw(seed):
            chosen = choose_queries(annotation, 2, seed=seed)
            return [q['query_id'] for _, qs in chosen for q in qs]

        draws = [draw(seed) for seed in range(8)]
        assert draws == [draw(seed) for seed in range(8)]
        assert all(len(ids) == 2 and ids == sorted(ids) for ids in draws)
        assert len({tuple(ids) for ids in draws}) > 1

    def test_all_where_there_are_few(self, annotation):
        assert len(choose_queries(annotation, 99)) == 4

    def test_by_name(self, annotation):
        ((clip, queries),) = choose_queries(annotation, query_ids=['2'])
        assert clip['video_id'] == 'v2' and len(queries) == 1
        ((clip, _),) = choose_queries(annotation, video_ids=['v3'])
        assert clip['video_id'] == 'v3'
        # A number does not cut what was asked for by name.
        ids = list('0123')
        assert len(choose_queries(annotation, 1, query_ids=ids)) == 4

    def test_unknown_names_are_told(self, annotation):
        with pytest.raises(ValueError, match="no query 'x' among 4"):
            choose_queries(annotation, query_ids=['0', 'x'])
        with pytest.raises(ValueError, match="no video 'x'"):
            choose_queries(annotation, video_ids=['x'])
        with pytest.raises(ValueError, match='no sentence is left'):
            choose_queries(annotation, query_ids=['0'], video_ids=['v1'])


def test_what_is_told_below_the_sentence(annotation):
    clip = annotation.data_list[1]
    query = dict(clip['queries'][0])
    view = truth_view(annotation, clip, query)
    assert view.note == (
        'interrogative, a, moves; 0.33 s to 1.67 s, frames 2 to 9'
    )
    assert view.gt_span == (2, 10) and view.pred_span is None
    track = annotation.videos['v1'].tracks['0']
    track.runs = track.runs.copy()
    track.runs[0, 1] = 8
    for key in ('predicate', 'category'):
        del query[key]
    note = truth_view(annotation, clip, query).note
    assert note.startswith('interrogative, a; ')
    assert note.endswith('frames 2 to 9, 2 of them without a box')


def test_draws_the_annotation(tool, words, tmp_path, capsys):
    tool.main([*words, '--number', '2'])
    printed = capsys.readouterr().out.split()
    assert len(printed) == 4
    assert all((tmp_path / 'out').samefile(_parent(p)) for p in printed)
    sheet = cv2.cvtColor(cv2.imread(printed[0]), cv2.COLOR_BGR2RGB)
    assert near_truth(sheet).sum() > 200
    with av.open(printed[1]) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12


def _parent(name):
    return name.rpartition('/')[0]


@pytest.mark.parametrize(
    ('form', 'suffixes'), [('sheet', {'.png'}), ('video', {'.mp4'})]
)
def test_one_form(tool, words, tmp_path, form, suffixes):
    tool.main([*words, '--query', '0', '--form', form])
    names = [path.name for path in (tmp_path / 'out').iterdir()]
    assert names == [f'v0_0{suffix}' for suffix in suffixes]


def test_a_broken_video_is_told_at_the_end(
    tool, folder, words, tmp_path, capsys
):
    videos = tmp_path / 'videos'
    shutil.copytree(folder / 'videos', videos)
    (videos / 'v1.mp4').write_bytes(b'no video')
    words[2] = str(videos)
    with pytest.raises(ValueError, match='1 of 4 clips'):
        tool.main([*words, '--form', 'sheet'])
    assert 'v1.mp4' in capsys.readouterr().err
    assert len(list((tmp_path / 'out').iterdir())) == 3


def test_a_config_says_where_the_data_is(tool, config, tmp_path):
    out = ['--out', str(tmp_path / 'out'), '--form', 'sheet']
    tool.main([str(config), *out, '--video', 'v2'])
    assert [p.name for p in (tmp_path / 'out').iterdir()] == ['v2_2.png']


def test_what_the_model_gets(tool, config, tmp_path, capsys):
    out = ['--out', str(tmp_path / 'out'), '--pipeline', '--number', '1']
    tool.main([str(config), *out])
    sheet, video = capsys.readouterr().out.split()
    assert sheet.endswith('.png') and video.endswith('.mp4')
    with av.open(video) as container:
        assert sum(1 for _ in container.decode(video=0)) == 6


def test_boxes_are_those_of_the_mirrored_input(folder):
    pipeline = [
        dict(type='SampleClipFrames', num_frames=6),
        dict(type='DecodeFrames'),
        dict(type='LoadTubes'),
        dict(type='RandomFlipClip', prob=1.0),
        dict(type='PackGroundingInputs'),
    ]
    dataset = DATASETS.build(
        dict(
            type='GroundingDataset',
            ann_file=str(folder / 'test.json'),
            data_prefix=dict(video=str(folder / 'videos')),
            pipeline=pipeline,
        )
    )
    item = dataset[0]
    frames, (view,) = item_views(item)
    assert frames.shape == (6, 64, 64, 3) and frames.dtype == np.uint8
    # 10 to 30 of 64 columns, seen in a mirror.
    boxes = view.gt_bboxes[view.gt_valid]
    assert len(boxes) and (boxes == [34, 10, 54, 30]).all()
    assert item['data_samples'].flip is True
    # What was cut off before does not move the boxes of the input.
    item['data_samples'].set_metainfo(dict(crop_box=(20, 10, 52, 42)))
    (again,) = item_views(item)[1]
    np.testing.assert_array_equal(again.gt_bboxes, view.gt_bboxes)


def test_a_missing_file_says_how_to_make_it(tool, config):
    with pytest.raises(FileNotFoundError, match='make_it.py'):
        tool.main([str(config), '--split', 'test'])
    with pytest.raises(ValueError, match='val_dataloader'):
        tool.main([str(config), '--split', 'val'])
    with pytest.raises(FileNotFoundError, match='does not exist'):
        tool.main(['gone.py'])


@pytest.mark.parametrize(
    ('flags', 'told'),
    [
        (['a.json'], 'needs --videos'),
        (['a.json', '--videos', 'v', '--pipeline'], 'needs a config'),
        (['a.py', '--pipeline', '--query', '1'], 'leave --query'),
        (['a.py', '--number', '0'], '--number must be 1'),
        (['a.py', '--frames', '1'], '--frames must be 2'),
    ],
)
def test_flags_that_do_not_fit(tool, flags, told, capsys):
    with pytest.raises(SystemExit):
        tool.main(flags)
    assert told in capsys.readouterr().err
