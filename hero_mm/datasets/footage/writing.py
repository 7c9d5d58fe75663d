"""Tubes of an annotation or of a model, for tools that correct them.

The formats are those of :mod:`hero_mm.datasets.footage.reading`, and MOT's
text files. What is written beside a tube are attributes in CVAT, text areas
of the region in Label Studio, keys of the object in COCO-video JSON.
"""

import json
import xml.etree.ElementTree as Xml
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional
from urllib.parse import quote

import numpy as np

from hero_mm.errors import UserError
from hero_mm.files import write_bytes, write_text
from hero_mm.texts import csv_text

from ..annotation import GroundingAnnotation
from ..converters.summary import ConversionSummary
from ..entries import PathLike
from ..tracks import VideoInfo
from .reading import SIDES
from .tubes import FIELDS, Tube, boxes_of, key_frames, tubes_of

Films = Sequence[tuple[VideoInfo, list[Tube]]]


def export_tubes(
    annotation: GroundingAnnotation,
    out: PathLike,
    format: str,
    predictions: Optional[Mapping[str, Mapping[str, Any]]] = None,
) -> ConversionSummary:
    """Write tubes in the format of another tool.

    Args:
        annotation (GroundingAnnotation): Says videos and sentences.
        out (PathLike): The folder to write.
        format (str): One of :data:`EXPORTS`.
        predictions (Mapping, optional): Query id to ``span`` and ``boxes``
            (frames and boxes), whose tubes are written. Defaults to None: the
            tubes of the annotation, and its other objects.

    Returns:
        ConversionSummary: How many, and what the format cannot hold.
    """
    if format not in EXPORTS:
        raise UserError(f'format must be one of {EXPORTS}, got {format!r}')
    summary = ConversionSummary(str(out))
    tubes: dict[str, list[Tube]] = defaultdict(list)
    clips = set()
    for tube in tubes_of(annotation, summary, predictions):
        tubes[tube.video_id].append(tube)
        if 'text' in tube.fields:
            summary.sentences[tube.fields['type']] += 1
            clips.add((tube.video_id, tube.fields['segment']))
    films = [(annotation.videos[name], found) for name, found in tubes.items()]
    _WRITERS[format](Path(out), films, predictions is not None)
    summary.videos, summary.clips = len(tubes), len(clips)
    return summary


def _write_cvat(out: Path, films: Films, predicted: bool) -> None:
    """One file a video, for *Upload annotations* of its task."""
    for (video, found), name in zip(films, _file_names(films)):
        attributes = [
            ('attribute', dict(name=one, mutable=False, input_type='text'))
            for one in FIELDS
        ]
        labels = [
            ('label', dict(name=one, attributes=attributes))
            for one in dict.fromkeys(_label(tube) for tube in found)
        ]
        task = dict(
            name=video.video_id,
            size=video.frame_count,
            mode='interpolation',
            start_frame=0,
            stop_frame=video.frame_count - 1,
            source=video.path,
            original_size=dict(width=video.width, height=video.height),
            labels=labels,
        )
        root = Xml.Element('annotations')
        _grow(root, dict(version='1.1', meta=dict(task=task)).items())
        for number, tube in enumerate(found):
            source = 'auto' if predicted else 'manual'
            about = dict(id=str(number), label=_label(tube), source=source)
            track = Xml.SubElement(root, 'track', about)
            _add_boxes(track, tube, video.frame_count)
        Xml.indent(root)
        content = Xml.tostring(root, 'utf-8', xml_declaration=True)
        write_bytes(out / f'{name}.xml', content)


def _file_names(films: Films) -> list[str]:
    """Ids as one part of a path each, whatever is in them.

    There are file systems that take ``A`` for ``a``.
    """
    names: dict[str, str] = {}
    for video, _ in films:
        name = quote(video.video_id, safe=' ', errors='backslashreplace')
        name = name.replace('.', '%2E') if not name.strip('.') else name
        free, number = name, 1
        while free.lower() in names:
            number += 1
            free = f'{name}-{number}'
        names[free.lower()] = free
    return list(names.values())


def _label(tube: Tube) -> str:
    return tube.track.category or 'object'


def _add_boxes(track: Xml.Element, tube: Tube, frame_count: int) -> None:
    """Key frames; where the object leaves, one that is outside."""
    for frame, sides, runs_on in key_frames(tube.track):
        marks = [(frame, '0')]
        if not runs_on and frame + 1 < frame_count:
            marks.append((frame + 1, '1'))
        for number, outside in marks:
            about = dict(frame=str(number), outside=outside, keyframe='1')
            for name, side in zip(SIDES, sides):
                about[name] = f'{side:.4f}'
            box = Xml.SubElement(track, 'box', about, occluded='0')
            for name, value in tube.fields.items():
                Xml.SubElement(box, 'attribute', name=name).text = value


def _grow(parent: Xml.Element, children: Iterable[tuple[str, Any]]) -> None:
    """Add elements by name: a text, or their own children."""
    for name, value in children:
        child = Xml.SubElement(parent, name)
        if isinstance(value, (dict, list)):
            _grow(child, value.items() if isinstance(value, dict) else value)
        else:
            child.text = str(value)


def _write_label_studio(out: Path, films: Films, predicted: bool) -> None:
    """The tasks of a project, for *Import*."""
    kind = 'predictions' if predicted else 'annotations'
    tasks = []
    for video, found in films:
        results = [
            region
            for number, tube in enumerate(found)
            for region in _regions(video, f'tube{number}', tube)
        ]
        data = dict(video=video.path)
        tasks.append({'data': data, kind: [dict(result=results)]})
    write_text(out / 'tasks.json', json.dumps(tasks, indent=1))


def _regions(video: VideoInfo, name: str, tube: Tube) -> list[dict]:
    """The boxes of a tube, then its text areas."""
    percent = np.array([video.width, video.height] * 2) / 100
    sequence = []
    for frame, box_4, runs_on in key_frames(tube.track):
        x1, y1, x2, y2 = (box_4 / percent).tolist()
        sides = dict(x=x1, y=y1, width=x2 - x1, height=y2 - y1)
        key: dict = dict(frame=frame + 1, time=frame / video.fps)
        key.update(enabled=runs_on, rotation=0)
        key.update((side, round(value, 7)) for side, value in sides.items())
        sequence.append(key)
    boxes: dict = dict(sequence=sequence, labels=[_label(tube)])
    values = [('box', 'videorectangle', boxes)]
    for field, text in tube.fields.items():
        values.append((field, 'textarea', dict(text=[text])))
    length = dict(
        framesCount=video.frame_count, duration=video.frame_count / video.fps
    )
    return [
        dict(
            id=name,
            to_name='video',
            original_width=video.width,
            original_height=video.height,
            from_name=source,
            type=kind,
            value={**length, **value},
        )
        for source, kind, value in values
    ]


def _sides(box_4: np.ndarray) -> list[float]:
    """Xyxy to left, top, width and height."""
    x1, y1, x2, y2 = box_4.tolist()
    return [round(side, 4) for side in (x1, y1, x2 - x1, y2 - y1)]


def _write_coco_video(out: Path, films: Films, predicted: bool) -> None:
    """``coco_video.json``, in the form of YouTube-VIS."""
    labels = sorted({_label(tube) for _, found in films for tube in found})
    videos: list[dict] = []
    entries: list[dict] = []
    for number, (video, found) in enumerate(films, 1):
        facts = dict(id=number, name=video.path, length=video.frame_count)
        facts.update(fps=video.fps, width=video.width, height=video.height)
        videos.append(facts)
        for tube in found:
            bboxes: list[Any] = [None] * video.frame_count
            for frame, box_4 in boxes_of(tube.track):
                bboxes[frame] = _sides(box_4)
            about = dict(
                id=len(entries) + 1,
                video_id=number,
                category_id=labels.index(_label(tube)) + 1,
                iscrowd=0,
                bboxes=bboxes,
            )
            entries.append({**about, **tube.fields})
    kinds = [dict(id=n, name=name) for n, name in enumerate(labels, 1)]
    raw = dict(videos=videos, categories=kinds, annotations=entries)
    write_text(out / 'coco_video.json', json.dumps(raw))


def _write_mot(out: Path, films: Films, predicted: bool) -> None:
    """``<video>/gt/gt.txt``; an object is a number, so is each tube."""
    rows: list[tuple[Any, ...]] = [('video', 'number', *FIELDS)]
    for (video, found), name in zip(films, _file_names(films)):
        lines = []
        for number, tube in enumerate(found, 1):
            for frame, box_4 in boxes_of(tube.track):
                sides = ','.join(f'{side:.4f}' for side in _sides(box_4))
                lines.append(f'{frame + 1},{number},{sides},1,-1,-1,-1\n')
            texts = [tube.fields.get(field, '') for field in FIELDS]
            rows.append((video.video_id, number, *texts))
        folder = out / name
        write_text(folder / 'gt' / 'gt.txt', ''.join(lines))
        write_text(
            folder / 'seqinfo.ini',
            f'[Sequence]\nname={video.path}\nframeRate={video.fps}\n'
            f'seqLength={video.frame_count}\nimWidth={video.width}\n'
            f'imHeight={video.height}\n',
        )
    write_text(out / 'tubes.csv', csv_text(rows))


_WRITERS = {
    'cvat': _write_cvat,
    'label-studio': _write_label_studio,
    'coco-video': _write_coco_video,
    'mot': _write_mot,
}
EXPORTS = tuple(_WRITERS)
