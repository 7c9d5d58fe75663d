"""Language models of the zoo: one of each kind, small, of random weights."""

from pathlib import Path
from typing import Any

SIZE = dict(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
)
# Positions for 64 sub-words, where they are counted from the padding on.
BERT = dict(SIZE, max_position_embeddings=66)
DEBERTA = dict(BERT, relative_attention=True, pos_att_type=['c2p', 'p2c'])
T5 = dict(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
SPECIAL = ('[CLS]', '[PAD]', '[SEP]', '[UNK]', '.', '?')
START, PAD, END = range(3)
# Kind -> its config in transformers, and what makes it small.
LANGUAGE_MODELS: dict[str, tuple[str, dict]] = {
    'BERT': ('BertConfig', BERT),
    'RoBERTa': ('RobertaConfig', BERT),
    'DistilBERT': (
        'DistilBertConfig',
        dict(
            dim=16,
            n_layers=1,
            n_heads=2,
            hidden_dim=16,
            max_position_embeddings=66,
        ),
    ),
    'ALBERT': ('AlbertConfig', dict(BERT, embedding_size=8)),
    'ELECTRA': ('ElectraConfig', dict(BERT, embedding_size=8)),
    'DeBERTa': ('DebertaConfig', DEBERTA),
    'DeBERTa-v2': ('DebertaV2Config', DEBERTA),
    'MPNet': ('MPNetConfig', BERT),
    'XLM-RoBERTa': ('XLMRobertaConfig', BERT),
    'CamemBERT': ('CamembertConfig', BERT),
    'ModernBERT': (
        'ModernBertConfig',
        dict(BERT, cls_token_id=START, sep_token_id=END),
    ),
    'Longformer': (
        'LongformerConfig',
        dict(BERT, attention_window=8, sep_token_id=END),
    ),
    'BigBird': ('BigBirdConfig', BERT),
    'SqueezeBERT': ('SqueezeBertConfig', dict(BERT, embedding_size=16)),
    'XLNet': (
        'XLNetConfig',
        dict(d_model=16, n_layer=1, n_head=2, d_inner=16),
    ),
    'Funnel': (
        'FunnelConfig',
        dict(
            block_sizes=[1, 1],
            d_model=16,
            n_head=2,
            d_head=8,
            d_inner=16,
            num_decoder_layers=1,
        ),
    ),
    'CLIP, its text tower': ('CLIPTextConfig', dict(BERT, projection_dim=8)),
    'SigLIP, its text tower': (
        'SiglipConfig',
        dict(
            text_config=dict(BERT, projection_size=16),
            vision_config=dict(SIZE, image_size=8, patch_size=4),
        ),
    ),
    'T5, its encoder': ('T5Config', T5),
    'mT5, its encoder': ('MT5Config', T5),
    'BART, its encoder': (
        'BartConfig',
        dict(
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            max_position_embeddings=66,
        ),
    ),
    'FNet': ('FNetConfig', BERT),
    'GPT-2': ('GPT2Config', dict(n_embd=16, n_layer=1, n_head=2)),
}
# Each says why, and what to do.
REFUSED_LANGUAGE = ('Funnel', 'FNet', 'GPT-2')


def save_language_model(
    folder: Path, kind: str, words: str, **changes: Any
) -> Path:
    """Save a small language model of random weights, and its tokenizer.

    Into ``folder``, which it gives; ``kind`` is one of
    :data:`LANGUAGE_MODELS`, ``words`` those that the tokenizer knows, and
    ``changes`` are of the config.
    """
    import tokenizers
    import torch
    import transformers

    vocabulary = [*SPECIAL, *sorted({*words.split()} - {*SPECIAL})]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel(
            {word: place for place, word in enumerate(vocabulary)}, '[UNK]'
        )
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(
        ('[SEP]', END), ('[CLS]', START)
    )
    names = ['input_ids', 'attention_mask']
    if kind == 'BERT':
        # Grounding DINO asks for them.
        names.append('token_type_ids')
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token='[PAD]',
        unk_token='[UNK]',
        cls_token='[CLS]',
        sep_token='[SEP]',
        model_input_names=names,
    ).save_pretrained(folder)
    name, size = LANGUAGE_MODELS[kind]
    size = {**size, **changes}
    common = dict(
        vocab_size=len(vocabulary),
        bos_token_id=START,
        pad_token_id=PAD,
        eos_token_id=END,
    )
    if 'text_config' in size:
        size['text_config'] = {**size['text_config'], **common}
    else:
        size.update(common)
    config = getattr(transformers, name)(**size)
    # Where there are several models, the first.
    config.architectures = []
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = transformers.AutoModel.from_config(config)
    model.save_pretrained(folder)
    return folder
