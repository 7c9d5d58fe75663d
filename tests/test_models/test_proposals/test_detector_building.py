"""Detectors of proposals: their configs and checkpoints."""

import copy
import importlib.util

import pytest
import torch
import zoo_detectors
from torch import nn

from hero_mm.models.proposals import DetectorProposals, build_detector
from hero_mm.registry import MODELS


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
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in second
    )


def test_its_checkpoint_is_loaded(saved, proposing_config, generator_config):
    """Of a file or a work dir, when HERO's weights are started."""
    detector, path = saved
    for given in (path, path.parent):
        config = generator_config('RetinaNet', checkpoint=str(given))
        model = MODELS.build(proposing_config(config))
        model.init_weights()
        assert same_weights(model.proposal_generator.detector, detector)


def test_a_checkpoint_that_does_not_fit_is_refused(
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
    proposing_config,
    make_clip,
    predict,
    same_predictions,
    tmp_path,
):
    """It holds the detector, whose own file may be gone."""
    from hero_mm.apis.checkpoint import load_weights

    _, path = saved
    generator = generator_config('RetinaNet', checkpoint=str(path))
    model = MODELS.build(proposing_config(generator)).eval()
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'hero.pth')
    generator['checkpoint'] = str(tmp_path / 'gone.pth')
    again = MODELS.build(proposing_config(generator)).eval()
    load_weights(again, tmp_path / 'hero.pth')
    clip = make_clip(2)
    same_predictions(predict(again, clip)[0], predict(model, clip)[0], atol=0)


def test_config_is_left_as_it_was(detector_config):
    config = detector_config('DINO')
    before = copy.deepcopy(config)
    build_detector(config)
    assert config == before


def test_a_class_in_the_place_of_a_name(detector_config):
    """As in configs of MMEngine's new style."""
    from mmdet.models import RetinaNet

    config = detector_config('RetinaNet')
    config.type = RetinaNet
    assert isinstance(DetectorProposals(config).detector, RetinaNet)


@pytest.fixture
def shrunk(detector_config, monkeypatch):
    """Function: the config of a tiny detector of any config of mmdet."""

    def make(path):
        monkeypatch.setitem(zoo_detectors.DETECTORS, path, path)
        return detector_config(path)

    return make


def test_masks_are_no_boxes(shrunk):
    solo = shrunk('solo/solo_r50_fpn_1x_coco.py')
    with pytest.raises(ValueError, match='SOLO finds masks and no boxes'):
        DetectorProposals(solo)
    # Of one that finds both the boxes are found, and learned.
    config = shrunk('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    detector = DetectorProposals(config, frozen=False).detector
    assert not detector.roi_head.with_mask
    assert not any('mask' in name for name in detector.state_dict())
    # Its boxes rest on a map that it learns.
    config = shrunk('htc/htc_r50_fpn_1x_coco.py')
    with pytest.raises(ValueError, match='Cascade learns masks.*frozen=True'):
        DetectorProposals(config, frozen=False)
    assert DetectorProposals(config).detector.roi_head.with_semantic


def test_a_scheme_of_training_is_no_detector():
    path = 'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k'
    with pytest.raises(ValueError, match='SoftTeacher is a way to train two'):
        build_detector(f'mmdet::{path}_semi-0.1-coco.py')


def test_what_finds_no_boxes_by_itself_is_refused():
    path = 'mmdet::fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py'
    with pytest.raises(ValueError, match='FastRCNN looks at proposals of an'):
        build_detector(path)
    with pytest.raises(ValueError, match='ByteTrack follows objects through'):
        build_detector(dict(type='mmdet.ByteTrack'))


def test_a_detector_under_a_teacher_is_none_alone():
    """Its teacher is not looked for, which is elsewhere."""
    path = 'mmdet::ld/ld_r18-gflv1-r101_fpn_1x_coco.py'
    name = 'KnowledgeDistillationSingleStageDetector'
    with pytest.raises(ValueError, match=f'{name} is a way to train .*GFL'):
        build_detector(path)


def test_ssd_predicts(detector_config):
    """mmdet 3.3 asks its head for a loss that it has not."""
    config = detector_config('RetinaNet')
    config.bbox_head = dict(
        type='SSDHead',
        in_channels=[16] * 5,
        num_classes=3,
        anchor_generator=dict(
            type='SSDAnchorGenerator',
            scale_major=False,
            min_sizes=[8, 16, 32, 48, 56],
            max_sizes=[16, 32, 48, 56, 64],
            strides=[8, 16, 32, 64, 128],
            ratios=[[2]] * 5,
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
    )
    frame = torch.zeros(3, 64, 64, dtype=torch.uint8)
    boxes, _ = DetectorProposals(config).detect([frame])
    assert len(boxes[0])


def test_memory_is_saved_only_where_fairscale_is(detector_config, monkeypatch):
    config = detector_config('Grounding DINO')
    config.encoder.num_cp = 6
    find = importlib.util.find_spec
    monkeypatch.setattr(
        'importlib.util.find_spec',
        lambda name, *given: (
            None if name == 'fairscale' else find(name, *given)
        ),
    )
    assert build_detector(config)
    assert config.encoder.num_cp == 6


def test_glip_is_prompted_by_letters(detector_config):
    """Its heads want those of each object; the whole prompt is one."""
    generator = DetectorProposals(detector_config('Grounding DINO'))
    assert generator._sample((8, 8), 'a cup').tokens_positive == -1
    generator._wants_letters = True
    one = generator._sample((8, 8), 'a cup')
    assert one.text == 'a cup.' and one.tokens_positive == [[[0, 5]]]
