"""Raw files as large as VidOR's: made, converted, loaded, measured."""

import json
import subprocess
import sys

import numpy as np
import pytest

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.converters import convert_vidstg


@pytest.fixture(scope='module')
def raw(tmp_path_factory, vidor_sized):
    """A small folder of raw files, and how many boxes they hold."""
    folder = tmp_path_factory.mktemp('sized')
    count = vidor_sized.write_raw(folder, 12, 90, 110, frames=120, seed=3)
    return folder, count


def test_raw_files_have_the_official_form(raw):
    folder, count = raw
    entries = json.loads((folder / 'train_annotations.json').read_text())
    names = json.loads((folder / 'train_files.json').read_text())
    assert {entry['vid'] for entry in entries} == set(names)
    assert len(names) == 12 and len(entries) == 90
    assert all(len(entry['captions']) == 1 for entry in entries)
    asked = [len(entry['questions']) for entry in entries]
    assert sum(asked) == 110 and max(asked) <= 2
    past = 0
    for entry in entries:
        segment, truth = entry['used_segment'], entry['temporal_gt']
        assert 0 <= segment['begin_fid'] <= segment['end_fid']
        assert segment['end_fid'] < entry['frame_count']
        assert segment['begin_fid'] <= truth['begin_fid'] < truth['end_fid']
        assert truth['end_fid'] <= segment['end_fid'] + 1
        past += truth['end_fid'] == segment['end_fid'] + 1
    assert 0 < past < 45
    paths = sorted((folder / 'vidor').rglob('*.json'))
    assert [path.stem for path in paths] == sorted(names)
    boxes = [
        box
        for path in paths
        for frame in json.loads(path.read_text())['trajectories']
        for box in frame
    ]
    assert len(boxes) == count
    corners = np.array([list(box['bbox'].values()) for box in boxes])
    assert (corners[:, :2] < corners[:, 2:]).all()
    assert {'tid', 'bbox', 'generated', 'tracker'} == set(boxes[0])


def test_all_of_it_is_converted(raw, tmp_path):
    folder, count = raw
    out = tmp_path / 'train.json'
    summary = convert_vidstg(
        folder / 'train_annotations.json', folder / 'vidor', out
    )
    assert summary.sentences == dict(declarative=90, interrogative=110)
    assert summary.videos == 12 and not summary.skipped
    annotation = load_annotation(out)
    assert annotation.metainfo['num_boxes'] == count
    # Tracks stand once a video: a sentence adds no box.
    stored = sum(
        int((track.runs[:, 1] - track.runs[:, 0]).sum())
        for video in annotation.videos.values()
        for track in video.tracks.values()
    )
    assert stored == count
    assert (tmp_path / 'train.tracks.npy').stat().st_size < 8 * count + 1000
    assert out.stat().st_size < 200 * 500


def test_too_many_questions_or_videos(tmp_path, vidor_sized):
    with pytest.raises(ValueError, match='2 videos, 1 captions and 1'):
        vidor_sized.write_raw(tmp_path, 2, 1, 1)
    with pytest.raises(ValueError, match='1 captions and 3 questions'):
        vidor_sized.write_raw(tmp_path, 1, 1, 3)


def test_boxes_for_given_sentences(raw, tmp_path, vidor_sized):
    path = raw[0] / 'train_annotations.json'
    vidor_sized.write_boxes(tmp_path, path)
    out = tmp_path / 'train.json'
    summary = convert_vidstg(path, tmp_path / 'vidor', out)
    assert sum(summary.sentences.values()) == 200 and not summary.skipped
    assert 'frames in spans without a box' not in summary.notes


@pytest.mark.slow
@pytest.mark.parametrize('start', ['fork', 'spawn'])
def test_what_is_measured(raw, repo_root, start):
    """As a command, with the figures of docs/benchmarks.md."""
    folder, _ = raw
    tool = repo_root / 'tools/analysis_tools/benchmark_annotation.py'
    words = [folder, '--workers', 1, '--loaders', 1, '--items', 40]
    done = subprocess.run(
        [sys.executable, tool, *map(str, words), '--start', start],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout[done.stdout.index('{') :])
    assert figures['clips'] > 12 and figures['sentences_read'] > 40
    assert figures['convert_seconds'] > 0 <= figures['load_seconds']
    # Imports take most of it; the limit is for all of VidSTG.
    before, loaded = figures['megabytes_before'], figures['megabytes_loaded']
    most = figures['megabytes_with_loaders']
    # Pages that others share today are counted by their share: some slack.
    assert 0 < before <= loaded + 20 and loaded <= most + 20 and most < 2000
    assert loaded - before < 50
