"""Text encoder on Hugging Face transformers: RoBERTa, BERT, CLIP text ...

Shape legend: Q queries, L sub-words, C encoder width, D width.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Optional

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.registry import MODELS

from ..features import TextFeatures
from .action_pooling import TextPooling

_NOT_FOUND = (
    'The text encoder {name!r} could not be loaded: {error}. Give a folder '
    'that holds config.json, the weights and the tokenizer files (on a '
    'machine with internet: `hf download {name} --local-dir FOLDER`), and '
    'set model.text_encoder.name=FOLDER.'
)


@MODELS.register_module()
class HFTextEncoder(BaseModule):
    """Words of a pretrained language model, projected to width D.

    Args:
        embed_dims (int): Width D.
        name (str): Folder with the model, or its name on the hub.
        pretrained (bool): Load the weights; False builds the model of the
            folder's config with random weights. Defaults to True.
        frozen (bool): Do not train the language model. Its word features are
            then computed once a sentence and kept. Defaults to False.
        max_words (int): Longer sentences are cut there, in sub-words.
        cache_size (int): Sentences kept in memory when frozen.
        init_cfg (dict, optional): Initialization config.

    Raises:
        OSError: The model cannot be found; the message says how to get it.
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
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        try:
            self.tokenizer = AutoTokenizer.from_pretrained(name)
            if pretrained:
                language_model = AutoModel.from_pretrained(name)
            else:
                config = AutoConfig.from_pretrained(name)
                language_model = AutoModel.from_config(config)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise OSError(
                _NOT_FOUND.format(name=name, error=reason)
            ) from error
        # A CLIP model holds a text tower beside the picture tower.
        self.language_model: nn.Module = getattr(
            language_model, 'text_model', language_model
        )
        if hasattr(self.language_model, 'pooler'):
            # Words are pooled here; unused weights stall distributed training.
            self.language_model.pooler = None
        self.frozen = frozen
        self.max_words = max_words
        self.cache_size = cache_size
        self._cache: OrderedDict[str, Tensor] = OrderedDict()
        if frozen:
            self.language_model.requires_grad_(False).eval()
        config = getattr(
            language_model.config, 'text_config', language_model.config
        )
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

    def forward(self, texts: Sequence[str]) -> TextFeatures:
        """Encode sentences.

        Args:
            texts (Sequence[str]): Q sentences.

        Returns:
            TextFeatures: Of width D.
        """
        encode = self._cached_words if self.frozen else self._words
        return self.pooling(*encode(texts))
