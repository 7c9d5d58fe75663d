"""Checkpoints of older versions: refused in words.

MMEngine loads what fits and leaves out the rest, so that an old checkpoint
would give a model most of whose weights are random.
"""

from collections.abc import Collection, Mapping
from typing import Any

from hero_mm.errors import UserError

# Weights that the model of 0.1.0 had, and no later one.
_MARKS_OF_0_1 = (
    'video_encoder.project.weight',
    'tube_head.clip_out.weight',
    'region_detail.reduce.weight',
)


def check_version(
    state_dict: Mapping[str, Any],
    prefix: str = '',
    known: Collection[str] = (),
) -> None:
    """Refuse weights of hero_mm 0.1.0, whose model had another form.

    Args:
        state_dict (Mapping[str, Any]): Weights by name.
        prefix (str): What stands before the names of HERO. Defaults to ''.
        known (Collection[str]): Names of the model that shall get the
            weights; a model of one's own may have an old one.
    """
    for mark in _MARKS_OF_0_1:
        name = prefix + mark
        if name in state_dict and name not in known:
            raise UserError(
                f'the checkpoint is of hero_mm 0.1.0 (it has {name}), whose '
                'model had another form: train or convert again with this '
                'version, or use hero_mm 0.1.0'
            )
