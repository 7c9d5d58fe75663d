"""Language models of transformers: made, read, and what is wrong in words."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.pretrained.reading import TRUST, weights_only_is_sound

from .building import reason


def build_language_model(name: str) -> tuple[Any, Any]:
    """Tokenizer, and model of the config with random weights.

    Of a folder, the cache or the hub; OSError where it cannot be had,
    ValueError where it needs code of its own.
    """
    with _explained(name):
        return _load(name, _make)


def read_text_weights(name: str) -> dict[str, Tensor]:
    """Weights of :func:`text_part`; as :func:`build_language_model`."""
    with _explained(name):
        return text_part(_load(name, _read)[1]).state_dict()


def text_part(model: Any) -> nn.Module:
    """Of a model with a picture tower or a decoder what reads the words."""
    model = getattr(model, 'text_model', model)
    if getattr(model.config, 'is_encoder_decoder', False):
        model = model.get_encoder()
    part: nn.Module = model
    return part


def _make(name: str, **where: bool) -> Any:
    """A model of the config, with random weights."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(name, **where)
    return AutoModel.from_config(config, trust_remote_code=False)


def _read(name: str, **where: bool) -> Any:
    """A model with its weights."""
    from transformers import AutoModel

    if not weights_only_is_sound() and os.environ.get(TRUST) != '1':
        where['use_safetensors'] = True
    return AutoModel.from_pretrained(name, **where)


def _load(name: str, load_model: Callable[..., Any]) -> tuple[Any, Any]:
    """Tokenizer and language model, of a folder, the cache or the hub."""
    from transformers import AutoConfig, AutoTokenizer

    def load(**where: bool) -> tuple[Any, Any]:
        where['trust_remote_code'] = False
        tokenizer = AutoTokenizer.from_pretrained(name, **where)
        if len(tokenizer) <= len(tokenizer.all_special_ids):
            # Made up by transformers, which found none.
            raise OSError('its tokenizer knows no words')
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        if tokenizer.pad_token is None:
            raise OSError('its tokenizer has no token to pad sentences with')
        return tokenizer, load_model(name, **where)

    try:
        return load(local_files_only=True)
    except (OSError, ValueError) as error:
        if Path(name).is_dir() or 'remote_code' in str(error):
            raise
        if Path(name).is_absolute():
            raise OSError('there is no such folder') from error
        # Without internet the loaders wait for each of ten files in turn.
        AutoConfig.from_pretrained(name, trust_remote_code=False)
        return load()


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Say why a model cannot be had, and how to get it."""
    try:
        yield
    except (OSError, ValueError) as error:
        if 'remote_code' in str(error):
            raise UserError(
                f'the text encoder {name!r} needs code of its own (auto_map '
                'in its config.json), which is not run. Take a model that '
                'transformers has itself, such as roberta-base'
            ) from error
        offline = os.environ.get('HF_HUB_OFFLINE', '0')
        raise OSError(
            f'The text encoder {name!r} could not be loaded: {reason(error)} '
            f'(HF_HUB_OFFLINE={offline}: 1 does not ask the hub). Give a '
            'folder that holds config.json, the weights (model.safetensors or '
            'pytorch_model.bin) and the tokenizer: on a machine with internet '
            '`hf download OWNER/NAME --local-dir FOLDER`, then set '
            'model.text_encoder.name=FOLDER.'
        ) from error


def most_words(config: Any, part: nn.Module) -> float:
    """How many sub-words a language model has positions for."""
    most = getattr(config, 'max_position_embeddings', None)
    if most is None or most <= 0:
        return float('inf')
    for name, table in part.named_modules():
        first = getattr(table, 'padding_idx', None)
        if name.endswith('position_embeddings') and first is not None:
            # RoBERTa, MPNet, Longformer count from behind the padding on.
            most -= first + 1
    return int(most)
