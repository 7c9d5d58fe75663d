"""Proposals of whole data sets: all videos, once, whoever works on them."""

import runpy
import shutil
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from hero_mm.apis import TubeInferencer, proposal_extraction
from hero_mm.apis.proposal_extraction import ProposalExtractor, fingerprint
from hero_mm.datasets import load_annotation
from hero_mm.datasets.proposal_files import load_proposals
from hero_mm.datasets.video_reader import open_video
from hero_mm.models.proposals import build_detector
from hero_mm.registry import DATASETS, MODELS

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
    sizes = []
    usual = large.generator.detector.predict

    def predict(inputs, *args, **kwargs):
        sizes.append(tuple(inputs.shape))
        return usual(inputs, *args, **kwargs)

    large.generator.detector.predict = predict
    (video, *_) = load_annotation(data / 'val.json').videos.values()
    numbers, boxes, _ = large.detect_video(video, data / 'video', [])
    assert numbers == [0] and sizes == [(1, 3, 96, 96)]
    assert boxes[0].max() <= 64


@pytest.mark.parametrize('text', [None, 'object'])
def test_sentences_are_the_prompts_of_their_video(
    text, config, weights, data, tmp_path, monkeypatch
):
    asking = ProposalExtractor(config, weights, 'cpu', every=16)
    asking.generator.takes_text, asking.generator.text = True, text
    asked, nothing = [], (torch.zeros(0, 4), torch.zeros(0))

    def detect(frames, prompts):
        asked.append(prompts)
        return tuple([one] * len(frames) for one in nothing)

    monkeypatch.setattr(asking.generator, 'detect', detect)
    asking.run(data / 'val.json', data / 'video', tmp_path)
    clips = load_annotation(data / 'val.json').data_list
    texts = {
        clip['video_id']: [query['text'] for query in clip['queries']]
        for clip in clips
    }
    for name, prompts in zip(sorted(texts), asked, strict=True):
        wanted = [text] if text else list(dict.fromkeys(texts[name]))
        assert prompts == [wanted] * 2


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


# From files to tubes


@pytest.fixture(scope='module')
def on_files(repo_root, data, whole):
    """A config that reads the files."""
    cfg = Config.fromfile(repo_root / 'configs/hero_shapes.py')
    cfg.model.proposal_generator = dict(type='FileProposals')
    cfg.model.text_encoder.ann_file = str(data / 'val.json')
    # Boxes that overlap others stay.
    cfg.model.nms_iou = 1.0
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.update(
            ann_file=str(data / 'val.json'),
            data_prefix=dict(video=str(data / 'video')),
        )
        loader.dataset.pipeline.insert(
            -1, dict(type='LoadProposals', folder=str(whole), max_gap=EVERY)
        )
    return cfg


@pytest.fixture(scope='module')
def model(on_files):
    init_default_scope('hero_mm')
    model = MODELS.build(on_files.model)
    model.init_weights()
    return model


def test_a_model_answers_on_the_files(on_files, model, whole):
    """Data set, files, FileProposals and head fit together."""
    items = DATASETS.build(on_files.val_dataloader.dataset)
    batch = model.data_preprocessor(pseudo_collate([items[0], items[1]]))
    total, _ = model.parse_losses(model.train()(**batch, mode='loss'))
    assert total.isfinite()
    with torch.no_grad():
        model.eval()
        pyramid = model.encode(batch['inputs'])
        samples = batch['data_samples']
        regions, _ = model.propose(pyramid, batch['inputs'], samples)
    found = load_proposals(whole, samples[1].video_id)
    _, boxes, _ = found.at(int(samples[1].frame_inds[3]))
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2] >= 1).all(1)]
    assert len(boxes) > 2
    torch.testing.assert_close(
        regions.boxes_BTN4[1, 3][regions.mask_BTN[1, 3]], torch.tensor(boxes)
    )


def test_an_inferencer_finds_the_file_of_a_video(
    on_files, model, data, tmp_path
):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    inferencer = TubeInferencer(on_files, path, device='cpu')
    (video, *_) = load_annotation(data / 'val.json').videos.values()
    found = inferencer(data / 'video' / video.path, 'a red square')
    (tube,) = found['predictions']
    assert np.isfinite(tube['bboxes']).all()
