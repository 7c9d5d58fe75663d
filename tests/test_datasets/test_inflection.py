"""Forms of English verbs."""

import pytest

from hero_mm.datasets.inflection import inflect


@pytest.mark.parametrize(
    ('verb', 'forms'),
    [
        ('watch', 'watch watches watching watched watched'),
        ('ride', 'ride rides riding rode ridden'),
        ('hug', 'hug hugs hugging hugged hugged'),
        ('carry', 'carry carries carrying carried carried'),
        ('play', 'play plays playing played played'),
        ('lie', 'lie lies lying lay lain'),
        ('open', 'open opens opening opened opened'),
        ('free', 'free frees freeing freed freed'),
        ('press', 'press presses pressing pressed pressed'),
        ('move', 'move moves moving moved moved'),
        ('go', 'go goes going went gone'),
        ('squat', 'squat squats squatting squatted squatted'),
        ('bow', 'bow bows bowing bowed bowed'),
    ],
)
def test_inflections(verb, forms):
    names = ('base', 's', 'ing', 'past', 'participle')
    assert [inflect(verb, name) for name in names] == forms.split()
