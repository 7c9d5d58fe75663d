"""Folders as STCAT, CG-STVG and TA-STVG lay them out."""

import json
import shutil

import pytest
from test_datasets import raw_files as made

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.converters import (
    ConversionError,
    convert_stcat,
    convert_vidstg,
)
from hero_mm.datasets.converters.stcat import NO_VIDEOS, find_dataset


@pytest.fixture
def vidstg(tmp_path):
    """``data/vidstg`` with flat boxes and videos, and the official files."""
    raw, folder = made.VidSTG(tmp_path / 'raw'), tmp_path / 'data' / 'vidstg'
    names = ('11', '12', '13')
    raw.entries = [made.entry(name) for name in names]
    raw.vidor = {f'{name}.json': made.vidor(name) for name in names}
    raw.write()
    shutil.copytree(raw.folder / 'vidor', folder / 'bbox_annos')
    for name in ('sent_annos', 'videos', 'vstg_annos'):
        (folder / name).mkdir()
    shutil.copy(raw.path, folder / 'sent_annos' / 'test_annotations.json')
    (folder / 'vstg_annos' / 'test.json').write_text('[]')
    for name in names:
        (folder / 'videos' / f'{name}.mp4').touch()
    return folder


@pytest.fixture
def persons(tmp_path):
    """``data/hc-stvg`` and ``data/hc-stvg2``, both with a test file."""
    for name, version in (('hc-stvg', 'v1'), ('hc-stvg2', 'v2')):
        place = tmp_path / 'data' / name / 'annos' / f'hcstvg_{version}'
        place.mkdir(parents=True)
        one, other = (
            made.first_version(5, 6, caption=text) for text in ('a', version)
        )
        raw = {'7_a.mp4': one, '8_b.mkv': other}
        (place / 'test.json').write_text(json.dumps(raw))
        (place / 'train.json').write_text(json.dumps({'9.mp4': one}))
    return tmp_path / 'data'


def test_vidstg_is_that_of_the_official_files(vidstg, tmp_path):
    out = tmp_path / 'a.json'
    summary = convert_stcat(vidstg, out, 'test')
    assert summary.sentences == dict(declarative=3, interrogative=6)
    assert summary.videos == 3 and not summary.skipped
    annotation = load_annotation(out)
    told = annotation.metainfo
    assert (told['dataset'], told['split']) == ('vidstg', 'test')
    assert told['query_ids'] == 'official'
    # Videos lie flat, whatever VidOR's files say.
    for name, video in annotation.videos.items():
        assert video.path == f'{name}.mp4'
    raw = tmp_path / 'raw'
    convert_vidstg(
        raw / 'val_annotations.json', raw / 'vidor', tmp_path / 'b.json'
    )
    direct = load_annotation(tmp_path / 'b.json')
    assert annotation.data_list == direct.data_list
    assert dict(annotation.ground_truths()) == dict(direct.ground_truths())


def test_without_videos_the_paths_stay_and_that_is_told(vidstg, tmp_path):
    shutil.rmtree(vidstg / 'videos')
    out = tmp_path / 'a.json'
    summary = convert_stcat(vidstg, out, 'test', workers=2)
    assert summary.notes[NO_VIDEOS] == 3
    for name, video in load_annotation(out).videos.items():
        assert video.path == f'0000/{name}.mp4'


def test_a_missing_video_and_a_folder_of_ones_own(vidstg, tmp_path):
    lost = next((vidstg / 'videos').iterdir())
    (tmp_path / 'films' / 'deep').mkdir(parents=True)
    lost.rename(tmp_path / 'films' / 'deep' / lost.name)
    out = tmp_path / 'a.json'
    with pytest.raises(ConversionError, match=f'nor {lost.name}'):
        convert_stcat(vidstg, out, 'test')
    summary = convert_stcat(vidstg, out, 'test', skip_bad=True)
    assert summary.videos == 2 and len(summary.skipped) == 1
    summary = convert_stcat(
        vidstg, out, 'test', videos=tmp_path / 'films', skip_bad=True
    )
    assert summary.videos == 1
    (video,) = load_annotation(out).videos.values()
    assert video.path == f'deep/{lost.name}'


def test_hcstvg_version_1(persons, tmp_path):
    films = persons / 'hc-stvg' / 'v1_video'
    films.mkdir()
    for name in ('7_a.mp4', '8_b.mkv'):
        (films / name).touch()
    out = tmp_path / 'a.json'
    summary = convert_stcat(persons / 'hc-stvg', out, 'test')
    assert summary.sentences == dict(declarative=2) and not summary.notes
    annotation = load_annotation(out)
    told = annotation.metainfo
    assert (told['dataset'], told['split']) == ('hcstvg', 'test')
    assert told['query_ids'] == 'official'
    truth = annotation.ground_truths()['8_b.mkv']
    assert truth['span'] == (4, 10)
    assert truth['boxes'][4] == [0, 4, 20, 34]


@pytest.mark.parametrize(
    ('split', 'official', 'size'),
    [('train', 'train', 10131), ('test', 'val', 2000)],
)
def test_what_version_2_calls_test_is_its_val_split(
    persons, tmp_path, split, official, size
):
    out = tmp_path / 'a.json'
    summary = convert_stcat(persons / 'hc-stvg2', out, split)
    told = load_annotation(out).metainfo
    assert (told['dataset'], told['split']) == ('hcstvg-v2', official)
    assert summary.official['declarative'] == size
    assert summary.notes[NO_VIDEOS] == summary.videos


def test_several_data_sets_in_a_folder(persons, tmp_path):
    folder = persons / 'hc-stvg'
    shutil.move(
        persons / 'hc-stvg2' / 'annos' / 'hcstvg_v2',
        folder / 'annos' / 'hcstvg_v2',
    )
    with pytest.raises(ConversionError, match='hcstvg, hcstvg-v2 lie side'):
        find_dataset(folder)
    out = tmp_path / 'a.json'
    for name in ('hcstvg', 'hcstvg-v2'):
        convert_stcat(folder, out, 'train', dataset=name)
        assert load_annotation(out).metainfo['dataset'] == name
    with pytest.raises(ValueError, match="'vidstg', .*: 'mine'"):
        convert_stcat(folder, out, 'train', dataset='mine')


def test_missing_folders_and_files(vidstg, tmp_path):
    out = tmp_path / 'a.json'
    with pytest.raises(FileNotFoundError, match='none of the folders sent_an'):
        convert_stcat(tmp_path, out, 'test')
    with pytest.raises(FileNotFoundError, match='val_annotations.json does'):
        convert_stcat(vidstg, out, 'val')
    shutil.rmtree(vidstg / 'bbox_annos')
    with pytest.raises(FileNotFoundError, match='bbox_annos does not exist'):
        convert_stcat(vidstg, out, 'test')


def test_command_line(persons, tmp_path, run_tool):
    out = tmp_path / 'a.json'
    words = ['dataset_converters/stcat', persons / 'hc-stvg2', '--out', out]
    done = run_tool(*words, '--split', 'test')
    assert done.returncode == 0, done.stderr
    assert 'of 2,000 published (-1,998)' in done.stdout
    done = run_tool(*words)
    assert done.returncode == 2 and 'give --split' in done.stderr
    done = run_tool(*words, '--split', 'val')
    assert done.returncode == 1 and done.stderr.startswith('error: ')
