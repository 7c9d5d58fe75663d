"""What a model costs: parameters and floating point operations by part.

A clip is encoded once and every sentence is answered on top of it, so that
the two are counted apart.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Callable

import torch
from mmengine.dataset import pseudo_collate
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hero_mm.errors import UserTypeError

ENTRIES = ('encode_video', 'ground', 'video_encoder', 'text_encoder')
# What is counted apart of a sentence, and the method that does it.
STEPS = {'reasoning': 'reason', 'head': 'decode'}


def count_parameters(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Count the parameters of the parts of a model.

    Args:
        model (nn.Module): The model.

    Returns:
        dict[str, tuple[int, int]]: All and trained parameters by name of the
        part; those that lie in no part are under ``''``. Parts without any
        are left out.
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
    """Count the operations of an action without gradients.

    Multiplications of matrices, convolutions and attention are counted, with
    two operations for a multiplication and its addition. What costs little
    (norms, softmax, gathering, interpolation) is not.
    """
    with _counting() as counter:
        action()
    return int(counter.get_total_flops())


def flops_of_steps(
    action: Callable[[], Any], grounder: Any, steps: Mapping[str, str]
) -> dict[str, int]:
    """Count the operations of an action by its steps.

    ``steps`` names the methods of the grounder; ``''`` holds all the others.
    """
    counts = dict.fromkeys(['', *steps], 0)
    with _counting() as counter, ExitStack() as after:

        def count(name: str, method: Callable[..., Any]) -> None:
            def counted(*args: Any, **kwargs: Any) -> Any:
                before = counter.get_total_flops()
                result = method(*args, **kwargs)
                counts[name] += int(counter.get_total_flops() - before)
                return result

            # Hides the method of the class as long as it is counted.
            vars(grounder)[method.__name__] = counted
            after.callback(vars(grounder).pop, method.__name__)

        for name, method in steps.items():
            count(name, getattr(grounder, method))
        action()
    counts[''] = int(counter.get_total_flops()) - sum(counts.values())
    return counts


@contextmanager
def _as_tested(model: nn.Module) -> Iterator[None]:
    """A model in evaluation mode, without gradients; both come back."""
    modes = {module: module.training for module in model.modules()}
    trained = [p for p in model.parameters() if p.requires_grad]
    model.eval()
    # The counter looks for the gradients of what it sees.
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter in trained:
            parameter.requires_grad_(True)


def count_encoder_flops(
    encoder: nn.Module, frames: int, size: tuple[int, int]
) -> int:
    """Count the operations of a video encoder without doing them.

    Shapes alone are followed, so that a large clip takes seconds and no
    memory.
    """
    shapes: Any = copy.deepcopy(encoder).to('meta')
    width, height = (
        -(-side // shapes.granule) * shapes.granule for side in size
    )
    inputs = (
        torch.zeros(1, frames, 3, height, width, device='meta'),
        # Looked at, to find that all is real.
        torch.ones(1, frames, dtype=torch.bool),
        torch.ones(1, height, width, dtype=torch.bool),
    )
    with _as_tested(shapes):
        return flops_of(
            lambda: [
                project(level.flatten(0, 1))
                for project, level in zip(
                    shapes.projects, shapes.encode_alike(*inputs)
                )
            ]
        )


def count_flops(
    model: nn.Module, items: Sequence[dict[str, Any]]
) -> dict[str, int]:
    """Count the operations of a prediction.

    Args:
        model (nn.Module): A grounder with ``encode_video`` and ``ground``,
            such as :class:`HERO`.
        items (Sequence[dict]): Clips as a pipeline packs them, with
            ``inputs`` and ``data_samples``.

    Returns:
        dict[str, int]: Operations of ``'video encoder'`` and
        ``'rest of the clip'``, once a clip (after the ``'scout'`` where
        retrieval has one); ``'text encoder'``, the steps of :data:`STEPS`
        that the model has, and ``'rest of the sentence'``, once a sentence;
        summed over all items.

    Raises:
        TypeError: When the model has no such parts.
    """
    missing = [name for name in ENTRIES if not hasattr(model, name)]
    if missing:
        raise UserTypeError(
            f'{type(model).__name__} has no {", ".join(missing)}: operations '
            'are counted for grounders such as HERO'
        )
    # Answers are written into the samples.
    copies = [
        dict(item, data_samples=item['data_samples'].clone()) for item in items
    ]
    grounder: Any = model
    with _as_tested(model):
        data = grounder.data_preprocessor(pseudo_collate(copies), False)
        inputs, samples = data['inputs'], data['data_samples']
        texts = [text for one in samples for text in one.queries.texts]
        if getattr(getattr(model, 'retrieval', None), 'scout', None):
            return _count_scouted(grounder, inputs, samples, texts)
        encoder = flops_of(lambda: grounder.video_encoder(**inputs))
        found: list[Any] = []
        clip = flops_of(
            lambda: found.append(grounder.encode_video(inputs, samples))
        )
        text = flops_of(lambda: grounder.text_encoder(texts))
        steps = {
            step: name for step, name in STEPS.items() if hasattr(model, name)
        }
        answer = flops_of_steps(
            lambda: grounder.ground(found[0], samples), grounder, steps
        )
    rest = answer.pop('') - text
    return {
        'video encoder': encoder,
        'rest of the clip': clip - encoder,
        'text encoder': text,
        **answer,
        'rest of the sentence': rest,
    }


def _count_scouted(
    grounder: Any, inputs: Any, samples: Any, texts: list[str]
) -> dict[str, int]:
    """The same where the frames that are encoded depend on the sentences."""
    text = flops_of(lambda: grounder.text_encoder(texts))
    steps = {'scout': 'scout', 'video encoder': 'encode'}
    steps.update({'rest of the clip': '_encode', **STEPS})
    counts = flops_of_steps(
        lambda: grounder(inputs, samples, 'predict'), grounder, steps
    )
    # The encoder is a step of what is done once a clip.
    encoder = counts['video encoder']
    counts['rest of the clip'] -= encoder
    rest = counts.pop('') + encoder - text
    return {**counts, 'text encoder': text, 'rest of the sentence': rest}
