"""How large the data sets are, to compare a conversion with.

VidSTG's val and test, and the videos of all splits, were counted in the
official files; the other numbers are as published.
"""

from collections.abc import Mapping

_SIZES: dict[tuple[str, str], dict[str, int]] = {
    ('vidstg', 'train'): dict(
        videos=5436, declarative=36202, interrogative=44482
    ),
    ('vidstg', 'val'): dict(videos=602, declarative=3996, interrogative=4960),
    ('vidstg', 'test'): dict(videos=732, declarative=4610, interrogative=5693),
    ('hcstvg', 'train'): dict(declarative=4500),
    ('hcstvg', 'test'): dict(declarative=1160),
    ('hcstvg-v2', 'train'): dict(declarative=10131),
    ('hcstvg-v2', 'val'): dict(declarative=2000),
    ('hcstvg-v2', 'test'): dict(declarative=4413),
    ('vid-sentence', 'train'): dict(declarative=6582),
    ('vid-sentence', 'val'): dict(declarative=536),
    ('vid-sentence', 'test'): dict(declarative=536),
}


def official_counts(dataset: str, split: str) -> Mapping[str, int]:
    """The size of a split: ``videos`` where known, ``sentences``, and types.

    Empty where none is published.
    """
    sizes = _SIZES.get((dataset, split), {})
    total = sum(count for name, count in sizes.items() if name != 'videos')
    return dict(sizes, sentences=total) if sizes else {}
