"""Checkpoints in the layouts of others, at their true names, tiny inside.

The names are those of the published architectures: ResNet-101 without its
classifier, its norms frozen (four tensors, no count of batches), RoBERTa-base
with twelve layers. Widths are a few. Of parts that HERO does not share there
is a name of each kind, of the variants, too.
"""

import torch

RESNET101 = (3, 4, 23, 3)
# Of RoBERTa, of the joint space, of the first stage of the ResNet.
TEXT, WIDTH, BASE = 8, 4, 2
WORDS, POSITIONS = 40, 80
COUNTERS = ('num_batches_tracked', 'position_ids')


def fill(shapes, seed=0):
    """Random numbers of these shapes, each tensor of its own."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randint(1, 1000, shape, generator=generator)
        if name.endswith(COUNTERS)
        else torch.randn(shape, generator=generator)
        for name, shape in shapes.items()
    }


def norm(name, width, counted=False):
    shapes = {
        f'{name}.{part}': (width,)
        for part in ('weight', 'bias', 'running_mean', 'running_var')
    }
    if counted:
        shapes[f'{name}.num_batches_tracked'] = ()
    return shapes


def linear(name, inputs, outputs, bias=True):
    shapes = {f'{name}.weight': (outputs, inputs)}
    if bias:
        shapes[f'{name}.bias'] = (outputs,)
    return shapes


def layer_norm(name, width):
    return {f'{name}.weight': (width,), f'{name}.bias': (width,)}


def deep_stem(prefix, base, counted):
    """The stem of timm's ResNet-D: three convolutions, the last without norm.

    The norm of the last is ``bn1``.
    """
    half = base // 2
    shapes = {}
    for place, ins, outputs in ((0, 3, half), (3, half, half)):
        shapes[f'{prefix}conv1.{place}.weight'] = (outputs, ins, 3, 3)
        shapes.update(norm(f'{prefix}conv1.{place + 1}', outputs, counted))
    shapes[f'{prefix}conv1.6.weight'] = (base, half, 3, 3)
    return shapes


def resnet(
    prefix='',
    blocks=RESNET101,
    base=BASE,
    counted=False,
    bottleneck=True,
    timm_d=False,
):
    """A ResNet in torchvision's names, or a ResNet-D in timm's."""
    shapes = {f'{prefix}conv1.weight': (base, 3, 7, 7)}
    if timm_d:
        shapes = deep_stem(prefix, base, counted)
    shapes.update(norm(f'{prefix}bn1', base, counted))
    inputs = base
    wider = 4 if bottleneck else 1
    # Before the convolution of a shortcut a ResNet-D pools.
    shortcut = 1 if timm_d else 0
    for stage, count in enumerate(blocks):
        planes = base * 2**stage
        for block in range(count):
            name = f'{prefix}layer{stage + 1}.{block}'
            sizes = ((planes, inputs, 1), (planes, planes, 3))
            sizes += ((planes * 4, planes, 1),)
            if not bottleneck:
                sizes = ((planes, inputs, 3), (planes, planes, 3))
            for place, (outputs, ins, kernel) in enumerate(sizes, 1):
                shapes[f'{name}.conv{place}.weight'] = (
                    outputs,
                    ins,
                    kernel,
                    kernel,
                )
                shapes.update(norm(f'{name}.bn{place}', outputs, counted))
            outputs = planes * wider
            if block == 0 and (inputs != outputs or stage):
                down = f'{name}.downsample'
                shapes[f'{down}.{shortcut}.weight'] = (outputs, inputs, 1, 1)
                shapes.update(norm(f'{down}.{shortcut + 1}', outputs, counted))
            inputs = outputs
    return shapes


def bert(prefix, layers=12, width=TEXT, pooler=True, kinds=1, words=WORDS):
    """RoBERTa-base or, with two kinds of sentences, BERT-base."""
    shapes = {
        f'{prefix}embeddings.word_embeddings.weight': (words, width),
        f'{prefix}embeddings.position_embeddings.weight': (POSITIONS, width),
        f'{prefix}embeddings.token_type_embeddings.weight': (kinds, width),
        **layer_norm(f'{prefix}embeddings.LayerNorm', width),
    }
    for layer in range(layers):
        name = f'{prefix}encoder.layer.{layer}'
        for part in ('query', 'key', 'value'):
            shapes.update(
                linear(f'{name}.attention.self.{part}', width, width)
            )
        for part, inputs, outputs in (
            ('attention.output.dense', width, width),
            ('intermediate.dense', width, 2 * width),
            ('output.dense', 2 * width, width),
        ):
            shapes.update(linear(f'{name}.{part}', inputs, outputs))
        for part in ('attention.output', 'output'):
            shapes.update(layer_norm(f'{name}.{part}.LayerNorm', width))
    if pooler:
        shapes.update(linear(f'{prefix}pooler.dense', width, width))
    return shapes


def resizer(name):
    return {
        **linear(f'{name}.fc', TEXT, WIDTH),
        **layer_norm(f'{name}.layer_norm', WIDTH),
    }


def input_projection():
    return {
        'input_proj.weight': (WIDTH, 32 * BASE, 1, 1),
        'input_proj.bias': (WIDTH,),
    }


# What HERO does not share.
BOX_HEAD = [
    f'bbox_embed.layers.{layer}.{kind}'
    for layer in range(3)
    for kind in ('weight', 'bias')
]
DETR = (
    *BOX_HEAD,
    'backbone.1.row_embed.weight',
    'query_embed.weight',
    'transformer.encoder.layers.0.self_attn.in_proj_weight',
    'transformer.encoder.norm.weight',
    'transformer.decoder.layers.5.cross_attn_image.out_proj.bias',
    'transformer.decoder.norm.weight',
)
REST = dict(
    mdetr=(
        *DETR,
        'class_embed.weight',
        'transformer.CLS.weight',
        'contrastive_projection_image.weight',
        'contrastive_align_projection_text.bias',
        'isfinal_embed.bias',
        'qa_embed.weight',
        'answer_rel_head.weight',
        'answer_reg_head.layers.2.bias',
        'bbox_attention.q_linear.weight',
        'mask_head.adapter1.weight',
    ),
    tubedetr=(
        *DETR,
        'transformer.time_embed.te',
        'transformer.time_embed.time_embed.weight',
        'transformer.fast_encoder.layers.0.self_attn.in_proj_weight',
        'transformer.fast_encoder.weight',
        'transformer.fast_residual.bias',
        'sted_embed.layers.1.weight',
    ),
    stcat=(
        *BOX_HEAD,
        *(f'ground_decoder.decoder.{name}' for name in BOX_HEAD),
        'vis_encoder.1.col_embed.weight',
        'ground_encoder.fusion.weight',
        'ground_encoder.encoder.spatial_layers.0.linear1.weight',
        'ground_encoder.encoder.time_embed.te',
        'ground_decoder.decoder.layers.0.sa_qtime_proj.bias',
        'ground_decoder.template_generator.anchor_proj.weight',
        'ground_decoder.temp_decoder.norm.bias',
        'temp_embed.layers.0.weight',
        'action_embed.layers.1.bias',
    ),
    faster_rcnn=(
        'rpn_head.rpn_conv.weight',
        'roi_head.bbox_head.fc_cls.bias',
        'roi_head.bbox_head.shared_fcs.0.weight',
    ),
    mm_grounding_dino=(
        'level_embed',
        'query_embedding.weight',
        'memory_trans_fc.weight',
        'memory_trans_norm.bias',
        'dn_query_generator.label_embedding.weight',
        'encoder.fusion_layers.0.gamma_v',
        'decoder.layers.0.cross_attn_text.attn.in_proj_weight',
        'bbox_head.cls_branches.6.bias',
    ),
)


def rest(kind):
    return dict.fromkeys(REST[kind], (WIDTH,))


def _towers(kind, body, text, resized):
    return {
        **resnet(body),
        **bert(text),
        f'{text}embeddings.position_ids': (1, POSITIONS),
        **resizer(resized),
        **input_projection(),
        **rest(kind),
    }


def mdetr(kind='mdetr'):
    prefix = 'transformer.'
    return _towers(
        kind, 'backbone.0.body.', f'{prefix}text_encoder.', f'{prefix}resizer'
    )


def tubedetr():
    return mdetr('tubedetr')


def stcat():
    names = 'vis_encoder.0.body.', 'text_encoder.body.', 'text_encoder.resizer'
    return _towers('stcat', *names)


def fpn(channels, outputs, num_outs, width=WIDTH):
    """An FPN of mmdet; levels beyond the laterals are strided convs."""
    shapes = {}
    for level, inputs in enumerate(channels):
        name = f'neck.lateral_convs.{level}.conv'
        shapes[f'{name}.weight'] = (width, inputs, 1, 1)
        shapes[f'{name}.bias'] = (width,)
    for level in range(num_outs):
        name = f'neck.fpn_convs.{level}.conv'
        shapes[f'{name}.weight'] = (width, outputs, 3, 3)
        shapes[f'{name}.bias'] = (width,)
    return shapes


def channel_mapper(channels, extra, width=WIDTH):
    """A ChannelMapper of mmdet, biases and group norm, extra levels."""
    shapes = {}
    for level, inputs in enumerate(channels):
        shapes[f'neck.convs.{level}.conv.weight'] = (width, inputs, 1, 1)
        shapes[f'neck.convs.{level}.conv.bias'] = (width,)
        shapes.update(layer_norm(f'neck.convs.{level}.gn', width))
    for level in range(extra):
        inputs = width if level else channels[-1]
        name = f'neck.extra_convs.{level}'
        shapes[f'{name}.conv.weight'] = (width, inputs, 3, 3)
        shapes[f'{name}.conv.bias'] = (width,)
        shapes.update(layer_norm(f'{name}.gn', width))
    return shapes


def faster_rcnn():
    """Faster R-CNN of mmdet 3 on ResNet-101 and FPN."""
    return {
        **resnet('backbone.', counted=True),
        **fpn([4 * BASE, 8 * BASE, 16 * BASE, 32 * BASE], WIDTH, 4),
        **rest('faster_rcnn'),
    }


def mm_grounding_dino():
    """MM-Grounding-DINO with a ResNet-101 and BERT-base."""
    return {
        **resnet('backbone.', counted=True),
        **channel_mapper([8 * BASE, 16 * BASE, 32 * BASE], 1),
        **bert(
            'language_model.language_backbone.body.model.',
            pooler=False,
            kinds=2,
            words=WORDS - 1,
        ),
        **linear('text_feat_map', TEXT, WIDTH),
        **rest('mm_grounding_dino'),
    }
