"""Checkpoints of others and HEROs of the same widths, all tiny."""

import pytest
import torch
from made_tokenizer import save_tokenizer
from mmengine.config import Config
from mmengine.registry import init_default_scope

from hero_mm.pretrained.conversion import Source

BACKBONE, NECK = 'video_encoder.backbone.', 'video_encoder.neck.'
LANGUAGE = 'text_encoder.language_model.'
PROJECTION = 'text_encoder.pooling.project.'
# Of each file what HERO shares: the beginning of a name, in HERO's words.
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
    mmdetection={
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
)
SHARED['tubedetr'] = SHARED['mdetr']
# What HERO does not share, or not always.
_DETR = {
    'bbox_embed.layers.0.weight': (4,),
    'input_proj.weight': (4, 64, 1, 1),
    'input_proj.bias': (4,),
}
_TUBES = {**_DETR, 'transformer.text_encoder.pooler.dense.weight': (8, 8)}
OTHERS = dict(
    mdetr={**_TUBES, 'class_embed.weight': (4,)},
    tubedetr={**_TUBES, 'transformer.time_embed.te': (4,)},
    stcat={**_DETR, 'ground_decoder.decoder.norm.weight': (4,)},
    mmdetection={
        'rpn_head.rpn_conv.weight': (4,),
        **{f'neck.lateral_convs.0.conv.{n}': (4,) for n in ('weight', 'bias')},
        **{f'neck.lateral_convs.1.conv.{n}': (4,) for n in ('weight', 'bias')},
    },
    mm_grounding_dino={'neck.convs.0.conv.weight': (4,), 'level_embed': (4,)},
)


@pytest.fixture
def host_loaders(monkeypatch):
    """Loaders of MMEngine, which come back after the test."""
    from mmengine.runner import checkpoint

    loader = checkpoint.CheckpointLoader
    monkeypatch.setattr(loader, '_schemes', dict(loader._schemes))
    load = loader.__dict__['load_checkpoint']
    monkeypatch.setattr(loader, 'load_checkpoint', load)
    own = checkpoint.load_state_dict
    monkeypatch.setattr(checkpoint, 'load_state_dict', own)


@pytest.fixture(scope='session')
def language_model(tmp_path_factory):
    """Function: folder of a tiny RoBERTa or BERT without weights."""
    transformers = pytest.importorskip('transformers')
    made = {}

    def make(kind: str = 'roberta') -> str:
        if kind in made:
            return made[kind]
        folder = str(tmp_path_factory.mktemp(kind))
        words = ['<unk>', '<pad>', 'cup']
        save_tokenizer(folder, words, unk_token='<unk>', pad_token='<pad>')
        roberta = kind == 'roberta'
        config = transformers.RobertaConfig if roberta else None
        (config or transformers.BertConfig)(
            vocab_size=40 - (not roberta),
            hidden_size=8,
            num_hidden_layers=12,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=80,
            type_vocab_size=1 if roberta else 2,
            pad_token_id=1,
        ).save_pretrained(folder)
        return made.setdefault(kind, folder)

    return make


NECKS = dict(
    fpn=dict(type='mmdet.FPN', num_outs=2),
    mapper=dict(
        type='mmdet.ChannelMapper',
        kernel_size=1,
        act_cfg=None,
        bias=True,
        norm_cfg=dict(type='GN', num_groups=2),
        num_outs=3,
    ),
)


@pytest.fixture(scope='session')
def hero_config(language_model):
    """Function: config of a HERO with a ResNet-101 of width 2."""

    def make(neck='fpn', text='roberta', embed_dims=4, **backbone) -> dict:
        encoder = dict(
            type='VideoEncoder',
            embed_dims=embed_dims,
            backbone=dict(
                type='mmdet.ResNet',
                depth=101,
                base_channels=2,
                stem_channels=2,
                out_indices=(2, 3),
            ),
            neck=None,
            finer_levels=(),
        )
        encoder['backbone'].update(backbone)
        if neck is not None:
            encoder['neck'] = dict(NECKS[neck], out_channels=embed_dims)
        words = dict(
            type='HFTextEncoder',
            embed_dims=embed_dims,
            name=language_model(text),
            pretrained=False,
        )
        regions = dict(
            type='RegionEncoder', embed_dims=embed_dims, num_heads=2
        )
        return dict(
            type='HERO',
            video_encoder=encoder,
            text_encoder=words,
            proposal_generator=dict(
                type='ObjectProposals', embed_dims=embed_dims
            ),
            region_encoder=regions,
            tube_head=dict(type='TubeHead', embed_dims=embed_dims),
        )

    return make


@pytest.fixture(scope='session')
def build(hero_config):
    """Function: the HERO of such a config."""
    from hero_mm.registry import MODELS

    def make(*args, **kwargs):
        init_default_scope('hero_mm')
        torch.manual_seed(0)
        return MODELS.build(hero_config(*args, **kwargs))

    return make


@pytest.fixture(scope='session')
def shapes_of(build):
    """Function: names and shapes of the HERO of such a config."""
    known = {}

    def make(*args, **kwargs):
        key = str((args, sorted(kwargs.items())))
        if key not in known:
            state = build(*args, **kwargs).state_dict()
            known[key] = {n: tuple(t.shape) for n, t in state.items()}
        return known[key]

    return make


@pytest.fixture(scope='session')
def source(shapes_of):
    """Function: a file of others, by the names of HERO's own parts.

    mmdet's ResNet has the names of torchvision's, HFTextEncoder those of
    transformers. The norms of MDETR and its heirs count no batches.
    """

    def make(kind, **entries) -> Source:
        dino = kind == 'mm_grounding_dino'
        model = shapes_of('mapper', 'bert') if dino else shapes_of()
        shapes = {
            theirs + name.removeprefix(ours): shape
            for name, shape in model.items()
            for theirs, ours in SHARED[kind].items()
            if name.startswith(ours)
        }
        if 'backbone.0.body.' in SHARED[kind] or kind == 'stcat':
            for name in list(shapes):
                if name.endswith('num_batches_tracked'):
                    del shapes[name]
        generator = torch.Generator().manual_seed(0)
        weights = {
            name: torch.randn(shape, generator=generator)
            for name, shape in {**shapes, **OTHERS[kind], **entries}.items()
        }
        return Source(f'{kind}.pth', weights, 'model')

    return make


@pytest.fixture(scope='session')
def pairs():
    """Function: from the names of a file to HERO's."""

    def make(kind, names):
        return {
            name: ours + name.removeprefix(theirs)
            for name in names
            for theirs, ours in SHARED[kind].items()
            if name.startswith(theirs) and name not in OTHERS[kind]
        }

    return make


@pytest.fixture(scope='session')
def config_file(hero_config, tmp_path_factory):
    """Path of a config with the tiny HERO with an FPN and RoBERTa."""
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    Config(dict(default_scope='hero_mm', model=hero_config())).dump(path)
    return str(path)
