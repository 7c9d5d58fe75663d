"""What a model costs: parameters, operations by part, memory of a step.

A clip is encoded once and every sentence is answered on top of it, so that
the two are counted apart.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, Callable

import torch
from mmengine.dataset import pseudo_collate
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hero_mm.errors import UserError, UserTypeError
from hero_mm.models.features import TextFeatures

# What is counted apart, and the method that does it; "clip" has "encoder".
STEPS = {
    'scout': 'scout',
    'encoder': 'encode',
    'clip': '_slots',
    'reasoning': 'reason',
    'head': 'decode',
}
# Parts that cost something once a clip, not once a sentence.
ONCE = ('scout', 'backbone', 'pyramid', 'rest of the clip')


def count_parameters(model: nn.Module) -> dict[str, tuple[int, int]]:
    """All and trained parameters by name of the part of a model.

    Those that lie in no part are under ``''``.
    """
    parts = dict(model.named_children())
    counts: dict[str, tuple[int, int]] = {}
    for name, value in model.named_parameters():
        part = name.partition('.')[0]
        part = part if part in parts else ''
        whole, trained = counts.get(part, (0, 0))
        size = value.numel()
        counts[part] = (whole + size, trained + size * value.requires_grad)
    return counts


@contextmanager
def _counting() -> Iterator[FlopCounterMode]:
    """Count what is done inside, without gradients."""
    # Fused kernels are no products of matrices to the counter: attention is
    # asked for as such.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def flops_of(action: Callable[[], Any]) -> int:
    """Operations of products of matrices, convolutions and attention.

    A multiplication and its addition are two; gradients are off.
    """
    with _counting() as counter:
        action()
    return int(counter.get_total_flops())


def count_encoder_flops(
    encoder: nn.Module, frames: int, size: tuple[int, int]
) -> int:
    """Count the operations of a video encoder, from shapes alone."""
    shapes = _as_tested(encoder).to('meta')
    unit = shapes.granule
    width, height = (-(-side // unit) * unit for side in size)
    imgs = torch.zeros(1, frames, 3, height, width, device='meta')
    # Looked at, to find that all is real.
    masks = torch.ones(1, frames).bool(), torch.ones(1, height, width).bool()
    return flops_of(lambda: shapes(imgs, *masks))


def count_flops(
    model: nn.Module, items: Sequence[dict[str, Any]]
) -> dict[str, int]:
    """Count the operations of a prediction, from shapes where they tell all.

    What looks at values (frames that a scout leaves out, boxes that a
    detector suppresses) is done for real.

    Args:
        model (nn.Module): A grounder such as :class:`HERO`.
        items (Sequence[dict]): Clips as a pipeline packs them.

    Returns:
        dict[str, int]: Operations of ``'backbone'``, ``'pyramid'`` and
        ``'rest of the clip'``, once a clip (after the ``'scout'`` where
        retrieval has one); ``'text encoder'``, ``'reasoning'``, ``'head'``
        and ``'rest of the sentence'``, once a sentence; summed over all items.

    Raises:
        TypeError: When the model has no such parts.
    """
    missing = [name for name in STEPS.values() if not hasattr(model, name)]
    if missing:
        raise UserTypeError(
            f'{type(model).__name__} has no {", ".join(missing)}: operations '
            'are counted for grounders such as HERO'
        )
    grounder = _as_tested(model)
    data = grounder.data_preprocessor(collate_copies(items), False)
    texts = [t for one in data['data_samples'] for t in one.queries.texts]
    found: list[Any] = []
    text = flops_of(lambda: found.append(grounder.text_encoder(texts)))
    try:
        shapes = copy.deepcopy(grounder).to('meta')
        counts = count_parts(shapes, words_on_meta(found[0]), **to_meta(data))
    except (RuntimeError, UserError):
        # Detectors look at values, and say in words that they cannot.
        data = grounder.data_preprocessor(collate_copies(items), False)
        counts = count_parts(grounder, found[0], **data)
    return {**counts, 'text encoder': text}


def _as_tested(model: nn.Module) -> Any:
    """A copy in evaluation mode, without gradients."""
    # The counter looks for the gradients of what it sees.
    return copy.deepcopy(model).eval().requires_grad_(False)


def collate_copies(items: Sequence[dict[str, Any]]) -> Any:
    """Collate clips; answers are then written into copies of the samples."""
    return pseudo_collate(
        [dict(one, data_samples=one['data_samples'].clone()) for one in items]
    )


def to_meta(data: dict[str, Any]) -> dict[str, Any]:
    """A batch of a data preprocessor, as shapes without values."""
    inputs = {
        name: value.to('meta') if isinstance(value, torch.Tensor) else value
        for name, value in data['inputs'].items()
    }
    samples = [sample.to('meta') for sample in data['data_samples']]
    return dict(inputs=inputs, data_samples=samples)


def words_on_meta(words: TextFeatures) -> TextFeatures:
    """The shapes of what a text encoder gave of real sentences."""
    values = {f.name: getattr(words, f.name).to('meta') for f in fields(words)}
    return TextFeatures(**values)


@contextmanager
def words_given(grounder: Any, words: TextFeatures) -> Iterator[None]:
    """Give the features of all sentences, in place of the text encoder."""
    # Hides the method of the class.
    grounder.text_encoder.forward = lambda texts: words
    try:
        yield
    finally:
        del grounder.text_encoder.forward


def count_parts(
    grounder: Any, words: TextFeatures, inputs: Any, data_samples: Any
) -> dict[str, int]:
    """As :func:`count_flops`, but for the text encoder, also on 'meta'.

    ``inputs`` and ``data_samples`` are those of a data preprocessor.
    """
    parts = dict.fromkeys(STEPS, 0)
    towers = dict.fromkeys(STEPS, 0)
    running: list[str] = []
    # The name of the module that was called first, then attributes.
    backbones = [
        f'{type(grounder).__name__}.video_encoder.{tower}'
        for tower in ('backbone', 'motion.backbone')
    ]
    with words_given(grounder, words), _counting() as counter:

        def now() -> tuple[int, int]:
            modules = counter.get_flop_counts()
            flops = [sum(modules.get(b, {}).values()) for b in backbones]
            return int(counter.get_total_flops()), int(sum(flops))

        def count(name: str, method: Callable[..., Any]) -> None:
            def counted(*args: Any, **kwargs: Any) -> Any:
                if 'scout' in running:
                    # It does the other steps, too.
                    return method(*args, **kwargs)
                running.append(name)
                whole, backbone = now()
                result = method(*args, **kwargs)
                parts[name] += now()[0] - whole
                towers[name] += now()[1] - backbone
                running.remove(name)
                return result

            # Hides the method of the class as long as it is counted.
            vars(grounder)[method.__name__] = counted

        for name, method in STEPS.items():
            count(name, getattr(grounder, method))
        try:
            grounder(inputs, data_samples, 'predict')
        finally:
            for method in STEPS.values():
                del vars(grounder)[method]
    counts = {'scout': parts['scout']} if parts['scout'] else {}
    counts |= {
        'backbone': towers['encoder'],
        'pyramid': parts['encoder'] - towers['encoder'],
        'rest of the clip': parts['clip'],
        'reasoning': parts['reasoning'],
        'head': parts['head'],
    }
    whole = int(counter.get_total_flops())
    return {**counts, 'rest of the sentence': whole - sum(counts.values())}


def kept_bytes(action: Callable[[], Any], model: nn.Module) -> int:
    """Bytes that an action keeps for its gradients, but for the weights.

    On the device 'meta' it needs neither time nor memory. With AdamW, a
    trained weight has 16 bytes, its gradient and state included.
    """
    # A tensor of another shape may lie on the same memory.
    kept: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = action()
    for parameter in model.parameters():
        kept.pop(parameter.untyped_storage()._cdata, None)
    del result
    return sum(storage.nbytes() for storage in kept.values())
