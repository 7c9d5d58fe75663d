"""The text encoder on transformers, on tiny models made by the test."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from zoo_language import (
    LANGUAGE_MODELS,
    REFUSED_LANGUAGE,
    SIZE,
    save_language_model,
)

from hero_mm.models import HFTextEncoder
from hero_mm.models.text_encoders import hf_text_encoder
from hero_mm.registry import MODELS

TEXTS = ['the red square moves left', 'what turns ?']
WORDS = [*TEXTS[0].split(), *TEXTS[1].split(), 'a', 'blue', 'circle']
NEAR = dict(atol=1e-5, rtol=1e-4)


@pytest.fixture(scope='module', params=['BERT', 'RoBERTa'])
def folder(request, tmp_path_factory):
    """A folder as `hf download` would leave it."""
    pytest.importorskip('transformers')
    folder = tmp_path_factory.mktemp(request.param)
    words = ' '.join(WORDS)
    save_language_model(folder, request.param, words, initializer_range=0.3)
    return str(folder)


@pytest.fixture
def made(tmp_path):
    """Function: folder of a tiny language model of some kind."""
    pytest.importorskip('transformers')

    def make(kind, **tokens):
        save_language_model(tmp_path, kind, ' '.join(WORDS))
        path = tmp_path / 'tokenizer_config.json'
        found = {**json.loads(path.read_text()), **tokens}
        path.write_text(
            json.dumps({k: v for k, v in found.items() if v is not None})
        )
        return str(tmp_path)

    return make


def build(folder, **options):
    # Another seed than that of the folder.
    torch.manual_seed(7)
    encoder = HFTextEncoder(8, name=folder, **options).eval()
    encoder.init_weights()
    return encoder


def copied(folder, tmp_path, *left_out):
    for path in Path(folder).iterdir():
        if not path.name.startswith(left_out or ('none',)):
            shutil.copy(path, tmp_path)
    return str(tmp_path)


def test_the_weights_of_the_folder(folder):
    from transformers import AutoModel

    encoder, random = build(folder), build(folder, pretrained=False)
    wanted = AutoModel.from_pretrained(folder).state_dict()
    for name, value in encoder.language_model.state_dict().items():
        torch.testing.assert_close(value, wanted[name], msg=name)
    found = random.language_model.state_dict()
    assert not all(torch.equal(found[name], wanted[name]) for name in found)


def test_a_build_needs_no_weights(folder, tmp_path):
    """A checkpoint of HERO holds them."""
    encoder = HFTextEncoder(8, name=copied(folder, tmp_path, 'model')).eval()
    encoder.load_state_dict(build(folder).state_dict())
    torch.testing.assert_close(
        encoder(TEXTS).words_QLD, build(folder)(TEXTS).words_QLD
    )
    with pytest.raises(OSError, match='or pytorch_model.bin'):
        encoder.init_weights()


TO_PAD = [{}, dict(pad_token=None, eos_token='[SEP]')]


@pytest.mark.parametrize('kind', ['BART, its encoder', 'T5, its encoder'])
@pytest.mark.parametrize('tokens', TO_PAD)
def test_of_an_encoder_decoder_the_encoder(kind, tokens, made):
    encoder = build(made(kind, **tokens))
    names = [name for name, _ in encoder.named_parameters()]
    assert not any('decoder' in name for name in names)
    assert encoder(TEXTS).word_mask_QL.sum(1).tolist() == [7, 5]
    # A word sees those behind it.
    seen = encoder.language_model(**encoder._tokens(TEXTS[:1]))[0][:, 0]
    other = encoder._tokens(['the red square moves what'])
    assert not torch.equal(encoder.language_model(**other)[0][:, 0], seen)


RUNNING = [kind for kind in LANGUAGE_MODELS if kind not in REFUSED_LANGUAGE]


@pytest.mark.parametrize('kind', RUNNING)
def test_of_every_kind_all_positions_are_used_and_no_padding(kind, made):
    """The answer to a sentence does not change beside a longer one."""
    encoder = build(made(kind))
    long = 'red ' * 100
    both = encoder([TEXTS[0], long])
    assert both.word_mask_QL.sum(1).tolist() == [7, 64]
    assert both.words_QLD.isfinite().all()
    alone = encoder(TEXTS[:1])
    for found, wanted in (
        (both.sentence_QD[:1], alone.sentence_QD),
        (both.words_QLD[:1, :7], alone.words_QLD),
    ):
        torch.testing.assert_close(found, wanted, **NEAR)


@pytest.mark.parametrize(
    ('kind', 'tokens', 'words'),
    [
        ('GPT-2', {}, r'\(gpt2\) is a decoder: its words'),
        ('GPT-2', TO_PAD[1], r'\(gpt2\) is a decoder: its words'),
        # One has no mask for it, the other joins neighbours nevertheless.
        ('FNet', {}, r'\(fnet\) reads what pads a sentence as words'),
        ('Funnel', {}, r'\(funnel\) reads what pads a sentence as words'),
        ('ASR', {}, 'wav2vec2. reads no words, but inp'),
        (
            'T5, its encoder',
            dict(pad_token=None, unk_token=None),
            'no token to pad sentences with',
        ),
    ],
)
def test_what_is_refused(kind, tokens, words, made, monkeypatch):
    monkeypatch.setitem(LANGUAGE_MODELS, 'ASR', ('Wav2Vec2Config', SIZE))
    with pytest.raises((ValueError, OSError), match=words):
        build(made(kind, **tokens))


def test_what_nothing_reads_is_frozen(made):
    """The tokenizer gives no mask by itself, and is asked for one."""
    folder = made('SigLIP, its text tower', model_input_names=['input_ids'])
    encoder = build(folder)
    # The picture tower beside it is left out.
    assert not any('vision' in n for n, _ in encoder.named_parameters())
    still = {n for n, p in encoder.named_parameters() if not p.requires_grad}
    assert still and all(n.startswith('language_model.head') for n in still)
    out = encoder.train()(TEXTS)
    assert out.word_mask_QL.sum(1).tolist() == [7, 5]
    (out.sentence_QD.sum() + out.action_QD.sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert (parameter.grad is None) == (name in still), name


def test_code_of_a_folder_is_not_run(made, tmp_path, monkeypatch):
    folder = made('T5, its encoder')
    path = Path(folder) / 'config.json'
    found = json.loads(path.read_text())
    found.update(
        model_type='mine',
        auto_map=dict(AutoConfig='evil.Config', AutoModel='evil.Model'),
    )
    path.write_text(json.dumps(found))
    marker = tmp_path / 'ran'
    (Path(folder) / 'evil.py').write_text(f'open({str(marker)!r}, "w")')
    # Nobody is asked, who might say yes.
    monkeypatch.setattr('builtins.input', lambda *args: 'y')
    with pytest.raises(ValueError, match='needs code of its own'):
        build(folder)
    assert not marker.exists()


def test_an_old_torch_reads_safetensors_alone(folder, tmp_path, monkeypatch):
    copied(folder, tmp_path)
    monkeypatch.setattr(torch, '__version__', '2.9.0')
    state = build(str(tmp_path)).language_model.state_dict()
    (tmp_path / 'model.safetensors').unlink()
    torch.save(state, tmp_path / 'pytorch_model.bin')
    with pytest.raises(OSError, match='safetensors'):
        build(str(tmp_path))


def test_frozen_is_the_same_and_is_kept(folder, monkeypatch):
    wanted = build(folder)(TEXTS)
    encoder = build(folder, frozen=True).train()
    assert not encoder.language_model.training
    seen = []
    tokenizer = encoder.tokenizer
    monkeypatch.setattr(
        encoder,
        'tokenizer',
        lambda texts, **how: seen.append(texts) or tokenizer(texts, **how),
    )
    for _ in range(2):
        found = encoder(TEXTS)
        for name in ('sentence_QD', 'action_QD', 'action_weights_QL'):
            torch.testing.assert_close(
                getattr(found, name), getattr(wanted, name), **NEAR
            )
    encoder([TEXTS[1], 'a blue circle', TEXTS[1]])
    # Each sentence went through the language model once.
    assert seen == [TEXTS, ['a blue circle']]
    (found.sentence_QD.sum() + found.action_QD.sum()).backward()
    for name, parameter in encoder.named_parameters():
        learns = not name.startswith('language_model')
        assert (parameter.grad is not None) == learns, name
    # New weights empty what is kept, and so do too many sentences.
    other = build(folder, frozen=True, pretrained=False)
    encoder.load_state_dict(other.state_dict())
    assert (encoder(TEXTS).words_QLD - wanted.words_QLD).abs().max() > 1e-3
    monkeypatch.setattr(hf_text_encoder, '_KEPT', 1)
    encoder(TEXTS)
    assert not encoder._cache


def test_cut_and_unknown_words_are_reported(folder):
    encoder = build(folder, max_words=5)
    out = encoder([' '.join(WORDS), 'what'])
    assert out.word_mask_QL.sum(1).tolist() == [5, 3]
    found = encoder.unknown_words('the qwxz circle 红色 the qwxz')
    assert found == ['qwxz', '红色']
    # Two sub-words mark beginning and end.
    texts = ('a', 'a a a', 'a a a a a')
    assert [encoder.cut_words(text) for text in texts] == [0, 0, 2]


def test_empty_sentence(folder):
    with pytest.raises(ValueError, match='empty; give a sentence'):
        build(folder)(['the red square', '  '])


@pytest.mark.parametrize('where', ['missing', 'empty', 'no tokenizer'])
def test_an_error_names_the_cure(where, folder, tmp_path, monkeypatch):
    # No attempt to reach the hub, as on a machine without internet.
    for name in ('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'):
        monkeypatch.setitem(os.environ, name, '1')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    if where == 'no tokenizer':
        # Transformers makes one up where a folder holds none.
        copied(folder, tmp_path, 'tokenizer', 'special')
    if where == 'missing':
        tmp_path = tmp_path / 'missing'
    with pytest.raises(OSError, match='could not be loaded: ') as error:
        HFTextEncoder(8, name=str(tmp_path))
    message = str(error.value)
    for part in (str(tmp_path), 'config.json', 'hf download', '--local-dir'):
        assert part in message
    assert 'HF_HUB_OFFLINE=1' in message and len(message) < 900
    assert ('loaded: there is no such fol' in message) == (where == 'missing')


def test_the_hub_is_asked_for_what_the_cache_lacks(folder, monkeypatch):
    import transformers

    asked = []

    def stand_in(real):
        def load(name, **options):
            if name == folder:
                return real(name, **options)
            asked.append(options.get('local_files_only', False))
            if asked[-1]:
                raise OSError('not in the cache')
            return real(folder)

        return load

    for kind in ('AutoTokenizer', 'AutoConfig', 'AutoModel'):
        auto = getattr(transformers, kind)
        real = auto.from_pretrained
        monkeypatch.setattr(auto, 'from_pretrained', stand_in(real))
    assert build('owner/name')(TEXTS).word_mask_QL.sum() == 12
    # The cache is asked once a load; of a hub out of reach, for one file.
    assert asked == [True, False, False, False] * 2


def test_the_last_position_is_used(folder):
    """RoBERTa counts from its padding on: one more would be out of range."""
    most = 64 if 'RoBERTa' in folder else 66
    out = build(folder, max_words=most)(['red ' * 100])
    assert out.word_mask_QL.sum() == most
    assert out.words_QLD.isfinite().all()
    with pytest.raises(ValueError, match=f'set max_words to {most} or less'):
        build(folder, max_words=most + 1)


def test_hero_on_a_language_model(folder, hero_config, make_clip, total_loss):
    text = dict(type='HFTextEncoder', embed_dims=16, name=folder)
    model = MODELS.build({**hero_config(), 'text_encoder': text})
    model.init_weights()
    losses, total = total_loss(model.train(), make_clip(4))
    assert total.isfinite()
    total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
