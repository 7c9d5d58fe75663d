"""The text encoder from scratch: words, masks, vocabulary, checkpoint."""

import json

import pytest
import torch

from hero_mm.models import WordTextEncoder
from hero_mm.models.features import TextPooling
from hero_mm.models.text_encoders.word_text_encoder import (
    build_vocabulary,
    split_words,
)

TEXTS = ['the red square moves left', 'what turns ?', 'a circle, and a square']


def build(**options):
    torch.manual_seed(0)
    options = dict(
        dict(vocabulary=TEXTS, num_layers=1, num_heads=2), **options
    )
    return WordTextEncoder(16, **options).eval()


def test_words_and_vocabulary():
    words = split_words("A dog's tail, left?")
    assert words == ['a', "dog's", 'tail', ',', 'left', '?']
    assert split_words('  \n ') == []
    # The order of sentences makes no other model.
    for texts in (['b a b', 'b c'], ['b c', 'b a b']):
        assert build_vocabulary(texts) == ['<pad>', '<unk>', 'a', 'b', 'c']


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ("What is the Qwxz, or a dog's 12 ?", ['is', 'qwxz', 'or', "dog's"]),
        ('红色的圆 moves', ['红色的圆']),
        ('the café', ['café']),
        ('مربع أحمر', ['مربع', 'أحمر']),
        ('the 🔴 square 👍🏽', ['🔴', '👍🏽']),
        ('the “red” square … – !', []),
    ],
)
def test_unknown_words_of_any_script_are_found(text, words):
    found = build(vocabulary=[*TEXTS, '12']).unknown_words(text)
    assert found == words


def test_new_words_are_the_unknown_word():
    encoder = build()
    ids = encoder.tokenize(['the zebra moves', 'THE Red'])
    assert ids[0, 1] == 1
    known = [encoder.words.index(word) for word in ('the', 'red')]
    assert ids[1].tolist() == [*known, 0]
    one, other = encoder(['the zebra']), encoder(['the yak'])
    torch.testing.assert_close(one.sentence_QD, other.sentence_QD)
    # In training, words are dropped.
    encoder = build(unknown_prob=1.0)
    usual = encoder(['the red square']).sentence_QD
    unknown = encoder(['x y z']).sentence_QD
    dropped = encoder.train()(['the red square']).sentence_QD
    torch.testing.assert_close(dropped, unknown)
    assert (dropped - usual).abs().max() > 1e-4


def test_long_sentences_are_cut_and_empty_ones_refused():
    encoder = build(max_words=4)
    long = 'the red square moves left and left'
    torch.testing.assert_close(
        encoder([long]).words_QLD, encoder(['the red square moves']).words_QLD
    )
    assert [encoder.cut_words(text) for text in (long, 'a b')] == [3, 0]
    for text in ('', '   ', '\n'):
        with pytest.raises(ValueError, match='no words; give a sentence'):
            encoder(['the red square', text])


def test_vocabulary_of_an_annotation_file(tmp_path):
    query = dict(query_id='0', text='a dog runs', type='declarative')
    query.update(span=[1, 2], track_id='0')
    track = dict(category='dog', boxes={'1': [0, 0, 4, 4]})
    video = dict(path='v.mp4', frame_count=9, fps=5.0, width=16, height=16)
    item = dict(video_id='v', segment=[0, 9], queries=[query])
    annotation = dict(
        metainfo=dict(format='hero_mm/1', dataset='x', split='train'),
        videos=dict(v=dict(video, tracks={'0': track})),
        data_list=[item],
    )
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(annotation))
    encoder = build(vocabulary=None, ann_file=str(path))
    assert encoder.words == ['<pad>', '<unk>', 'a', 'dog', 'runs']


def test_the_checkpoint_brings_its_words():
    """Words of any script."""
    encoder = build(vocabulary=[*TEXTS, 'ein größerer Hund', '猫 が 走る'])
    state = encoder.state_dict()
    text = ['the größerer 猫']
    other = build(vocabulary=None)
    other.load_state_dict(state)
    assert other.words == encoder.words
    torch.testing.assert_close(other(text).action_QD, encoder(text).action_QD)
    # Asked for, it takes the place of other words.
    other = build(vocabulary=['other', 'words'])
    other.adapt_to(state, '')
    assert other.words == encoder.words


def test_a_training_keeps_its_words_and_takes_the_rows_it_knows():
    """What load_from does: the optimizer holds the weights already."""
    encoder = build()
    other = build(vocabulary=['the red zebra'])
    weight = other.embedding.weight
    before = weight.detach().clone()
    state = encoder.state_dict()
    other.load_state_dict(state)
    assert other.words == ['<pad>', '<unk>', 'red', 'the', 'zebra']
    assert other.embedding.weight is weight
    for word, row in zip(other.words, weight):
        wanted = before[4]
        if word != 'zebra':
            wanted = encoder.embedding.weight[encoder.words.index(word)]
        torch.testing.assert_close(row, wanted)
    torch.testing.assert_close(other.position, encoder.position)
    # The checkpoint itself is left as it was.
    assert bytes(state['vocabulary'].numpy()).decode().count('\n') > 4


@pytest.mark.parametrize('ann_file', [None, 'nowhere.json'])
def test_without_words_nothing_is_encoded(ann_file):
    encoder = build(vocabulary=None, ann_file=ann_file)
    for act in (encoder.init_weights, lambda: encoder(TEXTS)):
        with pytest.raises(ValueError, match=f'{ann_file}.*load a checkpoint'):
            act()
    encoder.load_state_dict(build().state_dict())
    encoder.init_weights()
    assert encoder(TEXTS).sentence_QD.isfinite().all()


def test_pooling_is_a_weighted_mean():
    torch.manual_seed(0)
    pooling = TextPooling(8, 4)
    words, mask = torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)
    mask[0, 1:] = False
    out = pooling(words, mask)
    projected = pooling.project(words)
    torch.testing.assert_close(out.sentence_QD[0], projected[0, 0])
    mean = torch.einsum('ql,qld->qd', out.action_weights_QL, projected)
    torch.testing.assert_close(out.action_QD, pooling.action_out(mean))
    assert out.action_weights_QL[0].tolist() == [1, 0, 0]
