"""Text encoder on Hugging Face transformers: RoBERTa, BERT, CLIP text ...

Shape legend: Q queries, L sub-words, C encoder width, D width.
"""

import inspect
from collections.abc import Sequence
from typing import Any, Optional

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.parts.building import freeze_unread, untouched
from hero_mm.parts.language_models import (
    build_language_model,
    most_words,
    read_text_weights,
    text_part,
)
from hero_mm.registry import MODELS

from ..features import TextFeatures, TextPooling

# Sentences whose words are kept in memory.
_KEPT = 100_000


@MODELS.register_module()
class HFTextEncoder(BaseModule):
    """Words of a pretrained language model, projected to width D.

    RoBERTa, BERT and their like, the text tower of CLIP, the encoder of T5 or
    BART: the text part alone is kept, and the words are pooled here. What
    nobody reads of it is frozen. Code in the folder of a model is never run.
    :meth:`init_weights` loads its weights, which a checkpoint of HERO holds,
    too. docs/configs.md lists the options.

    OSError where the model cannot be found, ValueError where it does not do.
    """

    def __init__(
        self,
        embed_dims: int,
        name: str = 'roberta-base',
        pretrained: bool = True,
        frozen: bool = False,
        max_words: int = 64,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.name = name
        self.pretrained = pretrained
        self.tokenizer, language_model = build_language_model(name)
        part: Any = text_part(language_model)
        if hasattr(part, 'pooler'):
            # Words are pooled here; some kinds ask for theirs unseen.
            part.pooler = nn.Identity()
        self.language_model: nn.Module = part
        config = getattr(
            language_model.config, 'text_config', language_model.config
        )
        most = most_words(config, part)
        if max_words > most:
            raise UserError(
                f'model.text_encoder.max_words={max_words}, and {name!r} has '
                f'positions for {most} sub-words; set max_words to {most} or '
                'less'
            )
        self.frozen = frozen
        self.max_words = max_words
        self._cache: dict[str, Tensor] = {}
        if frozen:
            self.language_model.requires_grad_(False).eval()
        self._look(config.model_type)
        self.pooling = TextPooling(config.hidden_size, embed_dims)

    def _look(self, kind: str) -> None:
        """Run on a sentence: what nothing reads, and what a word sees."""
        takes = inspect.signature(self.language_model.forward).parameters
        if 'input_ids' not in takes:
            raise UserError(
                f'{self.name} ({kind}) reads no words, but '
                f'{next(iter(takes))}: give a language model, such as '
                'roberta-base'
            )
        text, longer = 'the man who walks', 'the man who walks beside a dog'
        is_masked = 'attention_mask' in takes
        if is_masked:
            tokens = self._tokens([text])
            with untouched(self.language_model, gradients=True):
                words_QLC = self._hidden(tokens)
                unread = freeze_unread(self.language_model, [words_QLC])
            with untouched(self.language_model):
                beside_QLC = self._hidden(self._tokens([text, longer]))
            change = beside_QLC[:1, : words_QLC.shape[1]] - words_QLC
            most = 0.01 * words_QLC.abs().max()
            is_masked = bool(change.abs().max() <= most)
        if not is_masked:
            raise UserError(
                f'{self.name} ({kind}) reads what pads a sentence as words: '
                'its answer would change with the length of the other '
                'sentences. Take a language model that leaves it out, such as '
                'roberta-base'
            )
        if unread:
            print_log(
                f'text encoder {self.name}: nothing reads '
                f'{", ".join(unread)}: frozen',
                logger='current',
            )
        if 'clip' in kind:
            # That of CLIP was trained to be looked at as a whole.
            return
        last = tokens['input_ids'][:, -1:]
        last.copy_(torch.where(last == 0, 1, 0))
        with untouched(self.language_model):
            again_QLC = self._hidden(tokens)
        # Of some (Longformer) a word sees its neighbours alone.
        if torch.equal(words_QLC[:, :-1], again_QLC[:, :-1]):
            raise UserError(
                f'{self.name} ({kind}) is a decoder: its words do not see '
                'those behind them. Take an encoder (RoBERTa, BERT, CLIP '
                'text) or an encoder-decoder (T5, BART), whose encoder is used'
            )

    def init_weights(self) -> None:
        """Load the weights of the folder, where they are wanted."""
        super().init_weights()
        if not self.pretrained:
            return
        state = read_text_weights(self.name)
        own = self.language_model.state_dict()
        self.language_model.load_state_dict({n: state[n] for n in own})
        self._cache.clear()

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
                raise UserError(
                    f'the sentence {text!r} is empty; give a sentence that '
                    'names an object'
                )
        tokens = self._tokens(texts)
        return self._hidden(tokens), tokens['attention_mask'].bool()

    @torch.no_grad()
    def _cached_words(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        missing = list(dict.fromkeys(t for t in texts if t not in self._cache))
        if missing:
            for text, words, mask in zip(missing, *self._words(missing)):
                self._cache[text] = words[mask].cpu()
        device = next(self.pooling.parameters()).device
        rows = [self._cache[text].to(device) for text in texts]
        if len(self._cache) > _KEPT:
            self._cache.clear()
        words_QLC = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        steps = torch.arange(words_QLC.shape[1], device=device)
        return words_QLC, steps < lengths[:, None]

    def _tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        device = next(self.language_model.parameters()).device
        tokens = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.max_words,
            # The tokenizers of some models (SigLIP) leave it out.
            return_attention_mask=True,
            return_tensors='pt',
        )
        return {name: value.to(device) for name, value in tokens.items()}

    def _hidden(self, tokens: dict[str, Tensor]) -> Tensor:
        output: Any = self.language_model(**tokens)
        words_QLC: Tensor = output.last_hidden_state
        return words_QLC

    def unknown_words(self, text: str) -> list[str]:
        """Words that the tokenizer has no sub-words for, each once."""
        unknown = self.tokenizer.unk_token_id
        return [
            word
            for word in dict.fromkeys(text.split())
            if unknown
            in self.tokenizer(word, add_special_tokens=False)['input_ids']
        ]

    def cut_words(self, text: str) -> int:
        """How many sub-words at the end of a sentence are not read."""
        tokens = self.tokenizer(text, truncation=False)['input_ids']
        return max(0, len(tokens) - self.max_words)

    def forward(self, texts: Sequence[str]) -> TextFeatures:
        """Encode Q sentences, to width D; ValueError where one is empty."""
        encode = self._cached_words if self.frozen else self._words
        return self.pooling(*encode(texts))
