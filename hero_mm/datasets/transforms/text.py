"""Change the sentences of a clip.

Shape legend: K queries.
"""

from dataclasses import dataclass

from mmcv.transforms import BaseTransform

from hero_mm.registry import TRANSFORMS

from ..action_phrases import swap_action


@TRANSFORMS.register_module()
@dataclass(eq=False)
class SwapActionPhrase(BaseTransform):
    """Make hard negatives: the same sentence with another action.

    The phrase of a query's predicate becomes that of another one of the
    ``predicates`` of the data set, never of the ``video_predicates``, which
    may be true in this video. Added key: ``negative_texts``, K lists of
    sentences, empty where the query has no predicate or nothing is left.

    Args:
        num_negatives (int): Most sentences a query.
    """

    num_negatives: int = 3

    def transform(self, results: dict) -> dict:
        """Make the negatives."""
        queries, names = results['queries'], results.get('predicates', ())
        true = set(results.get('video_predicates', ())).union(
            q['predicate'] for q in queries if q.get('predicate')
        )
        results['negative_texts'] = [
            swap_action(
                q['text'], q['predicate'], names, true, self.num_negatives
            )
            if q.get('predicate')
            else []
            for q in queries
        ]
        return results
