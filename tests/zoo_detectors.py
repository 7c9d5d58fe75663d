"""Detectors and dense heads of the zoo, from what mmdet ships.

:func:`whole_detector` gives one as it is, :func:`small_detector` one that is
quick enough for many tests.
"""

from pathlib import Path
from typing import Any, Optional

from mmengine.config import Config
from mmengine.utils import get_installed_path

# One of a family each, and its config among those of mmdet.
TABLE = """
Faster R-CNN = faster_rcnn/faster-rcnn_r50_fpn_1x_coco
Cascade R-CNN = cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco
Cascade RPN = cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco
Mask R-CNN = mask_rcnn/mask-rcnn_r50_fpn_1x_coco
Grid R-CNN = grid_rcnn/grid-rcnn_r50_fpn_gn-head_1x_coco
Libra R-CNN = libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco
Double-Head R-CNN = double_heads/dh-faster-rcnn_r50_fpn_1x_coco
Dynamic R-CNN = dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco
SABL = sabl/sabl-cascade-rcnn_r50_fpn_1x_coco
PISA = pisa/faster-rcnn_r50_fpn_pisa_1x_coco
HTC = htc/htc-without-semantic_r50_fpn_1x_coco
SCNet = scnet/scnet_r50_fpn_1x_coco
DetectoRS = detectors/detectors_cascade-rcnn_r50_1x_coco
CrowdDet = crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman
Sparse R-CNN = sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco
QueryInst = queryinst/queryinst_r50_fpn_1x_coco
RetinaNet = retinanet/retinanet_r50_fpn_1x_coco
FreeAnchor = free_anchor/freeanchor_r50_fpn_1x_coco
FSAF = fsaf/fsaf_r50_fpn_1x_coco
ATSS = atss/atss_r50_fpn_1x_coco
PAA = paa/paa_r50_fpn_1x_coco
GFL = gfl/gfl_r50_fpn_1x_coco
LD = ld/ld_r18-gflv1-r101_fpn_1x_coco
VFNet = vfnet/vfnet_r50_fpn_1x_coco
TOOD = tood/tood_r50_fpn_1x_coco
DDOD = ddod/ddod_r50_fpn_1x_coco
FCOS = fcos/fcos_r50-caffe_fpn_gn-head_1x_coco
NAS-FCOS = nas_fcos/nas-fcos_r50-caffe_fpn_nashead-gn-head_4xb4-1x_coco
FoveaBox = foveabox/fovea_r50_fpn_4xb4-1x_coco
RepPoints = reppoints/reppoints-moment_r50_fpn_1x_coco
AutoAssign = autoassign/autoassign_r50-caffe_fpn_1x_coco
CenterNet, updated = centernet/centernet-update_r50-caffe_fpn_ms-1x_coco
CornerNet = cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco
SSD = ssd/ssd300_coco
YOLOv3 = yolo/yolov3_d53_8xb8-320-273e_coco
YOLOF = yolof/yolof_r50-c5_8xb8-1x_coco
YOLOX = yolox/yolox_s_8xb8-300e_coco
RTMDet = rtmdet/rtmdet_s_8xb32-300e_coco
DETR = detr/detr_r50_8xb2-150e_coco
Conditional DETR = conditional_detr/conditional-detr_r50_8xb2-50e_coco
DAB-DETR = dab_detr/dab-detr_r50_8xb2-50e_coco
Deformable DETR = deformable_detr/deformable-detr_r50_16xb2-50e_coco
DINO = dino/dino-4scale_r50_8xb2-12e_coco
DDQ = ddq/ddq-detr-4scale_r50_8xb2-12e_coco
GLIP = glip/glip_atss_swin-t_a_fpn_dyhead_16xb2_ms-2x_funtune_coco
Grounding DINO = mm_grounding_dino/grounding_dino_swin-t_pretrain_obj365
Soft Teacher = soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco
SOLO = solo/solo_r50_fpn_1x_coco
"""  # noqa: E501
DETECTORS: dict[str, str] = {
    name: f'{path}.py'
    for name, path in (row.split(' = ') for row in TABLE.strip().split('\n'))
}
# Those that are shrunk: of each way to find boxes one.
SHRUNK = (
    'Faster R-CNN',
    'Cascade R-CNN',
    'RetinaNet',
    'ATSS',
    'FCOS',
    'DETR',
    'Deformable DETR',
    'DINO',
    'Grounding DINO',
)
PROMPTED = ('GLIP', 'Grounding DINO')
# Each says why, and what to do.
REFUSED_DETECTORS = ('LD', 'Soft Teacher', 'SOLO')
# Small frames have too few cells for a last level, or for 900 queries.
SCALES = {
    'DetectoRS': 2.0,
    'SSD': 5.0,
    'DINO': 4.0,
    'Grounding DINO': 4.0,
}
# Of an untrained detector few boxes are wanted, and all of them.
FEW = dict(max_per_img=50, nms_pre=100, score_thr=0.0)


def whole_detector(name: str, bert: Optional[Path] = None) -> dict:
    """Config of one of :data:`DETECTORS` in its size, of random weights.

    ``bert``: folder of a language model, for those that are prompted.
    """
    model = _of_mmdet(name)
    _fetch_nothing(model)
    if 'language_model' in model:
        model.language_model.name = str(bert)
        if 'lang_model_name' in model.bbox_head:
            model.bbox_head.lang_model_name = str(bert)
    return model.to_dict()


def _of_mmdet(name: str) -> Any:
    configs = Path(get_installed_path('mmdet')) / '.mim/configs'
    return Config.fromfile(configs / DETECTORS[name]).model


def _fetch_nothing(config: Any) -> None:
    """Leave out what loads weights, in place; few boxes."""
    if isinstance(config, dict):
        init = config.get('init_cfg')
        if isinstance(init, dict) and init.get('type') == 'Pretrained':
            del config['init_cfg']
        if isinstance(config.get('pretrained'), str):
            config['pretrained'] = None
        config.update({k: v for k, v in FEW.items() if k in config})
        config = list(config.values())
    if isinstance(config, (list, tuple)):
        for part in config:
            _fetch_nothing(part)


WIDTH = 16
# What a name in a config becomes; anything else stays. Of an untrained
# detector every box is wanted.
SMALL_PARTS: dict[str, Any] = dict(
    allowed_border=-1,
    embed_dim=WIDTH,
    fc_out_channels=WIDTH,
    feedforward_channels=WIDTH,
    max_per_img=12,
    max_text_len=24,
    nms_pre=40,
    num_classes=3,
    num_cp=0,
    num_dn_queries=4,
    num_heads=2,
    num_queries=12,
    octave_base_scale=1,
    scales=[1],
    score_thr=0.0,
    stacked_convs=1,
)
GROUPS = dict(type='GN', num_groups=4)
RESNET_WIDTHS = {64: 4, 256: 4, 512: 8, 1024: 16, 2048: 32}
SWIN_WIDTHS = {192: 16, 384: 32, 768: 64}


def small_detector(name: str, bert: Optional[Path] = None) -> dict:
    """As :func:`whole_detector`, small; tried with all of :data:`SHRUNK`."""
    model = _of_mmdet(name)
    widths = _shrink_backbone(model.backbone)
    # Of the DINOs the width is written in mmdet's code.
    width = 256 if 'dn_cfg' in model else WIDTH
    for part in model:
        if part in SMALL_PARTS:
            model[part] = SMALL_PARTS[part]
        elif isinstance(model[part], dict) and part not in (
            'backbone',
            'language_model',
        ):
            _shrink(model[part], widths, width)
    if 'language_model' in model:
        model.language_model.update(name=str(bert), max_tokens=24)
    head = model.get('bbox_head', {})
    if head.get('type') in ('DeformableDETRHead', 'DINOHead'):
        head.embed_dims = width
    if head.get('type') in ('ATSSHead', 'FCOSHead'):
        head.norm_cfg = GROUPS
    return model.to_dict()


def _shrink_backbone(backbone: Any) -> dict[int, int]:
    """A small backbone, in place, and what its channels became."""
    backbone.init_cfg = None
    if backbone.type == 'SwinTransformer':
        backbone.update(
            embed_dims=8,
            depths=[1] * 4,
            num_heads=[1] * 4,
            window_size=4,
            with_cp=False,
            convert_weights=False,
        )
        return SWIN_WIDTHS
    backbone.update(depth=18, base_channels=4)
    return RESNET_WIDTHS


def _shrink(config: Any, widths: dict[int, int], width: int) -> None:
    """Make a part small without changing its kind, in place."""
    for name, value in list(config.items()):
        if name == 'in_channels' and isinstance(value, (list, tuple)):
            config[name] = [widths[channels] for channels in value]
        elif name in ('in_channels', 'out_channels', 'feat_channels') or (
            name in ('embed_dims', 'v_dim', 'l_dim') and value == 256
        ):
            config[name] = width
        elif name == 'num_layers':
            config[name] = min(value, 2)
        elif name == 'norm_cfg' and value and value.type == 'GN':
            value.num_groups = 4
        elif name == 'num_feats':
            config[name] = width // 2
        elif name in SMALL_PARTS:
            config[name] = SMALL_PARTS[name]
        elif isinstance(value, dict):
            _shrink(value, widths, width)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for part in value:
                _shrink(part, widths, width)


# Kind of a dense head -> the detector whose config has it.
HEADS = dict(
    RPNHead='Faster R-CNN',
    RetinaHead='RetinaNet',
    ATSSHead='ATSS',
    FCOSHead='FCOS',
)


def small_head(kind: str) -> dict:
    """Config of one of :data:`HEADS` on two levels, of strides 8 and 16."""
    model = _of_mmdet(HEADS[kind])
    head = model.bbox_head if kind != 'RPNHead' else model.rpn_head
    train, test = model.get('train_cfg') or {}, model.test_cfg
    if kind == 'RPNHead':
        train, test = train.rpn, test.rpn
    head.update(train_cfg=train, test_cfg=test, type=f'mmdet.{kind}')
    _shrink(head, {}, WIDTH)
    if 'num_classes' in head:
        head.num_classes = 1
    if kind in ('ATSSHead', 'FCOSHead'):
        head.norm_cfg = GROUPS
    if kind == 'FCOSHead':
        head.regress_ranges = ((-1, 16), (16, 1e8))
    head.get('anchor_generator', head).strides = [8, 16]
    return head.to_dict()
