"""Every tensor of another model that HERO shares arrives; all are told."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint

from hero_mm.pretrained.conversion import check_layout, convert
from hero_mm.pretrained.layouts import LAYOUTS
from hero_mm.pretrained.sources import Source

BACKBONE, NECK = 'video_encoder.backbone.', 'video_encoder.neck.'
LANGUAGE = 'text_encoder.language_model.'
PROJECTION = 'text_encoder.pooling.project.'
# Of each layout what HERO shares: the beginning of a name, in HERO's words.
SHARED = dict(
    mdetr={
        'backbone.0.body.': BACKBONE,
        'transformer.text_encoder.': LANGUAGE,
        'transformer.resizer.fc.': PROJECTION + '0.',
        'transformer.resizer.layer_norm.': PROJECTION + '1.',
    },
    stcat={
        'vis_encoder.0.body.': BACKBONE,
        'text_encoder.body.': LANGUAGE,
        'text_encoder.resizer.fc.': PROJECTION + '0.',
        'text_encoder.resizer.layer_norm.': PROJECTION + '1.',
    },
    faster_rcnn={
        'backbone.': BACKBONE,
        # Strides 16 and 32 are their levels 2 and 3.
        'neck.lateral_convs.2.': NECK + 'lateral_convs.0.',
        'neck.lateral_convs.3.': NECK + 'lateral_convs.1.',
        'neck.fpn_convs.2.': NECK + 'fpn_convs.0.',
        'neck.fpn_convs.3.': NECK + 'fpn_convs.1.',
    },
    mm_grounding_dino={
        'backbone.': BACKBONE,
        'language_model.language_backbone.body.model.': LANGUAGE,
        'text_feat_map.': PROJECTION + '0.',
        'neck.convs.1.': NECK + 'convs.0.',
        'neck.convs.2.': NECK + 'convs.1.',
        'neck.extra_convs.0.': NECK + 'extra_convs.0.',
    },
    resnet={'conv1.': BACKBONE, 'bn1.': BACKBONE, 'layer': BACKBONE},
)
SHARED['tubedetr'] = SHARED['mdetr']
NOT_SHARED = ('.pooler.', '.position_ids')


def wanted(kind, names):
    """From the names of the file to HERO's, by the table above."""
    pairs = {}
    for name in names:
        for start, ours in SHARED[kind].items():
            if name.startswith(start) and not any(
                part in name for part in NOT_SHARED
            ):
                kept = name if kind == 'resnet' else name[len(start) :]
                pairs[name] = ours + kept
    return pairs


@pytest.mark.parametrize(
    ('kind', 'layout', 'neck', 'text'),
    [
        ('mdetr', 'mdetr', 'fpn', 'roberta'),
        ('tubedetr', 'tubedetr', 'fpn', 'roberta'),
        ('stcat', 'stcat', 'fpn', 'roberta'),
        ('faster_rcnn', 'mmdetection', 'fpn', 'roberta'),
        ('mm_grounding_dino', 'mm_grounding_dino', 'mapper', 'bert'),
        ('resnet', 'resnet', 'fpn', 'roberta'),
    ],
)
def test_shared_tensors_arrive(
    kind, layout, neck, text, source, build, tmp_path
):
    """Bit for bit, by MMEngine's own loading; the rest stays as it was."""
    file = source(kind)
    pairs = wanted(kind, file.weights)
    model = build(neck, text)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in before.items()}
    result = convert(file, LAYOUTS[layout], shapes, 'tiny.py')
    result.save(tmp_path / 'out.pth')
    load_checkpoint(model, str(tmp_path / 'out.pth'), map_location='cpu')
    after = model.state_dict()
    assert {n: to for n, (to, _) in result.loaded.items()} == pairs
    assert len(pairs) > 500 and set(pairs.values()) <= set(after)
    for name, ours in pairs.items():
        assert torch.equal(after[ours], file.weights[name]), name
    for name in after.keys() - set(pairs.values()):
        assert torch.equal(after[name], before[name]), name
    # A part that is shared is filled to the last tensor.
    parts = [BACKBONE] + [LANGUAGE] * (LANGUAGE in SHARED[kind].values())
    assert not [n for n in result.unfilled if n.startswith(tuple(parts))]
    # Every tensor of the file is accounted for.
    assert not result.unexpected
    assert result.skipped.keys() == file.weights.keys() - pairs.keys()
    listed = result.listing()
    assert all(f'\t{name}\t' in listed for name in file.weights)


def test_the_summary_tells_what_and_why(source, shapes_of):
    file = source('tubedetr')
    file.others = ['model_ema', 'args']
    told = convert(file, LAYOUTS['tubedetr'], shapes_of(), 'tiny.py').summary()
    total = len(file.weights)
    for line in (
        "tubedetr.pth: TubeDETR, weights of 'model'",
        '  other entries: model_ema, args',
        f'loaded: 721 of {total} tensors',
        f'not loaded: {total - 721}',
        '   520  backbone: backbone.0.body.* -> video_encoder.backbone.*',
        '   197  text encoder: transformer.text_encoder.* -> '
        'text_encoder.language_model.*',
        '     2  projection of the pictures (input_proj.*): the neck of the '
        'config stands before it and would spoil it; '
        'configs/hero/hero_r101-c5_vidstg.py has none',
        '     6  box head (bbox_embed.layers.*): HERO corrects the boxes of '
        'regions and regresses none from the whole picture',
        'unexpected, not in the layout of TubeDETR: 0',
        'the model of tiny.py got nothing for',
        '     8  video_encoder.neck.*',
    ):
        assert line in told
    # A part of which nothing came is counted, not listed.
    assert '.*' in told.splitlines()[-1] and 'tube_head' in told


@pytest.mark.parametrize(
    ('kind', 'name'),
    [
        ('mdetr', 'video_swin.layers.0.weight'),
        ('tubedetr', 'class_head.weight'),
        ('stcat', 'transformer.encoder.layers.0.linear1.weight'),
    ],
)
def test_unexpected_names_are_listed(kind, name, source, shapes_of):
    file = source(kind, **{name: (3, 2)})
    file.odd = ['epoch']
    result = convert(file, LAYOUTS[kind], shapes_of(), 'tiny.py')
    assert result.unexpected == [f'{name} (3, 2)', 'epoch (no tensor)']
    assert f': 2\n        {name} (3, 2)\n' in result.summary()
    assert f'unexpected\t{name} (3, 2)\n' in result.listing()
    assert name not in result.loaded


@pytest.mark.parametrize(
    'name',
    [
        'backbone.0.body.layer1.0.conv9.weight',
        'transformer.text_encoder.encoder.layer.0.new.weight',
    ],
)
def test_a_name_that_is_strange_spoils_its_part(name, source, shapes_of):
    file = source('mdetr', **{name: (3, 2)})
    result = convert(file, LAYOUTS['mdetr'], shapes_of(), 'tiny.py')
    what, why = result.skipped[name]
    assert what not in [its for _, its in result.loaded.values()]
    assert 'of another depth or make' in why
    assert name.rpartition('.0.')[2] in why


@pytest.mark.parametrize('kind', ['mdetr', 'stcat'])
def test_what_depends_on_the_model_needs_its_config(kind, source):
    with pytest.raises(ValueError, match='give its config by --config'):
        convert(source(kind), LAYOUTS[kind])


@pytest.mark.parametrize(
    ('neck', 'finer', 'place'),
    [
        ('none', (), 'video_encoder.projects.0.'),
        # That of the coarsest level.
        ('none', (0,), 'video_encoder.projects.1.'),
    ],
)
def test_projection_of_the_pictures(neck, finer, place, source, shapes_of):
    model = shapes_of(neck, finer=finer)
    result = convert(source('mdetr'), LAYOUTS['mdetr'], model, 'x')
    for part in ('weight', 'bias'):
        assert result.loaded[f'input_proj.{part}'][0] == place + part


@pytest.mark.parametrize('neck', ['fpn', 'mapper'])
def test_a_neck_would_spoil_the_projection(neck, source, shapes_of):
    result = convert(source('mdetr'), LAYOUTS['mdetr'], shapes_of(neck), 'x')
    assert 'would spoil it' in result.skipped['input_proj.weight'][1]


def theirs(weights, body, x):
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
    [
        ('mdetr', 'backbone.0.body.'),
        ('tubedetr', 'backbone.0.body.'),
        ('stcat', 'vis_encoder.0.body.'),
    ],
)
@torch.no_grad()
def test_the_converted_tower_computes_what_the_source_computed(
    kind, body, source, hero_config, repo_root
):
    from hero_mm.registry import MODELS

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
    config = hero_config('none')
    encoder = config['video_encoder']
    for name in ('neck', 'level', 'norm', 'finer_levels'):
        encoder[name] = shipped[name]
    encoder['backbone']['out_indices'] = shipped.backbone.out_indices
    for name in ('style', 'norm_eval'):
        encoder['backbone'][name] = shipped.backbone[name]
    init_default_scope('hero_mm')
    model = MODELS.build(config)
    shapes = {n: tuple(t.shape) for n, t in model.state_dict().items()}
    result = convert(file, LAYOUTS[kind], shapes, 'tiny.py')
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
    wanted = theirs(weights, body, (pixels / 255 - imagenet[0]) / imagenet[1])
    assert wanted.std() > 1e-3 and pyramid.strides[-1] == (32, 32)
    torch.testing.assert_close(
        pyramid.levels[-1][0], wanted, rtol=1e-5, atol=1e-6
    )


def test_another_vocabulary_takes_no_half_of_a_language_model(
    source, shapes_of
):
    """The layers of RoBERTa fit BERT's in shape; they are no use there."""
    model = shapes_of(text='bert')
    result = convert(source('mdetr'), LAYOUTS['mdetr'], model, 'tiny.py')
    assert len(result.loaded) == 520
    assert not any(to.startswith('text_') for to, _ in result.loaded.values())
    skipped = {n: why for n, (_, why) in result.skipped.items()}
    text = 'transformer.text_encoder.'
    words = f'{text}embeddings.word_embeddings.weight'
    assert skipped[words].startswith('(40, 8) in the file')
    assert skipped[f'{text}encoder.layer.0.output.dense.weight'] == (
        f'goes with {words}, which does not fit'
    )
    for part in ('fc.weight', 'layer_norm.bias'):
        why = skipped[f'transformer.resizer.{part}']
        assert why.startswith('of no use without the text')


def test_a_language_model_of_another_depth_is_left_out(source, shapes_of):
    file = source('mdetr')
    for name in list(file.weights):
        if '.encoder.layer.11.' in name:
            del file.weights[name]
    result = convert(file, LAYOUTS['mdetr'], shapes_of(), 'tiny.py')
    assert len(result.loaded) == 520
    name = 'transformer.text_encoder.embeddings.LayerNorm.bias'
    assert 'of another depth or make' in result.skipped[name][1]


@pytest.mark.parametrize('theirs', [(3, 4, 6, 3), (3, 4, 36, 3)])
def test_a_resnet_of_another_depth_is_refused(theirs, layouts, source, build):
    file = source('resnet', layouts.resnet(blocks=theirs))
    shapes = {n: tuple(t.shape) for n, t in build().state_dict().items()}
    with pytest.raises(ValueError, match='nothing of resnet.pth fits') as told:
        convert(file, LAYOUTS['resnet'], shapes, 'tiny.py')
    assert 'of another depth' in str(told.value)


def test_stages_that_the_config_lacks_do_no_harm(source, shapes_of):
    model = {n: s for n, s in shapes_of().items() if '.layer4.' not in n}
    result = convert(source('resnet'), LAYOUTS['resnet'], model, 'tiny.py')
    assert result.loaded['layer3.22.conv3.weight']
    assert result.skipped['layer4.0.conv1.weight'][1] == (
        'the model of tiny.py has no such tensor'
    )


def test_a_narrower_model_gets_no_projections(source, shapes_of):
    model = shapes_of(embed_dims=8)
    result = convert(source('mdetr'), LAYOUTS['mdetr'], model, 'tiny.py')
    assert len(result.loaded) == 717
    name = 'transformer.resizer.fc.weight'
    assert '(4, 8) in the file' in result.skipped[name][1]
    name = 'transformer.resizer.layer_norm.weight'
    assert 'without the text projection' in result.skipped[name][1]


def test_an_efficientnet_is_no_resnet(layouts, source, shapes_of):
    """MDETR has three; the name of one of its norms is a ResNet's too."""
    shapes = {
        name: shape
        for name, shape in layouts.mdetr().items()
        if not name.startswith('backbone')
    }
    body = 'backbone.0.body.'
    shapes.update(layouts.norm(f'{body}bn1', 2))
    shapes[f'{body}conv_stem.weight'] = (2, 3, 3, 3)
    shapes[f'{body}blocks.0.0.conv_dw.weight'] = (2, 1, 3, 3)
    file = source('mdetr', shapes)
    result = convert(file, LAYOUTS['mdetr'], shapes_of(), 'tiny.py')
    assert not result.unexpected
    loaded = [to for to, _ in result.loaded.values()]
    assert loaded and not any(to.startswith(BACKBONE) for to in loaded)


def test_nothing_fits(source, shapes_of):
    model = {n: s for n, s in shapes_of().items() if n.startswith('tube')}
    with pytest.raises(ValueError, match='nothing of resnet.pth') as told:
        convert(source('resnet'), LAYOUTS['resnet'], model, 'tiny.py')
    assert 'the model of tiny.py has no such tensor' in str(told.value)


@pytest.mark.parametrize(
    ('kind', 'tool'),
    [
        ('stcat', 'mdetr'),
        ('tubedetr', 'mdetr'),
        ('mdetr', 'tubedetr'),
        ('mdetr', 'mmdetection'),
        ('faster_rcnn', 'resnet'),
        ('resnet', 'mmdetection'),
        ('mm_grounding_dino', 'mmdetection'),
    ],
)
def test_the_wrong_tool_names_the_right_one(kind, tool, source):
    with pytest.raises(ValueError, match='is not a checkpoint of') as told:
        check_layout(source(kind), LAYOUTS[tool])
    message = str(told.value)
    right = 'mmdetection' if kind == 'faster_rcnn' else kind
    assert f'{kind}.pth' in message and '\n' not in message
    assert message.endswith(f'tools/model_converters/{right}.py')


def test_layouts_that_no_tool_knows(build):
    with pytest.raises(ValueError, match='No converter of tools/model_conv'):
        check_layout(
            Source('x', {'a.b': torch.zeros(1)}, None, [], []),
            LAYOUTS['mdetr'],
        )
    own = Source('x', build().state_dict(), None, [], [])
    with pytest.raises(ValueError, match='of hero_mm needs none'):
        check_layout(own, LAYOUTS['mmdetection'])


def test_a_view_takes_no_more_room_than_its_numbers(layouts, source, tmp_path):
    file = source('resnet', layouts.resnet(blocks=(1, 1, 1, 1)))
    big = torch.zeros(10**6)
    file.weights['conv1.weight'] = big[:294].view(2, 3, 7, 7)
    result = convert(file, LAYOUTS['resnet'])
    result.save(tmp_path / 'sub/out.pth')
    assert (tmp_path / 'sub/out.pth').stat().st_size < 10**6
    assert [p.name for p in (tmp_path / 'sub').iterdir()] == ['out.pth']
