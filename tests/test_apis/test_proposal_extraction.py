"""Proposals of whole data sets: all videos, once, whoever works on them."""

import runpy
import shutil
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from hero_mm.apis import TubeInferencer, proposal_extraction
from hero_mm.apis.proposal_extraction import ProposalExtractor, fingerprint
from hero_mm.datasets import load_annotation
from hero_mm.datasets.proposal_files import load_proposals
from hero_mm.datasets.video_reader import open_video
from hero_mm.parts.detectors import build_detector
from hero_mm.registry import MODELS

EVERY = 8


@pytest.fixture(scope='module')
def config(repo_root):
    return repo_root / 'configs/detectors/fcos_shapes.py'


@pytest.fixture(scope='module')
def weights(config, tmp_path_factory):
    """Of a detector that was never trained, and takes all for objects."""
    pytest.importorskip('mmdet')
    torch.manual_seed(0)
    detector = build_detector(config)
    detector.init_weights()
    torch.nn.init.normal_(detector.bbox_head.conv_cls.weight)
    torch.nn.init.zeros_(detector.bbox_head.conv_cls.bias)
    path = tmp_path_factory.mktemp('weights') / 'epoch_1.pth'
    torch.save(dict(state_dict=detector.state_dict()), path)
    return path


@pytest.fixture(scope='module')
def extractor(config, weights):
    return ProposalExtractor(
        config, weights, 'cpu', every=EVERY, max_per_frame=5
    )


@pytest.fixture(scope='module')
def data(shapes_data, tmp_path_factory):
    """A copy with four videos."""
    folder = tmp_path_factory.mktemp('data')
    for name in ('val.json', 'val.tracks.npy'):
        shutil.copy(shapes_data / name, folder)
    shutil.copytree(shapes_data / 'vidor/video', folder / 'video')
    return folder


@pytest.fixture(scope='module')
def whole(extractor, data, tmp_path_factory):
    """What one process finds without a break."""
    out = tmp_path_factory.mktemp('whole')
    counts = extractor.run(data / 'val.json', data / 'video', out)
    assert counts == dict(written=4, kept=0, broken=[])
    return out


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_video_has_what_the_detector_finds(extractor, data, whole):
    videos = load_annotation(data / 'val.json').videos
    assert len(contents(whole)) == len(videos) == 4
    for name, video in videos.items():
        found = load_proposals(whole, name)
        assert found.frames.tolist() == [0, 8, 16, 24]
        assert found.size == (64, 64)
        assert (found.counts == 5).all()
        assert found.made_by == extractor.made_by
        with open_video(data / 'video' / video.path) as reader:
            imgs = reader.get_frames(found.frames)
        frames = torch.from_numpy(imgs[..., ::-1].copy()).permute(0, 3, 1, 2)
        boxes, scores = extractor.generator.detect(frames)
        np.testing.assert_array_equal(found.boxes, torch.cat(boxes).numpy())
        np.testing.assert_array_equal(found.scores, torch.cat(scores).numpy())
        assert found.boxes.min() >= 0 and found.boxes.max() <= 64


def test_chunks_change_nothing(extractor, data, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(proposal_extraction, '_CHUNK_BYTES', 3 * 64 * 64 * 3)
    extractor.run(data / 'val.json', data / 'video', tmp_path)
    for path in whole.iterdir():
        one, other = (load_proposals(f, path.stem) for f in (tmp_path, whole))
        assert one.frames.tolist() == other.frames.tolist()
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)


def test_files_made_in_another_way_are_not_taken(
    whole, config, weights, data, tmp_path
):
    other = ProposalExtractor(config, weights, 'cpu', every=4)
    shutil.copytree(whole, tmp_path / 'out')
    with pytest.raises(ValueError, match='every=8, not 4; max_per_frame=5'):
        other.run(data / 'val.json', data / 'video', tmp_path / 'out')
    assert contents(tmp_path / 'out') == contents(whole)


def test_a_fingerprint_tells_weights_apart():
    layer = torch.nn.Linear(2, 2)
    before = fingerprint(layer)
    layer.bias.data[1] += 1e-6
    assert fingerprint(layer) != before and len(before) == 16


def test_a_video_of_another_size(extractor, data):
    """Boxes are in annotated pixels, whatever the file's are."""
    (video, *_) = load_annotation(data / 'val.json').videos.values()
    _, wanted, _ = extractor.detect_video(video, data / 'video', [])
    video.width = video.height = 128
    _, boxes, _ = extractor.detect_video(video, data / 'video', [])
    np.testing.assert_allclose(boxes[0], 2 * wanted[0])
    video.width = 192
    with pytest.raises(ValueError, match='64x64, the annotation says 192x128'):
        extractor.detect_video(video, data / 'video', [])


def test_frames_are_resized_to_the_short_side(config, weights, data):
    large = ProposalExtractor(config, weights, 'cpu', 99, short_side=96)
    (video, *_) = load_annotation(data / 'val.json').videos.values()
    numbers, boxes, _ = large.detect_video(video, data / 'video', [])
    assert numbers == [0] and large.generator.scale == 96 / 64
    assert boxes[0].max() <= 64


@pytest.mark.parametrize('text', [None, 'object'])
def test_sentences_are_the_prompts_of_their_video(
    text, config, weights, data, tmp_path, monkeypatch
):
    asking = ProposalExtractor(config, weights, 'cpu', every=16)
    asking.generator.takes_text, asking.generator.text = True, text
    asked = {}

    def detect(frames, prompts):
        asked[len(asked)] = prompts
        return [torch.zeros(0, 4)] * len(frames), [torch.zeros(0)] * len(
            frames
        )

    monkeypatch.setattr(asking.generator, 'detect', detect)
    asking.run(data / 'val.json', data / 'video', tmp_path)
    clips = load_annotation(data / 'val.json').data_list
    for number, clip in enumerate(sorted(clips, key=lambda c: c['video_id'])):
        said = dict.fromkeys(query['text'] for query in clip['queries'])
        assert asked[number] == [[text] if text else list(said)] * 2


def test_what_is_missing_is_said(extractor, config, weights, data, tmp_path):
    with pytest.raises(FileNotFoundError, match='no folder of videos at'):
        extractor.run(data / 'val.json', data / 'none', tmp_path)
    for wrong in (dict(every=0), dict(short_side=0)):
        with pytest.raises(ValueError, match='must be at least 1'):
            ProposalExtractor(config, weights, 'cpu', **wrong)


def test_the_tool(
    repo_root, config, weights, data, whole, tmp_path, monkeypatch, capsys
):
    """Processes share the videos; broken ones are named and made up for."""
    tool = runpy.run_path(str(repo_root / 'tools/extract_proposals.py'))
    shutil.copytree(data / 'video', tmp_path / 'video')
    videos, out = load_annotation(data / 'val.json').videos, tmp_path / 'out'
    broken = tmp_path / 'video' / videos[min(videos)].path
    good = broken.read_bytes()
    broken.write_bytes(good[:300])
    argv = ['extract_proposals.py', str(config), str(weights)]
    argv += ['--ann', str(data / 'val.json'), '--out', str(out)]
    argv += ['--videos', str(tmp_path / 'video'), '--every', '8']
    argv += ['--max-per-frame', '5', '--device', 'cpu']
    monkeypatch.setattr(sys, 'argv', argv)
    monkeypatch.setenv('WORLD_SIZE', '2')
    for rank, said in (
        ('0', '1 videos written, 0 were there, 1 could not be read'),
        ('1', '2 videos written, 0 were there, 0 could not be read'),
        ('0', '1 videos written, 1 were there, 0 could not be read'),
    ):
        # As torchrun starts them.
        monkeypatch.setenv('RANK', rank)
        try:
            tool['main']()
        except SystemExit as stop:
            assert stop.code == 1
            broken.write_bytes(good)
        shown = capsys.readouterr().out
        assert said in shown
        assert (f'{min(videos)}: video {broken}' in shown) == (
            '1 could' in said
        )
    assert contents(out) == contents(whole)


def test_a_model_answers_on_the_files(repo_root, data, whole, tmp_path):
    """The inferencer finds the file of a video; FileProposals reads it."""
    cfg = Config.fromfile(repo_root / 'configs/hero_shapes.py')
    cfg.model.proposal_generator = dict(type='FileProposals')
    cfg.model.text_encoder.ann_file = str(data / 'val.json')
    # Boxes that overlap others stay.
    cfg.model.nms_iou = 1.0
    cfg.test_dataloader.dataset.pipeline.insert(
        -1, dict(type='LoadProposals', folder=str(whole), max_gap=EVERY)
    )
    init_default_scope('hero_mm')
    model = MODELS.build(cfg.model)
    model.init_weights()
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    inferencer = TubeInferencer(cfg, path, device='cpu')
    proposed, propose = [], inferencer.model.propose

    def keep(pyramid, inputs, samples, *others):
        found = propose(pyramid, inputs, samples, *others)
        proposed.append((found[0], samples[0]))
        return found

    inferencer.model.propose = keep
    compared = 0
    for name, video in load_annotation(data / 'val.json').videos.items():
        found = inferencer(data / 'video' / video.path, 'a red square')
        assert np.isfinite(found['predictions'][0]['bboxes']).all()
        regions, sample = proposed.pop()
        # The nearest one that the detector has seen.
        assert sample.frame_inds[3] == 7
        _, boxes, _ = load_proposals(whole, name).at(8)
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2] >= 1).all(1)]
        compared += len(boxes)
        torch.testing.assert_close(
            regions.boxes_BTN4[0, 3][regions.mask_BTN[0, 3]],
            torch.tensor(boxes),
        )
    assert compared > 2
