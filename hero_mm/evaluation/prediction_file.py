"""The prediction file: tubes of any model, to be scored by any protocol.

``{"metainfo": {...}, "predictions": {QUERY_ID: {"span": [start, end],
"score": s, "boxes": {FRAME: [x1, y1, x2, y2]}}}}`` as JSON, with native frame
numbers, half-open spans and boxes in pixels of the original video.
"""

import gc
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional, TextIO, Union

import numpy as np

from .functional.tubes import read_prediction

BOX_DECIMALS = 3
SPAN_DECIMALS = 4

PathLike = Union[str, 'os.PathLike[str]']


def dump_predictions(
    path: PathLike,
    predictions: Mapping[str, Mapping[str, Any]],
    metainfo: Optional[Mapping[str, Any]] = None,
) -> None:
    """Write predictions, all of them or none.

    Boxes are rounded to 3 decimals, spans to 4.

    Args:
        path (str or PathLike): File to write; its folder is created.
        predictions (Mapping): By query id: ``span``, ``boxes`` (``{frame:
            box}`` or a pair of arrays) and optionally ``score``.
        metainfo (Mapping, optional): What the reader should know: model,
            checkpoint, data set.

    Raises:
        ValueError: If a prediction is malformed; the message names it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f'.{path.name}.'
    )
    try:
        with os.fdopen(handle, 'w', encoding='utf-8') as file:
            _write(file, predictions, dict(metainfo or {}))
        # mkstemp makes a private file; give it the usual permissions.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _write(
    file: TextIO,
    predictions: Mapping[str, Mapping[str, Any]],
    metainfo: dict[str, Any],
) -> None:
    # One query at a time: a whole test set in one string takes gigabytes.
    file.write(f'{{"metainfo": {json.dumps(metainfo)},\n"predictions": {{')
    separator = '\n'
    for query_id, item in predictions.items():
        entry = json.dumps(_to_json(query_id, item), separators=(',', ':'))
        file.write(f'{separator}{json.dumps(str(query_id))}: {entry}')
        separator = ',\n'
    file.write('\n}}\n')


def _to_json(query_id: str, item: Mapping[str, Any]) -> dict[str, Any]:
    tube = read_prediction(query_id, item)
    entry: dict[str, Any] = dict(
        span=[round(edge, SPAN_DECIMALS) for edge in tube.span]
    )
    if item.get('score') is not None:
        score = float(item['score'])
        if not np.isfinite(score):
            raise ValueError(
                f'prediction of query {query_id!r}: the score is {score}. '
                f'Scores must be finite.'
            )
        entry['score'] = round(score, 6)
    boxes = np.round(tube.boxes, BOX_DECIMALS).tolist()
    entry['boxes'] = dict(zip(map(str, tube.frames.tolist()), boxes))
    return entry


def load_predictions(
    path: PathLike,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Read a prediction file and check its form.

    Args:
        path (str or PathLike): File to read.

    Returns:
        tuple[dict, dict]: Predictions by query id, as
        :func:`~hero_mm.evaluation.evaluate_tubes` takes them, and metainfo.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON, or an entry lacks a key; the message
            names file, query and key.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'No prediction file at {path}. "tools/test.py --dump FILE.json" '
            f'writes one.'
        )
    try:
        with open(path, encoding='utf-8') as file, _all_is_kept():
            content = json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f'{path} is not a whole JSON file ({error}). Write it again.'
        ) from error
    predictions = content.get('predictions') if _is_map(content) else None
    if not isinstance(predictions, dict):
        raise ValueError(
            f'{path}: no mapping "predictions" at the top, found '
            f'{sorted(content) if _is_map(content) else type(content)}. See '
            f'docs/metrics.md for the format.'
        )
    for query_id, item in predictions.items():
        lacking = [
            key
            for key, kind in (('span', list), ('boxes', dict))
            if not _is_map(item) or not isinstance(item.get(key), kind)
        ]
        if lacking:
            raise ValueError(
                f'{path}: the prediction of query {query_id!r} lacks '
                f'{" and ".join(map(repr, lacking))}. It must be {{"span": '
                f'[start, end], "boxes": {{FRAME: [x1, y1, x2, y2]}}}}.'
            )
    return predictions, dict(content.get('metainfo') or {})


@contextmanager
def _all_is_kept() -> Iterator[None]:
    """Make millions of lists without a search for garbage among them.

    It finds none and takes two thirds of the time of reading a file with
    boxes on every native frame.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)
