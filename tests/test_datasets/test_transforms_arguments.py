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
        (
            'SampleClipFrames',
            dict(num_frames=3, crop_prob=2),
            r'in \[0, 1\], got 2',
        ),
        ('ResizeClip', dict(), 'give either scale'),
        ('ResizeClip', dict(scale=(3, 3), short_side=4), 'give either scale'),
        ('ResizeClip', dict(scale=(0, 4)), 'scale must be'),
        ('RandomFlipClip', dict(prob=-0.1), 'must be in'),
        ('RandomTubeCrop', dict(prob=1.1), 'must be in'),
        ('RandomTubeCrop', dict(min_scale=0), 'must be in'),
        ('SwapActionPhrase', dict(num_negatives=0), '1 or more, got 0'),
        ('LoadProposals', dict(folder='x', max_per_frame=0), 'at least 1'),
        ('LoadProposals', dict(folder='x', max_gap=-1), 'max_gap at least 0'),
        ('DecodeFrames', dict(cache=dict(folder='x', max_gb=0)), 'max_gb'),
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
