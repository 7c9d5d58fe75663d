"""Every tensor of another model that HERO shares arrives, or a reason."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint

from hero_mm.pretrained.conversion import Source, convert
from hero_mm.registry import MODELS

BACKBONE, NECK = 'video_encoder.backbone.', 'video_encoder.neck.'
TEXT = 'transformer.text_encoder.'


@pytest.mark.parametrize(
    ('kind', 'title', 'neck', 'text'),
    [
        ('mdetr', 'MDETR', 'fpn', 'roberta'),
        ('tubedetr', 'MDETR or TubeDETR', 'fpn', 'roberta'),
        ('stcat', 'STCAT', 'fpn', 'roberta'),
        ('mmdetection', 'a detector of mmdet', 'fpn', 'roberta'),
        ('mm_grounding_dino', 'MM-Grounding-DINO', 'mapper', 'bert'),
    ],
)
def test_shared_tensors_arrive(
    kind, title, neck, text, source, pairs, build, tmp_path
):
    """Bit for bit, by MMEngine's own loading; the rest stays as it was."""
    file = source(kind)
    wanted = pairs(kind, file.weights)
    model = build(neck, text)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in before.items()}
    result = convert(file, shapes, 'tiny.py')
    result.save(tmp_path / 'out.pth')
    load_checkpoint(model, str(tmp_path / 'out.pth'), map_location='cpu')
    after = model.state_dict()
    assert result.loaded == wanted and len(wanted) > 500
    assert result.layout.title.startswith(title)
    for name, ours in wanted.items():
        assert torch.equal(after[ours], file.weights[name].to(after[ours]))
    for name in after.keys() - set(wanted.values()):
        assert torch.equal(after[name], before[name]), name
    # A part that is shared is filled to the last tensor.
    parts = [BACKBONE]
    if kind != 'mmdetection':
        parts.append('text_encoder.language_model.')
    empty = before.keys() - set(wanted.values())
    assert not [
        name
        for name in empty
        if name.startswith(tuple(parts)) and 'num_batches' not in name
    ]
    # Every tensor of the file is accounted for.
    assert result.skipped.keys() == file.weights.keys() - wanted.keys()


def test_stages_that_the_config_lacks_do_no_harm(source, shapes_of):
    model = {n: s for n, s in shapes_of().items() if '.layer4.' not in n}
    result = convert(source('mmdetection'), model, 'tiny.py')
    assert result.loaded['backbone.layer3.22.conv3.weight']
    why = result.skipped['backbone.layer4.0.conv1.weight']
    assert why.startswith('the model of tiny.py has no video_encoder.')


@pytest.mark.parametrize(
    ('block', 'part'),
    [
        ('backbone.0.body.layer3.30.', BACKBONE),
        (f'{TEXT}encoder.layer.30.', 'text_encoder.'),
    ],
)
def test_a_part_of_another_depth_is_left_out(block, part, source, shapes_of):
    file = source('mdetr')
    file.weights[f'{block}weight'] = torch.zeros(1)
    result = convert(file, shapes_of(), 'tiny.py')
    assert 'of another depth or make: ' in result.skipped[f'{block}weight']
    assert result.loaded
    assert not any(to.startswith(part) for to in result.loaded.values())


def test_another_vocabulary_takes_no_half_of_a_language_model(
    source, shapes_of
):
    """The layers of RoBERTa fit BERT's in shape; they are no use there."""
    result = convert(source('mdetr'), shapes_of(text='bert'), 'x.py')
    assert not any(to.startswith('text_') for to in result.loaded.values())
    words = f'{TEXT}embeddings.word_embeddings.weight'
    why = result.skipped[f'{TEXT}encoder.layer.0.output.dense.weight']
    assert why.startswith(f'{words} is (40, 8) in the file, ')
    for part in ('fc.weight', 'layer_norm.bias'):
        why = result.skipped[f'transformer.resizer.{part}']
        assert why.startswith('of no use without text_encoder.')


def test_a_narrower_model_gets_no_projections(source, shapes_of):
    model = shapes_of(embed_dims=8)
    result = convert(source('mdetr'), model, 'tiny.py')
    skipped = {n[12:]: why for n, why in result.skipped.items()}
    assert f'{TEXT}encoder.layer.0.output.dense.weight' in result.loaded
    assert 'is (4, 8) in the file' in skipped['resizer.fc.weight']
    assert 'of no use without' in skipped['resizer.layer_norm.weight']


def test_the_projection_of_the_pictures_stands_alone(source, shapes_of):
    """A neck would spoil it; it is that of the coarsest level."""
    result = convert(source('mdetr'), shapes_of(), 'x')
    assert 'would spoil it' in result.skipped['input_proj.weight']
    model = dict(shapes_of(None))
    model.pop('video_encoder.projects.0.weight')
    for level in (0, 1):
        place = f'video_encoder.projects.{level}.'
        model[place + 'weight'], model[place + 'bias'] = (4, 64, 1, 1), (4,)
        result = convert(source('mdetr'), model, 'x')
        assert result.loaded['input_proj.weight'] == place + 'weight'
        assert result.loaded['input_proj.bias'] == place + 'bias'


def tower_of(weights, body, x):
    """A tower of MDETR and its heirs, by the arithmetic of their code.

    ResNet-101 with strides in the 3x3 convolutions and norms of fixed
    statistics (eps 1e-5); ``input_proj`` on its last stage.
    """

    def conv(x, name, **options):
        return F.conv2d(x, weights[f'{body}{name}.weight'], **options)

    def norm(x, name):
        weight, bias, mean, var = (
            weights[f'{body}{name}.{part}'].view(-1, 1, 1)
            for part in ('weight', 'bias', 'running_mean', 'running_var')
        )
        scale = weight * (var + 1e-5).rsqrt()
        return x * scale + (bias - mean * scale)

    x = norm(conv(x, 'conv1', stride=2, padding=3), 'bn1').relu()
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, blocks in enumerate((3, 4, 23, 3), 1):
        for block in range(blocks):
            name = f'layer{stage}.{block}.'
            stride = 2 if stage > 1 and not block else 1
            y = norm(conv(x, name + 'conv1'), name + 'bn1').relu()
            y = conv(y, name + 'conv2', stride=stride, padding=1)
            y = norm(y, name + 'bn2').relu()
            y = norm(conv(y, name + 'conv3'), name + 'bn3')
            if not block:
                x = conv(x, name + 'downsample.0', stride=stride)
                x = norm(x, name + 'downsample.1')
            x = (x + y).relu()
    proj = weights['input_proj.weight'], weights['input_proj.bias']
    return F.conv2d(x, *proj)


@pytest.mark.parametrize(
    ('kind', 'body'),
    [('mdetr', 'backbone.0.body.'), ('stcat', 'vis_encoder.0.body.')],
)
@torch.no_grad()
def test_the_converted_tower_computes_what_the_source_computed(
    kind, body, source, hero_config, repo_root
):
    file = source(kind)
    for name, value in file.weights.items():
        if name.endswith('running_var'):
            value.abs_().add_(0.5)
        elif name.startswith(body) and value.dim() == 4:
            value.div_(value[0].numel() ** 0.5)
        elif name.startswith(body) and name.endswith('weight'):
            value.abs_().clamp_(0.3, 0.6)
    # The form that the config has: no neck, no norm, finer levels below.
    path = repo_root / 'configs/hero/hero_r101-c5_vidstg.py'
    shipped = Config.fromfile(path).model.video_encoder
    kept = ('out_indices', 'style', 'norm_eval')
    config = hero_config(None, **{n: shipped.backbone[n] for n in kept})
    for name in ('neck', 'level', 'norm', 'finer_levels'):
        config['video_encoder'][name] = shipped[name]
    init_default_scope('hero_mm')
    model = MODELS.build(config)
    shapes = {n: tuple(t.shape) for n, t in model.state_dict().items()}
    result = convert(file, shapes, 'tiny.py')
    model.load_state_dict(result.weights, strict=False)
    video_encoder = model.video_encoder.double().eval()
    pixels = torch.rand(2, 3, 64, 96, dtype=torch.double) * 255
    mean, std = (
        getattr(model.data_preprocessor, part).double()
        for part in ('mean', 'std')
    )
    pyramid = video_encoder(
        ((pixels - mean) / std)[None],
        torch.ones(1, 2, dtype=torch.bool),
        torch.ones(1, 64, 96, dtype=torch.bool),
    )
    # Theirs: pixels in [0, 1], the statistics of ImageNet.
    imagenet = torch.tensor(
        [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], dtype=torch.double
    ).view(2, 3, 1, 1)
    weights = {n: value.double() for n, value in file.weights.items()}
    wanted = tower_of(
        weights, body, (pixels / 255 - imagenet[0]) / imagenet[1]
    )
    assert wanted.std() > 1e-3 and pyramid.strides[-1] == (32, 32)
    torch.testing.assert_close(
        pyramid.levels[-1][0], wanted, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    'config',
    [
        # Its norms fit, its convolutions are of three dimensions.
        dict(type='mmaction.ResNet3dSlowOnly', depth=50, pretrained=None),
        # Its shortcuts pool first.
        dict(type='mmdet.ResNetV1d', depth=50),
        # Some of its tensors have the same shapes.
        dict(type='mmdet.ResNeXt', depth=50, groups=32, base_width=4),
        dict(type='mmdet.ResNet', depth=101),
    ],
)
def test_no_half_of_a_resnet_is_taken(config):
    init_default_scope('hero_mm')
    with torch.device('meta'):
        ours = MODELS.build(config).state_dict()
        theirs = MODELS.build(dict(type='mmdet.ResNet', depth=50)).state_dict()
    file = Source('x', {f'backbone.{n}': t for n, t in theirs.items()})
    shapes = {BACKBONE + name: tuple(t.shape) for name, t in ours.items()}
    with pytest.raises(ValueError, match='nothing of x fits'):
        convert(file, shapes, 'tiny.py')


def neck_of(channels, extra):
    """Shapes of an FPN of these channels, with levels made of the last."""
    laterals = {
        f'neck.lateral_convs.{level}.conv.weight': (4, inputs, 1, 1)
        for level, inputs in enumerate(channels)
    }
    levels = range(len(channels) + extra * bool(channels))
    outputs = {f'neck.fpn_convs.{n}.conv.weight': (4, 4, 3, 3) for n in levels}
    return {'backbone.x': (1,), **laterals, **outputs}


@pytest.mark.parametrize(
    ('theirs', 'ours', 'places'),
    [
        ((8, 16, 32), (16, 32), {1: 0, 2: 1, 3: 2, 4: 3}),
        ((16, 32), (8, 16, 32), {0: 1, 1: 2, 2: 3, 3: 4}),
        ((8, 16), (64, 128), {}),
        # HERO's last level is not theirs.
        ((8, 16, 32), (8, 16), {}),
        ((8, 16), (), {}),
    ],
)
def test_levels_of_a_neck_are_matched_from_the_last(theirs, ours, places):
    """RetinaNet's, too: strides 64 and 128, made of that of 32."""
    file = neck_of(theirs, extra=2)
    weights = {name: torch.zeros(shape) for name, shape in file.items()}
    model = neck_of(ours, extra=2)
    model = {f'video_encoder.{name}': model[name] for name in model}
    result = convert(Source('d', weights), model, 'tiny.py')
    for name, last in (('lateral', len(theirs)), ('fpn', 9)):
        found = {
            int(theirs.split('.')[2]): int(ours.split('.')[3])
            for theirs, ours in result.loaded.items()
            if f'.{name}_convs.' in theirs
        }
        assert found == {k: to for k, to in places.items() if k < last}


def test_a_file_that_nobody_knows(build):
    own = Source('x.pth', build().state_dict())
    with pytest.raises(
        ValueError, match='x.pth is of no known model .* STCAT'
    ):
        convert(own, {}, 'tiny.py')


def test_a_view_takes_no_more_room_than_its_numbers(tmp_path):
    name = 'backbone.conv1.weight'
    file = Source('x', {name: torch.zeros(10**6)[:294].view(2, 3, 7, 7)})
    model = {'video_encoder.' + name: (2, 3, 7, 7)}
    convert(file, model, 'tiny.py').save(tmp_path / 'out.pth')
    assert (tmp_path / 'out.pth').stat().st_size < 10**5
