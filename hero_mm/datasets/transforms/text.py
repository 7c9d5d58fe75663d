"""Change the sentences of a clip.

Shape legend: K queries.
"""

from typing import Optional

from mmcv.transforms import BaseTransform

from hero_mm.datasets.action_phrases import ActionPhraseSwapper
from hero_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SwapActionPhrase(BaseTransform):
    """Make hard negatives: the same sentence with another action.

    Required keys: ``queries`` with text and predicate, ``predicates`` of the
    data set; ``video_predicates``, those that may be true in this video.
    Added key: ``negative_texts``: K lists of sentences, empty where the phrase
    of the predicate is not in the sentence or no other predicate is left.

    Args:
        num_negatives (int): Most sentences a query. Defaults to 3.
    """

    def __init__(self, num_negatives: int = 3) -> None:
        if num_negatives < 1:
            raise ValueError(
                f'num_negatives must be 1 or more, got {num_negatives}'
            )
        self.num_negatives = num_negatives
        self._swapper: Optional[ActionPhraseSwapper] = None

    def transform(self, results: dict) -> dict:
        """Make the negatives.

        Args:
            results (dict): With ``queries`` and ``predicates``.

        Returns:
            dict: With ``negative_texts``.
        """
        predicates = results['predicates']
        if self._swapper is None:
            self._swapper = ActionPhraseSwapper(predicates)
        queries = results['queries']
        true = set(results.get('video_predicates', ()))
        true |= {q['predicate'] for q in queries if q.get('predicate')}
        results['negative_texts'] = [
            self._swapper.swap(
                query['text'], query['predicate'], true, self.num_negatives
            )
            if query.get('predicate')
            else []
            for query in queries
        ]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_negatives={self.num_negatives})'
