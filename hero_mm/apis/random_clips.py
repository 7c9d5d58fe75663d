"""Models and clips without data, to count and to time what a model does.

A vocabulary stands in for that of an annotation file, and clips are random
pixels with sentences of random words.
"""

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from hero_mm.config import read_config
from hero_mm.errors import UserError
from hero_mm.structures import GroundingDataSample

WORDS = 'the small dog that runs beside a child jumps over it and barks'
PROPOSALS = 16


def config_without_data(
    path: Union[str, Path], options: Optional[Mapping[str, Any]] = None
) -> Config:
    """Read the config of a model that needs no data to be built.

    A vocabulary stands in where one would be read from data, and language
    models get random weights.
    """
    cfg = read_config(path, options)
    if cfg.get('model') is None:
        raise UserError(
            f"{path} has no 'model'; give a whole config, such as "
            'configs/hero_shapes.py'
        )
    init_default_scope(cfg.get('default_scope', 'hero_mm'))
    encoder: Any = cfg.model.get('text_encoder') or {}
    if encoder.get('ann_file') and not Path(encoder.ann_file).is_file():
        encoder.ann_file, encoder.vocabulary = None, [WORDS]
    if str(encoder.get('type')).endswith('HFTextEncoder'):
        # Weights change neither time nor counts.
        encoder.pretrained = False
        if encoder.get('name', 'roberta-base') == 'roberta-base':
            encoder.name = random_roberta()
    return cfg


@cache
def random_roberta() -> str:
    """A folder with the sizes of roberta-base, and a word for a sub-word.

    What costs as much as the real one is built without a download. The folder
    lasts as long as the process.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, RobertaConfig

    folder = tempfile.mkdtemp(prefix='hero_mm-roberta-')
    atexit.register(shutil.rmtree, folder, True)
    special = dict(bos='<s>', pad='<pad>', eos='</s>', unk='<unk>')
    words = dict.fromkeys([*special.values(), *WORDS.split()])
    tokenizer = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(words)}, '<unk>')
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{f'{name}_token': token for name, token in special.items()},
    ).save_pretrained(folder)
    RobertaConfig(
        vocab_size=50265, max_position_embeddings=514, type_vocab_size=1
    ).save_pretrained(folder)
    return folder


def make_item(
    frames: int, size: tuple[int, int], queries: int, seed: int
) -> dict[str, Any]:
    """A clip with sentences, tubes and proposals, as the pipeline packs it.

    ``inputs`` are (T, 3, H, W) uint8; ``size`` is (width, height).
    """
    rng = np.random.default_rng(seed)
    width, height = size
    sample = GroundingDataSample(
        metainfo=dict(
            video_id=str(seed),
            frame_inds=np.arange(frames),
            segment=(0, frames),
            fps=5.0,
            frame_count=frames,
            ori_shape=(height, width),
            img_shape=(height, width),
            crop_box=(0.0, 0.0, float(width), float(height)),
            flip=False,
            tracks_complete=True,
        )
    )
    words = WORDS.split()
    actions = [words[k % len(words)] for k in range(queries)]
    sample.queries = InstanceData(
        texts=[
            ' '.join(rng.choice(words, len(words))) for _ in range(queries)
        ],
        query_ids=[f'{seed}-{k}' for k in range(queries)],
        query_types=['declarative'] * queries,
        predicates=actions,
    )
    boxes = _boxes(rng, (queries, frames), size)
    half = max(frames // 2, 1)
    starts = rng.integers(0, half, queries)
    spans = torch.from_numpy(np.stack([starts, starts + half], -1))
    places = torch.arange(frames)
    valid = (places >= spans[:, :1]) & (places < spans[:, 1:])
    sample.gt_queries = InstanceData(
        spans=spans.float(),
        track_index=list(range(queries)),
        bboxes=boxes,
        valid=valid,
    )
    sample.gt_tracks = InstanceData(
        bboxes=boxes,
        valid=torch.ones_like(valid),
        predicates=[[action] for action in actions],
    )
    shape = (frames, PROPOSALS)
    sample.proposals = InstanceData(
        bboxes=_boxes(rng, shape, size),
        scores=torch.tensor(rng.uniform(0.1, 1, shape), dtype=torch.float32),
        valid=torch.ones(shape, dtype=torch.bool),
    )
    pixels = rng.integers(0, 255, (frames, 3, height, width), dtype=np.uint8)
    return dict(inputs=torch.from_numpy(pixels), data_samples=sample)


def _boxes(
    rng: np.random.Generator, shape: tuple[int, int], size: tuple[int, int]
) -> torch.Tensor:
    """Boxes within a picture of some (width, height), xyxy in pixels."""
    low = rng.uniform(0, 0.5, (*shape, 2)) * size
    boxes = np.concatenate([low, low + 0.3 * np.array(size)], -1)
    return torch.tensor(boxes, dtype=torch.float32)
