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


def fill(shapes, seed=0):
    """Random numbers of these shapes, each tensor of its own."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator)
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


def resnet(prefix='', blocks=RESNET101, base=BASE, counted=False):
    """A ResNet of bottlenecks in torchvision's names."""
    shapes = {f'{prefix}conv1.weight': (base, 3, 7, 7)}
    shapes.update(norm(f'{prefix}bn1', base, counted))
    inputs = base
    for stage, count in enumerate(blocks):
        planes = base * 2**stage
        for block in range(count):
            name = f'{prefix}layer{stage + 1}.{block}'
            sizes = ((planes, inputs, 1), (planes, planes, 3))
            sizes += ((planes * 4, planes, 1),)
            for place, (outputs, ins, kernel) in enumerate(sizes, 1):
                shapes[f'{name}.conv{place}.weight'] = (
                    outputs,
                    ins,
                    kernel,
                    kernel,
                )
                shapes.update(norm(f'{name}.bn{place}', outputs, counted))
            if block == 0:
                shapes[f'{name}.downsample.0.weight'] = (
                    planes * 4,
                    inputs,
                    1,
                    1,
                )
                shapes.update(
                    norm(f'{name}.downsample.1', planes * 4, counted)
                )
            inputs = planes * 4
    return shapes


def bert(prefix, layers=12, width=TEXT, pooler=True):
    """RoBERTa-base or BERT-base."""
    shapes = {
        f'{prefix}embeddings.word_embeddings.weight': (WORDS, width),
        f'{prefix}embeddings.position_embeddings.weight': (POSITIONS, width),
        f'{prefix}embeddings.token_type_embeddings.weight': (1, width),
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


def mlp(name, outputs, layers):
    shapes = {}
    for layer in range(layers):
        last = layer == layers - 1
        shapes.update(
            linear(f'{name}.layers.{layer}', WIDTH, outputs if last else WIDTH)
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
    for name in ('query_scale', 'ref_point_head'):
        shapes.update(mlp(f'ground_decoder.decoder.{name}', WIDTH, 2))
    for name in ('decoder', 'temp_decoder'):
        shapes.update(layer_norm(f'ground_decoder.{name}.norm', WIDTH))
    for name in ('content', 'gamma', 'beta', 'anchor'):
        shapes.update(
            linear(
                f'ground_decoder.template_generator.{name}_proj', WIDTH, WIDTH
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
        **fpn([8 * BASE, 16 * BASE, 32 * BASE, 64 * BASE][:4], WIDTH, 4),
        **linear('rpn_head.rpn_conv', WIDTH, WIDTH),
        **linear('rpn_head.rpn_cls', WIDTH, 3),
        **linear('roi_head.bbox_head.fc_cls', WIDTH, 81),
        'data_preprocessor.mean': (3, 1, 1),
        'data_preprocessor.std': (3, 1, 1),
    }


def channel_mapper(channels, extra, width=WIDTH):
    """A ChannelMapper of mmdet with group norm and extra levels."""
    shapes = {}
    for level, inputs in enumerate(channels):
        shapes[f'neck.convs.{level}.conv.weight'] = (width, inputs, 1, 1)
        shapes.update(layer_norm(f'neck.convs.{level}.gn', width))
    for level in range(extra):
        inputs = width if level else channels[-1]
        name = f'neck.extra_convs.{level}'
        shapes[f'{name}.conv.weight'] = (width, inputs, 3, 3)
        shapes.update(layer_norm(f'{name}.gn', width))
    return shapes


def mm_grounding_dino():
    """MM-Grounding-DINO with a ResNet-101 and BERT-base."""
    shapes = {
        **resnet('backbone.', counted=True),
        **channel_mapper([8 * BASE, 16 * BASE, 32 * BASE], 1),
        **bert('language_model.language_backbone.body.model.', pooler=False),
        **linear('text_feat_map', TEXT, WIDTH),
        'level_embed': (4, WIDTH),
        'query_embedding.weight': (900, WIDTH),
        **linear('memory_trans_fc', WIDTH, WIDTH),
        **layer_norm('memory_trans_norm', WIDTH),
        'dn_query_generator.label_embedding.weight': (256, WIDTH),
    }
    for layer in range(6):
        shapes.update(
            linear(
                f'encoder.layers.{layer}.self_attn.value_proj', WIDTH, WIDTH
            )
        )
        shapes.update(
            linear(f'encoder.fusion_layers.{layer}.attn.v_proj', WIDTH, WIDTH)
        )
        shapes.update(
            linear(
                f'decoder.layers.{layer}.cross_attn_text.attn', WIDTH, WIDTH
            )
        )
    for layer in range(7):
        shapes[f'bbox_head.cls_branches.{layer}.bias'] = (1,)
        shapes.update(
            linear(f'bbox_head.reg_branches.{layer}.0', WIDTH, WIDTH)
        )
    return shapes
