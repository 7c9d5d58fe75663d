r"""Count parameters and operations of a model, by part.

Examples::

    python tools/analysis_tools/get_flops.py configs/hero_shapes.py \
        --shape 64 64
    python tools/analysis_tools/get_flops.py configs/hero_vidstg.py \
        --cfg-options model.text_encoder.pretrained=False
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Optional

from mmengine.config import Config, DictAction

from hero_mm.errors import UserError, explained, run_tool

with explained():
    from hero_mm.apis.complexity import ONCE, count_flops, count_parameters
    from hero_mm.apis.random_clips import config_without_data, make_item
    from hero_mm.datasets.source import unwrapped
    from hero_mm.evaluation.functional.table import align_rows
    from hero_mm.registry import MODELS

DEFAULT_SIZE = (224, 224)


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line; ``--shape`` is that of MMAction2."""
    parser = argparse.ArgumentParser(
        description='Count parameters and operations of a model by part'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        metavar='SIZE',
        help='HEIGHT WIDTH, or FRAMES 3 HEIGHT WIDTH. Default: what the test '
        f'pipeline of the config makes, {DEFAULT_SIZE[0]} {DEFAULT_SIZE[1]} '
        'where it keeps the size of the video',
    )
    parser.add_argument(
        '--sentences', type=int, default=1, help='about the clip (1)'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change the config',
    )
    args = parser.parse_args(argv)
    if min([args.sentences, *(args.shape or ())]) < 1:
        parser.error('--sentences and --shape need numbers of 1 or more')
    return args


def clip_shape(
    shape: Optional[Sequence[int]], cfg: Config
) -> tuple[int, int, int]:
    """Frames, height and width to count for."""
    sizes = list(shape or ())
    if len(sizes) == 4 and sizes[1] == 3:
        return sizes[0], sizes[2], sizes[3]
    if len(sizes) not in (0, 2):
        raise UserError(
            f'--shape {" ".join(map(str, sizes))}: give HEIGHT WIDTH or '
            'FRAMES 3 HEIGHT WIDTH'
        )
    pipeline = unwrapped(cfg, 'test', 'pipeline').get('pipeline') or []
    steps = {str(step['type']).rpartition('.')[-1]: step for step in pipeline}
    sample = steps.get('SampleClipFrames', {})
    frames = sample.get('max_frames') or sample.get('num_frames')
    if frames is None:
        raise UserError(
            f'{cfg.filename} does not say how many frames a clip has; give '
            '--shape FRAMES 3 HEIGHT WIDTH'
        )
    if sizes:
        return frames, sizes[0], sizes[1]
    resize = steps.get('ResizeClip', {})
    if 'scale' in resize:
        width, height = resize['scale']
    elif resize.get('short_side'):
        # The largest picture that it gives, for a video that is wide.
        height = resize['short_side']
        width = resize.get('max_long') or height
    else:
        height, width = DEFAULT_SIZE
    return frames, height, width


def show_parameters(counts: Mapping[str, tuple[int, int]]) -> None:
    """Print the table of the parameters."""
    total = tuple(sum(column) for column in zip(*counts.values()))
    rows = [['parameters', 'all', 'trained']]
    for name, both in [*counts.items(), ('in all', total)]:
        millions = [f'{value / 1e6:.3f} M' for value in both]
        rows.append([name or '(the model itself)', *millions])
    print('\n'.join(align_rows(rows)))


def show_flops(flops: Mapping[str, int], queries: int) -> None:
    """Print the table of the operations."""
    clip = sum(flops.get(part, 0) for part in ONCE)
    sentence = sum(flops.values()) - clip
    rows = [['operations', 'FLOPs']]
    for name, value in (
        *flops.items(),
        ('clip in all', clip),
        (f'sentences in all ({queries})', sentence),
        ('in all', clip + sentence),
    ):
        rows.append([name, f'{value / 1e9:.4f} G'])
    print('\n'.join(align_rows(rows)))


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Build the model with random weights, count and print."""
    args = parse_args(argv)
    cfg = config_without_data(args.config, args.cfg_options)
    frames, height, width = clip_shape(args.shape, cfg)
    # Pretrained weights change no count: none are fetched.
    model = MODELS.build(cfg.model)
    item = make_item(frames, (width, height), args.sentences, 0)
    show_parameters(count_parameters(model))
    print(
        f'\nInput: {frames} frames of {height} x {width} pixels (height x '
        f'width), {args.sentences} sentence(s)'
    )
    show_flops(count_flops(model, [item]), args.sentences)
    print(
        '\nA multiplication and its addition are two operations (the counter '
        'of MMEngine\nsays one). Counted are products of matrices, '
        'convolutions and attention; what\nan extension computes (deformable '
        'convolution, RoIAlign, ...) is not.'
    )


if __name__ == '__main__':
    sys.exit(run_tool(main))
