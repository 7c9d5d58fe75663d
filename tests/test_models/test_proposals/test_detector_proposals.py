"""DetectorProposals: what a detector is given, and what is made of it."""

import copy

import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

from hero_mm.apis.model_zoo import generators
from hero_mm.models.proposals import DetectorProposals, build_detector
from hero_mm.models.proposals.frame_samples import (
    frame_sample,
    real_frames,
)
from hero_mm.registry import MODELS


@pytest.fixture
def generator(detector_config, monkeypatch):
    """Looks at frames through a detector that the test can replace."""
    generator = DetectorProposals(detector_config('RetinaNet'), batch_size=2)
    told = []

    def answer(boxes, scores):
        """Let the detector find the same in every frame."""

        def predict(inputs, samples, rescale):
            assert rescale is False
            told.append((inputs, samples))
            for sample in samples:
                sample.pred_instances = InstanceData(
                    bboxes=torch.tensor(boxes).view(-1, 4),
                    scores=torch.tensor(scores),
                )
            return samples

        monkeypatch.setattr(generator.detector, 'predict', predict)
        return told

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
    told = generator.answer([[-4.0, 6, 40, 90]], [0.5])
    generator.scale = 2.0
    boxes, _ = generator.detect(frames_of((16, 24), (16, 24)))
    ((inputs, samples),) = told
    assert inputs.shape[-2:] == (32, 64), 'padded to a multiple of 32'
    assert samples[0].img_shape == (32, 48)
    # 32 rows are 16 of ours; what lies outside is cut.
    assert boxes[0].tolist() == [[0, 3, 20, 16]]


def test_frames_of_one_size_go_together(generator):
    told = generator.answer([[0.0, 0, 8, 8]], [0.5])
    sizes = [(16, 24), (16, 24), (40, 16), (16, 24), (40, 16)]
    boxes, _ = generator.detect(frames_of(*sizes))
    shapes = [(len(inputs), *inputs.shape[-2:]) for inputs, _ in told]
    assert shapes == [(2, 32, 32), (1, 32, 32), (2, 64, 32)]
    assert len(boxes) == 5


def test_a_detector_that_finds_nothing(generator, make_clip):
    generator.answer([], [])
    ((boxes,), (scores,)) = generator.detect(frames_of((16, 16)))
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_nothing_found_is_answered_all_the_same(
    build_proposing, make_clip, predict, total_loss, detector_config
):
    config = detector_config('Faster R-CNN')
    config.test_cfg.rcnn.score_thr = 1.0
    model = build_proposing('Faster R-CNN')
    model.proposal_generator.detector.roi_head.test_cfg.score_thr = 1.0
    (told,) = predict(model, make_clip(2))
    assert told.bboxes.isfinite().all() and (told.scores == 1).all()
    _, total = total_loss(model.train(), make_clip(2))
    assert total.isfinite()


@pytest.mark.parametrize('name', ['RetinaNet', 'FCOS'])
def test_pixels_are_normalised_as_the_detector_was(
    name, build_proposing, make_clip, collate
):
    """RGB for one that converts, BGR for one of Caffe."""
    model = build_proposing(name)
    clips = make_clip(2), make_clip(1, (24, 40), seed=1)
    batch = collate(model, *clips)
    generator = model.proposal_generator
    pixels = generator._pixels(batch['inputs'], real_frames(batch['inputs']))
    told, _ = generator._batch(
        pixels[2:], [frame_sample((40, 24))], training=False
    )
    prepare = generator.detector.data_preprocessor
    wanted = clips[1]['inputs'][0].float()
    if name == 'FCOS':
        wanted = wanted.flip(0)
    wanted = (wanted - prepare.mean) / prepare.std
    torch.testing.assert_close(
        told[0, :, :40, :24], wanted, atol=1e-3, rtol=1e-4
    )
    assert not told[0, :, 40:].any()


def test_a_trained_detector_learns_in_its_own_pixels(
    build_proposing, make_clip, collate, monkeypatch
):
    model = build_proposing('RetinaNet', frozen=False, scale=2.0).train()
    batch = collate(model, make_clip(2), make_clip(1, (24, 40), seed=1))
    told = []
    detector = model.proposal_generator.detector
    monkeypatch.setattr(
        detector, 'loss', lambda *args: told.append(args) or {}
    )
    model.proposal_generator.loss(None, batch['inputs'], batch['data_samples'])
    ((inputs, samples),) = told
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
    told = []
    generator = model.proposal_generator

    def predict(frames, texts):
        told.extend(
            (tuple(frame.shape[-2:]), text)
            for frame, text in zip(frames, texts)
        )
        return [(torch.zeros(0, 4), torch.zeros(0)) for _ in frames]

    monkeypatch.setattr(generator, '_predict', predict)
    batch = collate(model, *clips)
    video = model._encode(batch['inputs'])
    generator(video, batch['inputs'], batch['data_samples'])
    return told


def test_each_frame_is_asked_the_sentences_of_its_clip(
    prompted, make_clip, collate, monkeypatch
):
    clips = (
        make_clip(1, texts=['what grows ?', 'who turns', 'what grows ?']),
        make_clip(2, (24, 40), texts=['what grows ?'], seed=1),
    )
    told = asked(prompted, collate, monkeypatch, *clips)
    assert told == [
        ((32, 32), 'what grows ?'),
        ((32, 32), 'who turns'),
        ((40, 24), 'what grows ?'),
        ((40, 24), 'what grows ?'),
    ]


def test_a_fixed_prompt_takes_their_place(
    prompted, make_clip, collate, monkeypatch
):
    monkeypatch.setattr(prompted.proposal_generator, 'text', 'object')
    told = asked(prompted, collate, monkeypatch, make_clip(2))
    assert told == [((32, 32), 'object')] * 2


def test_the_whole_prompt_counts(prompted, monkeypatch):
    told = []
    generator = prompted.proposal_generator
    usual = generator.detector.language_model.forward

    def forward(captions, **kwargs):
        told.extend(captions)
        return usual(captions, **kwargs)

    monkeypatch.setattr(generator.detector.language_model, 'forward', forward)
    prompts = [['the red square moves left'], ['what grows?', 'object .']]
    boxes, scores = generator.detect(frames_of((32, 32), (32, 32)), prompts)
    assert told == ['the red square moves left.', 'what grows?.', 'object .']
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


# Configs and checkpoints


def test_a_config_file_or_one_of_mmdet(detector_config, tmp_path):
    model = detector_config('RetinaNet').to_dict()
    path = tmp_path / 'tiny.py'
    path.write_text(f'model = {model!r}\n')
    for given in (path, str(path)):
        assert type(build_detector(given)).__name__ == 'RetinaNet'
    path.write_text('data = 1\n')
    with pytest.raises(ValueError, match=r"tiny.py.*no model.*\['data'\]"):
        build_detector(path)
    with pytest.raises(FileNotFoundError, match='no config.*nowhere.py'):
        build_detector('nowhere.py')


def test_a_config_of_mmdet_is_found_by_its_name(monkeypatch):
    built = []
    monkeypatch.setattr(MODELS, 'build', lambda model: built.append(model))
    build_detector('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
    assert built[0].type == 'mmdet.RetinaNet'


@pytest.fixture(scope='module')
def saved(detector_config, tmp_path_factory):
    """A detector whose weights lie in a file."""
    torch.manual_seed(3)
    detector = build_detector(detector_config('RetinaNet'))
    path = tmp_path_factory.mktemp('detector') / 'epoch_1.pth'
    torch.save(dict(state_dict=detector.state_dict(), meta={}), path)
    return detector, path


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    told, wanted = one.state_dict(), other.state_dict()
    return told.keys() == wanted.keys() and all(
        torch.equal(told[name], wanted[name]) for name in wanted
    )


def test_its_checkpoint_is_loaded(saved, hero_config, generator_config):
    """Of a file or a work dir, when HERO's weights are started."""
    detector, path = saved
    for given in (path, path.parent):
        config = generator_config('RetinaNet', checkpoint=str(given))
        model = MODELS.build(hero_config(proposal_generator=config))
        model.init_weights()
        assert same_weights(model.proposal_generator.detector, detector)


def test_a_checkpoint_that_does_not_fit_is_told(
    saved, detector_config, tmp_path
):
    _, path = saved
    other = DetectorProposals(detector_config('FCOS'), str(path))
    with pytest.raises(ValueError, match='does not fit FCOS: .*missing.*more'):
        other.init_weights()
    config = detector_config('RetinaNet')
    config.bbox_head.num_classes = 5
    wider = DetectorProposals(config, str(path))
    with pytest.raises(ValueError, match=r'retina_cls.weight \(.* in the fi'):
        wider.init_weights()
    absent = DetectorProposals(config, str(tmp_path / 'no.pth'))
    with pytest.raises(FileNotFoundError, match='no.pth'):
        absent.init_weights()


def test_weights_that_it_has_not_are_left_out(
    saved, detector_config, tmp_path
):
    detector, _ = saved
    weights = {**detector.state_dict(), 'position_ids': torch.zeros(3)}
    torch.save(dict(state_dict=weights), tmp_path / 'a.pth')
    generator = DetectorProposals(
        detector_config('RetinaNet'), str(tmp_path / 'a.pth')
    )
    generator.init_weights()
    assert same_weights(generator.detector, detector)


def test_a_checkpoint_of_hero_needs_no_other(
    saved,
    generator_config,
    hero_config,
    make_clip,
    predict,
    same_predictions,
    tmp_path,
):
    """It holds the detector, whose own file may be gone."""
    from hero_mm.apis.checkpoint import load_weights

    _, path = saved
    generator = generator_config('RetinaNet', checkpoint=str(path))
    model = MODELS.build(hero_config(proposal_generator=generator)).eval()
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'hero.pth')
    generator['checkpoint'] = str(tmp_path / 'gone.pth')
    again = MODELS.build(hero_config(proposal_generator=generator)).eval()
    load_weights(again, tmp_path / 'hero.pth')
    clip = make_clip(2)
    same_predictions(predict(again, clip)[0], predict(model, clip)[0], atol=0)


def test_config_is_left_as_it_was(detector_config):
    config = detector_config('DINO')
    before = copy.deepcopy(config)
    build_detector(config)
    assert config == before


@pytest.mark.parametrize(
    'wrong', [dict(scale=0), dict(max_per_frame=0), dict(batch_size=0)]
)
def test_wrong_numbers_are_told(wrong, detector_config):
    with pytest.raises(ValueError, match='must be positive'):
        DetectorProposals(detector_config('RetinaNet'), **wrong)


@pytest.fixture
def shrunk(detector_config, monkeypatch):
    """Function: the config of a tiny detector of any config of mmdet."""

    def make(path):
        monkeypatch.setitem(generators.DETECTORS, path, path)
        return detector_config(path)

    return make


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
    hero_config, make_clip, collate, monkeypatch
):
    """It tells its stride from the size of the first frame."""
    generator = dict(
        type='DetectorProposals', detector=centernet(), frozen=False
    )
    model = MODELS.build(hero_config(proposal_generator=generator)).train()
    head, told = model.proposal_generator.detector.bbox_head, []
    targets = head.get_targets
    monkeypatch.setattr(
        head,
        'get_targets',
        lambda *args: told.append(args) or targets(*args),
    )
    batch = collate(
        model, make_clip(1, (24, 40), seed=1), make_clip(2, (70, 50))
    )
    given = batch['inputs'], batch['data_samples']
    losses = model.proposal_generator.loss(None, *given)
    assert all(value.isfinite() for value in losses.values())
    ((_, _, features, size),) = told
    assert [8 * side for side in features[-2:]] == [*size]
    boxes, _ = model.proposal_generator.detect(frames_of((24, 40)))
    assert len(boxes[0]) == 8


def test_masks_are_no_boxes(shrunk):
    solo = shrunk('solo/solo_r50_fpn_1x_coco.py')
    with pytest.raises(ValueError, match='SOLO finds masks and no boxes'):
        DetectorProposals(solo)
    config = shrunk('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    assert DetectorProposals(config).frozen
    with pytest.raises(ValueError, match='MaskRCNN learns masks, .*frozen'):
        DetectorProposals(config, frozen=False)


def test_a_detector_that_gives_no_boxes(generator, monkeypatch):
    monkeypatch.setattr(
        generator.detector, 'predict', lambda inputs, samples, rescale: samples
    )
    with pytest.raises(ValueError, match='RetinaNet gives no boxes but noth'):
        generator.detect(frames_of((16, 16)))


def test_frames_that_a_detector_does_not_take_are_told(detector_config):
    config = detector_config('DINO')
    config.num_queries = 900
    generator = DetectorProposals(config)
    words = r'DINO does not run on 1 frames of 40x32 pixels: .*\(scale\)'
    with pytest.raises(ValueError, match=words):
        generator.detect(frames_of((32, 40)))


def test_a_class_in_the_place_of_a_name(detector_config):
    """As in configs of MMEngine's new style."""
    from mmdet.models import RetinaNet

    config = detector_config('RetinaNet')
    config.type = RetinaNet
    assert isinstance(DetectorProposals(config).detector, RetinaNet)


def test_frames_that_are_no_batch_are_told():
    config = centernet()
    del config['data_preprocessor']
    with pytest.raises(ValueError, match='CenterNet has no data_preproces'):
        DetectorProposals(config).detect(frames_of((16, 16)))
