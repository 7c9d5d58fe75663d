"""Encoders of the sentence."""

from .action_pooling import TextPooling
from .hf_text_encoder import HFTextEncoder
from .word_text_encoder import WordTextEncoder, build_vocabulary, split_words

__all__ = [
    'HFTextEncoder',
    'TextPooling',
    'WordTextEncoder',
    'build_vocabulary',
    'split_words',
]
