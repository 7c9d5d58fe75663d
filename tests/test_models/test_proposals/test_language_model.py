"""mmdet's BERT of Grounding DINO, whatever version transformers is of."""

import copy

import pytest
import torch

from hero_mm.registry import MODELS

PROMPT = 'the red square . object moves . circle .'


@pytest.fixture(scope='module')
def language_model(detector_config):
    config = detector_config('Grounding DINO').language_model
    return MODELS.build({**config, 'type': 'mmdet.BertModel'}).eval()


@torch.no_grad()
def test_parts_of_a_prompt_do_not_see_each_other(language_model):
    texts = [PROMPT, PROMPT.replace('object', 'circle')]
    # [CLS] the red square . object moves . circle . [SEP]
    one, other = language_model(texts)['embedded']
    near = dict(rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(one[1:5], other[1:5], **near)
    torch.testing.assert_close(one[8:10], other[8:10], **near)
    assert (one[5:8] - other[5:8]).abs().amin(0).max() > 1e-3


@torch.no_grad()
def test_a_part_is_the_same_alone_and_beside_a_longer_prompt(language_model):
    near = dict(rtol=1e-5, atol=1e-5)
    both = language_model(['circle .', PROMPT])
    (alone,) = language_model(['circle .'])['embedded']
    torch.testing.assert_close(both['embedded'][1, 8:10], alone[1:3], **near)
    torch.testing.assert_close(both['embedded'][0, :4], alone, **near)
    assert both['text_token_mask'].sum(1).tolist() == [4, 11]
    # As the moving average of a training makes it.
    again = copy.deepcopy(language_model)(['circle .', PROMPT])
    assert torch.equal(again['hidden'], both['hidden'])
