"""The rows of the table: what is built, tried and counted."""

import math
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional, Union

import torch
from mmengine.registry import DefaultScope
from torch import nn

from hero_mm.compat import package_folder
from hero_mm.registry import MODELS

from ..complexity import count_encoder_flops, count_flops, count_parameters
from ..random_clips import WORDS, make_item
from .generators import (
    DETECTORS,
    HEADS,
    WIDTH,
    save_small_bert,
    small_detector,
    small_head,
)
from .towers import (
    REFUSED,
    TOWERS,
    needed_packages,
    shrink_tower,
    variant_configs,
    variant_tower,
)

# The clip that small models are counted on.
FRAMES, SIZE, QUERIES = 5, (96, 64), 2
FULL_FRAMES, FULL_SIZE = 64, (224, 224)
KINDS = ('variant', 'tower', 'generator', 'refused')
OURS = dict(
    type='VideoEncoder',
    embed_dims=WIDTH,
    backbone=dict(
        type='ShiftConvNet',
        stem_channels=8,
        channels=(8, 16),
        num_blocks=(1, 1),
        out_indices=(0, 1),
        shift_div=4,
    ),
    finer_levels=(0,),
)


GENERATOR = dict(
    type='ObjectProposals',
    embed_dims=WIDTH,
    num_proposals=12,
    # Untrained, it is sure of nothing.
    min_score=0.0,
)


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        kind (str): One of :data:`KINDS`.
        name (str): What the row is called.
        parts (Callable): Gives the parts of a small :class:`HERO` that the
            row is about, by name. Called with a folder for files.
        config (Path, optional): The whole config of a variant.
        needs (tuple[str, ...]): Packages that the parts do not name.
    """

    kind: str
    name: str
    parts: Callable[[Path], dict[str, Any]]
    config: Optional[Path] = None
    needs: tuple[str, ...] = ()


@dataclass
class Result:
    """What is found of a row.

    Attributes:
        problem (str, optional): Why it does not run; None where it does.
        missing (bool): Whether the problem is a package that is not
            installed.
        refused (bool): Whether the problem is told in words.
        trained (bool): Whether a training step was done.
        predicted (bool): Whether it answered.
        encoder (nn.Module, optional): The small video encoder.
        parameters (int): Of the video encoder, or of the generator.
        flops (int): Of the video encoder for a clip; of a generator, of all
            that is done once a clip.
    """

    problem: Optional[str] = None
    missing: bool = False
    refused: bool = False
    trained: bool = False
    predicted: bool = False
    encoder: Any = None
    parameters: int = 0
    flops: int = 0


def is_as_it_should(row: Row, result: Result) -> bool:
    """Whether a row runs, or is refused where it shall be.

    Args:
        row (Row): What was tried.
        result (Result): What was found.
    """
    if result.missing:
        return True
    return result.refused if row.kind == 'refused' else result.problem is None


def all_rows(configs: Union[str, Path]) -> list[Row]:
    """Every row of the table.

    Args:
        configs (str | Path): The folder ``configs``.
    """
    rows = [
        Row('variant', path.stem, partial(_variant, path), path)
        for path in variant_configs(configs)
    ]
    rows += [
        Row('tower', name, partial(_tower, tower))
        for name, tower in TOWERS.items()
    ]
    rows += _generators()
    rows += [
        Row('refused', name, partial(_tower, tower))
        for name, tower in REFUSED.items()
    ]
    return rows


def _generators() -> Iterator[Row]:
    needs = ('mmcv', 'mmdet')
    for kind in HEADS:
        head = partial(_head, kind)
        yield Row('generator', f'head {kind}', head, needs=needs)
    for name in DETECTORS:
        more = ('transformers',) if 'Grounding' in name else ()
        detector = partial(_detector, name)
        yield Row('generator', name, detector, needs=(*needs, *more))
    yield Row('generator', 'files', _files)
    yield Row('generator', "HERO's own", _own)


def _files(folder: Path) -> dict[str, Any]:
    return dict(proposal_generator=dict(type='FileProposals'))


def _own(folder: Path) -> dict[str, Any]:
    return dict(proposal_generator=GENERATOR)


def _variant(path: Path, folder: Path) -> dict[str, Any]:
    tower = variant_tower(path)
    shrink_tower(tower)
    return _tower(tower, folder)


def _tower(tower: dict, folder: Path) -> dict[str, Any]:
    small = dict(tower, type='VideoEncoder', embed_dims=WIDTH)
    return dict(video_encoder=small)


def _head(kind: str, folder: Path) -> dict[str, Any]:
    return dict(
        proposal_generator=dict(
            type='DenseHeadProposals', head=small_head(kind), num_levels=2
        )
    )


def _detector(name: str, folder: Path) -> dict[str, Any]:
    bert = None
    if 'Grounding' in name:
        bert = save_small_bert(folder, WORDS)
    return dict(
        proposal_generator=dict(
            type='DetectorProposals',
            detector=small_detector(name, bert),
            # A prompted detector cannot learn.
            frozen=bert is not None,
        )
    )


def small_hero(**parts: Any) -> dict:
    """Config of a small HERO.

    Args:
        **parts: Of it, in place of its own.
    """
    config = dict(
        type='HERO',
        video_encoder=OURS,
        text_encoder=dict(
            type='WordTextEncoder',
            embed_dims=WIDTH,
            vocabulary=[WORDS],
            num_layers=1,
            num_heads=2,
        ),
        proposal_generator=GENERATOR,
        max_regions=6,
        linker=dict(type='RegionLinker', num_slots=6),
        region_encoder=dict(
            type='RegionEncoder',
            embed_dims=WIDTH,
            read_dims=8,
            num_heads=2,
            temporal_window=2,
        ),
        action_head=dict(
            type='ContrastiveActionHead', embed_dims=WIDTH, common_dims=8
        ),
        retrieval=dict(type='FrameRetrieval'),
        neck=dict(
            type='HierarchicalReasoningNeck',
            embed_dims=WIDTH,
            num_heads=2,
            num_layers=1,
            temporal_window=2,
        ),
        tube_head=dict(type='TubeHead', embed_dims=WIDTH),
        data_preprocessor=dict(
            type='GroundingDataPreprocessor', pad_size_divisor=8
        ),
    )
    return {**config, **parts}


def try_row(row: Row) -> Result:
    """Build a small model, train it for a step, ask it, count it.

    Args:
        row (Row): What to try.

    Returns:
        Result: Errors are caught and told.
    """
    result = Result()
    try:
        with tempfile.TemporaryDirectory() as folder:
            missing = _missing(row.needs)
            parts = {} if missing else row.parts(Path(folder))
            missing = missing or _missing(needed_packages(parts))
            if missing:
                result.problem = f'{", ".join(missing)} not installed'
                result.missing = True
                return result
            scope = DefaultScope.overwrite_default_scope('hero_mm')
            with scope, _one_thread():
                torch.manual_seed(0)
                model = MODELS.build(small_hero(**parts))
                model.init_weights()
                _try_model(row, model, result)
    except Exception as error:  # A row that fails is a row of the table.
        told = str(error).strip().partition('\n')[0]
        result.refused = isinstance(error, ValueError)
        if not result.refused:
            told = f'{type(error).__name__}: {told}'
        result.problem = told
    return result


@contextmanager
def _one_thread() -> Iterator[None]:
    """With more, oneDNN 3.12 of torch 2.13 writes past its memory.

    It does so in the backward pass of a 1 x 1 convolution with stride 2 of 8
    channels, which some of these small networks have.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _missing(packages: Iterable[str]) -> list[str]:
    return sorted({one for one in packages if package_folder(one) is None})


def _try_model(row: Row, model: Any, result: Result) -> None:
    """Train, ask and count an initialised model."""
    items = [
        make_item(FRAMES, SIZE, QUERIES, 0),
        make_item(3, (70, 61), 1, 1),
    ]
    model.train()
    data = model.data_preprocessor(_batch(items), True)
    total, _ = model.parse_losses(model(**data, mode='loss'))
    total.backward()
    # As the schedules do; some networks of random weights explode.
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    if not math.isfinite(total.item()):
        raise ValueError(f'the loss is {total.item()}')
    result.trained = True
    model.eval()
    with torch.no_grad():
        data = model.data_preprocessor(_batch(items), False)
        samples = model(**data, mode='predict')
    for sample in samples:
        if not sample.pred_queries.bboxes.isfinite().all():
            raise ValueError('a predicted box is not finite')
    result.predicted = True
    part = 'proposal_generator' if row.kind == 'generator' else 'video_encoder'
    flops = count_flops(model, items[:1])
    result.flops = flops['video encoder']
    if row.kind == 'generator':
        result.flops += flops['rest of the clip']
    result.parameters, _ = count_parameters(model).get(part, (0, 0))
    result.encoder = model.video_encoder


def _batch(items: list[dict]) -> dict[str, list]:
    """Collated; answers are written into copies of the samples."""
    return dict(
        inputs=[item['inputs'] for item in items],
        data_samples=[item['data_samples'].clone() for item in items],
    )


def count_variant(config: Path) -> tuple[int, int]:
    """Count the whole video encoder of a variant, of random weights.

    Args:
        config (Path): The file.

    Returns:
        tuple[int, int]: Parameters, and operations for a clip of
        :data:`FULL_FRAMES` frames of :data:`FULL_SIZE`.
    """
    with DefaultScope.overwrite_default_scope('hero_mm'):
        encoder = MODELS.build(variant_tower(config))
    parameters = sum(p.numel() for p in encoder.parameters())
    return parameters, count_encoder_flops(encoder, FULL_FRAMES, FULL_SIZE)
