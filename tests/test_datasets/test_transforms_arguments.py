"""Arguments of transforms: shown, and refused where they cannot be."""

import pytest

from hero_mm.registry import TRANSFORMS


@pytest.mark.parametrize(
    ('kind', 'options', 'message'),
    [
        ('SampleClipFrames', dict(), 'needs num_frames >= 1, got None'),
        ('SampleClipFrames', dict(num_frames=0), 'num_frames >= 1, got 0'),
        ('SampleClipFrames', dict(mode='any', num_frames=3), "got 'any'"),
        ('SampleClipFrames', dict(mode='fps'), 'needs fps > 0'),
        (
            'SampleClipFrames',
            dict(mode='fps', fps=5, jitter=True),
            'jitter=False',
        ),
        ('ResizeClip', dict(), 'give either scale'),
        ('ResizeClip', dict(scale=(3, 3), short_side=4), 'give either scale'),
    ],
)
def test_what_cannot_be_is_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(dict(type=kind, **options))


def test_arguments_are_shown():
    step = TRANSFORMS.build(dict(type='LoadProposals', folder='x', max_gap=2))
    assert repr(step) == (
        "LoadProposals(folder='x', max_per_frame=50, max_gap=2)"
    )
