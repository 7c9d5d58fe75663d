"""The faults of tests/mutants.py still have a place in the code."""

from pathlib import Path

import mutants
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize('mutant', mutants.MUTANTS, ids=lambda one: one[1])
def test_its_text_stands_there_once(mutant):
    name, old, new, tests = mutant
    assert (ROOT / name).read_text(encoding='utf-8').count(old) == 1
    assert old != new
    assert all((ROOT / test).exists() for test in tests.split())
