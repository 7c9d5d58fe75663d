"""DetectorProposals: what a detector is given, and what is made of it."""

from unittest.mock import Mock

import pytest
import torch
from mmengine.structures import InstanceData

from hero_mm.models.proposals import DetectorProposals
from hero_mm.models.proposals.frame_samples import (
    frame_sample,
    real_frames,
)
from hero_mm.registry import MODELS


@pytest.fixture
def generator(detector_config, monkeypatch):
    """Looks at frames through a detector that the test can replace."""
    generator = DetectorProposals(detector_config('RetinaNet'), batch_size=2)
    calls = []

    def answer(boxes, scores):
        """Let the detector find the same in every frame."""

        def predict(inputs, samples, rescale):
            assert rescale is False
            calls.append((inputs, samples))
            for sample in samples:
                sample.pred_instances = InstanceData(
                    bboxes=torch.tensor(boxes).view(-1, 4),
                    scores=torch.tensor(scores),
                )
            return samples

        monkeypatch.setattr(generator.detector, 'predict', predict)
        return calls

    generator.answer = answer
    return generator


def frames_of(*sizes):
    return [torch.full((3, *size), 100.0) for size in sizes]


def test_boxes_of_other_classes_that_overlap_are_left_out(generator):
    generator.answer(
        [[0, 0, 8, 8], [0, 0, 8, 9], [2, 0, 9, 9.0], [4, 4, 9, 9]],
        [0.5, 0.9, 0.6, 0.1],
    )
    ((boxes,), (scores,)) = generator.detect(frames_of((16, 16)))
    assert boxes[:, 0].tolist() == [0, 2, 4]
    assert scores.tolist() == pytest.approx([0.9, 0.6, 0.1])
    generator.max_per_frame = 2
    ((boxes,), _) = generator.detect(frames_of((16, 16)))
    assert len(boxes) == 2
    generator.nms_iou = None
    ((boxes,), (scores,)) = generator.detect(frames_of((16, 16)))
    assert scores.tolist() == pytest.approx([0.9, 0.6])
    generator.max_per_frame = 9
    ((boxes,), (scores,)) = generator.detect(frames_of((16, 16)))
    assert scores.tolist() == pytest.approx([0.9, 0.6, 0.5, 0.1])


def test_frames_are_resized_and_boxes_come_back(generator):
    calls = generator.answer([[-4.0, 6, 40, 90]], [0.5])
    generator.scale = 2.0
    boxes, _ = generator.detect(frames_of((16, 24), (16, 24)))
    ((inputs, samples),) = calls
    assert inputs.shape[-2:] == (32, 64), 'padded to a multiple of 32'
    assert samples[0].img_shape == (32, 48)
    # 32 rows are 16 of ours; what lies outside is cut.
    assert boxes[0].tolist() == [[0, 3, 20, 16]]


def test_frames_of_one_size_go_together(generator):
    calls = generator.answer([[0.0, 0, 8, 8]], [0.5])
    sizes = [(16, 24), (16, 24), (40, 16), (16, 24), (40, 16)]
    boxes, _ = generator.detect(frames_of(*sizes))
    shapes = [(len(inputs), *inputs.shape[-2:]) for inputs, _ in calls]
    assert shapes == [(2, 32, 32), (1, 32, 32), (2, 64, 32)]
    assert len(boxes) == 5


def test_a_detector_that_finds_nothing(generator, make_clip):
    generator.answer([], [])
    ((boxes,), (scores,)) = generator.detect(frames_of((16, 16)))
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_nothing_found_is_answered_all_the_same(
    build_proposing, make_clip, predict, propose, total_loss
):
    model = build_proposing('Faster R-CNN')
    model.proposal_generator.detector.roi_head.test_cfg.score_thr = 1.0
    regions, _ = propose(model, make_clip(2))
    assert not regions.mask_BTN.any()
    (pred,) = predict(model, make_clip(2))
    assert pred.bboxes.isfinite().all() and pred.spans.isfinite().all()
    _, total = total_loss(model.train(), make_clip(2))
    assert total.isfinite()


@pytest.mark.parametrize('rgb_to_bgr', [False, True])
@pytest.mark.parametrize('name', ['RetinaNet', 'FCOS'])
def test_pixels_are_normalised_as_the_detector_was(
    name, rgb_to_bgr, build_proposing, make_clip, collate
):
    """RGB for one that converts, BGR for one of Caffe; HERO has either."""
    model = build_proposing(name)
    model.data_preprocessor.rgb_to_bgr = rgb_to_bgr
    model.proposal_generator.bind(model.data_preprocessor)
    clips = make_clip(2), make_clip(1, (24, 40), seed=1)
    batch = collate(model, *clips)
    generator = model.proposal_generator
    pixels = generator._pixels(batch['inputs'], real_frames(batch['inputs']))
    given, _ = generator._batch(
        pixels[2:], [frame_sample((40, 24))], training=False
    )
    prepare = generator.detector.data_preprocessor
    wanted = clips[1]['inputs'][0].float()
    if name == 'FCOS':
        wanted = wanted.flip(0)
    wanted = (wanted - prepare.mean) / prepare.std
    torch.testing.assert_close(
        given[0, :, :40, :24], wanted, atol=1e-3, rtol=1e-4
    )
    assert not given[0, :, 40:].any()


def test_a_trained_detector_learns_in_its_own_pixels(
    build_proposing, make_clip, collate, monkeypatch
):
    model = build_proposing('RetinaNet', frozen=False, scale=2.0).train()
    batch = collate(model, make_clip(2), make_clip(1, (24, 40), seed=1))
    calls = []
    detector = model.proposal_generator.detector
    monkeypatch.setattr(
        detector, 'loss', lambda *args: calls.append(args) or {}
    )
    given = batch['inputs'], batch['data_samples']
    model.proposal_generator.loss_and_predict(None, *given)
    ((inputs, samples),) = calls
    assert len(inputs) == len(samples) == 3
    assert samples[2].img_shape == (80, 48)
    truth = batch['data_samples'][1].gt_tracks.bboxes[:, 0]
    torch.testing.assert_close(samples[2].gt_instances.bboxes, 2 * truth)
    torch.testing.assert_close(
        batch['data_samples'][1].gt_tracks.bboxes[:, 0], truth
    )


def test_what_mmdet_freezes_stays_frozen(detector_config):
    config = detector_config('DETR')
    generator = DetectorProposals(config, frozen=False).train()
    backbone = generator.detector.backbone
    assert not any(p.requires_grad for p in backbone.conv1.parameters())
    last = backbone.layer4[0]
    assert last.conv1.weight.requires_grad
    assert not last.bn1.weight.requires_grad
    assert generator.detector.training and not last.bn1.training
    frozen = DetectorProposals(config).train()
    assert not any(p.requires_grad for p in frozen.parameters())
    assert not any(m.training for m in frozen.detector.modules())


def test_detecting_keeps_the_mode(generator):
    generator.answer([[0.0, 0, 8, 8]], [0.5])
    generator.frozen = False
    generator.train()
    generator.detect(frames_of((16, 16)))
    assert generator.detector.training


@pytest.mark.parametrize('name', ['Faster R-CNN', 'Deformable DETR', 'DINO'])
def test_bfloat16_gives_boxes_of_the_frame(name, detector_config):
    generator = DetectorProposals(detector_config(name))
    generator.init_weights()
    with torch.autocast('cpu', torch.bfloat16):
        ((boxes,), (scores,)) = generator.detect(frames_of((32, 48)))
    assert boxes.dtype == scores.dtype == torch.float32
    assert len(boxes) and (boxes >= 0).all()
    assert (boxes <= torch.tensor([48, 32, 48, 32])).all()


# Prompts


@pytest.fixture(scope='module')
def prompted(build_proposing):
    return build_proposing('Grounding DINO')


def asked(model, collate, monkeypatch, *clips):
    """What the detector is asked, frame by frame."""
    calls = []
    generator = model.proposal_generator

    def predict(frames, texts):
        calls.extend(
            (tuple(frame.shape[-2:]), text)
            for frame, text in zip(frames, texts)
        )
        return [(torch.zeros(0, 4), torch.zeros(0)) for _ in frames]

    monkeypatch.setattr(generator, '_predict', predict)
    batch = collate(model, *clips)
    generator(None, batch['inputs'], batch['data_samples'])
    return calls


def test_each_frame_is_asked_the_sentences_of_its_clip(
    prompted, make_clip, collate, monkeypatch
):
    clips = (
        make_clip(1, texts=['what grows ?', 'who turns', 'what grows ?']),
        make_clip(2, (24, 40), texts=['what grows ?'], seed=1),
    )
    assert asked(prompted, collate, monkeypatch, *clips) == [
        ((32, 32), 'what grows ?'),
        ((32, 32), 'who turns'),
        ((40, 24), 'what grows ?'),
        ((40, 24), 'what grows ?'),
    ]


def test_a_fixed_prompt_takes_their_place(
    prompted, make_clip, collate, monkeypatch
):
    monkeypatch.setattr(prompted.proposal_generator, 'text', 'object')
    calls = asked(prompted, collate, monkeypatch, make_clip(2))
    assert calls == [((32, 32), 'object')] * 2


def test_the_whole_prompt_counts(prompted, monkeypatch):
    captions_seen = []
    generator = prompted.proposal_generator
    usual = generator.detector.language_model.forward

    def forward(captions, **kwargs):
        captions_seen.extend(captions)
        return usual(captions, **kwargs)

    monkeypatch.setattr(generator.detector.language_model, 'forward', forward)
    prompts = [['the red square moves left'], ['what grows?', 'object .']]
    boxes, scores = generator.detect(frames_of((32, 32), (32, 32)), prompts)
    wanted = ['the red square moves left.', 'what grows?.', 'object .']
    assert captions_seen == wanted
    assert len(boxes[0]) and len(boxes[1]) and boxes[0].isfinite().all()
    other, _ = generator.detect(frames_of((32, 32)), [['object .']])
    assert boxes[0].shape != other[0].shape or not torch.allclose(
        boxes[0], other[0]
    ), 'the prompt changes nothing'


def test_sentences_are_needed_with_the_video(prompted, make_clip, collate):
    batch = collate(prompted, make_clip(2))
    with pytest.raises(ValueError, match='ask them together with the video'):
        prompted.encode_video(batch['inputs'])
    del batch['data_samples'][0].queries
    with pytest.raises(ValueError, match='fixed prompt with text='):
        prompted.encode_video(batch['inputs'], batch['data_samples'])


def test_a_prompt_is_refused_where_it_makes_no_sense(detector_config):
    with pytest.raises(ValueError, match="RetinaNet has no language.*'cup'"):
        DetectorProposals(detector_config('RetinaNet'), text='cup')
    config = detector_config('Grounding DINO')
    with pytest.raises(ValueError, match="text='object'"):
        DetectorProposals(config, frozen=False)


# Frames


@pytest.mark.parametrize(
    'wrong', [dict(scale=0), dict(max_per_frame=0), dict(batch_size=0)]
)
def test_wrong_numbers_are_refused(wrong, detector_config):
    with pytest.raises(ValueError, match='must be positive'):
        DetectorProposals(detector_config('RetinaNet'), **wrong)


@pytest.mark.parametrize(
    ('name', 'shape'), [('RetinaNet', (32, 64)), ('DETR', (18, 33))]
)
def test_frames_are_padded_to_whole_cells(name, shape, detector_config):
    """As the pipelines of RTMDet do; transformers take any size."""
    config = detector_config(name)
    config.data_preprocessor.pop('pad_size_divisor', None)
    generator = DetectorProposals(config)
    inputs, _ = generator._batch(
        frames_of((18, 33)), [frame_sample((18, 33))], training=False
    )
    assert inputs.shape[-2:] == shape
    ((boxes,), _) = generator.detect(frames_of((18, 33)))
    assert len(boxes) and boxes.max() <= 33


def centernet() -> dict:
    """A small CenterNet; its config is not shrunk by the zoo."""
    return dict(
        type='CenterNet',
        data_preprocessor=dict(type='DetDataPreprocessor'),
        backbone=dict(
            type='ResNet', depth=18, base_channels=4, norm_cfg=dict(type='BN')
        ),
        neck=dict(
            type='CTResNetNeck',
            in_channels=32,
            num_deconv_filters=(8, 8),
            num_deconv_kernels=(4, 4),
            use_dcn=False,
        ),
        bbox_head=dict(
            type='CenterNetHead',
            num_classes=1,
            in_channels=8,
            feat_channels=8,
            loss_center_heatmap=dict(type='GaussianFocalLoss'),
            loss_wh=dict(type='L1Loss'),
            loss_offset=dict(type='L1Loss'),
        ),
        test_cfg=dict(topk=8, local_maximum_kernel=3, max_per_img=8),
    )


def test_a_detector_without_anchors_learns_frames_of_two_sizes(
    proposing_config, make_clip, collate, monkeypatch
):
    """It takes its stride from the size of the first frame."""
    generator = dict(
        type='DetectorProposals', detector=centernet(), frozen=False
    )
    model = MODELS.build(proposing_config(generator)).train()
    head, calls = model.proposal_generator.detector.bbox_head, []
    targets = head.get_targets
    monkeypatch.setattr(
        head,
        'get_targets',
        lambda *args: calls.append(args) or targets(*args),
    )
    batch = collate(
        model, make_clip(1, (24, 40), seed=1), make_clip(2, (70, 50))
    )
    given = batch['inputs'], batch['data_samples']
    losses, _ = model.proposal_generator.loss_and_predict(None, *given)
    assert all(value.isfinite() for value in losses.values())
    ((_, _, features, size),) = calls
    assert [8 * side for side in features[-2:]] == [*size]
    boxes, _ = model.proposal_generator.detect(frames_of((24, 40)))
    assert len(boxes[0]) == 8


def test_a_detector_that_gives_no_boxes(generator, monkeypatch):
    monkeypatch.setattr(
        generator.detector, 'predict', lambda inputs, samples, rescale: samples
    )
    with pytest.raises(ValueError, match='RetinaNet gives no boxes but noth'):
        generator.detect(frames_of((16, 16)))


def test_frames_that_a_detector_does_not_take_are_named(detector_config):
    config = detector_config('DINO')
    config.num_queries = 900
    generator = DetectorProposals(config)
    words = r'DINO does not run on 1 frames of 40x32 pixels: .*too small.*512'
    with pytest.raises(ValueError, match=words):
        generator.detect(frames_of((32, 40)))


def test_frames_that_are_no_batch_are_refused():
    config = centernet()
    del config['data_preprocessor']
    with pytest.raises(ValueError, match='CenterNet has no data_preproces'):
        DetectorProposals(config).detect(frames_of((16, 16)))


def test_what_its_training_lacks_is_not_the_size(detector_config, monkeypatch):
    """It finds boxes in a large frame, and learns in none."""
    generator = DetectorProposals(detector_config('RetinaNet'), frozen=False)

    for error, words in (
        (AttributeError('no _gt_sem_seg'), '_gt_sem_seg. So says the detec'),
        (ImportError('run "pip install sklearn"'), 'Install it .sklearn by'),
    ):
        loss = Mock(side_effect=error)
        monkeypatch.setattr(generator.detector, 'loss', loss)
        with pytest.raises(ValueError, match=words):
            generator._run(loss, torch.zeros(1, 3, 32, 32), [])


def test_an_error_of_the_detector_is_no_guess_about_frames(
    generator, monkeypatch
):
    def predict(inputs, samples, rescale):
        raise RuntimeError('no epoch was set')

    monkeypatch.setattr(generator.detector, 'predict', predict)
    with pytest.raises(ValueError, match='no epoch was set') as error:
        generator.detect(frames_of((16, 16)))
    assert 'small' not in str(error.value)
