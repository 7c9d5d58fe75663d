"""Gather what a report of a run shows: scores, curves, cases.

Each part is a function of plain data, so that other tools can take it; the
page itself is made in :mod:`hero_mm.visualization.report_page`.

Shape legend: T frames of a segment. Boxes are xyxy in pixels of the video.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np

from hero_mm.datasets.annotation import GroundingAnnotation
from hero_mm.evaluation.comparison import ranked_by
from hero_mm.evaluation.functional import (
    TubeScores,
    boxes_to_arrays,
    interpolate_boxes,
)
from hero_mm.files import write_text

from .render import draw_from_video
from .report_page import render_html, render_markdown
from .report_tables import Table
from .tube_view import TubeView
from .video_writer import PathLike


@dataclass
class Case:
    """One query that is shown.

    Args:
        query_id (str): Its id.
        text (str): The sentence.
        note (str): Its scores, in words.
        video (str): Path of the video, '' where it is not to be drawn.
        view (TubeView): What is drawn.
        files (list[str]): The sheet and the mp4, relative to the report.
        error (str): Why it could not be drawn.
    """

    query_id: str
    text: str
    note: str
    video: str
    view: TubeView
    files: list[str] = field(default_factory=list)
    error: str = ''


@dataclass
class Report:
    """Everything that the pages show.

    Args:
        title (str): Name of the run.
        facts (dict[str, str]): Short texts by name.
        sections (dict[str, list[Table]]): Tables by heading.
        charts (dict[str, str]): SVG by file name; empty ones are left out.
        cases (dict[str, list[Case]]): By heading, best and worst.
        files (dict[str, str]): What lies beside the pages, by name.
    """

    title: str
    facts: dict[str, str]
    sections: dict[str, list[Table]]
    charts: dict[str, str] = field(default_factory=dict)
    cases: dict[str, list[Case]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.charts = {name: svg for name, svg in self.charts.items() if svg}

    @property
    def tables(self) -> list[Table]:
        """list[Table]: Those of all sections."""
        return [table for part in self.sections.values() for table in part]


def choose_cases(
    scores: TubeScores, video_of: Mapping[str, str], count: int
) -> tuple[list[str], list[str]]:
    """The best and the worst queries, each of another video, none twice."""
    order = np.lexsort((scores.gt_viou, scores.tiou, ranked_by(scores)))
    ranked = [scores.query_ids[place] for place in order]

    def pick(ids: Sequence[str], taken: set[str], limit: int) -> list[str]:
        chosen: list[str] = []
        for query_id in ids:
            if len(chosen) < limit and video_of[query_id] not in taken:
                taken.add(video_of[query_id])
                chosen.append(query_id)
        return chosen

    best = pick(ranked[::-1], set(), count)
    rest = [query_id for query_id in ranked if query_id not in set(best)]
    return best, pick(rest, set(), min(count, len(rest)))


def case_view(
    annotation: GroundingAnnotation,
    query: Mapping[str, Any],
    clip: Mapping[str, Any],
    prediction: Optional[Mapping[str, Any]],
    note: str = '',
) -> TubeView:
    """The true and the predicted tube of a query, on all native frames.

    Predicted boxes are linear between those given and held at the ends.
    """
    video = annotation.videos[clip['video_id']]
    frames = np.arange(*clip['segment'], dtype=np.int64)
    predicted: dict[str, Any] = {}
    if prediction is not None:
        known_N, boxes_N4 = boxes_to_arrays(
            prediction['boxes'], f'prediction of query {query["query_id"]!r}'
        )
        start, end = prediction['span']
        predicted = dict(
            pred_span=(float(start), float(end)), score=prediction.get('score')
        )
        if len(known_N):
            predicted['pred_bboxes'] = interpolate_boxes(
                known_N, boxes_N4, frames
            )
    gt_boxes, valid = video.track_boxes(query['track_id'], frames)
    start, end = query['span']
    return TubeView(
        text=query['text'],
        query_id=query['query_id'],
        note=note,
        frame_inds=frames,
        segment=tuple(clip['segment']),
        fps=video.fps,
        gt_span=(float(start), float(end)),
        gt_bboxes=gt_boxes,
        gt_valid=valid & (frames >= start) & (frames < end),
        **predicted,
    )


def make_cases(
    annotation: GroundingAnnotation,
    predictions: Mapping[str, Mapping[str, Any]],
    scores: TubeScores,
    video_dir: Optional[PathLike],
    count: int,
) -> dict[str, list[Case]]:
    """Choose the cases and say what to draw of them."""
    places = {
        query['query_id']: (clip, query)
        for clip in annotation.data_list
        for query in clip['queries']
    }
    video_of = {key: clip['video_id'] for key, (clip, _) in places.items()}
    records = scores.records()
    cases: list[list[Case]] = []
    for chosen in choose_cases(scores, video_of, count):
        cases.append([])
        for query_id in chosen:
            clip, query = places[query_id]
            record = records[query_id]
            note = (
                f'{query["type"]}, vIoU {record["viou"]:.2f}, '
                f'tIoU {record["tiou"]:.2f}, '
                f'box IoU in the true span {record["gt_viou"]:.2f}'
            )
            view = case_view(
                annotation, query, clip, predictions.get(query_id), note
            )
            path = annotation.videos[clip['video_id']].path
            video = '' if video_dir is None else str(Path(video_dir) / path)
            cases[-1].append(Case(query_id, query['text'], note, video, view))
    return {'Best cases': cases[0], 'Worst cases': cases[1]}


def data_name(annotation: GroundingAnnotation) -> str:
    """Data set and split of an annotation, ``'unnamed'`` without any."""
    parts = (annotation.metainfo.get(key) for key in ('dataset', 'split'))
    return ' '.join(str(part) for part in parts if part) or 'unnamed'


def draw_cases(report: Report, out_dir: PathLike) -> None:
    """Draw a sheet and an mp4 of every case into ``out_dir/cases``.

    What cannot be drawn is reported on the page, and the others are drawn.
    """
    folder = Path(out_dir) / 'cases'
    for heading, cases in report.cases.items():
        kind = heading.split()[0].lower()
        for place, case in enumerate(cases):
            if not case.video:
                continue
            name = f'{kind}_{place}_{case.query_id}'
            try:
                paths = draw_from_video(
                    case.video, [case.view], folder, [name]
                )
            except (OSError, ValueError) as error:
                case.error = str(error)
                continue
            case.files = [f'cases/{Path(path).name}' for path in paths]


def write_report(report: Report, out_dir: PathLike) -> list[Path]:
    """Draw the cases and write ``index.html``, ``report.md`` and the rest.

    Returns:
        list[Path]: The two pages.
    """
    folder = Path(out_dir)
    charts = {f'charts/{name}.svg': s for name, s in report.charts.items()}
    # What was computed is written before anything is drawn.
    for name, text in {**charts, **report.files}.items():
        write_text(folder / name, text)
    draw_cases(report, folder)
    pages = {
        'index.html': render_html(report),
        'report.md': render_markdown(report),
    }
    for name, text in pages.items():
        write_text(folder / name, text)
    return [folder / name for name in pages]
