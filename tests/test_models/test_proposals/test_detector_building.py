"""Detectors of proposals: their configs and checkpoints."""

import pytest
import torch
import zoo_detectors

from hero_mm.models.proposals import DetectorProposals, build_detector
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


def test_what_is_no_detector_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='no config .* at nowhere.py'):
        build_detector('nowhere.py')
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


def test_its_checkpoint_is_loaded(saved, proposing_config, generator_config):
    """Of a file or a work dir, when HERO's weights are started."""
    detector, path = saved
    for given in (path, path.parent):
        config = generator_config('RetinaNet', checkpoint=str(given))
        model = MODELS.build(proposing_config(config))
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
    proposing_config,
    make_clip,
    predict,
    same_predictions,
    tmp_path,
):
    """It holds the detector, whose own file may be gone."""
    from hero_mm.apis.checkpoint import load_weights

    generator = generator_config('RetinaNet', checkpoint=str(saved[1]))
    model = MODELS.build(proposing_config(generator)).eval()
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'hero.pth')
    generator['checkpoint'] = str(tmp_path / 'gone.pth')
    again = MODELS.build(proposing_config(generator)).eval()
    load_weights(again, tmp_path / 'hero.pth')
    clip = make_clip(2)
    same_predictions(predict(again, clip)[0], predict(model, clip)[0], atol=0)
