"""Text encoder on Hugging Face transformers: RoBERTa, BERT, CLIP text ...

Shape legend: Q queries, L sub-words, C encoder width, D width.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.registry import MODELS

from ..features import TextFeatures
from .action_pooling import TextPooling

_NOT_FOUND = (
    'The text encoder {name!r} could not be loaded: {error}.{missing}{offline}'
    ' Give a folder that holds config.json, the weights (model.safetensors or '
    'pytorch_model.bin) and the tokenizer (tokenizer.json, or vocab.json with '
    'merges.txt, or vocab.txt): on a machine with internet `hf download '
    '{repo} --local-dir FOLDER`, then set model.text_encoder.name=FOLDER.'
)
_OFFLINE = (
    ' HF_HUB_OFFLINE=1 is set, so that the hub was not asked; unset it where '
    'there is internet.'
)
_FILES = (
    ('config.json',),
    ('model.safetensors', 'pytorch_model.bin', 'model.safetensors.index.json'),
    ('tokenizer.json', 'vocab.json', 'vocab.txt'),
)
_TOO_LONG = (
    'model.text_encoder.max_words={max_words}, and {name!r} has positions for '
    '{most} sub-words; set max_words to {most} or less'
)


@MODELS.register_module()
class HFTextEncoder(BaseModule):
    """Words of a pretrained language model, projected to width D.

    RoBERTa, BERT and their like, or the text tower of CLIP: of a model with a
    picture tower the text part alone is kept. The words are pooled here; the
    model's own pooler is left out.

    Args:
        embed_dims (int): Width D.
        name (str): Folder with the model, or its name on the hub.
        pretrained (bool): Load the weights; False builds the model of the
            folder's config with random weights. Defaults to True.
        frozen (bool): Do not train the language model. Its word features are
            then computed once a sentence and kept. Defaults to False.
        max_words (int): Longer sentences are cut there, in sub-words; the
            model must have positions for them (CLIP: 77).
        cache_size (int): Sentences kept in memory when frozen.
        init_cfg (dict, optional): Initialization config.

    Raises:
        OSError: The model cannot be found; the message says how to get it.
        ValueError: The model has no positions for so many words.
    """

    def __init__(
        self,
        embed_dims: int,
        name: str = 'roberta-base',
        pretrained: bool = True,
        frozen: bool = False,
        max_words: int = 64,
        cache_size: int = 100_000,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        try:
            self.tokenizer, language_model = _load(name, pretrained)
        except (OSError, ValueError) as error:
            raise OSError(_not_found(name, pretrained, error)) from error
        # A CLIP model holds a text tower beside the picture tower.
        self.language_model: nn.Module = getattr(
            language_model, 'text_model', language_model
        )
        if hasattr(self.language_model, 'pooler'):
            # Words are pooled here; unused weights stall distributed training.
            self.language_model.pooler = None
        config = getattr(
            language_model.config, 'text_config', language_model.config
        )
        most = _most_words(config)
        if max_words > most:
            raise ValueError(
                _TOO_LONG.format(max_words=max_words, name=name, most=most)
            )
        self.frozen = frozen
        self.max_words = max_words
        self.cache_size = cache_size
        self._cache: OrderedDict[str, Tensor] = OrderedDict()
        if frozen:
            self.language_model.requires_grad_(False).eval()
        self.pooling = TextPooling(config.hidden_size, embed_dims)

    def train(self, mode: bool = True) -> 'HFTextEncoder':
        """Set the mode; a frozen language model stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.language_model.eval()
        return self

    def _load_from_state_dict(self, *args: Any) -> None:
        # What is kept was computed with the old weights.
        self._cache.clear()
        super()._load_from_state_dict(*args)

    def _words(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        for text in texts:
            if not text.strip():
                raise ValueError(
                    f'the sentence {text!r} is empty; give a sentence that '
                    'names an object'
                )
        tokens = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.max_words,
            return_tensors='pt',
        ).to(next(self.language_model.parameters()).device)
        mask_QL = tokens['attention_mask'].bool()
        output: Any = self.language_model(**tokens)
        return output.last_hidden_state, mask_QL

    @torch.no_grad()
    def _cached_words(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        missing = list(dict.fromkeys(t for t in texts if t not in self._cache))
        if missing:
            words_QLC, mask_QL = self._words(missing)
            for text, words, mask in zip(missing, words_QLC, mask_QL):
                self._cache[text] = words[mask].cpu()
        device = next(self.pooling.parameters()).device
        rows = [self._cache[text].to(device) for text in texts]
        while len(self._cache) > self.cache_size:
            self._cache.popitem(last=False)
        words_QLC = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        steps = torch.arange(words_QLC.shape[1], device=device)
        return words_QLC, steps < lengths[:, None]

    def unknown_words(self, texts: Union[str, Sequence[str]]) -> list[str]:
        """Words that the tokenizer has no sub-words for.

        Args:
            texts (str | Sequence[str]): One or more sentences.

        Returns:
            list[str]: Each once, in order.
        """
        listed = [texts] if isinstance(texts, str) else texts
        words = dict.fromkeys(word for text in listed for word in text.split())
        unknown = self.tokenizer.unk_token_id
        return [
            word
            for word in words
            if unknown
            in self.tokenizer(word, add_special_tokens=False)['input_ids']
        ]

    def cut_words(self, text: str) -> int:
        """How many sub-words at the end of a sentence are not read.

        Args:
            text (str): The sentence.
        """
        tokens = self.tokenizer(text, truncation=False)['input_ids']
        return max(0, len(tokens) - self.max_words)

    def forward(self, texts: Sequence[str]) -> TextFeatures:
        """Encode sentences.

        Args:
            texts (Sequence[str]): Q sentences.

        Returns:
            TextFeatures: Of width D.
        """
        encode = self._cached_words if self.frozen else self._words
        return self.pooling(*encode(texts))


def _load(name: str, pretrained: bool) -> tuple[Any, Any]:
    """Tokenizer and language model, of a folder, the cache or the hub."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    def load(**where: bool) -> tuple[Any, Any]:
        tokenizer = AutoTokenizer.from_pretrained(name, **where)
        if len(tokenizer) <= len(tokenizer.all_special_ids):
            # Made up by transformers, which found none.
            raise OSError('its tokenizer knows no words')
        if pretrained:
            return tokenizer, AutoModel.from_pretrained(name, **where)
        config = AutoConfig.from_pretrained(name, **where)
        return tokenizer, AutoModel.from_config(config)

    try:
        return load(local_files_only=True)
    except (OSError, ValueError):
        if Path(name).is_dir():
            raise
        # Without internet the loaders wait for each of ten files in turn.
        AutoConfig.from_pretrained(name)
        return load()


def _most_words(config: Any) -> float:
    """How many sub-words a language model has positions for."""
    most = getattr(config, 'max_position_embeddings', None)
    if most is None or most <= 0:
        return float('inf')
    # RoBERTa counts its positions from the one after that of the padding.
    if config.model_type in ('roberta', 'xlm-roberta', 'camembert'):
        most -= config.pad_token_id + 1
    return int(most)


def _not_found(name: str, pretrained: bool, error: Exception) -> str:
    """Why a model was not found, and how to get it."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    missing, repo = '', name
    if Path(name).is_absolute() and not Path(name).is_dir():
        repo, missing = 'OWNER/NAME', ' There is no such folder.'
    elif Path(name).is_dir():
        repo = 'OWNER/NAME'
        needed = _FILES if pretrained else (_FILES[0], _FILES[2])
        lacks = [
            ' or '.join(files)
            for files in needed
            if not any((Path(name) / file).is_file() for file in files)
        ]
        if lacks:
            missing = f' The folder lacks {", ".join(lacks)}.'
    try:
        from huggingface_hub.constants import HF_HUB_OFFLINE as offline
    except ImportError:
        offline = False
    return _NOT_FOUND.format(
        name=name,
        repo=repo,
        error=reason.rstrip('.'),
        missing=missing,
        offline=_OFFLINE if offline else '',
    )
