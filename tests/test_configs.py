"""Every config: it loads, and its model runs at a shrunk size on a CPU.

Data sets and pipelines are those of the config too, on videos of the embedded
benchmark, so that what fits together in a test does so in a training.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from made_tokenizer import ROBERTA, save_tokenizer
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.hub import get_config, get_model
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn
from zoo import shrink_tower
from zoo_detectors import small_detector
from zoo_language import save_language_model

from hero_mm.apis.complexity import count_flops
from hero_mm.apis.random_clips import make_item
from hero_mm.errors import run_tool
from hero_mm.registry import DATASETS, HOOKS, MODELS, VISUALIZERS

ROOT = Path(__file__).resolve().parent.parent
# The real ones. Those in configs/ itself, which users type, are a line each.
# What is never trained has its own test, test_proposals/test_zero_shot.py.
CONFIGS = sorted(
    path.name
    for path in (ROOT / 'configs/hero').glob('*.py')
    if 'zero-shot' not in path.name
)
TYPED = {
    re.search(r'hero/(.*)\'', path.read_text())[1]: path
    for path in (ROOT / 'configs').glob('*.py')
}
WORDS = ('the', 'red', 'circle', 'spins')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


@pytest.fixture(scope='module')
def language_model(tmp_path_factory):
    """Folder of a tiny RoBERTa with random weights and its tokenizer."""
    transformers = pytest.importorskip('transformers')
    folder = tmp_path_factory.mktemp('roberta')
    words = ['<s>', '<pad>', '</s>', '<unk>', *WORDS]
    save_tokenizer(folder, words, **ROBERTA)
    transformers.RobertaConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=80,
    ).save_pretrained(folder)
    return folder


def shrink_model(model, data, language_model):
    """A small model of the same make, in place."""
    text = model.text_encoder
    if text.type == 'HFTextEncoder':
        text.name, text.pretrained = str(language_model), False
    else:
        text.ann_file = str(data / 'train.json')
    # Of a detector that was not trained here.
    generator = model.proposal_generator
    generator.pop('checkpoint', None)
    if generator.pop('language_model', None):
        folder = language_model / 'bert'
        bert = save_language_model(folder, 'BERT', ' '.join(WORDS))
        generator.detector = small_detector('Grounding DINO', bert)
        generator.scale = 1.0
    if model.proposal_generator.type == 'ObjectProposals':
        # Untrained, it is sure of nothing.
        model.proposal_generator.min_score = 0.0
    if model.video_encoder.backbone.type != 'ShiftConvNet':
        shrink_tower(model.video_encoder)


def parts_of(dataset):
    """The data sets that one joins, or itself."""
    return dataset.get('datasets', [dataset])


def shrink_data(dataset, data):
    """Few frames of few pixels of the tiny benchmark, in place."""
    dataset.data_root = ''
    dataset.ann_file = str(data / f'{Path(dataset.ann_file).stem}.json')
    if not Path(dataset.ann_file).is_file():
        dataset.ann_file = str(data / 'train.json')
    dataset.data_prefix = dict(video=str(data / 'vidor/video'))
    for step in dataset.pipeline:
        if step.type == 'SampleClipFrames':
            name = 'max_frames' if step.get('mode') == 'fps' else 'num_frames'
            step[name] = 4
            if 'min_frames' in step:
                step.min_frames = 4
        elif step.type == 'ResizeClip':
            step.pop('scale', None)
            step.short_side, step.max_long = 64, 96


def call(dataset, name, folder):
    """Let the annotation of a data set say another name, in place."""
    path = Path(dataset.ann_file)
    content = json.loads(path.read_text())
    content['metainfo']['dataset'] = name
    shutil.copy(path.with_suffix('.tracks.npy'), folder)
    dataset.ann_file = str(folder / path.name)
    (folder / path.name).write_text(json.dumps(content))


# Small ones and a large one; the others differ in backbone and data.
QUICK = ('shiftconv', 'r101-roberta_8xb2-64f-10e_vidstg')
SOME_SLOW = [
    name
    if any(part in name for part in QUICK)
    else pytest.param(name, marks=pytest.mark.slow)
    for name in CONFIGS
]


@pytest.fixture(params=SOME_SLOW)
def cfg(request, shapes_data, language_model, tmp_path):
    cfg = Config.fromfile(ROOT / 'configs/hero' / request.param)
    if cfg.model.video_encoder.backbone.type.startswith('mmpretrain.'):
        pytest.importorskip('mmpretrain')
    init_default_scope(cfg.default_scope)
    shrink_model(cfg.model, shapes_data, language_model)
    for name in LOADERS:
        parts = parts_of(cfg[name].dataset)
        for part in parts:
            shrink_data(part, shapes_data)
        if len(parts) > 1:
            for part, metric in zip(parts, cfg.test_evaluator):
                folder = tmp_path / metric.dataset
                folder.mkdir(exist_ok=True)
                call(part, metric.dataset, folder)
    return cfg


@pytest.fixture
def model(cfg):
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def take(cfg, name, model):
    """The first and the last clip of a data set as a batch of the model."""
    dataset = DATASETS.build(cfg[name].dataset)
    batch = pseudo_collate([dataset[0], dataset[len(dataset) - 1]])
    training = name == 'train_dataloader'
    return dataset, model.data_preprocessor(batch, training)


@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_is_the_same_when_it_is_dumped(name, tmp_path):
    path = ROOT / 'configs/hero' / name
    cfg = Config.fromfile(path)
    cfg.dump(tmp_path / 'dumped.py')
    typed = TYPED.get(name, path)
    for other in (tmp_path / 'dumped.py', typed):
        assert Config.fromfile(other).to_dict() == cfg.to_dict()
    # The first lines say the command.
    head = path.read_text().split('_base_')[0].replace('\\\n#', '')
    command = f'python tools/train.py {typed.relative_to(ROOT)}'
    assert command in ' '.join(head.split())


@pytest.mark.skipif(
    not (ROOT / 'hero_mm/.mim').is_dir(),
    reason='this checkout was not installed: pip install -e .',
)
def test_configs_are_found_by_scope(tmp_path):
    """``hero_mm::hero/...``: as a base, and for the functions of the hub."""
    (name,) = (
        key for key, path in TYPED.items() if path.stem == 'hero_shapes'
    )
    expected = Config.fromfile(ROOT / 'configs/hero_shapes.py')
    found = get_config(f'hero_mm::hero/{name}')
    assert found.to_dict() == expected.to_dict()
    (tmp_path / 'own.py').write_text(
        f"_base_ = 'hero_mm::hero/{name}'\nmodel = dict(max_regions=5)\n"
    )
    own = Config.fromfile(tmp_path / 'own.py')
    assert own.model.max_regions == 5
    steps = own.train_dataloader.dataset.pipeline
    assert len(steps) == len(expected.train_dataloader.dataset.pipeline)
    model = get_model(f'hero_mm::hero/{name}')
    assert type(model).__name__ == 'HERO'
    assert model.max_regions == expected.model.max_regions


def test_loss(cfg, model):
    _, batch = take(cfg, 'train_dataloader', model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {name: p.clone() for name, p in model.named_parameters()}
    for _ in range(cfg.optim_wrapper.get('accumulative_counts', 1)):
        losses = model.train()(**batch, mode='loss')
        total, logged = model.parse_losses(losses)
        assert torch.isfinite(total) and len(logged) > 3
        wrapper.update_params(total)
    still = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and torch.equal(before[name], p)
    ]
    # A tiny batch may not use every bias, but each part learns.
    parts = {name.split('.')[0] for name in before}
    moved = {name.split('.')[0] for name in before if name not in still}
    assert moved == parts, still


@torch.no_grad()
def test_predict_and_tensor(cfg, model):
    dataset, batch = take(cfg, 'test_dataloader', model)
    model.eval()
    samples = model(**batch, mode='predict')
    evaluator = Evaluator(cfg.test_evaluator)
    evaluator.dataset_meta = dataset.metainfo
    evaluator.process(samples)
    scores = evaluator.evaluate(len(samples))
    # Each of several data sets has its own.
    for metric in evaluator.metrics:
        assert any(key.startswith(f'{metric.prefix}/') for key in scores)
    # What the best checkpoint is chosen by is what the metric tells.
    assert 0 <= scores[cfg.default_hooks.checkpoint.save_best] <= 1
    asked = sum(len(sample.queries.texts) for sample in samples)
    for sample in samples:
        start, end = sample.segment
        spans = sample.pred_queries.spans
        assert (spans[:, 0] >= start).all() and (spans[:, 1] <= end).all()
        assert torch.isfinite(sample.pred_queries.bboxes).all()
    output = model(**batch, mode='tensor')
    assert len(output.location_QTN) == asked


def test_learning_rates_reach_parameters(cfg, model):
    """A misspelt key would be passed over in silence."""
    keys = cfg.optim_wrapper.get('paramwise_cfg', {}).get('custom_keys', {})
    names = [name for name, _ in model.named_parameters()]
    for key in keys:
        # Only who replaces the proposals has a detector.
        if key != 'proposal_generator.detector':
            assert any(key in name for name in names), key
    # All that starts from weights takes smaller steps.
    if keys:
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        rates = {
            id(group['params'][0]): group['lr']
            for group in wrapper.optimizer.param_groups
        }
        rate = cfg.optim_wrapper.optimizer.lr
        for name, weight in model.named_parameters():
            started = {'backbone', 'language_model'} & set(name.split('.'))
            if weight.requires_grad:
                assert (rates[id(weight)] < rate) is bool(started), name


def test_a_trained_detector_takes_smaller_steps():
    path = ROOT / 'configs/_base_/schedules/grounding_10e.py'
    schedule = Config.fromfile(path).optim_wrapper
    model = nn.Module()
    model.proposal_generator = nn.Module()
    detector = dict(neck=nn.Linear(1, 1), backbone=nn.Linear(1, 1))
    model.proposal_generator.detector = nn.ModuleDict(detector)
    model.neck = nn.Linear(1, 1)
    wrapper = build_optim_wrapper(model, schedule)
    rates = [group['lr'] for group in wrapper.optimizer.param_groups]
    assert rates == pytest.approx([1e-5] * 4 + [1e-4] * 2)


def test_hooks_are_known_and_a_kill_leaves_a_checkpoint(cfg):
    for hook in [*cfg.default_hooks.values(), *cfg.get('custom_hooks', [])]:
        assert HOOKS.get(hook.type) is not None, hook
    # MMEngine removes the oldest checkpoint before it writes the next one.
    assert cfg.default_hooks.checkpoint.max_keep_ckpts >= 2
    assert VISUALIZERS.get(cfg.visualizer.type) is not None


# Config, converter, annotation files, and folder of the videos.
WITHOUT_DATA = [
    ('vidstg', 'vidstg', 'vidstg/{train,val}', 'vidor/video'),
    ('vidstg-hcstvg', 'vidstg', 'vidstg/{train,val}', 'vidor/video'),
    ('vidstg-hcstvg', 'hcstvg', 'hcstvg/{train,test}', 'hcstvg/video'),
    ('hcstvg', 'hcstvg', 'hcstvg/{train,test}', 'hcstvg/video'),
    ('hcstvg-v2', 'hcstvg', 'hcstvg-v2/{train,val}', 'hcstvg-v2/video'),
    (
        'vid-sentence',
        'vid_sentence',
        'vid_sentence/{train,val}',
        'ILSVRC/Data/VID',
    ),
]


@pytest.mark.parametrize(
    ('name', 'tool', 'files', 'videos'), WITHOUT_DATA, ids=lambda value: value
)
def test_training_without_data_says_what_is_missing(
    tmp_path, monkeypatch, capsys, load_tool, name, tool, files, videos
):
    monkeypatch.chdir(tmp_path)
    config = str(ROOT / f'configs/hero_{name}.py')
    monkeypatch.setattr(sys, 'argv', ['train.py', config])
    assert run_tool(load_tool('train').main) == 1
    text = capsys.readouterr().err
    assert 'Traceback' not in text
    # Of each file and folder a few.
    assert len(text.splitlines()) <= (25 if 'vidstg-' in name else 15)
    folder, splits = files.split('/')
    for split in splits.strip('{}').split(','):
        assert f'expected at: {tmp_path}/data/{folder}/{split}.json' in text
        assert f'--out data/{folder}/{split}.json' in text
    assert f'expected at: {tmp_path}/data/{videos}' in text
    assert f'tools/dataset_converters/{tool}.py' in text
    assert not (tmp_path / 'work_dirs').exists()


def test_the_sampling_is_that_of_the_field():
    """Frames, short side and protocol, of main configs and variants."""
    protocols = {
        'vidstg': 'tubedetr',
        'hcstvg': 'hcstvg',
        'hcstvg-v2': 'hcstvg',
        'vid-sentence': 'vid_sentence',
    }
    for name, protocol in protocols.items():
        main = Config.fromfile(ROOT / f'configs/hero_{name}.py')
        assert main.test_evaluator.protocol == protocol
        (path,) = (ROOT / 'configs').glob(f'hero_*_200f-*_{name}.py')
        assert f'{main.train_cfg.max_epochs}e_' in path.name
        dense = Config.fromfile(path)
        for loader in LOADERS:
            data = [cfg[loader].dataset for cfg in (main, dense)]
            first, *_, resize, _ = data[0].pipeline
            sample, *_, smaller, _ = data[1].pipeline
            is_long = name == 'vidstg' and loader != 'train_dataloader'
            assert first.get('max_frames', 64) == (200 if is_long else 64)
            assert (sample.get('max_frames') or sample.num_frames) == 200
            # The grid of the protocol; pictures have no frame rate.
            assert sample.get('fps') == (None if 'vid-' in name else 5)
            assert (resize.short_side, smaller.short_side) == (420, 352)
            # Videos of 16:9 keep it.
            for step in (resize, smaller):
                assert step.max_long >= round(step.short_side * 16 / 9)
            # All but how it is sampled, and the size of a batch, stays.
            assert data[0].ann_file == data[1].ann_file
        steps = {
            cfg.train_dataloader.batch_size
            * cfg.optim_wrapper.get('accumulative_counts', 1)
            for cfg in (main, dense)
        }
        assert len(steps) == 1


@pytest.mark.parametrize('name', CONFIGS)
def test_sizes_fit_each_other(name):
    """Windows are shifted, regions have slots, sizes are those read."""
    cfg = Config.fromfile(ROOT / 'configs/hero' / name)
    model = cfg.model
    frames = [
        step.get('max_frames') or step.num_frames
        for name in LOADERS
        for part in parts_of(cfg[name].dataset)
        for step in part.pipeline
        if step.type == 'SampleClipFrames'
    ]
    assert len(frames) >= 3
    for part in (model.neck, model.region_encoder):
        assert 2 <= part.temporal_window <= min(frames) // 2
    assert model.linker.num_slots >= model.max_regions
    assert model.neck.num_sizes == len(model.region_encoder.scales)
    widths = {
        part.embed_dims
        for part in model.values()
        if isinstance(part, dict) and 'embed_dims' in part
    }
    assert len(widths) == 1


def test_a_sentence_costs_little_beside_its_clip():
    """Reasoning and head of the large model: at most 40 GFLOPs."""
    cfg = Config.fromfile(ROOT / 'configs/hero_vidstg.py').model
    init_default_scope('hero_mm')
    cfg.text_encoder = dict(
        type='WordTextEncoder',
        embed_dims=cfg.neck.embed_dims,
        vocabulary=[' '.join(WORDS)],
    )
    # Whatever the size of the pictures.
    costs = count_flops(MODELS.build(cfg), [make_item(64, (64, 96), 1, 0)])
    assert 20e9 < costs['reasoning'] + costs['head'] < 40e9
