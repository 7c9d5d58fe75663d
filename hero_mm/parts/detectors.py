"""Detectors of mmdet: built from a config, filled from a checkpoint."""

import copy
import importlib.util
from pathlib import Path
from typing import Any, Optional, Union

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from torch import nn

from hero_mm.errors import UserError
from hero_mm.pretrained.checkpoints import find_checkpoint, read_checkpoint
from hero_mm.texts import name_some

from .building import build_part, find_part, reason


def build_detector(
    detector: Union[dict, str, Path], language_model: Optional[str] = None
) -> nn.Module:
    """Build a detector of mmdet, as of :class:`DetectorProposals`.

    It is not initialised. FileNotFoundError where there is no such config
    file, ValueError where it names no detector that can be built.
    """
    if isinstance(detector, dict):
        # Some detectors write into their config.
        model = ConfigDict(copy.deepcopy(detector))
    else:
        model = _read_config(str(detector))
    if isinstance(model.type, str) and '.' not in model.type:
        model.type = f'mmdet.{model.type}'
    _check_kind(find_part(model, 'detector'))
    if language_model is not None:
        if 'language_model' not in model:
            raise UserError(
                f'{model.type} has no language model: leave '
                f'language_model={language_model!r} out'
            )
        model.language_model.name = language_model
        if 'lang_model_name' in model.get('bbox_head', {}):
            model.bbox_head.lang_model_name = language_model
    encoder = model.get('encoder') or {}
    if encoder.get('num_cp') and not importlib.util.find_spec('fairscale'):
        encoder['num_cp'] = 0
        print_log('no fairscale: num_cp=0 of the detector', logger='current')
    try:
        built: Any = build_part(model, 'detector')
    except OSError as error:
        if 'language_model' not in model:
            raise
        raise UserError(
            f'the language model of the detector {model.type} cannot be had: '
            f'{reason(error)}. On a machine with internet: hf download '
            f'{model.language_model.name} --local-dir FOLDER; then give '
            'language_model=FOLDER beside the detector'
        ) from error
    if getattr(built, 'with_mask', False) and not built.with_bbox:
        raise UserError(
            f'{type(built).__name__} finds masks and no boxes; proposals '
            'need a detector that finds boxes, such as Mask R-CNN or Faster '
            'R-CNN'
        )
    _fit(built)
    return built


def _read_config(path: str) -> ConfigDict:
    if '::' in path:
        from mmengine.hub import get_config

        config = get_config(path)
    elif Path(path).is_file():
        config = Config.fromfile(path)
    else:
        raise FileNotFoundError(
            f'there is no config of a detector at {path}; give its path, or '
            "one of mmdet's own, such as "
            "'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'"
        )
    if 'model' not in config:
        raise UserError(
            f'{path}: the config has no model, found {sorted(config)}; give '
            'the config of a detector'
        )
    return ConfigDict(config.model)


def _check_kind(kind: Any) -> None:
    """ValueError where its class is no detector of single frames."""
    from mmdet.models import detectors, mot

    refused = (
        detectors.KnowledgeDistillationSingleStageDetector,
        detectors.SemiBaseDetector,
        detectors.FastRCNN,
        mot.BaseMOTModel,
    )
    if isinstance(kind, type) and issubclass(kind, refused):
        raise UserError(
            f'{kind.__name__} does not find boxes in a frame by itself: give '
            'the config of a plain detector and its weights (of a '
            'semi-supervised one or a tracker, the entry model.detector; GFL '
            'for LD, PAA for LAD, Faster R-CNN for Fast R-CNN)'
        )


def _fit(detector: Any) -> None:
    """Let a detector look at frames for their boxes, in place.

    Masks would be found and thrown away. Those whose pipeline pads (RTMDet,
    CenterNet) join levels of whole cells; transformers take any size. mmdet
    3.3 asks SSD's head for ``loss_cls`` when it predicts.
    """
    from mmdet.models.detectors.base_detr import DetectionTransformer

    head: Any = getattr(detector, 'bbox_head', None)
    if head is not None and not hasattr(head, 'loss_cls'):
        head.loss_cls = None
    head = getattr(detector, 'roi_head', None)
    boxes = getattr(detector, 'with_bbox', False)
    if boxes and getattr(head, 'with_mask', False):
        head.mask_head = None
    if isinstance(detector, DetectionTransformer):
        return
    prepare: Any = getattr(detector, 'data_preprocessor', None)
    if getattr(prepare, 'pad_size_divisor', None) == 1:
        prepare.pad_size_divisor = 32


def load_detector(detector: nn.Module, checkpoint: str) -> None:
    """Load the weights of a detector, all or none; ValueError says why."""
    path = find_checkpoint(checkpoint)
    weights = read_checkpoint(path)['state_dict']
    wanted = detector.state_dict()
    wrong = [
        name
        for name, value in wanted.items()
        if name not in weights or weights[name].shape != value.shape
    ]
    kind = type(detector).__name__
    if wrong:
        raise UserError(
            f'checkpoint {path} does not fit {kind}: missing or of another '
            f'size are {name_some(wrong)}; give the checkpoint that belongs '
            'to the config of the detector'
        )
    unknown = sorted(weights.keys() - wanted.keys())
    if unknown:
        # Position ids of old language models, averages of a training.
        print_log(
            f'{path}: weights that {kind} has not are left out: '
            f'{name_some(unknown)}',
            logger='current',
        )
    detector.load_state_dict({name: weights[name] for name in wanted})
