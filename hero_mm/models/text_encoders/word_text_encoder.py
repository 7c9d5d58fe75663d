"""A small text encoder from scratch: words, positions, a few layers.

For data sets whose language is small and for machines without weights of a
language model. The vocabulary is built from the annotations and travels in
the checkpoint.

Shape legend: Q queries, L words, D width.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Optional

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.registry import MODELS
from hero_mm.structures import send

from ..features import TextFeatures, TextPooling

PAD, UNKNOWN = '<pad>', '<unk>'
_TOKEN = re.compile(r"[a-z0-9']+|[^\sa-z0-9']")


def split_words(text: str) -> list[str]:
    """Split a sentence into lower-case words and punctuation.

    >>> split_words('What spins?')
    ['what', 'spins', '?']
    """
    return _TOKEN.findall(text.lower())


def build_vocabulary(texts: Iterable[str]) -> list[str]:
    """The padding word, the unknown word, the words of sentences, sorted."""
    return [PAD, UNKNOWN, *sorted({w for t in texts for w in split_words(t)})]


@MODELS.register_module()
class WordTextEncoder(BaseModule):
    """Embed the words of a sentence and let them see each other.

    docs/configs.md lists its options. Without an ``ann_file`` the words are
    those of the checkpoint that is loaded.
    """

    def __init__(
        self,
        embed_dims: int,
        ann_file: Optional[str] = None,
        vocabulary: Optional[Sequence[str]] = None,
        num_layers: int = 2,
        num_heads: int = 4,
        max_words: int = 64,
        unknown_prob: float = 0.0,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if vocabulary is not None:
            words = build_vocabulary([' '.join(vocabulary)])
        elif ann_file is not None and Path(ann_file).is_file():
            from hero_mm.datasets.annotation import load_annotation

            clips = load_annotation(ann_file).data_list
            queries = (query for clip in clips for query in clip['queries'])
            words = build_vocabulary(query['text'] for query in queries)
        else:
            # A checkpoint brings its words; see _load_from_state_dict.
            words = [PAD, UNKNOWN]
        self.ann_file = ann_file
        self.embed_dims = embed_dims
        self.max_words = max_words
        self.unknown_prob = unknown_prob
        self._set_words(words)
        self.position = nn.Parameter(torch.zeros(max_words, embed_dims))
        nn.init.normal_(self.position, std=0.02)
        layer = nn.TransformerEncoderLayer(
            embed_dims,
            num_heads,
            2 * embed_dims,
            dropout=0.0,
            activation='gelu',
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(
            layer, num_layers, enable_nested_tensor=False
        )
        self.pooling = TextPooling(embed_dims, embed_dims)

    def _set_words(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._index = {word: index for index, word in enumerate(self.words)}
        self.embedding = nn.Embedding(
            len(self.words), self.embed_dims, padding_idx=0
        )
        # A buffer of bytes travels in the checkpoint like any weight.
        letters = bytearray('\n'.join(self.words).encode())
        self.register_buffer(
            'vocabulary', torch.frombuffer(letters, dtype=torch.uint8).clone()
        )

    @staticmethod
    def words_of(letters: Tensor) -> list[str]:
        """The words of a vocabulary as it stands in a checkpoint."""
        return bytes(letters.cpu().numpy()).decode().split('\n')

    def adapt_to(self, weights: dict[str, Tensor], prefix: str) -> None:
        """Take over the vocabulary of a checkpoint, before its weights."""
        letters = weights.get(prefix + 'vocabulary')
        if letters is not None and self.words_of(letters) != self.words:
            device = self.position.device
            self._set_words(self.words_of(letters))
            self.to(device)

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args: Any
    ) -> None:
        if self._has_words():
            self._translate(state_dict, prefix)
        else:
            self.adapt_to(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _translate(self, weights: dict[str, Tensor], prefix: str) -> None:
        """Bring the rows of another vocabulary into the order of this one.

        Words that the checkpoint does not know keep what they have; weights
        stay the same tensors, which an optimizer may hold.
        """
        letters = weights.get(prefix + 'vocabulary')
        table = weights.get(prefix + 'embedding.weight')
        if letters is None or table is None:
            return
        if table.shape[1] != self.embed_dims:
            return
        rows = self.embedding.weight.detach().clone()
        for row, word in zip(table, self.words_of(letters)):
            if word in self._index:
                rows[self._index[word]] = row
        weights[prefix + 'embedding.weight'] = rows
        weights[prefix + 'vocabulary'] = self.vocabulary

    def _has_words(self) -> bool:
        return len(self.words) > len((PAD, UNKNOWN))

    def _need_words(self) -> None:
        if not self._has_words():
            raise UserError(
                f'the text encoder knows no words: ann_file {self.ann_file!r} '
                'does not exist, and no vocabulary was given. Set '
                'model.text_encoder.ann_file to an annotation file, or load a '
                'checkpoint, which brings its words'
            )

    def init_weights(self) -> None:
        """Start a training, which needs words; ValueError without them."""
        self._need_words()
        super().init_weights()

    def unknown_words(self, text: str) -> list[str]:
        """Words that the vocabulary lacks, each once, in small letters."""
        found: dict[str, None] = {}
        for chunk in text.lower().split():
            # A word of another script is many tokens side by side.
            for is_new, run in groupby(split_words(chunk), self._is_new):
                if is_new:
                    found[''.join(run)] = None
        return list(found)

    def _is_new(self, token: str) -> bool:
        # Neither known, nor punctuation, nor a part of an emoji or letter.
        kind = unicodedata.category(token[0])[0]
        return token not in self._index and kind not in 'PZCM'

    def cut_words(self, text: str) -> int:
        """How many words, or marks, at the end of a sentence are not read."""
        return max(0, len(split_words(text)) - self.max_words)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Word numbers (Q, L) of sentences, 0 on padding."""
        rows = [split_words(text)[: self.max_words] for text in texts]
        for text, row in zip(texts, rows):
            if not row:
                raise UserError(
                    f'the sentence {text!r} has no words; give a sentence '
                    'that names an object'
                )
        ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(
                [self._index.get(word, 1) for word in row]
            )
        return ids

    def forward(self, texts: Sequence[str]) -> TextFeatures:
        """Encode Q sentences; ValueError where one, or all words, lack."""
        self._need_words()
        ids_QL = send(self.tokenize(texts), self.position.device)
        mask_QL = ids_QL > 0
        if self.training and self.unknown_prob:
            drop = torch.rand(ids_QL.shape, device=ids_QL.device)
            drop = (drop < self.unknown_prob) & mask_QL
            ids_QL = ids_QL.masked_fill(drop, 1)
        x_QLD = self.embedding(ids_QL) + self.position[: ids_QL.shape[1]]
        x_QLD = self.layers(x_QLD, src_key_padding_mask=~mask_QL)
        return self.pooling(x_QLD, mask_QL)
