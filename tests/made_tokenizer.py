"""Tokenizers that the tests make, as folders of pretrained models have."""

import pytest


def save_tokenizer(folder, words, **tokens):
    """Save one that splits at spaces; words by number, tokens by role."""
    tokenizers = pytest.importorskip('tokenizers')
    transformers = pytest.importorskip('transformers')
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel(numbers, tokens['unk_token'])
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **tokens
    ).save_pretrained(folder)


ROBERTA = dict(
    pad_token='<pad>', unk_token='<unk>', bos_token='<s>', eos_token='</s>'
)
