"""Detectors of proposals: their configs and checkpoints."""

import copy
import importlib.util

import pytest
import torch
import zoo_detectors

from hero_mm.models import DetectorProposals
from hero_mm.parts.detectors import build_detector
from hero_mm.registry import MODELS


def test_a_config_file_or_a_class(detector_config, tmp_path):
    from mmdet.models import RetinaNet

    config = detector_config('RetinaNet')
    path = tmp_path / 'tiny.py'
    path.write_text(f'model = {config.to_dict()!r}\n')
    # As in configs of MMEngine's new style.
    config.type = RetinaNet
    for given in (path, str(path), config):
        assert isinstance(build_detector(given), RetinaNet)


def test_a_config_of_mmdet_is_found_by_its_name(monkeypatch):
    built = []
    monkeypatch.setattr(MODELS, 'build', lambda model: built.append(model))
    build_detector('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
    assert built[0].type == 'mmdet.RetinaNet'


def of_mmdet(path):
    return f'mmdet::{path}'


@pytest.mark.parametrize(
    ('detector', 'words'),
    [
        (of_mmdet('ld/ld_r18-gflv1-r101_fpn_1x_coco.py'), 'GFL for LD'),
        (of_mmdet('fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py'), 'FastRCNN does'),
        (dict(type='mmdet.SoftTeacher'), 'the entry model.detector'),
        (dict(type='mmdet.ByteTrack'), 'ByteTrack does not find boxes'),
        ('nowhere.py', 'no config of a detector at nowhere.py'),
    ],
)
def test_what_is_no_detector_is_refused(detector, words, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        build_detector(detector)
    path = tmp_path / 'data.py'
    path.write_text('data = 1\n')
    with pytest.raises(ValueError, match=r"data.py.*no model.*\['data'\]"):
        build_detector(path)


def test_masks_are_no_boxes(detector_config, monkeypatch):
    for kind in ('solo', 'mask-rcnn'):
        path = f'{kind.replace("-", "_")}/{kind}_r50_fpn_1x_coco.py'
        monkeypatch.setitem(zoo_detectors.DETECTORS, kind, path)
    with pytest.raises(ValueError, match='SOLO finds masks and no boxes'):
        DetectorProposals(detector_config('solo'))
    # Of one that finds both the boxes are found.
    detector = DetectorProposals(detector_config('mask-rcnn')).detector
    assert not any('mask' in name for name in detector.state_dict())


@pytest.fixture(scope='module')
def saved(detector_config, tmp_path_factory):
    """A detector whose weights lie in a file, with one that it has not."""
    torch.manual_seed(3)
    detector = build_detector(detector_config('RetinaNet'))
    path = tmp_path_factory.mktemp('detector') / 'epoch_1.pth'
    weights = {**detector.state_dict(), 'position_ids': torch.zeros(3)}
    torch.save(dict(state_dict=weights, meta={}), path)
    return detector, path


def test_its_checkpoint_is_loaded(saved, hero_config, generator_config):
    """Of a file or a work dir, when HERO's weights are started."""
    detector, path = saved
    for given in (path, path.parent):
        config = generator_config('RetinaNet', checkpoint=str(given))
        model = MODELS.build(hero_config(proposal_generator=config))
        model.init_weights()
        found = model.proposal_generator.detector.state_dict()
        assert found.keys() == detector.state_dict().keys()
        for name, value in detector.state_dict().items():
            assert torch.equal(found[name], value), name


def test_a_checkpoint_that_does_not_fit_is_refused(saved, detector_config):
    _, path = saved
    other = DetectorProposals(detector_config('FCOS'), str(path))
    with pytest.raises(ValueError, match='does not fit FCOS: missing.*more'):
        other.init_weights()
    config = detector_config('RetinaNet')
    config.bbox_head.num_classes = 5
    wider = DetectorProposals(config, str(path))
    with pytest.raises(ValueError, match='size are bbox_head.retina_cls.wei'):
        wider.init_weights()
    absent = DetectorProposals(config, str(path.with_name('no.pth')))
    with pytest.raises(FileNotFoundError, match='no.pth'):
        absent.init_weights()


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

    generator = generator_config('RetinaNet', checkpoint=str(saved[1]))
    model = MODELS.build(hero_config(proposal_generator=generator)).eval()
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'hero.pth')
    generator['checkpoint'] = str(tmp_path / 'gone.pth')
    again = MODELS.build(hero_config(proposal_generator=generator)).eval()
    load_weights(again, tmp_path / 'hero.pth')
    clip = make_clip(2)
    same_predictions(predict(again, clip)[0], predict(model, clip)[0], atol=0)


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
    """The config stays as it was."""
    config = detector_config('Grounding DINO')
    config.encoder.num_cp = 6
    before = copy.deepcopy(config)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        'importlib.util.find_spec',
        lambda name, *given: (
            None if name == 'fairscale' else find(name, *given)
        ),
    )
    assert build_detector(config)
    assert config == before
