"""Proposals of whole data sets: all videos, once, whoever works on them."""

import json
import runpy
import shutil
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config

from hero_mm.apis import proposal_extraction
from hero_mm.apis.proposal_extraction import ProposalExtractor, fingerprint
from hero_mm.datasets import load_annotation
from hero_mm.datasets.proposal_files import load_proposals
from hero_mm.datasets.video_reader import open_video
from hero_mm.models.proposals import build_detector

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


@pytest.fixture
def run(extractor, data):
    def go(out, shard=(0, 1), by=extractor):
        return by.run(data / 'val.json', data / 'video', out, shard)

    return go


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
        told = load_proposals(whole, name)
        assert told.frames.tolist() == [0, 8, 16, 24]
        assert told.size == (64, 64)
        assert (told.counts == 5).all()
        with open_video(data / 'video' / video.path) as reader:
            imgs = reader.get_frames(told.frames)
        frames = torch.from_numpy(imgs[..., ::-1].copy()).permute(0, 3, 1, 2)
        boxes, scores = extractor.generator.detect(frames)
        np.testing.assert_array_equal(told.boxes, torch.cat(boxes).numpy())
        np.testing.assert_array_equal(told.scores, torch.cat(scores).numpy())
        assert told.boxes.min() >= 0 and told.boxes.max() <= 64


def test_an_interrupted_run_goes_on(
    run, extractor, whole, tmp_path, monkeypatch
):
    usual, done = extractor.detect_video, []

    def detect_video(*args):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(args)
        return usual(*args)

    monkeypatch.setattr(extractor, 'detect_video', detect_video)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert len(contents(tmp_path)) == 2
    monkeypatch.setattr(extractor, 'detect_video', usual)
    assert run(tmp_path) == dict(written=2, kept=2, broken=[])
    assert contents(tmp_path) == contents(whole)
    assert run(tmp_path) == dict(written=0, kept=4, broken=[])


def test_shards_together_are_the_whole(run, whole, tmp_path):
    written = [run(tmp_path, (part, 3))['written'] for part in range(3)]
    assert written == [2, 1, 1]
    assert contents(tmp_path) == contents(whole)


def test_chunks_change_nothing(run, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(proposal_extraction, '_CHUNK_BYTES', 3 * 64 * 64 * 3)
    run(tmp_path)
    for path in whole.iterdir():
        one, other = (load_proposals(f, path.stem) for f in (tmp_path, whole))
        assert one.frames.tolist() == other.frames.tolist()
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)


def test_a_broken_video_is_named_and_the_others_are_done(
    extractor, data, whole, tmp_path
):
    shutil.copytree(data / 'video', tmp_path / 'video')
    videos = load_annotation(data / 'val.json').videos
    broken, absent, *_ = sorted(videos)
    good = (tmp_path / 'video' / videos[broken].path).read_bytes()
    (tmp_path / 'video' / videos[broken].path).write_bytes(good[:300])
    (tmp_path / 'video' / videos[absent].path).unlink()
    out = tmp_path / 'out'
    counts = extractor.run(data / 'val.json', tmp_path / 'video', out)
    assert counts['written'] == 2
    first, second = counts['broken']
    assert first.startswith(f'{broken}: ') and videos[broken].path in first
    assert second.startswith(f'{absent}: ') and 'does not exist' in second
    assert contents(out).items() < contents(whole).items()
    # Repaired, they are made up for.
    counts = extractor.run(data / 'val.json', data / 'video', out)
    assert counts == dict(written=2, kept=2, broken=[])


def test_files_made_in_another_way_are_not_taken(
    run, whole, config, weights, tmp_path
):
    other = ProposalExtractor(config, weights, 'cpu', every=4)
    shutil.copytree(whole, tmp_path / 'out')
    with pytest.raises(ValueError, match='every=8, not 4; max_per_frame=5'):
        run(tmp_path / 'out', by=other)
    assert contents(tmp_path / 'out') == contents(whole)


def test_a_fingerprint_tells_weights_apart():
    layer = torch.nn.Linear(2, 2)
    before = fingerprint(layer)
    assert before == fingerprint(layer) and len(before) == 16
    with torch.no_grad():
        layer.bias[1] += 1e-6
    assert fingerprint(layer) != before


def test_a_video_of_another_size(extractor, data):
    """Boxes are told in annotated pixels, whatever the file's are."""
    (name, video), *_ = load_annotation(data / 'val.json').videos.items()
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
    asked = []

    def detect(frames, prompts):
        asked.append(prompts)
        return [torch.zeros(0, 4)] * len(frames), [torch.zeros(0)] * len(
            frames
        )

    monkeypatch.setattr(asking.generator, 'detect', detect)
    counts = asking.run(data / 'val.json', data / 'video', tmp_path)
    assert counts['written'] == 4
    clips = load_annotation(data / 'val.json').data_list
    texts = {
        clip['video_id']: [query['text'] for query in clip['queries']]
        for clip in clips
    }
    for name, prompts in zip(sorted(texts), asked):
        wanted = [text] if text else list(dict.fromkeys(texts[name]))
        assert prompts == [wanted] * 2
    assert load_proposals(tmp_path, min(texts)).counts.tolist() == [0, 0]


def test_what_is_missing_is_told(extractor, config, weights, data, tmp_path):
    with pytest.raises(FileNotFoundError, match='no.json'):
        extractor.run(data / 'no.json', data / 'video', tmp_path)
    with pytest.raises(FileNotFoundError, match='no folder of videos at'):
        extractor.run(data / 'val.json', data / 'none', tmp_path)
    with pytest.raises(FileNotFoundError, match='nowhere.py'):
        ProposalExtractor('nowhere.py', weights, 'cpu')
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        ProposalExtractor(config, 'nowhere.pth', 'cpu')
    for wrong in (dict(every=0), dict(short_side=0)):
        with pytest.raises(ValueError, match='must be at least 1'):
            ProposalExtractor(config, weights, 'cpu', **wrong)


# The tool


@pytest.fixture
def tool(repo_root, config, weights, data, tmp_path, monkeypatch, capsys):
    """Function: run the tool; exit code and what it says."""
    main = runpy.run_path(str(repo_root / 'tools/extract_proposals.py'))
    main = main['main']

    def go(*more):
        argv = ['extract_proposals.py', str(config), str(weights)]
        argv += ['--ann', str(data / 'val.json')]
        argv += ['--videos', str(data / 'video'), '--out', str(tmp_path)]
        argv += ['--every', '8', '--max-per-frame', '5', '--device', 'cpu']
        monkeypatch.setattr(sys, 'argv', argv + list(more))
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        return code, capsys.readouterr().out

    return go


def test_the_tool_shares_videos_as_it_is_told(
    tool, whole, tmp_path, monkeypatch
):
    code, said = tool('--shard', '0/2')
    assert code == 0 and '2 videos written, 0 were there, 0 could' in said
    # As torchrun starts the others.
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('LOCAL_RANK', '1')
    code, said = tool()
    assert code == 0 and '2 videos written, 0 were there' in said
    assert contents(tmp_path) == contents(whole)


def test_the_tool_fails_where_a_video_is_broken(
    tool, data, tmp_path, monkeypatch
):
    videos = load_annotation(data / 'val.json').videos
    name = min(videos)
    path = data / 'video' / videos[name].path
    monkeypatch.setattr(
        'hero_mm.apis.proposal_extraction.open_video',
        lambda p: open_video(p + ('x' if p == str(path) else '')),
    )
    code, said = tool()
    assert code == 1 and '1 could not be read' in said
    assert f'{name}: video {path}x' in said


@pytest.mark.parametrize('shard', ['2/2', '1', '-1/2', 'a/b', '1/0', '/'])
def test_a_wrong_shard_is_told(shard, tool):
    with pytest.raises(ValueError, match='0 <= I < N'):
        tool(f'--shard={shard}')


# From files to tubes


def test_a_model_answers_on_the_files(repo_root, data, whole):
    """Data set, files, FileProposals and head fit together."""
    from mmengine.dataset import pseudo_collate
    from mmengine.registry import init_default_scope

    from hero_mm.registry import DATASETS, MODELS

    init_default_scope('hero_mm')
    cfg = Config.fromfile(repo_root / 'configs/hero_shapes.py')
    cfg.model.proposal_generator = dict(type='FileProposals')
    cfg.model.text_encoder.ann_file = str(data / 'val.json')
    dataset = cfg.val_dataloader.dataset
    dataset.update(
        ann_file=str(data / 'val.json'),
        data_prefix=dict(video=str(data / 'video')),
    )
    dataset.pipeline.insert(
        -1, dict(type='LoadProposals', folder=str(whole), max_gap=EVERY)
    )
    items = DATASETS.build(dataset)
    # Boxes that overlap others stay.
    cfg.model.nms_iou = 1.0
    model = MODELS.build(cfg.model)
    model.init_weights()
    batch = model.data_preprocessor(pseudo_collate([items[0], items[1]]))
    total, _ = model.parse_losses(model.train()(**batch, mode='loss'))
    assert total.isfinite()
    with torch.no_grad():
        model.eval()
        pyramid = model.encode(batch['inputs'])
        regions, _ = model.propose(
            pyramid, batch['inputs'], batch['data_samples']
        )
        samples = model.ground(
            model.encode_regions(model.link(regions, pyramid), pyramid),
            batch['data_samples'],
        )
    told = load_proposals(whole, samples[1].video_id)
    _, boxes, _ = told.at(int(samples[1].frame_inds[3]))
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2] >= 1).all(1)]
    assert len(boxes) > 2
    torch.testing.assert_close(
        regions.boxes_BTN4[1, 3][regions.mask_BTN[1, 3]], torch.tensor(boxes)
    )
    assert samples[1].pred_queries.bboxes.isfinite().all()


def test_files_tell_how_they_were_made(whole, extractor):
    path = min(whole.iterdir())
    with np.load(path) as file:
        made_by = json.loads(str(file['made_by']))
    assert made_by == dict(
        detector='FCOS',
        weights=fingerprint(extractor.generator.detector),
        every=8,
        max_per_frame=5,
        short_side=None,
        text=None,
    )
