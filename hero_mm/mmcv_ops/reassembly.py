"""Masked convolution, CARAFE and the temporal shift of TIN.

Shape legend: B images, C channels, G groups, H W grid, kh kw kernel, m
cells of a mask, s scale, T frames, X cells of a frame.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad, unfold

from . import common


def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Neighbourhoods of chosen cells, for a convolution of stride 1.

    Args:
        im (Tensor): Features of one image, has shape (1, C, H, W).
        mask_h_idx (Tensor): Rows of the cells, has shape (m,).
        mask_w_idx (Tensor): Columns of the cells, has shape (m,).
        col (Tensor): Written in place, has shape (C * kh * kw, m).
        kernel_h (int): Height kh.
        kernel_w (int): Width kw.
        pad_h (int): Zeros above and below.
        pad_w (int): Zeros left and right.
    """
    # A chosen cell may lie so far right or low that its neighbourhood leaves
    # the padded image, where the kernel is even: zeros there too.
    around = pad(im[0], (pad_w, kernel_w, pad_h, kernel_h))
    rows = torch.arange(kernel_h, device=im.device)[:, None, None]
    cols = torch.arange(kernel_w, device=im.device)[None, :, None]
    taken = around[:, rows + mask_h_idx, cols + mask_w_idx]
    col.copy_(taken.flatten(0, 2))


def masked_col2im_forward(
    col: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    im: Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    """Put the results of chosen cells back into an image.

    Args:
        col (Tensor): Has shape (C, m).
        mask_h_idx (Tensor): Rows of the cells, has shape (m,).
        mask_w_idx (Tensor): Columns of the cells, has shape (m,).
        im (Tensor): Written in place at the cells, has shape (1, C, H, W).
        height (int): H, known from ``im``.
        width (int): W, known from ``im``.
        channels (int): C, known from ``im``.
    """
    im[0][:, mask_h_idx, mask_w_idx] = col


def _carafe(
    features: Tensor, masks: Tensor, kernel: int, groups: int, scale: int
) -> Tensor:
    """CARAFE as a function, has shape (B, C, H * s, W * s)."""
    batch, channels, height, width = features.shape
    around = unfold(features, kernel, padding=(kernel - 1) // 2).view(
        batch, groups, channels // groups, kernel**2, height, width
    )
    weights = masks.reshape(
        batch, groups, kernel**2, height, scale, width, scale
    )
    return torch.einsum('bgckhw,bgkhiwj->bgchiwj', around, weights).reshape(
        batch, channels, height * scale, width * scale
    )


def carafe_naive_forward(
    features: Tensor,
    masks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Content-aware upsampling (arXiv 1905.02188).

    Args:
        features (Tensor): Has shape (B, C, H, W).
        masks (Tensor): Weights of the neighbourhood of each output cell,
            has shape (B, G * kernel_size ** 2, H * s, W * s).
        output (Tensor): Written in place, has shape (B, C, H * s, W * s).
        kernel_size (int): Odd side of a neighbourhood.
        group_size (int): Groups G of channels with weights of their own.
        scale_factor (int): Scale s.
    """
    with torch.autocast(features.device.type, enabled=False):
        output.copy_(
            _carafe(features, masks, kernel_size, group_size, scale_factor)
        )


def carafe_naive_backward(
    top_grad: Tensor,
    features: Tensor,
    masks: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Gradients of :func:`carafe_naive_forward`, added in place.

    Args:
        top_grad (Tensor): Has shape (B, C, H * s, W * s).
        features (Tensor): Of the forward pass.
        masks (Tensor): Of the forward pass.
        bottom_grad (Tensor): Of the features, has their shape.
        mask_grad (Tensor): Of the masks, has their shape.
        kernel_size (int): Of the forward pass.
        group_size (int): Of the forward pass.
        scale_factor (int): Of the forward pass.
    """
    with common.differentiable(features.device):
        features, masks = (
            leaf.detach().requires_grad_() for leaf in (features, masks)
        )
        output = _carafe(
            features, masks, kernel_size, group_size, scale_factor
        )
        grads = torch.autograd.grad(output, [features, masks], top_grad)
    bottom_grad.add_(grads[0])
    mask_grad.add_(grads[1])


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """:func:`carafe_naive_forward` with the work space of the fast version.

    Args:
        features (Tensor): Has shape (B, C, H, W).
        masks (Tensor): Has shape (B, G * kernel_size ** 2, H * s, W * s).
        rfeatures (Tensor): Written in place: the features, which mmcv keeps
            for :func:`carafe_backward`.
        routput (Tensor): Work space of the compiled operator, unused.
        rmasks (Tensor): Work space of the compiled operator, unused.
        output (Tensor): Written in place, has shape (B, C, H * s, W * s).
        kernel_size (int): Odd side of a neighbourhood.
        group_size (int): Groups G of channels with weights of their own.
        scale_factor (int): Scale s.
    """
    rfeatures.copy_(features)
    carafe_naive_forward(
        features, masks, output, kernel_size, group_size, scale_factor
    )


def carafe_backward(
    top_grad: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rtop_grad: Tensor,
    rbottom_grad_hs: Tensor,
    rbottom_grad: Tensor,
    rmask_grad: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Gradients of :func:`carafe_forward`, added in place.

    ``rtop_grad`` to ``rmask_grad`` are work space of the compiled operator;
    the others are as in :func:`carafe_naive_backward`.
    """
    carafe_naive_backward(
        top_grad,
        rfeatures,
        masks,
        bottom_grad,
        mask_grad,
        kernel_size,
        group_size,
        scale_factor,
    )


def tin_shift_forward(input: Tensor, shift: Tensor, output: Tensor) -> None:
    """Move groups of channels along time (arXiv 2001.06499).

    Args:
        input (Tensor): Has shape (B, T, C, X).
        shift (Tensor): Frames by which each group moves, has shape (B, G).
        output (Tensor): Written in place where a frame arrives, has shape
            (B, T, C, X).
    """
    frames, channels = input.shape[1:3]
    moves = shift.repeat_interleave(channels // shift.shape[1], 1)
    source = torch.arange(frames, device=input.device)
    source = source[None, :, None] - moves[:, None].long()
    comes = ((source >= 0) & (source < frames))[..., None]
    place = source.clamp(0, frames - 1)[..., None].expand_as(input)
    output.copy_(torch.where(comes, input.gather(1, place), output))


def tin_shift_backward(
    grad_output: Tensor, shift: Tensor, grad_input: Tensor
) -> None:
    """Gradient of :func:`tin_shift_forward`, written in place.

    Args:
        grad_output (Tensor): Has shape (B, T, C, X).
        shift (Tensor): Of the forward pass, has shape (B, G).
        grad_input (Tensor): Has shape (B, T, C, X).
    """
    tin_shift_forward(grad_output, -shift, grad_input)
