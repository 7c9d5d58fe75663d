"""A tiny HERO on proposals of a joint RPN learns a few clips by heart."""

import runpy
from pathlib import Path

import pytest
from zoo_detectors import small_head

# The clips and the score of the test of HERO's own proposals.
OWN = runpy.run_path(str(Path(__file__).parents[1] / 'test_overfit.py'))


@pytest.mark.slow
def test_eight_sentences_by_heart(proposing_config, collate):
    head = small_head('RPNHead')
    head.update(in_channels=OWN['WIDTH'], feat_channels=OWN['WIDTH'])
    head['anchor_generator'].update(
        scales=[1.2, 1.6], strides=[8], center_offset=0.5
    )
    generator = dict(type='DenseHeadProposals', head=head, loss_weight=10.0)
    config = proposing_config(generator)
    assert OWN['learn_by_heart'](config, collate, steps=150) > 0.9
