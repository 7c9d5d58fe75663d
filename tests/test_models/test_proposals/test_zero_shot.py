"""ZeroShotGrounder: linking and spans from the scores of phrases.

Without the weights of the detector: annotated boxes, jittered, with made
scores stand in its place. A command prints the figure of a whole split:
``HERO_MM_ZERO_SHOT=data/shapes/test.json pytest -s -k oracle
tests/test_models/test_proposals/test_zero_shot.py``.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import load_checkpoint
from mmengine.structures import InstanceData
from zoo_detectors import whole_detector
from zoo_language import save_language_model

from hero_mm.apis import TubeInferencer
from hero_mm.apis.checkpoint import load_weights
from hero_mm.apis.package import write_package
from hero_mm.cli import main
from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.shapes import build_shapes
from hero_mm.errors import UserError
from hero_mm.evaluation import load_predictions
from hero_mm.evaluation.tube_metric import TubeMetric
from hero_mm.models.heads.tube_decoding import read_answers
from hero_mm.models.losses import pairwise_iou
from hero_mm.models.proposals import ProposalGenerator
from hero_mm.models.regions import Regions, clips_of_queries
from hero_mm.models.targets import padded
from hero_mm.registry import DATASETS, MODELS

# What a detector might say: of the named object, more while it acts, of
# others of its kind, of the rest; of an object all along, of a frame.
NAMED, ACTS, ALIKE, OTHER = 0.5, 0.25, 0.35, 0.15
OF_OBJECT, OF_FRAME = 0.05, 0.08
# Share of boxes that are not found, and the jitter of the others.
MISSED, JITTER = 0.05, 0.08


@MODELS.register_module()
class AnnotatedPhrases(ProposalGenerator):
    """Annotated boxes with scores of sentences, in the place of a detector."""

    scores_sentences = True

    def ask(self, inputs, samples):
        found = [
            self.ask_one(sample, query)
            for sample in samples
            for query in range(len(sample.queries.texts))
        ]
        frames = inputs['frame_mask'][clips_of_queries(samples, 'cpu')]
        size = frames.shape[1], max(len(valid) for *_, valid in found)
        boxes, scores, mask = (
            torch.stack(
                [padded(value.transpose(0, 1), *size) for value in row]
            )
            for row in zip(*found)
        )
        return Regions.from_boxes(boxes, scores * mask, mask, frames)

    def ask_one(self, sample, query):
        """Boxes (M, T, 4), scores (M, T) and what is found, (M, T)."""
        tracks, truth = sample.gt_tracks, sample.gt_queries
        target = int(truth.track_index[query])
        kinds = self.kinds[sample.video_id]
        alike = torch.tensor([kind == kinds[target] for kind in kinds])
        level = torch.where(alike, ALIKE, OTHER)
        level[target] = NAMED
        level = level + OF_OBJECT * torch.randn(len(level))
        score = level[:, None] + OF_FRAME * torch.randn(tracks.valid.shape)
        start, end = truth.spans[query]
        frames = torch.as_tensor(sample.frame_inds)
        score[target] += ACTS * ((frames >= start) & (frames < end))
        found = tracks.valid & (torch.rand(tracks.valid.shape) >= MISSED)
        boxes = tracks.bboxes
        sides = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2)
        boxes = boxes + JITTER * (2 * torch.rand_like(boxes) - 1) * sides
        return boxes * found[..., None], score.clamp(0, 1), found


def zero_shot(generator, **changes):
    return MODELS.build(
        dict(
            type='ZeroShotGrounder',
            proposal_generator=generator,
            linker=dict(type='RegionLinker', num_slots=8),
            **changes,
        )
    ).eval()


def oracle(slots, samples):
    """The best slot of each query, and its true span."""
    truth = [one.gt_queries for one in samples]
    boxes = torch.cat([one.bboxes for one in truth])
    valid = torch.cat([one.valid for one in truth])
    iou = pairwise_iou(slots.boxes_BTN4, boxes[:, :, None]).squeeze(-1)
    iou = iou * slots.mask_BTN * valid[..., None]
    best = iou.sum(1).argmax(-1)
    rows = torch.arange(len(best))
    chosen = slots.boxes_BTN4[rows, :, best]
    zeros = torch.zeros(chosen.shape[:2])
    found = InstanceData(
        spans=torch.cat([one.spans for one in truth]),
        span_scores=zeros[:, 0],
        presence=zeros[:, 0],
    )
    seen = slots.mask_BTN[rows, :, best]
    return read_answers(
        found, chosen, zeros, zeros, seen, slots.times_BT, samples
    )


def scores_of(data):
    """Scores of the whole model and of the oracle on a split."""
    steps = [
        # All frames of a video of the benchmark.
        dict(type='SampleClipFrames', num_frames=32),
        dict(type='DecodeFrames'),
        dict(type='LoadTubes'),
        dict(type='PackGroundingInputs'),
    ]
    dataset = DATASETS.build(
        dict(
            type='GroundingDataset',
            ann_file=str(data),
            data_prefix=dict(video=str(data.parent / 'vidor/video')),
            test_mode=True,
            pipeline=steps,
        )
    )
    model = zero_shot(dict(type='AnnotatedPhrases'))
    model.proposal_generator.kinds = {
        name: [track.category for track in video.tracks.values()]
        for name, video in load_annotation(data).videos.items()
    }
    slots, link = [], model.linker.forward
    model.linker.forward = lambda *args: slots.append(link(*args)) or slots[-1]
    metrics = [TubeMetric('tubedetr') for _ in range(2)]
    torch.manual_seed(0)
    for index in range(len(dataset)):
        samples = model.test_step(pseudo_collate([dataset[index]]))
        metrics[0].process({}, [one.to_dict() for one in samples])
        (samples[0].pred_queries,) = oracle(slots.pop(), samples)
        metrics[1].process({}, [one.to_dict() for one in samples])
    for metric in metrics:
        metric.dataset_meta = dataset.metainfo
    return [metric.evaluate(len(dataset)) for metric in metrics]


def test_linking_and_span_are_near_the_oracle(tmp_path):
    data = os.environ.get('HERO_MM_ZERO_SHOT')
    if data is None:
        sizes = dict(train=1, val=40, test=1)
        build_shapes(tmp_path, sizes, workers=1)
        data = tmp_path / 'val.json'
    ours, best = scores_of(Path(data))
    share = ours['tube/m_vIoU'] / best['tube/m_vIoU']
    sys.stdout.write(
        f'\nm_vIoU: {ours["tube/m_vIoU"]:.3f}, oracle '
        f'{best["tube/m_vIoU"]:.3f}, share {share:.3f}\n'
    )
    assert best['tube/m_vIoU'] > 0.6
    assert share >= 0.9


@pytest.fixture
def model(generator_config):
    torch.manual_seed(0)
    made = zero_shot(generator_config('Grounding DINO', max_per_frame=6))
    # Some weights of mmdet's transformers are no numbers until then.
    made.init_weights()
    return made


def test_a_sentence_is_answered_alone(model, make_clip, collate, predict):
    """Beside others, and beside a longer and larger clip."""
    clips = make_clip(3), make_clip(5, (48, 40), seed=1)
    both = predict(model, *clips)
    for clip, pred in zip(clips, both):
        (alone,) = predict(model, clip)
        for name in ('spans', 'bboxes', 'scores', 'span_scores'):
            torch.testing.assert_close(
                pred[name], alone[name], rtol=1e-3, atol=1e-3
            )
    one = make_clip(3, texts=clips[0]['data_samples'].queries.texts[1:])
    (alone,) = predict(model, one)
    torch.testing.assert_close(
        both[0].bboxes[1:], alone.bboxes, rtol=1e-3, atol=1e-3
    )


def test_no_truth_is_read(model, make_clip, predict, same_predictions):
    (with_truth,) = predict(model, make_clip(3))
    (without,) = predict(model, make_clip(3, truth=False, tracks=False))
    same_predictions(with_truth, without)
    assert with_truth.action_consistency.shape == (2, 3)
    assert ((with_truth.scores >= 0) & (with_truth.scores <= 1)).all()


def test_what_it_cannot_do_is_said(model, make_clip, collate):
    with pytest.raises(UserError, match=r'cannot be trained.*Train HERO'):
        model(**collate(model, make_clip(2)), mode='loss')
    with pytest.raises(UserError, match='take DetectorProposals'):
        zero_shot(dict(type='FileProposals'))


@pytest.fixture
def detector_file(model, tmp_path):
    """A checkpoint of the detector alone, as mmdet publishes it."""
    known = model.proposal_generator.detector.state_dict()
    weights = {
        name: torch.randn_like(value) if value.is_floating_point() else value
        for name, value in known.items()
    }
    old = 'language_model.language_backbone.body.model.embeddings.position_ids'
    path = tmp_path / 'detector.pth'
    torch.save(dict(state_dict={**weights, old: torch.arange(9)}), path)
    return path, weights


def test_a_checkpoint_of_the_detector_is_one_of_the_model(
    model, detector_file, tmp_path
):
    """Ours and MMEngine's way to load it."""
    path, weights = detector_file
    for loader in (load_weights, partial(load_checkpoint, strict=True)):
        for source in (str(path), str(tmp_path / 'own.pth')):
            torch.nn.init.zeros_(model.proposal_generator.detector.level_embed)
            loader(model, source)
            found = model.proposal_generator.detector.state_dict()
            for name, value in weights.items():
                assert torch.equal(found[name], value), name
            state = dict(state_dict=model.state_dict())
            torch.save(state, tmp_path / 'own.pth')


def test_a_checkpoint_of_something_else_is_refused(model, tmp_path):
    torch.save(dict(state_dict={'neck.x': torch.ones(1)}), tmp_path / 'a.pth')
    with pytest.raises(UserError, match='does not fit this config'):
        load_weights(model, tmp_path / 'a.pth')


@pytest.mark.slow
def test_it_answers_by_its_config(
    detector_config,
    detector_file,
    shapes_data,
    repo_root,
    tmp_path,
    load_tool,
    monkeypatch,
    capsys,
):
    """TubeInferencer, ``hero-mm ground`` and ``tools/test.py``."""
    path = tmp_path / 'small.py'
    small = detector_config('Grounding DINO').to_dict()
    base = repo_root / 'configs/hero_zero-shot_mm-grounding-dino.py'
    steps = Config.fromfile(base).test_dataloader.dataset.pipeline
    (resize,) = (step for step in steps if step.type == 'ResizeClip')
    resize.update(short_side=120, max_long=214)
    path.write_text(
        f"_base_ = '{base}'\n"
        f"load_from = '{detector_file[0]}'\n"
        f"language_model = '{small['language_model']['name']}'\n"
        f"ann_file = '{shapes_data}/val.json'\n"
        f"video_root = '{shapes_data}/vidor/video'\n"
        f'model = dict(proposal_generator=dict(detector=dict(_delete_=True, '
        f'**{small!r}), max_per_frame=6))\n'
        'test_dataloader = dict(num_workers=0, persistent_workers=False,\n'
        f'    dataset=dict(indices=1, pipeline={[*map(dict, steps)]!r}))\n'
    )
    monkeypatch.chdir(tmp_path)
    video = str(next((shapes_data / 'vidor/video').rglob('*.mp4')))
    texts = ['the red square moves left', 'what grows?']
    inferencer = TubeInferencer(str(path), device='cpu', show_progress=False)
    tubes = inferencer(video, texts)['predictions']
    assert [tube['query'] for tube in tubes] == texts
    for tube in tubes:
        start, end = tube['segment']
        assert start <= tube['span'][0] < tube['span'][1] <= end
        assert len(tube['frames']) == len(tube['bboxes']) >= 1
    clip = inferencer.encode_video(video)
    assert inferencer.ground(clip, texts[:1])[0]['span'] == tubes[0]['span']
    with pytest.raises(UserError, match='its detector are all of it'):
        write_package(inferencer, tmp_path / 'package')
    command = ['ground', video, texts[0], '--model', str(path)]
    assert main([*command, '--format', 'json', '--device', 'cpu']) == 0
    told = json.loads(capsys.readouterr().out)['predictions']['0']
    assert told['span'] == pytest.approx(tubes[0]['span'], abs=0.01)
    options = ['--dump', 'pred.json', '--work-dir', 'work']
    monkeypatch.setattr(
        sys, 'argv', ['test.py', str(path), str(detector_file[0]), *options]
    )
    load_tool('test').main()
    dumped = load_predictions('pred.json')[0]
    assert dumped


@pytest.mark.slow
def test_the_real_detector_runs_at_its_full_size(
    repo_root, tmp_path, make_clip, predict
):
    """Random weights: Swin-T, BERT-base of few words, 900 queries."""
    text = 'the man in red turns'
    size = dict(
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
    )
    bert = save_language_model(tmp_path, 'BERT', text, **size)
    path = repo_root / 'configs/hero_zero-shot_mm-grounding-dino.py'
    config = Config.fromfile(path).model
    config.proposal_generator.update(
        detector=whole_detector('Grounding DINO', bert),
        checkpoint=None,
        language_model=str(bert),
    )
    model = MODELS.build(config).eval()
    model.init_weights()
    assert 147e6 < sum(p.numel() for p in model.parameters()) < 151e6
    assert not any(p.requires_grad for p in model.parameters())
    (pred,) = predict(model, make_clip(2, (640, 480), texts=[text]))
    assert pred.bboxes.shape == (1, 2, 4) and pred.bboxes.isfinite().all()
    assert (pred.bboxes[..., 2:] > pred.bboxes[..., :2]).all()
    assert (pred.spans[:, 0] < pred.spans[:, 1]).all()
