r"""Say how well each part of a trained model does its own work.

Example::

    python tools/analysis_tools/diagnose.py configs/hero_shapes.py \
        work_dirs/hero_shapes --split test

Shape legend: Q sentences, T frames, N slots, M annotated objects.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Optional

import torch
from mmengine.config import DictAction
from torch import Tensor

from hero_mm.errors import explained, run_tool

with explained():
    from mmengine.runner import Runner

    from hero_mm.apis.checkpoint import find_checkpoint, load_weights
    from hero_mm.config import read_config
    from hero_mm.evaluation.functional.table import align_rows
    from hero_mm.models.losses import box_iou_pairs, pairwise_iou
    from hero_mm.models.regions import Regions
    from hero_mm.models.retrieval import best_frames
    from hero_mm.models.targets import Tracks
    from hero_mm.registry import MODELS
    from hero_mm.structures import to_original
    from hero_mm.utils import register_all_modules

SHARES = (0.75, 0.5, 0.25)


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Say how well each part of a trained model does its work'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint', help='checkpoint file, or a work dir: its best one'
    )
    parser.add_argument('--split', choices=('val', 'test'), default='val')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change the config',
    )
    return parser.parse_args(argv)


def follow(slots_TM: Tensor) -> dict[str, list[bool]]:
    """Whether each object keeps its slot from one time to the next."""
    kept: dict[str, list[bool]] = dict(links=[], gaps=[])
    for slots in slots_TM.t().tolist():
        last: Optional[int] = None
        for frame, slot in enumerate(slots):
            if slot < 0:
                continue
            if last is not None:
                kind = 'links' if frame == last + 1 else 'gaps'
                kept[kind].append(slots[last] == slot)
            last = frame
    return kept


def auc(scores_T: Tensor, inside_T: Tensor) -> Optional[float]:
    """Share of the pairs of a frame inside and one outside that are in order.

    None where the answer fills the clip, or none of its frames.
    """
    inside, outside = scores_T[inside_T], scores_T[~inside_T]
    if not len(inside) or not len(outside):
        return None
    apart = inside[:, None] - outside
    return ((apart > 0) + 0.5 * (apart == 0)).mean().item()


def measure_regions(
    values: dict[str, list], regions: Regions, samples: Sequence[Any]
) -> None:
    """Add objects that a slot shows, and slots that follow them."""
    tracks = Tracks.of(samples, regions.mask_BTN.shape[1])
    iou = pairwise_iou(regions.boxes_BTN4, tracks.boxes_BTM4)
    iou = iou.masked_fill(~regions.mask_BTN[..., None], 0.0)
    best, slot = iou.max(2)
    found = tracks.valid_BTM & (best >= 0.5)
    values['objects found'] += found[tracks.valid_BTM].tolist()
    for one in slot.masked_fill(~found, -1):
        kept = follow(one)
        values['links kept'] += kept['links']
        values['gaps kept'] += kept['gaps']


def measure_answers(values: dict[str, list], samples: Sequence[Any]) -> None:
    """Add action consistency against true spans, and boxes inside them."""
    for sample in samples:
        pred, truth = sample.pred_queries, sample.gt_queries
        scores_QT, inside_QT = pred.action_consistency, truth.valid
        for scores, inside in zip(scores_QT, inside_QT):
            value = auc(scores, inside)
            if value is not None:
                values['AUC of the action'].append(value)
        for share in SHARES:
            frames, _ = best_frames(
                scores_QT, torch.ones_like(inside_QT), share
            )
            kept = inside_QT.gather(1, frames).sum(1)
            kept = kept / inside_QT.sum(1).clamp(min=1)
            name = f'answer kept at {share:g} of the frames'
            values[name] += kept[inside_QT.any(1)].tolist()
        iou, _ = box_iou_pairs(pred.bboxes, to_original(truth.bboxes, sample))
        values['boxes in true spans at IoU 0.5'] += (
            (iou >= 0.5)[inside_QT].float().tolist()
        )
        values['IoU of these boxes'] += iou[inside_QT & (iou >= 0.5)].tolist()


@torch.no_grad()
def diagnose(model: Any, loader: Any) -> dict[str, list]:
    """Measure every clip of a loader."""
    values: dict[str, list] = defaultdict(list)
    for batch in loader:
        data = model.data_preprocessor(batch)
        inputs, samples = data['inputs'], data['data_samples']
        regions = model.encode_video(inputs, samples)
        model(inputs, samples, 'predict')
        measure_regions(values, regions, samples)
        measure_answers(values, samples)
    return values


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Print a line for each measure."""
    args = parse_args(argv)
    register_all_modules()
    cfg = read_config(args.config, args.cfg_options)
    model = MODELS.build(cfg.model)
    load_weights(model, find_checkpoint(args.checkpoint))
    loader = Runner.build_dataloader(cfg[f'{args.split}_dataloader'])
    values = diagnose(model.eval(), loader)
    rows = [['measure', 'mean', 'of']]
    for name, numbers in values.items():
        mean = sum(numbers) / max(1, len(numbers))
        rows.append([name, f'{mean:.3f}', str(len(numbers))])
    print('\n'.join(align_rows(rows)))


if __name__ == '__main__':
    sys.exit(run_tool(main))
