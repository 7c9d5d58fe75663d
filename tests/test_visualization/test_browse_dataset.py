"""True tubes drawn from an annotation, and from the pipeline of a config."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from hero_mm.datasets.video_reader import open_video
from hero_mm.registry import DATASETS
from hero_mm.visualization.drawing import GT_COLOR

PIPELINE = [
    dict(type='SampleClipFrames', num_frames=6),
    dict(type='DecodeFrames'),
    dict(type='LoadTubes'),
    dict(type='RandomFlipClip', prob=1.0),
    dict(type='PackGroundingInputs'),
]
CONFIG = """
train_dataloader = dict(dataset=dict(
    type='RepeatDataset', times=2, dataset=dict(
        type='GroundingDataset', data_root={root!r}, ann_file='test.json',
        data_prefix=dict(video='videos'), pipeline={pipeline})))
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
    file.write_text(CONFIG.format(root=str(folder), pipeline=PIPELINE))
    return str(file)


@pytest.fixture
def browse(tool, tmp_path, capsys):
    """Run the tool; the files that it names."""

    def run(*words):
        tool.main([*map(str, words), '--out', str(tmp_path / 'out')])
        paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
        assert {p.parent for p in paths} == {tmp_path / 'out'}
        return paths

    return run


def test_the_draw_is_that_of_the_seed(tool, annotation):
    def draw(seed):
        pairs = tool.choose_queries(annotation, 2, seed=seed)
        return [query['query_id'] for _, query in pairs]

    draws = [draw(seed) for seed in range(8)]
    assert draws == [draw(seed) for seed in range(8)]
    assert all(len(ids) == 2 and ids == sorted(ids) for ids in draws)
    assert len({tuple(ids) for ids in draws}) > 1


@pytest.mark.parametrize(
    ('named', 'ids'),
    [
        (dict(query_ids=['2']), '2'),
        (dict(video_ids=['v3']), '3'),
        # A number does not cut what was asked for by name.
        (dict(number=1, query_ids=list('0123')), '0123'),
    ],
)
def test_queries_by_name(tool, annotation, named, ids):
    pairs = tool.choose_queries(annotation, **named)
    assert [query['query_id'] for _, query in pairs] == list(ids)
    named = {name: ['x'] for name in named if name != 'number'}
    for more in {}, dict(query_ids=['0', 'x']):
        with pytest.raises(ValueError, match=r"no sentence of \[.*'x'"):
            tool.choose_queries(annotation, **named | more)


def test_what_stands_below_the_sentence(tool, annotation):
    clip = annotation.data_list[1]
    query = dict(clip['queries'][0])
    view = tool.truth_view(annotation, clip, query)
    assert view.note == (
        'interrogative, a, moves; 0.33 s to 1.67 s, frames 2 to 9'
    )
    assert view.gt_span == (2, 10) and view.pred_span is None
    track = annotation.videos['v1'].tracks['0']
    track.runs = track.runs.copy()
    track.runs[0, 1] = 8
    del query['predicate'], query['category']
    note = tool.truth_view(annotation, clip, query).note
    assert note.startswith('interrogative, a; ')
    assert note.endswith('frames 2 to 9, 2 of them without a box')


def test_the_annotation_is_drawn(browse, folder):
    words = folder / 'test.json', '--videos', folder / 'videos'
    paths = browse(*words, '--number', '2')
    assert [path.suffix for path in paths] == ['.png', '.mp4'] * 2
    sheet = cv2.cvtColor(cv2.imread(str(paths[0])), cv2.COLOR_BGR2RGB)
    near = np.abs(sheet.astype(int) - np.array(GT_COLOR)).sum(-1) < 60
    assert near.sum() > 200
    with open_video(str(paths[1])) as reader:
        assert reader.check_whole() == 12
    (path,) = browse(*words, '--query', '0', '--form', 'video')
    assert path.name == 'v0_0.mp4'


def test_a_broken_video_is_named_at_the_end(tool, folder, tmp_path, capsys):
    videos = tmp_path / 'videos'
    shutil.copytree(folder / 'videos', videos)
    (videos / 'v1.mp4').write_bytes(b'no video')
    words = [str(folder / 'test.json'), '--videos', str(videos)]
    words += ['--form', 'sheet', '--out', str(tmp_path / 'out')]
    with pytest.raises(ValueError, match='1 of 4 sentences'):
        tool.main(words)
    assert 'v1.mp4' in capsys.readouterr().err
    assert len(list((tmp_path / 'out').iterdir())) == 3


def test_a_config_says_where_the_data_is(browse, tool, config):
    (path,) = browse(config, '--form', 'sheet', '--video', 'v2')
    assert path.name == 'v2_2.png'
    # What the model gets.
    sheet, video = browse(config, '--pipeline', '--number', '1')
    assert sheet.suffix == '.png'
    with open_video(str(video)) as reader:
        assert reader.check_whole() == 6
    # A missing file says how to make it.
    with pytest.raises(FileNotFoundError, match='make_it.py'):
        tool.main([config, '--split', 'test'])


def test_boxes_are_those_of_the_mirrored_input(tool, folder):
    dataset = DATASETS.build(
        dict(
            type='GroundingDataset',
            ann_file=str(folder / 'test.json'),
            data_prefix=dict(video=str(folder / 'videos')),
            pipeline=PIPELINE,
        )
    )
    item = dataset[0]
    frames, (view,) = tool.item_views(item)
    assert frames.shape == (6, 64, 64, 3) and frames.dtype == np.uint8
    # 10 to 30 of 64 columns, seen in a mirror.
    boxes = view.gt_bboxes[view.gt_valid]
    assert len(boxes) and (boxes == [34, 10, 54, 30]).all()
    assert item['data_samples'].flip is True
    # What was cut off before does not move the boxes of the input.
    item['data_samples'].set_metainfo(dict(crop_box=(20, 10, 52, 42)))
    (again,) = tool.item_views(item)[1]
    np.testing.assert_array_equal(again.gt_bboxes, view.gt_bboxes)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['a.json'], 'needs --videos'),
        (['a.json', '--videos', 'v', '--pipeline'], '--pipeline a config'),
        (['a.py', '--pipeline', '--query', '1'], 'leave --query'),
    ],
)
def test_flags_that_do_not_fit(tool, flags, message, capsys):
    with pytest.raises(SystemExit):
        tool.main(flags)
    assert message in capsys.readouterr().err
