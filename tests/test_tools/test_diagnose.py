"""How well each part of a model does its work."""

import pytest
import torch


def test_links_and_gaps_are_counted_apart(tool):
    # Found in slot 2, 2, hidden, hidden, 2, then in slot 0.
    slots = torch.tensor([2, 2, -1, -1, 2, 0])[:, None]
    kept = tool.follow(slots)
    assert kept == dict(links=[True, False], gaps=[True])


def test_auc_counts_pairs_in_order(tool):
    inside = torch.tensor([0, 1, 1, 0]).bool()
    scores = torch.tensor([0.1, 0.9, 0.3, 0.3])
    # Of four pairs three are in order and one is even.
    assert tool.auc(scores, inside) == pytest.approx(3.5 / 4)
    assert tool.auc(scores, torch.ones(4).bool()) is None
