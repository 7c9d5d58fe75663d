"""ResNets of every make find their places, in every kind of ResNet.

The models are built on torch's meta device: names and shapes, no numbers.
"""

import re

import pytest
import torch
from mmengine.registry import init_default_scope

from hero_mm.pretrained.conversion import convert
from hero_mm.pretrained.layouts import LAYOUTS
from hero_mm.registry import MODELS

BACKBONE = 'video_encoder.backbone.'
R18, R50, R101 = (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 23, 3)


def backbone(**config):
    """Names and shapes of HERO with this backbone, of the backbone alone."""
    init_default_scope('hero_mm')
    with torch.device('meta'):
        module = MODELS.build(config)
    return {
        BACKBONE + name: tuple(tensor.shape)
        for name, tensor in module.state_dict().items()
    }


def mmaction(name):
    """What a name of torchvision is in a ResNet of mmaction2."""
    *steps, module, kind = name.split('.')
    if module in ('0', '1') and steps[-1] == 'downsample':
        inner = 'conv' if module == '0' else 'bn'
    else:
        inner, module = module.rstrip('123'), 'conv' + module[-1]
        steps.append(module)
    return '.'.join([*steps, inner, kind])


def tsm(name):
    inner = mmaction(name)
    return inner.replace('.conv1.conv.', '.conv1.conv.net.')


def tsm_101(name):
    """Of a stage of 23 blocks TSM wraps each other one, and of the rest."""
    block = name.split('.')[1]
    return (
        tsm(name) if block.isdigit() and not int(block) % 2 else mmaction(name)
    )


def resnet_d(name):
    name = name.replace('conv1.', 'stem.', name.startswith('conv1.'))
    return name.replace('bn1.', 'stem.7.', name.startswith('bn1.'))


MAKES = {
    'mmdet-18': (dict(type='mmdet.ResNet', depth=18), R18, str),
    'mmdet-50': (dict(type='mmdet.ResNet', depth=50), R50, str),
    'mmaction-18': (dict(type='mmaction.ResNet', depth=18), R18, mmaction),
    'mmaction-50': (dict(type='mmaction.ResNet', depth=50), R50, mmaction),
    'tsm-50': (
        dict(type='mmaction.ResNetTSM', depth=50, pretrained2d=False),
        R50,
        tsm,
    ),
    'tsm-101': (
        dict(type='mmaction.ResNetTSM', depth=101, pretrained2d=False),
        R101,
        tsm_101,
    ),
    'mmdet-d-50': (dict(type='mmdet.ResNetV1d', depth=50), R50, resnet_d),
}


def weights(layouts, source, blocks, **options):
    shapes = layouts.resnet(
        blocks=blocks,
        base=64,
        counted=True,
        bottleneck=blocks != R18,
        **options,
    )
    file = source('resnet', {'fc.bias': (10,)})
    file.weights.update(
        {
            name: torch.empty(shape, device='meta')
            for name, shape in shapes.items()
        }
    )
    return file


@pytest.mark.parametrize('make', MAKES)
def test_every_tensor_of_a_resnet_has_its_place(make, layouts, source):
    config, blocks, renamed = MAKES[make]
    model = backbone(**config)
    file = weights(layouts, source, blocks, timm_d='-d-' in make)
    result = convert(file, LAYOUTS['resnet'], model, 'tiny.py')
    assert not result.unfilled and not result.unexpected
    assert result.skipped.pop('fc.bias')[0] == 'classifier'
    assert not result.skipped
    assert {n: to for n, (to, _) in result.loaded.items()} == {
        name: BACKBONE + renamed(name)
        for name in file.weights
        if name != 'fc.bias'
    }
    assert {to for to, _ in result.loaded.values()} == set(model)


def test_without_a_config_the_names_are_those_of_mmdet(layouts, source):
    file = weights(layouts, source, R50)
    result = convert(file, LAYOUTS['resnet'])
    assert all(to == BACKBONE + n for n, (to, _) in result.loaded.items())
    file = weights(layouts, source, R50, timm_d=True)
    result = convert(file, LAYOUTS['resnet'])
    assert result.loaded['conv1.6.weight'][0] == BACKBONE + 'stem.6.weight'


@pytest.mark.parametrize(
    'config',
    [
        # Its norms fit, its convolutions are of three dimensions.
        dict(type='mmaction.ResNet3dSlowOnly', depth=50, pretrained=None),
        # Its shortcuts pool first.
        dict(type='mmdet.ResNetV1d', depth=50),
        # Some of its tensors have the same shapes.
        dict(type='mmdet.ResNeXt', depth=50, groups=32, base_width=4),
    ],
)
def test_no_half_of_a_resnet_is_taken(config, layouts, source):
    file = weights(layouts, source, R50)
    with pytest.raises(ValueError, match='nothing of resnet.pth fits') as told:
        convert(file, LAYOUTS['resnet'], backbone(**config), 'tiny.py')
    assert re.search('does not fit|depth or make', str(told.value))


def test_a_detector_fills_a_resnet_of_mmaction2(layouts, source):
    """And a stem of another kind stays what it is."""
    model = backbone(type='mmaction.ResNet', depth=50)
    file = weights(layouts, source, R50)
    file.weights = {f'backbone.{n}': t for n, t in file.weights.items()}
    del file.weights['backbone.fc.bias']
    result = convert(file, LAYOUTS['mmdetection'], model, 'tiny.py')
    assert not result.unfilled and not result.skipped


def test_a_resnet_d_of_mmdet_keeps_its_names(source):
    model = backbone(type='mmdet.ResNetV1d', depth=50)
    file = source('mmdet', {})
    file.weights = {
        name.replace(BACKBONE, 'backbone.'): torch.empty(shape, device='meta')
        for name, shape in model.items()
    }
    result = convert(file, LAYOUTS['mmdetection'], model, 'tiny.py')
    assert len(result.loaded) == len(model) and not result.unfilled


@pytest.mark.parametrize('theirs', [2, 18])
def test_a_swin_of_another_depth_is_refused(theirs, source):
    def swin(prefix, depth):
        block = f'{prefix}backbone.stages.2.blocks.'
        return {f'{block}{n}.norm1.weight': (4,) for n in range(depth)}

    file = source('swin', swin('', theirs))
    with pytest.raises(ValueError, match='of another depth or make'):
        model = swin('video_encoder.', 6)
        convert(file, LAYOUTS['mmdetection'], model, 'tiny.py')


NECK = 'video_encoder.neck.'


def neck_of(pairs, kind='lateral_convs'):
    """Shapes of 1 x 1 convolutions of these channels."""
    return {
        f'{kind}.{level}.conv.weight': (4, channels, 1, 1)
        for level, channels in enumerate(pairs)
    }


@pytest.mark.parametrize(
    ('theirs', 'ours', 'places'),
    [
        ((8, 16, 32), (16, 32), {1: 0, 2: 1}),
        ((16, 32), (8, 16, 32), {0: 1, 1: 2}),
        ((8, 16), (64, 128), {}),
        # HERO's last level is not theirs.
        ((8, 16, 32), (8, 16), {}),
        ((8, 16), (), {}),
    ],
)
def test_levels_are_matched_from_the_last(theirs, ours, places, source):
    shapes = {'backbone.x': (1,), 'neck.norm.weight': (4,)}
    shapes.update({f'neck.{n}': s for n, s in neck_of(theirs).items()})
    model = {BACKBONE + 'x': (1,)}
    model.update({NECK + n: s for n, s in neck_of(ours).items()})
    result = convert(
        source('d', shapes), LAYOUTS['mmdetection'], model, 'tiny.py'
    )
    found = {
        int(name.split('.')[2]): int(to.split('.')[3])
        for name, (to, _) in result.loaded.items()
        if '.lateral_convs.' in name
    }
    assert found == places
    why = result.skipped['neck.norm.weight'][1]
    assert ('no such tensor' if places else f'config {list(ours)}') in why


def test_levels_made_of_the_last_go_along_with_it(source):
    """RetinaNet's: strides 64 and 128 from that of 32."""

    def levels(prefix, channels):
        return {
            f'{prefix}backbone.x': (1,),
            **{f'{prefix}neck.{n}': s for n, s in neck_of(channels).items()},
            **{
                f'{prefix}neck.fpn_convs.{level}.conv.weight': (4, 4, 3, 3)
                for level in range(len(channels) + 2)
            },
        }

    model = levels('video_encoder.', (16,))
    file = source('d', levels('', (8, 16)))
    result = convert(file, LAYOUTS['mmdetection'], model, 'tiny.py')
    for level in (1, 2, 3):
        name = f'neck.fpn_convs.{level}.conv.weight'
        assert result.loaded[name][0] == (
            f'{NECK}fpn_convs.{level - 1}.conv.weight'
        )
    assert not result.unfilled
