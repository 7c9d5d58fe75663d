"""Checkpoints in the layouts of others, at their true names, tiny inside.

The names are those of the published architectures: ResNet-101 without its
classifier, its norms frozen (four tensors, no count of batches), RoBERTa-base
with twelve layers, six layers of encoder and decoder. Widths are a few.
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


def attention(name, width=WIDTH):
    return {
        f'{name}.in_proj_weight': (3 * width, width),
        f'{name}.in_proj_bias': (3 * width,),
        **linear(f'{name}.out_proj', width, width),
    }


def transformer_layer(name, attentions, norms):
    shapes = {}
    for part in attentions:
        shapes.update(attention(f'{name}.{part}'))
    shapes.update(linear(f'{name}.linear1', WIDTH, 2 * WIDTH))
    shapes.update(linear(f'{name}.linear2', 2 * WIDTH, WIDTH))
    for number in norms:
        shapes.update(layer_norm(f'{name}.norm{number}', WIDTH))
    return shapes


def mlp(name, outputs, layers, inputs=WIDTH):
    shapes = {}
    for layer in range(layers):
        last = layer == layers - 1
        shapes.update(
            linear(
                f'{name}.layers.{layer}',
                WIDTH if layer else inputs,
                outputs if last else WIDTH,
            )
        )
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


def _detr():
    """What MDETR and TubeDETR have in common."""
    shapes = {}
    for layer in range(6):
        shapes.update(
            transformer_layer(
                f'transformer.encoder.layers.{layer}', ('self_attn',), (1, 2)
            )
        )
        shapes.update(
            transformer_layer(
                f'transformer.decoder.layers.{layer}',
                ('self_attn', 'cross_attn_image'),
                (1, 3, 4),
            )
        )
    return {
        **shapes,
        **layer_norm('transformer.decoder.norm', WIDTH),
        **bert('transformer.text_encoder.'),
        'transformer.text_encoder.embeddings.position_ids': (1, POSITIONS),
        **resizer('transformer.resizer'),
        **mlp('bbox_embed', 4, 3),
        **input_projection(),
        **resnet('backbone.0.body.'),
    }


def mdetr():
    return {
        **_detr(),
        'query_embed.weight': (100, WIDTH),
        **linear('class_embed', WIDTH, 256),
        **linear('contrastive_align_projection_image', WIDTH, 64),
        **linear('contrastive_align_projection_text', WIDTH, 64),
    }


def tubedetr():
    return {
        **_detr(),
        'query_embed.weight': (1, WIDTH),
        'transformer.time_embed.te': (200, 1, WIDTH),
        **linear('transformer.fast_encoder', WIDTH, WIDTH),
        **linear('transformer.fast_residual', WIDTH, WIDTH),
        **mlp('sted_embed', 2, 2),
    }


def _stcat_decoder():
    shapes = {}
    for layer in range(6):
        name = f'ground_decoder.decoder.layers.{layer}'
        shapes.update(transformer_layer(name, ('self_attn',), (1, 3, 4)))
        for part in (
            *(f'sa_{p}_proj' for p in ('qcontent', 'qpos', 'qtime')),
            *(f'sa_{p}_proj' for p in ('kcontent', 'kpos', 'ktime', 'v')),
            *(f'ca_{p}_proj' for p in ('qcontent', 'kcontent', 'kpos')),
            *(f'ca_{p}_proj' for p in ('qtime', 'v', 'qpos_sine')),
            # Only the first layer keeps the projection of the anchor.
            *(('ca_qpos_proj',) if layer == 0 else ()),
        ):
            shapes.update(linear(f'{name}.{part}', WIDTH, WIDTH))
        shapes.update(linear(f'{name}.cross_attn.out_proj', WIDTH, WIDTH))
        shapes.update(
            transformer_layer(
                f'ground_decoder.temp_decoder.layers.{layer}',
                ('self_attn', 'cross_attn_image'),
                (1, 3, 4),
            )
        )
    shapes.update(mlp('ground_decoder.decoder.query_scale', WIDTH, 2))
    # It gets the sines of a box, half as many a side.
    shapes.update(
        mlp('ground_decoder.decoder.ref_point_head', WIDTH, 2, 2 * WIDTH)
    )
    for name in ('decoder', 'temp_decoder'):
        shapes.update(layer_norm(f'ground_decoder.{name}.norm', WIDTH))
    for name in ('content', 'gamma', 'beta', 'anchor'):
        shapes.update(
            linear(
                f'ground_decoder.template_generator.{name}_proj',
                WIDTH,
                4 if name == 'anchor' else WIDTH,
            )
        )
    # The box head is shared with the decoder and stored twice.
    shapes.update(mlp('ground_decoder.decoder.bbox_embed', 4, 3))
    shapes['ground_decoder.time_embed.te'] = (201, 1, WIDTH)
    return shapes


def stcat():
    shapes = {}
    for layer in range(6):
        for kind in ('spatial_layers', 'temporal_layers'):
            shapes.update(
                transformer_layer(
                    f'ground_encoder.encoder.{kind}.{layer}',
                    ('self_attn',),
                    (1, 2),
                )
            )
    for name in ('local_pos_embed', 'frame_cls', 'video_cls'):
        shapes[f'ground_encoder.encoder.{name}.weight'] = (1, WIDTH)
    shapes['ground_encoder.encoder.time_embed.te'] = (201, 1, WIDTH)
    return {
        **resnet('vis_encoder.0.body.'),
        **bert('text_encoder.body.'),
        'text_encoder.body.embeddings.position_ids': (1, POSITIONS),
        **resizer('text_encoder.resizer'),
        **shapes,
        **linear('ground_encoder.fusion', WIDTH, WIDTH),
        **_stcat_decoder(),
        **input_projection(),
        **mlp('temp_embed', 2, 2),
        **mlp('bbox_embed', 4, 3),
        **mlp('action_embed', 1, 2),
    }


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


def faster_rcnn():
    """Faster R-CNN of mmdet 3 on ResNet-101 and FPN."""
    return {
        **resnet('backbone.', counted=True),
        **fpn([4 * BASE, 8 * BASE, 16 * BASE, 32 * BASE], WIDTH, 4),
        'rpn_head.rpn_conv.weight': (WIDTH, WIDTH, 3, 3),
        'rpn_head.rpn_conv.bias': (WIDTH,),
        'rpn_head.rpn_cls.weight': (3, WIDTH, 1, 1),
        'rpn_head.rpn_cls.bias': (3,),
        'rpn_head.rpn_reg.weight': (12, WIDTH, 1, 1),
        'rpn_head.rpn_reg.bias': (12,),
        **linear('roi_head.bbox_head.fc_cls', WIDTH, 81),
        **linear('roi_head.bbox_head.fc_reg', WIDTH, 320),
        **linear('roi_head.bbox_head.shared_fcs.0', 49 * WIDTH, WIDTH),
        **linear('roi_head.bbox_head.shared_fcs.1', WIDTH, WIDTH),
    }


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


DEFORMABLE = ('attention_weights', 'output_proj', 'sampling_offsets')
FUSION = ('v_proj', 'l_proj', 'values_v_proj', 'values_l_proj')


def _dino_layer(name, deformable=None, attentions=(), norms=2):
    """A layer of mmdet's DETR kin; all linear layers are square here."""
    shapes = {}
    if deformable:
        for part in (*DEFORMABLE, 'value_proj'):
            shapes.update(linear(f'{name}.{deformable}.{part}', WIDTH, WIDTH))
    for part in attentions:
        shapes.update(attention(f'{name}.{part}.attn'))
    for part in ('ffn.layers.0.0', 'ffn.layers.1'):
        shapes.update(linear(f'{name}.{part}', WIDTH, WIDTH))
    for number in range(norms):
        shapes.update(layer_norm(f'{name}.norms.{number}', WIDTH))
    return shapes


def _dino_layers():
    shapes = {}
    for layer in range(6):
        fusion = f'encoder.fusion_layers.{layer}'
        for part in (*FUSION, 'out_v_proj', 'out_l_proj'):
            shapes.update(linear(f'{fusion}.attn.{part}', WIDTH, WIDTH))
        for part in 'vl':
            shapes.update(layer_norm(f'{fusion}.layer_norm_{part}', WIDTH))
            shapes[f'{fusion}.gamma_{part}'] = (WIDTH,)
        shapes.update(_dino_layer(f'encoder.layers.{layer}', 'self_attn'))
        shapes.update(
            _dino_layer(f'encoder.text_layers.{layer}', None, ('self_attn',))
        )
        shapes.update(
            _dino_layer(
                f'decoder.layers.{layer}',
                'cross_attn',
                ('self_attn', 'cross_attn_text'),
                norms=4,
            )
        )
    # The seventh branch is that of the encoder.
    for layer in range(7):
        shapes[f'bbox_head.cls_branches.{layer}.bias'] = (1,)
        for part in (0, 2, 4):
            shapes.update(
                linear(f'bbox_head.reg_branches.{layer}.{part}', WIDTH, WIDTH)
            )
    return shapes


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
        'level_embed': (4, WIDTH),
        'query_embedding.weight': (900, WIDTH),
        **linear('memory_trans_fc', WIDTH, WIDTH),
        **layer_norm('memory_trans_norm', WIDTH),
        'dn_query_generator.label_embedding.weight': (256, WIDTH),
        **_dino_layers(),
        **mlp('decoder.ref_point_head', WIDTH, 2, 2 * WIDTH),
        **layer_norm('decoder.norm', WIDTH),
    }
