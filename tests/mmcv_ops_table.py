"""What the compiled operators of mmcv 2.1.0 return, on the CPU.

The table beside this file holds values and gradients of every operator that
compiled mmcv has a CPU kernel for (and of its attention, which is Python on
a CPU). Inputs come from a seed, through NumPy's legacy generator, whose
numbers are the same everywhere. With compiled mmcv installed
(docs/install.md), renew it::

    python tests/mmcv_ops_table.py --renew
"""

import sys
import zlib
from pathlib import Path

import numpy as np
import torch

TABLE = Path(__file__).with_name('mmcv_ops_table.npz')


class Inputs:
    """Random inputs that keep their gradients apart from the outputs."""

    def __init__(self, seed):
        self.random = np.random.RandomState(seed)
        self.leaves = {}

    def normal(self, name, *shape, scale=1.0):
        """A leaf whose gradient is recorded."""
        value = torch.tensor(self.random.randn(*shape) * scale).float()
        self.leaves[name] = value.requires_grad_()
        return value

    def boxes(self, number, extent=40.0):
        """Boxes xyxy that overlap, has shape (number, 4)."""
        corner = self.random.rand(number, 2) * extent - 4
        size = self.random.rand(number, 2) * extent / 2 + 1
        return torch.tensor(np.concatenate([corner, corner + size], 1)).float()

    def regions(self, number, images):
        """Boxes with the index of an image, has shape (number, 5)."""
        index = torch.arange(number)[:, None] % images
        return torch.cat([index.float(), self.boxes(number)], 1)

    def scores(self, number):
        """Different scores in (0, 1)."""
        return torch.tensor(self.random.permutation(number) + 1) / (number + 1)

    def backward(self, output):
        """The output, and the gradients under a random direction."""
        direction = torch.tensor(self.random.randn(*output.shape)).float()
        output.backward(direction)
        grads = {f'grad_{k}': leaf.grad for k, leaf in self.leaves.items()}
        return dict(output=output.detach(), **grads)


def nms(offset, threshold, number=600):
    def case(inputs):
        from mmcv.ops import nms

        boxes, scores = inputs.boxes(number), inputs.scores(number)
        dets, kept = nms(boxes, scores, threshold, offset=offset)
        return dict(dets=dets, kept=kept)

    return case


def soft_nms(method, offset=0):
    def case(inputs):
        from mmcv.ops import soft_nms

        dets, kept = soft_nms(
            inputs.boxes(40),
            inputs.scores(40),
            iou_threshold=0.3,
            sigma=0.5,
            min_score=0.05,
            method=method,
            offset=offset,
        )
        return dict(dets=dets, kept=kept)

    return case


def soft_nms_ties(method):
    """Scores of ten steps: the place of a box decides."""

    def case(inputs):
        from mmcv.ops import soft_nms

        scores = torch.tensor(inputs.random.randint(1, 10, 80)).float() / 10
        dets, kept = soft_nms(
            inputs.boxes(80, extent=90.0), scores, 0.3, 0.5, 0.2, method
        )
        return dict(dets=dets, kept=kept)

    return case


def roi_align(ratio, aligned):
    def case(inputs):
        from mmcv.ops import RoIAlign

        layer = RoIAlign((3, 2), 0.25, ratio, 'avg', aligned)
        features = inputs.normal('input', 2, 3, 9, 10)
        regions = inputs.regions(12, images=2)
        # Without extent, and far outside.
        regions = torch.cat(
            [
                regions,
                torch.tensor([[1.0, 7, 5, 7, 5], [0.0, 90, 90, 99, 99]]),
            ]
        )
        return inputs.backward(layer(features, regions))

    return case


def deform_conv(deform_groups=1, scale=1.0, **kwargs):
    """With ``scale`` 0 samples fall on the border of the padded image."""

    def case(inputs):
        from mmcv.ops import DeformConv2d

        layer = DeformConv2d(4, 6, 3, deform_groups=deform_groups, **kwargs)
        layer.weight = torch.nn.Parameter(
            inputs.normal('weight', *layer.weight.shape, scale=0.3)
        )
        inputs.leaves['weight'] = layer.weight
        features = inputs.normal('input', 2, 4, 7, 6)
        how = (kwargs.get('stride', 1), kwargs.get('padding', 0))
        size = output_size((7, 6), *how, kwargs.get('dilation', 1))
        offset = inputs.normal(
            'offset', 2, deform_groups * 18, *size, scale=scale
        )
        return inputs.backward(layer(features, offset))

    return case


def modulated_deform_conv(
    bias=True, deform_groups=1, groups=1, scale=2.0, **kwargs
):
    def case(inputs):
        from mmcv.ops import modulated_deform_conv2d

        stride, padding = kwargs.get('stride', 1), kwargs.get('padding', 1)
        dilation = kwargs.get('dilation', 1)
        size = output_size((7, 6), stride, padding, dilation)
        output = modulated_deform_conv2d(
            inputs.normal('input', 2, 4, 7, 6),
            inputs.normal('offset', 2, deform_groups * 18, *size, scale=scale),
            inputs.normal('mask', 2, deform_groups * 9, *size),
            inputs.normal('weight', 6, 4 // groups, 3, 3, scale=0.3),
            inputs.normal('bias', 6) if bias else None,
            stride,
            padding,
            dilation,
            groups,
            deform_groups,
        )
        return inputs.backward(output)

    return case


def larger_offsets(inputs):
    """Maps of offsets and weights that are larger than the output."""
    from mmcv.ops import modulated_deform_conv2d

    output = modulated_deform_conv2d(
        inputs.normal('input', 2, 4, 5, 6),
        inputs.normal('offset', 2, 18, 10, 12, scale=2),
        inputs.normal('mask', 2, 9, 10, 12),
        inputs.normal('weight', 6, 4, 3, 3, scale=0.3),
        inputs.normal('bias', 6),
        1,
        1,
    )
    return inputs.backward(output)


def output_size(size, stride, padding, dilation):
    """Rows and columns of the output of a 3 x 3 convolution."""
    return [
        (length + 2 * padding - 2 * dilation - 1) // stride + 1
        for length in size
    ]


def attention(inputs):
    """Deformable attention on the CPU: samples inside, at edges, outside."""
    from mmcv.ops.multi_scale_deform_attn import (
        multi_scale_deformable_attn_pytorch,
    )

    return inputs.backward(
        multi_scale_deformable_attn_pytorch(*attention_inputs(inputs))
    )


def attention_inputs(inputs):
    """Value, shapes, locations and weights for two images."""
    shapes = torch.tensor([[6, 5], [3, 2]])
    value = inputs.normal('value', 2, 36, 3, 4)
    locations = inputs.normal('locations', 2, 5, 3, 2, 4, 2, scale=0.5)
    weights = inputs.normal('weights', 2, 5, 3, 2, 4)
    return value, shapes, locations, weights


CASES = {
    'nms': nms(0, 0.5),
    'nms_offset': nms(1, 0.3),
    'soft_nms_naive': soft_nms('naive'),
    'soft_nms_linear': soft_nms('linear'),
    'soft_nms_gaussian': soft_nms('gaussian'),
    'soft_nms_offset': soft_nms('linear', offset=1),
    'soft_nms_ties': soft_nms_ties('linear'),
    'roi_align': roi_align(2, True),
    'roi_align_adaptive': roi_align(0, True),
    'roi_align_legacy': roi_align(2, False),
    'deform_conv': deform_conv(padding=1),
    'deform_conv_zero': deform_conv(padding=1, scale=0.0),
    'deform_conv_strided': deform_conv(stride=2, padding=1),
    'deform_conv_dilated': deform_conv(dilation=2, padding=2),
    'deform_conv_groups': deform_conv(2, groups=2),
    'modulated_deform_conv': modulated_deform_conv(),
    'modulated_deform_conv_zero': modulated_deform_conv(scale=0.0),
    'modulated_deform_conv_strided': modulated_deform_conv(stride=2),
    'modulated_deform_conv_groups': modulated_deform_conv(
        False, 4, 2, dilation=2, padding=2
    ),
    'modulated_deform_conv_larger_offsets': larger_offsets,
    'attention': attention,
}


def inputs_of(name):
    """The inputs of a case: its seed is that of its name."""
    return Inputs(zlib.crc32(name.encode()))


def run(name):
    """Outputs and gradients of a case, as arrays."""
    found = CASES[name](inputs_of(name))
    return {key: value.numpy() for key, value in found.items()}


def read():
    """The recorded table: name of the case, then of the array."""
    with np.load(TABLE) as stored:
        flat = dict(stored)
    table = {}
    for key, value in flat.items():
        name, _, array = key.partition('/')
        table.setdefault(name, {})[array] = value
    return table


def renew():
    """Write the table anew from the compiled operators."""
    from hero_mm.compat import has_compiled_mmcv

    if not has_compiled_mmcv():
        sys.exit(
            'the table is made by compiled mmcv, and the mmcv installed here '
            'has no operators; see docs/install.md, "Compiled mmcv"'
        )
    table = {
        f'{name}/{key}': value
        for name in CASES
        for key, value in run(name).items()
    }
    np.savez_compressed(TABLE, **table)


if __name__ == '__main__':
    if sys.argv[1:] != ['--renew']:
        sys.exit(f'{__doc__}\nusage: {sys.argv[0]} --renew')
    renew()
