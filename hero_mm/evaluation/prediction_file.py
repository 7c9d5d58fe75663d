"""The prediction file: tubes of any model, to be scored by any protocol.

``{"metainfo": {...}, "predictions": {QUERY_ID: {"span": [start, end],
"score": s, "boxes": {FRAME: [x1, y1, x2, y2]}}}}`` as JSON, with native frame
numbers, half-open spans and boxes in pixels of the original video. An entry
may say the ``video`` and the ``text`` that it is of.
"""

import argparse
import json
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

import numpy as np

from hero_mm.errors import UserError
from hero_mm.files import PathLike, replacing
from hero_mm.json_reader import read_json
from hero_mm.texts import name_some

from .functional.protocols import PROTOCOLS, plain_name
from .functional.tubes import boxes_to_arrays, read_number, read_prediction
from .numbering import other_numbering

if TYPE_CHECKING:
    from hero_mm.datasets.annotation import GroundingAnnotation

FORMAT = 'hero_mm/1'
_SUFFIX = r'^.*/|\.(mp4|mkv|avi|webm|mov)$'
# One may say the path of a video, the other an id.
OF: dict[str, Callable[[str], Any]] = {
    'video': lambda video: re.sub(_SUFFIX, '', video, flags=re.IGNORECASE),
    'text': lambda text: re.findall(r'\w+', text.lower()),
}
"""What an entry may say of its query, and what is compared of it."""
FACTS = {'dataset': 'data set', 'split': 'split', 'query_ids': 'query ids'}
"""What a file says of itself in its metainfo, and how it is called."""
BOX_DECIMALS = 3
SPAN_DECIMALS = 4
SCORE_DECIMALS = 6


def dump_predictions(
    path: PathLike,
    predictions: Mapping[str, Mapping[str, Any]],
    metainfo: Optional[Mapping[str, Any]] = None,
) -> None:
    """Write predictions by query id, all of them or none.

    Each has a ``span``, ``boxes`` (``{frame: box}`` or a pair of arrays) and
    optionally ``score``, ``video`` and ``text``; boxes are rounded to 3
    decimals, spans to 4. ``metainfo`` is what the reader should know: model,
    checkpoint, data set. The folder is made where it is missing.

    Raises:
        ValueError: If a prediction is malformed; the message names it.
    """
    about = json.dumps(dict(metainfo or {}))
    with replacing(path) as part, open(part, 'w', encoding='utf-8') as file:
        # One query at a time: a whole test set in one string takes gigabytes.
        file.write(f'{{"metainfo": {about},\n"predictions": {{')
        separator = '\n'
        for query_id, item in predictions.items():
            entry = json.dumps(_to_json(query_id, item), separators=(',', ':'))
            file.write(f'{separator}{json.dumps(str(query_id))}: {entry}')
            separator = ',\n'
        file.write('\n}}\n')


def _to_json(query_id: str, item: Mapping[str, Any]) -> dict[str, Any]:
    tube = read_prediction(query_id, item)
    score = read_number(item, 'score', f'prediction of query {query_id!r}')
    entry: dict[str, Any] = {name: item[name] for name in OF if name in item}
    entry['span'] = [round(edge, SPAN_DECIMALS) for edge in tube.span]
    if score is not None:
        entry['score'] = round(score, SCORE_DECIMALS)
    boxes = np.round(tube.boxes, BOX_DECIMALS).tolist()
    entry['boxes'] = dict(zip(map(str, tube.frames.tolist()), boxes))
    return entry


def load_predictions(
    path: PathLike,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Read a prediction file and check it.

    Returns:
        tuple[dict, dict]: Predictions by query id, as
        :func:`~hero_mm.evaluation.evaluate_tubes` takes them, and metainfo.
        Boxes are a pair of arrays: frames, int64, has shape (N,), and xyxy,
        float64, has shape (N, 4).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON, or something in it is missing, stands
            twice or is no number; the message names file, query and frame.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'No prediction file at {path}. "tools/test.py --dump FILE.json" '
            f'writes one.'
        )
    content = read_json(path, hook=_read_object)
    whole = isinstance(content, dict)
    predictions = content.get('predictions') if whole else None
    if not isinstance(predictions, dict):
        raise UserError(
            f'{path}: no mapping "predictions" at the top, found '
            f'{sorted(content) if whole else type(content)}. See '
            f'docs/metrics.md for the format.'
        )
    about = content.get('metainfo') or {}
    if (
        not isinstance(about, dict)
        or (about.get('format') or FORMAT) != FORMAT
    ):
        raise UserError(
            f'{path}: "metainfo" must be an object, its "format" {FORMAT!r} '
            f'where it has one, found {about!r:.80}. Update hero_mm, or write '
            f'the file again.'
        )
    for query_id, item in predictions.items():
        try:
            _check_item(query_id, item)
        except ValueError as error:
            raise UserError(f'{path}: {error}') from error
    return predictions, about


def _read_object(item: dict[str, Any]) -> dict[str, Any]:
    """An object of the file; boxes become arrays as soon as they are read.

    As lists those of a test set take 2 GB. What is wrong stays as it is, to
    be reported with its query.
    """
    boxes = item.get('boxes')
    if 'span' in item and type(boxes) is dict:
        with suppress(ValueError):
            item['boxes'] = boxes_to_arrays(boxes, 'boxes')
    return item


def _check_item(query_id: str, item: Any) -> None:
    read_prediction(query_id, item)
    owner = f'prediction of query {query_id!r}'
    read_number(item, 'score', owner)
    for name in OF:
        if not isinstance(item.get(name, ''), str):
            raise UserError(
                f'{owner}: {name!r} must be text, found {item[name]!r:.80}.'
            )


def check_match(
    path: PathLike,
    predictions: Mapping[str, Any],
    metainfo: Mapping[str, Any],
    annotation: 'GroundingAnnotation',
    force: bool = False,
) -> None:
    """Refuse predictions that were not made for an annotation.

    Query ids are often running numbers, so that those of another split, data
    set or numbering name sentences of this one, too, and get scores that look
    like scores.

    Args:
        path (str or PathLike): Of the predictions, for errors.
        predictions (Mapping): By query id. Their ``video`` and ``text`` are
            compared; where none has either, a warning says whether ids that
            are counted another way fit the frames of their boxes better.
        metainfo (Mapping): Of the predictions. What it does not say is not
            compared.
        annotation (GroundingAnnotation): What they are to be scored against.
        force (bool): Ask only that one query is known.

    Raises:
        ValueError: If they do not belong together; it says what differs.
    """
    differ = []
    for key, name in FACTS.items():
        ours, theirs = metainfo.get(key), annotation.metainfo.get(key)
        if None not in (ours, theirs) and (
            plain_name(str(ours)) != plain_name(str(theirs))
        ):
            differ.append(f'{name} {ours!r} and {theirs!r}')
    if differ and not force:
        raise UserError(
            f'{path} and {annotation.path} do not belong together: '
            f'{", ".join(differ)} (predictions and annotation). Score with '
            f'the annotation that was predicted; --force compares no names.'
        )
    known = annotation.ground_truths()
    if predictions and not any(name in known for name in predictions):
        raise UserError(
            f'{path}: not one of its {len(predictions)} queries '
            f'({name_some(map(repr, predictions))}) is in {annotation.path} '
            f'({name_some(map(repr, known))}). Score with the annotation that '
            f'was predicted.'
        )
    if force:
        return
    differ = []
    for clip in annotation.data_list:
        for query in clip['queries']:
            entry = predictions.get(query['query_id']) or {}
            ours = dict(video=clip['video_id'], text=query.get('text'))
            differ += [
                f'{query["query_id"]!r} of {name} {entry[name]!r:.60} and '
                f'{ours[name]!r:.60}'
                for name, plain in OF.items()
                if name in entry and plain(entry[name]) != plain(ours[name])
            ][:1]
    if differ:
        raise UserError(
            f'{path} and {annotation.path} do not belong together: '
            f'{len(differ)} of {len(predictions)} predictions are of another '
            f'video or sentence than the query of their id: {differ[0]} '
            f'(prediction and annotation). Are query ids counted another '
            f'way? --force compares neither.'
        )
    items = {name: item or {} for name, item in predictions.items()}
    if not any(name in item for item in items.values() for name in OF):
        doubt = other_numbering(items, annotation)
        if doubt:
            warnings.warn(f'{path}: {doubt}', stacklevel=2)


def add_scoring_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of tools that score a prediction file."""
    parser.add_argument(
        '--ann', required=True, help='annotation file (hero_mm format)'
    )
    parser.add_argument(
        '--protocol', default='tubedetr', choices=sorted(PROTOCOLS)
    )
    parser.add_argument(
        '--no-interpolate',
        dest='interpolate',
        action='store_const',
        const=False,
        help='score frames without a predicted box 0 where the protocol '
        '(stcat) fills them from their neighbours',
    )
    parser.add_argument(
        '--strict',
        action='store_true',
        help='fail where a query has no prediction, or a prediction no query',
    )
    parser.add_argument(
        '--force',
        action='store_true',
        help='go on though the files name another data set, split or kind of '
        'query ids',
    )
