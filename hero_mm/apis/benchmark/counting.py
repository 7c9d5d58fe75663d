"""Operations and memory by part, counted from shapes alone.

Beside them stands the arithmetic of TubeDETR (arXiv 2203.16434) behind its
backbone, which sees a clip once a sentence.

Shape legend: T frames, K every k-th of them, P cells of a frame and words, D
width.
"""

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Union

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from hero_mm.apis.complexity import (
    ONCE,
    count_parameters,
    count_parts,
    flops_of,
    kept_bytes,
    to_meta,
    words_given,
    words_on_meta,
)
from hero_mm.apis.random_clips import WORDS, config_without_data, make_item
from hero_mm.datasets.transforms import ResizeClip
from hero_mm.evaluation.functional import sampled_grid
from hero_mm.registry import MODELS

from .timing import Rows, time_of

# Of which memory is counted: frames, (width, height), sentences.
CLIPS = (
    (64, (469, 352), 1),
    (64, (469, 352), 8),
    (64, (747, 420), 1),
    (64, (747, 420), 8),
    (128, (747, 420), 8),
    (200, (626, 352), 1),
    (200, (626, 352), 8),
)
# Of which growth is counted, and in pictures of how many pixels a side.
FRAMES, REGIONS, SIDE = (32, 64, 128, 256, 512), (64, 128, 256), 160
# Most frames of TubeDETR, of five a second; its picture sizes.
MOST_FRAMES = 200
SHORT, LONG = 352, 587
# Frames from one to the next of TubeDETR's slow branch.
EVERY = 4
# What a scout saves.
TOWER = ('backbone', 'pyramid')
# A training step draws how many frames the reasoning leaves out.
ALL = {'model.retrieval.train_prob': 0.0}
HALF = {
    'model.retrieval.train_prob': 1.0,
    'model.retrieval.train_ratios': (0.5,),
}


class TubeDETRLayers(nn.Module):
    """The arithmetic of TubeDETR behind its backbone, for one sentence.

    Six encoder layers over the cells and words of every fourth frame, a fast
    branch over all frames, and six decoder layers with a query a frame, which
    sees the other queries and its own frame. Width 256.
    """

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(2048, 256, 1)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(
                256, 8, 2048, dropout=0.0, batch_first=True
            ),
            6,
        )
        self.fast = nn.Linear(256, 256)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                256, 8, 2048, dropout=0.0, batch_first=True
            )
            for _ in range(6)
        )
        self.head = nn.Linear(256, 6)

    def forward(self, maps: Tensor, words: Tensor) -> Tensor:
        """Maps (T, 2048, H, W) and words (1, L, D) to tubes (T, 6)."""
        cells = self.project(maps).flatten(2).mT
        some = cells[::EVERY]
        slow = torch.cat([some, words.expand(len(some), -1, -1)], 1)
        slow = self.encoder(slow).repeat_interleave(EVERY, 0)
        fast = self.fast(cells)
        seen = slow[: len(cells)] + nn.functional.pad(
            fast, (0, 0, 0, words.shape[1])
        )
        x = torch.zeros_like(seen[:, 0])[None]
        for one in self.layers:
            layer: Any = one
            x = layer.norm1(
                x + layer.self_attn(x, x, x, need_weights=False)[0]
            )
            # Each query asks its own frame.
            asks = x.transpose(0, 1)
            found = layer.multihead_attn(asks, seen, seen, need_weights=False)
            x = layer.norm2(x + found[0].transpose(0, 1))
            x = layer.norm3(x + layer.linear2(layer.linear1(x).relu()))
        return self.head(x)[0]

    @staticmethod
    def inputs(
        frames: int, size: Sequence[int], device: str = 'cpu'
    ) -> tuple[Tensor, Tensor]:
        """Features of a clip of some (width, height), and words."""
        width, height = (-(-side // 32) for side in size)
        maps = torch.rand(frames, 2048, height, width, device=device)
        return maps, torch.rand(1, len(WORDS.split()), 256, device=device)

    @classmethod
    def flops(cls, frames: int, size: Sequence[int]) -> int:
        """Operations for a clip of some (width, height)."""
        peer = cls().requires_grad_(False).to('meta')
        inputs = peer.inputs(frames, size, 'meta')
        return flops_of(lambda: peer(*inputs))


class Shapes:
    """A model on the device 'meta'; its sentences have one length.

    ``text_flops`` and ``text_kept`` are the operations of the text encoder
    for a sentence, and the bytes that it keeps for its gradients. With
    ``training`` the model keeps what gradients need.
    """

    def __init__(
        self,
        config: Union[str, Path],
        options: Any = None,
        training: bool = False,
    ) -> None:
        cfg = config_without_data(config, options)
        self.model: Any = MODELS.build(cfg.model).train(training)
        encoder, text = self.model.text_encoder, [WORDS]
        self.text_kept = kept_bytes(lambda: encoder(text), encoder)
        self.model.requires_grad_(training)
        self.text_flops = flops_of(lambda: encoder(text))
        with torch.no_grad():
            self._words = words_on_meta(encoder(text))
        self.model.to('meta')

    def words(self, queries: int) -> Any:
        """What the text encoder gives for some sentences."""
        rows: Any = torch.zeros(queries, dtype=torch.long)
        return self._words.select(rows)

    def batch(
        self, frames: int, size: Sequence[int], queries: int = 1
    ) -> dict[str, Any]:
        """A clip of frames of some (width, height), without pixels."""
        item = make_item(frames, (32, 32), queries, 0)
        # That of the model would look at pixels.
        preprocess = MODELS.build(dict(type='GroundingDataPreprocessor'))
        data = to_meta(preprocess(pseudo_collate([item]), False))
        divisor = getattr(self.model.data_preprocessor, 'pad_size_divisor', 1)
        width, height = (-(-side // divisor) * divisor for side in size)
        data['inputs'].update(
            imgs=torch.empty(1, frames, 3, height, width, device='meta'),
            pixel_mask=torch.ones(1, height, width, device='meta').bool(),
            extents=[(frames, size[1], size[0])],
        )
        return data

    def count(
        self, frames: int, size: Sequence[int], queries: int = 1
    ) -> dict[str, int]:
        """Operations by part, as :func:`count_flops`."""
        data = self.batch(frames, size, queries)
        counts = count_parts(self.model, self.words(queries), **data)
        return {**counts, 'text encoder': queries * self.text_flops}

    def kept(self, frames: int, size: Sequence[int], queries: int) -> int:
        """Bytes that a training step keeps for its gradients."""
        step = partial(
            self.model, **self.batch(frames, size, queries), mode='loss'
        )
        with words_given(self.model, self.words(queries)):
            return kept_bytes(step, self.model) + queries * self.text_kept


def _behind(counts: dict[str, int]) -> int:
    """Operations behind backbone and pyramid, but for the text encoder."""
    left_out = ('scout', 'backbone', 'pyramid', 'text encoder')
    return sum(v for k, v in counts.items() if k not in left_out)


def parts_rows(args: Namespace) -> Rows:
    """Operations by part, for one sentence and for five."""
    shapes = Shapes(args.config, args.cfg_options)
    one, five = (shapes.count(args.frames, args.size, k) for k in (1, 5))
    peer = TubeDETRLayers.flops(args.frames, args.size)
    pairs = {name: (one[name], five[name]) for name in one}
    pairs['behind the pyramid'] = (_behind(one), _behind(five))
    pairs["TubeDETR's layers"] = (peer, 5 * peer)
    rows = [['GFLOPs', 'one sentence', 'five']]
    for name, pair in pairs.items():
        rows.append([name, *(f'{flops / 1e9:.1f}' for flops in pair)])
    return rows


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The power of a size that a cost grows with, fitted over logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def growth_rows(args: Namespace) -> Rows:
    """How what is behind the pyramid grows with frames and regions."""
    options, size = args.cfg_options or {}, (SIDE, SIDE)
    shapes = Shapes(args.config, options)
    by_frames = [_behind(shapes.count(n, size)) for n in FRAMES]
    names = [
        *('model.max_regions', 'model.linker.num_slots'),
        'model.proposal_generator.num_proposals',
    ]
    by_regions = []
    for number in REGIONS:
        more = Shapes(args.config, {**options, **dict.fromkeys(names, number)})
        by_regions.append(_behind(more.count(32, size)))
    rows = [['what', 'from', 'to', 'GFLOPs', 'exponent']]
    for name, sizes, costs in (
        ('frames', FRAMES, by_frames),
        ('regions', REGIONS, by_regions),
    ):
        flops = ' '.join(f'{cost / 1e9:.1f}' for cost in costs)
        fitted = f'{exponent(sizes, costs):.2f}'
        rows.append([name, str(sizes[0]), str(sizes[-1]), flops, fitted])
    return rows


def memory_rows(args: Namespace) -> Rows:
    """What a training step keeps, by frames, size and sentences."""
    options = {**ALL, **(args.cfg_options or {})}
    shapes = Shapes(args.config, options, training=True)
    counts = count_parameters(shapes.model).values()
    # The gradient and the two moments of AdamW.
    state = sum(4 * whole + 12 * trained for whole, trained in counts)
    rows = [['frames', 'size', 'sentences', 'kept', 'with weights']]
    for frames, size, queries in CLIPS:
        kept = shapes.kept(frames, size, queries)
        sizes = [f'{n / 1e9:.1f} GB' for n in (kept, kept + state)]
        rows.append(
            [str(frames), f'{size[0]} x {size[1]}', str(queries), *sizes]
        )
    return rows


def training_rows(args: Namespace) -> Rows:
    """Training and inference behind pyramid or backbone, beside TubeDETR's."""
    peer = TubeDETRLayers()
    inputs = peer.inputs(args.frames, args.size)
    # Behind both a backbone learns.
    inputs[0].requires_grad_()
    rows = [['what', 'MB kept', 's, training', 's, inference', 'ratio']]
    base = 0.0

    def add(name: str, module: Any, loss: Any, answer: Any) -> None:
        nonlocal base
        kept = kept_bytes(loss, module)
        step = time_of(lambda: loss().backward(), args.repeat)
        with torch.no_grad():
            passed = time_of(answer, args.repeat)
        base = base or step
        cells = [f'{kept / 1e6:.0f}', f'{step:.2f}', f'{passed:.2f}']
        rows.append([name, *cells, f'{step / base:.2f}'])

    name = "TubeDETR's layers, one sentence"
    add(name, peer, lambda: peer(*inputs).sum(), lambda: peer(*inputs))
    for name, queries, options in (
        ('clip and one sentence', 1, ALL),
        ('the same, half of the frames', 1, HALF),
        ('clip and five', 5, ALL),
    ):
        model, data = _behind_the_pyramid(args, queries, options)

        def loss(model: Any = model, data: Any = data) -> Tensor:
            return model.parse_losses(model.train()(**data, mode='loss'))[0]

        def answer(model: Any = model, data: Any = data) -> None:
            model.eval()(**data, mode='predict')

        add(name, model, loss, answer)
    return rows


def _behind_the_pyramid(
    args: Namespace, queries: int, options: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """A model to which pyramid and words are given, and a batch for it."""
    size = tuple(args.size)
    torch.manual_seed(0)
    options = {**options, **(args.cfg_options or {})}
    model = MODELS.build(config_without_data(args.config, options).model)
    item = make_item(args.frames, size, queries, 0)
    data = model.data_preprocessor(pseudo_collate([item]), True)
    with torch.no_grad():
        one = model.video_encoder(
            data['inputs']['imgs'][:, :1],
            data['inputs']['frame_mask'][:, :1],
            data['inputs']['pixel_mask'],
        )
        text = model.text_encoder(item['data_samples'].queries.texts)
    # Channels last, as the encoder gives them.
    levels = tuple(
        torch.rand(1, args.frames, *level.shape[3:], level.shape[2])
        .permute(0, 1, 4, 2, 3)
        .requires_grad_()
        for level in one.levels
    )
    one.levels, one.frame_mask_BT = levels, data['inputs']['frame_mask']
    picture = one.picture_BT3HW
    one.picture_BT3HW = picture.repeat(1, args.frames, 1, 1, 1)
    model.encode = lambda *_: one
    # For good: nobody else has this model.
    model.text_encoder.forward = lambda texts: text
    return model, data


def vidstg_rows(args: Namespace) -> Rows:
    """All of a split of VidSTG, at five frames a second and at most 200."""
    entries = json.loads(Path(args.vidstg).read_text(encoding='utf-8'))
    sentences: Counter = Counter()
    for entry in entries:
        span, size = entry['used_segment'], (entry['width'], entry['height'])
        segment = span['begin_fid'], span['end_fid']
        sentences[entry['vid'], segment, entry['fps'], size] += len(
            entry['captions']
        ) + len(entry['questions'])
    resize = ResizeClip(short_side=SHORT, max_long=LONG)
    clips: Counter = Counter()
    asked: Counter = Counter()
    for (_, segment, fps, size), number in sentences.items():
        frames = min(len(sampled_grid(segment, fps)), MOST_FRAMES)
        width, height = (-(-s // 32) * 32 for s in resize._new_size(*size))
        clips[frames, (width, height)] += 1
        asked[frames, (width, height)] += number
    shapes = Shapes(args.config, args.cfg_options)
    text = shapes.text_flops
    # By grid, for a frame.
    once, first, behind = {}, {}, {}
    for grid in {grid for _, grid in clips}:
        counts = shapes.count(16, grid)
        once[grid] = {k: v / 16 for k, v in counts.items() if k in ONCE}
        behind[grid] = TubeDETRLayers.flops(64, grid) / 64
        # A scout goes through the first layers.
        first[grid] = flops_of(partial(_glance, shapes, grid)) / 16
    lengths = (16, 64, 128, 208)
    some = [shapes.count(n, (64, 64)) for n in lengths]
    said = [_behind(c) - c['rest of the clip'] for c in some]

    compared = some[0]['rest of the sentence'] / lengths[0]

    def total(keep: float) -> float:
        flops = 0.0
        for (frames, grid), number in clips.items():
            tower = sum(once[grid][name] for name in TOWER)
            clip = once[grid]['rest of the clip']
            kept = int(np.ceil(frames * keep))
            flops += number * (kept * tower + frames * clip)
            answer = float(np.interp(frames, lengths, said)) + text
            flops += asked[frames, grid] * answer
            if keep < 1:
                # The first layers and the action head see all frames.
                flops += number * frames * (first[grid] + clip)
                flops += asked[frames, grid] * frames * compared
        return flops

    backbone = whole = 0.0
    for (frames, grid), number in clips.items():
        each = frames * once[grid]['backbone']
        backbone += number * each
        # It encodes the frames of its slow branch twice.
        twice = each * (1 + 1 / EVERY)
        whole += asked[frames, grid] * (twice + frames * behind[grid] + text)
    rows = [['what', 'TFLOPs', 'share']]
    for name, flops in (
        ('a clip once a sentence, as TubeDETR', whole),
        ('the backbone, once a clip', backbone),
        ('HERO, all frames', total(1.0)),
        ('HERO, half of the frames behind a scout', total(0.5)),
    ):
        rows.append([name, f'{flops / 1e12:,.0f}', f'1/{whole / flops:.2f}'])
    frames = sum(number * count for (number, _), count in clips.items())
    head = f'{asked.total():,} sentences, {clips.total():,} clips'
    return [*rows, [head, f'{frames:,} frames', '–']]


def _glance(shapes: Shapes, size: tuple[int, int]) -> None:
    """What a scout does of the encoder, to 16 frames."""
    inputs = shapes.batch(16, size)['inputs']
    shapes.model.video_encoder.glance(**inputs)
