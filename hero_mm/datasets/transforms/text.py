"""Change the sentences of a clip.

Shape legend: K queries.
"""

from dataclasses import dataclass
from typing import Optional

from mmcv.transforms import BaseTransform

from hero_mm.errors import UserError
from hero_mm.registry import TRANSFORMS

from ..action_phrases import ActionPhraseSwapper, verbs_said
from ..verbs import swap_verb, verbs_in


@TRANSFORMS.register_module()
@dataclass(eq=False)
class SwapActionPhrase(BaseTransform):
    """Make hard negatives: the same sentence with another action.

    The phrase of a query's predicate becomes that of another predicate of the
    data set. Where a query has none, its verb becomes another one (see
    :mod:`hero_mm.datasets.verbs`).

    Required key: ``queries`` with text and predicate. Optional keys:
    ``predicates`` of the data set and ``verbs`` of its sentences without
    one, with their numbers; ``video_predicates`` and ``video_verbs``, which
    may be true in this video, and ``track_predicates``, of its objects: none
    of these is ever put in. Added key: ``negative_texts``: K lists of
    sentences, empty where nothing is found or nothing is left.

    Args:
        num_negatives (int): Most sentences a query.
    """

    num_negatives: int = 3

    def __post_init__(self) -> None:
        if self.num_negatives < 1:
            raise UserError(
                f'num_negatives must be 1 or more, got {self.num_negatives}'
            )
        self._swapper: Optional[ActionPhraseSwapper] = None

    def transform(self, results: dict) -> dict:
        """Make the negatives."""
        if self._swapper is None:
            self._swapper = ActionPhraseSwapper(results.get('predicates', ()))
        queries = results['queries']
        true = set(results.get('video_predicates', ())).union(
            *results.get('track_predicates', ()),
            (q['predicate'] for q in queries if q.get('predicate')),
        )
        verbs = set(results.get('video_verbs', ())).union(
            *(verbs_in(q['text']) for q in queries if not q.get('predicate'))
        )
        said = verbs.union(*map(verbs_said, true))
        if verbs:
            true |= {
                p for p in self._swapper.predicates if verbs_said(p) & verbs
            }
        results['negative_texts'] = [
            self._swapper.swap(
                query['text'], query['predicate'], true, self.num_negatives
            )
            if query.get('predicate')
            else swap_verb(
                query['text'],
                said,
                self.num_negatives,
                results.get('verbs') or None,
            )
            for query in queries
        ]
        return results
