"""Checkpoints of others and HEROs of the same widths, all tiny."""

import copy
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from made_tokenizer import save_tokenizer
from mmengine.config import Config
from mmengine.registry import init_default_scope

from hero_mm.pretrained.sources import Source


@pytest.fixture
def host_loaders(monkeypatch):
    """Loaders of MMEngine, which come back after the test."""
    from mmengine.runner import checkpoint

    loader = checkpoint.CheckpointLoader
    monkeypatch.setattr(loader, '_schemes', dict(loader._schemes))
    load = loader.__dict__['load_checkpoint']
    monkeypatch.setattr(loader, 'load_checkpoint', load)
    for name in ('load_state_dict', '_load_checkpoint_with_prefix'):
        monkeypatch.setattr(checkpoint, name, getattr(checkpoint, name))


@pytest.fixture(scope='session')
def layouts() -> ModuleType:
    """The makers of checkpoints in ``layouts.py``."""
    path = Path(__file__).with_name('layouts.py')
    spec = importlib.util.spec_from_file_location('layouts', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='session')
def source(layouts):
    """Function: weights as read from a file of this name."""

    def make(kind, shapes=None, **entries) -> Source:
        shapes = getattr(layouts, kind)() if shapes is None else shapes
        weights = layouts.fill({**shapes, **entries})
        return Source(f'{kind}.pth', weights, 'model', [], [])

    return make


@pytest.fixture(scope='session')
def language_model(tmp_path_factory, layouts):
    """Function: folder of a tiny RoBERTa or BERT without weights."""
    transformers = pytest.importorskip('transformers')
    made = {}

    def make(kind: str = 'roberta') -> str:
        if kind in made:
            return made[kind]
        folder = str(tmp_path_factory.mktemp(kind))
        roberta = kind == 'roberta'
        words = ['<unk>', '<pad>', 'cup']
        save_tokenizer(folder, words, unk_token='<unk>', pad_token='<pad>')
        config = 'RobertaConfig' if roberta else 'BertConfig'
        getattr(transformers, config)(
            vocab_size=layouts.WORDS - (not roberta),
            hidden_size=layouts.TEXT,
            num_hidden_layers=12,
            num_attention_heads=2,
            intermediate_size=2 * layouts.TEXT,
            max_position_embeddings=layouts.POSITIONS,
            type_vocab_size=1 if roberta else 2,
            pad_token_id=1,
        ).save_pretrained(folder)
        return made.setdefault(kind, folder)

    return make


def resnet(**changes) -> dict:
    """ResNet-101 of mmdet at the widths of ``layouts.resnet``."""
    config = dict(
        type='mmdet.ResNet',
        depth=101,
        base_channels=2,
        stem_channels=2,
        out_indices=(2, 3),
    )
    return {**config, **changes}


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
    none=None,
)


@pytest.fixture(scope='session')
def hero_config(language_model):
    """Function: config of a HERO that shares parts with ``layouts``."""

    def make(
        neck='fpn', text='roberta', embed_dims=4, finer=(), **backbone
    ) -> dict:
        encoder = dict(
            type='VideoEncoder',
            embed_dims=embed_dims,
            backbone=resnet(**backbone),
            neck=copy.deepcopy(NECKS[neck]),
            finer_levels=finer,
        )
        words = dict(
            type='HFTextEncoder',
            embed_dims=embed_dims,
            name=language_model(text),
            pretrained=False,
        )
        if neck != 'none':
            encoder['neck']['out_channels'] = embed_dims
        generator = dict(type='ObjectProposals', embed_dims=embed_dims)
        regions = dict(
            type='RegionEncoder', embed_dims=embed_dims, num_heads=2
        )
        head = dict(type='TubeHead', embed_dims=embed_dims)
        return dict(
            type='HERO',
            video_encoder=encoder,
            text_encoder=words,
            proposal_generator=generator,
            region_encoder=regions,
            tube_head=head,
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
def config_file(hero_config, tmp_path_factory):
    """Path of a config with the tiny HERO with an FPN and RoBERTa."""
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    Config(dict(default_scope='hero_mm', model=hero_config())).dump(path)
    return str(path)
