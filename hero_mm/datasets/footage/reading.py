"""What annotation tools export, read by their published formats.

- *CVAT for video 1.1*: XML, one file a task, one task a video. A box whose
  ``outside`` is 1 ends its track on that frame.
- Label Studio's JSON of videos: regions ``videorectangle`` in percent of the
  picture; key frames count from 1, one that is not ``enabled`` is the last.
- COCO-video JSON: YouTube-VIS (``bboxes`` of an object, one a frame or null)
  or CocoVID (a box an image, ``instance_id``), left, top, width and height.
- Tables: ``boxes.csv`` and ``sentences.csv``; the header says what stands
  where.

Boxes here are xyxy in pixels; frame numbers are native and 0-based.
"""

import csv
import io
import re
import xml.etree.ElementTree as Xml
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hero_mm.errors import UserError

from ..converters.common import (
    ConversionError,
    PathLike,
    Record,
    need,
    read_json,
    read_list,
    read_number,
    read_whole,
)
from ..tracks import Track, VideoInfo
from .tubes import FIELDS, Footage, Tube, boxes_of

FORMATS = ('cvat', 'label-studio', 'coco-video', 'csv')
SIDES = ('xtl', 'ytl', 'xbr', 'ybr')
_CURE = 'correct it, see docs/own_footage.md'
_CVAT = 'export each task by itself, as "CVAT for video 1.1"'


def read_footage(
    source: PathLike, format: str, interpolate: bool, record: Record
) -> Footage:
    """Read an export.

    Args:
        source (PathLike): A file, or a folder of them.
        format (str): One of :data:`FORMATS`.
        interpolate (bool): The boxes of ``coco-video`` and ``csv`` are on key
            frames; those of the others always are.
        record (Record): Notes what is left out.

    Returns:
        Footage: Videos and tubes. Boxes of Label Studio are shares.

    Raises:
        ConversionError: The source is wrong; names the place and the cure.
        FileNotFoundError: There is none.
        ValueError: The format is unknown.
    """
    if format not in FORMATS:
        raise UserError(f'format must be one of {FORMATS}, got {format!r}')
    path, footage = Path(source), Footage(source)
    if not path.exists():
        raise FileNotFoundError(f'{source} does not exist; give the export')
    if format == 'cvat':
        paths = [path]
        if path.is_dir():
            paths = sorted((*path.rglob('*.xml'), *path.rglob('*.zip')))
        for one in paths:
            _read_cvat(footage, one, record)
    elif format == 'label-studio':
        _read_label_studio(footage, record)
    elif format == 'coco-video':
        _read_coco_video(footage, interpolate)
    else:
        _read_boxes(footage, path / 'boxes.csv', interpolate)
    if not footage.tubes:
        raise ConversionError(source, 'the export', 'not one box', _CURE)
    return footage


def _read_cvat(footage: Footage, path: Path, record: Record) -> None:
    """The task of a file."""
    try:
        if path.suffix == '.zip':
            with zipfile.ZipFile(path) as packed:
                root = Xml.fromstring(packed.read('annotations.xml'))
        else:
            root = Xml.parse(path).getroot()
    except (Xml.ParseError, zipfile.BadZipFile, KeyError) as error:
        found = f'no whole export ({error})'
        raise ConversionError(path, 'the file', found, _CVAT) from error
    task = root.find('meta/task')
    task = root.find('meta/job') if task is None else task
    tracks = root.findall('track')
    if task is None or not tracks:
        found = f'{len(root.findall("image"))} images and no tracks of a task'
        raise ConversionError(path, 'the top level', found, _CVAT)
    step = task.findtext('frame_filter') or ''
    if 'step' in step:
        cure = 'make a task without frame step'
        raise ConversionError(path, 'frame_filter', f'it is {step!r}', cure)
    file = root.findtext('meta/source') or task.findtext('source')
    video = footage.add_video(
        file or task.findtext('name') or path.stem,
        frame_count=int(task.findtext('size') or 0),
        width=int(task.findtext('original_size/width') or 0),
        height=int(task.findtext('original_size/height') or 0),
    )
    for track in tracks:
        _read_cvat_track(footage, path, video, track, record)


def _read_cvat_track(
    footage: Footage,
    path: Path,
    video: VideoInfo,
    track: Xml.Element,
    record: Record,
) -> None:
    where, boxes = f'track {track.get("id")}', track.findall('box')
    if not boxes:
        kind = 'tracks of other shapes than boxes (left out)'
        record.note(kind, f'{path}, {where}')
        return
    fields: dict[str, str] = {}
    for attribute in track.iter('attribute'):
        name, value = attribute.get('name'), (attribute.text or '').strip()
        if name not in FIELDS or not value:
            continue
        if fields.setdefault(name, value) != value:
            raise ConversionError(
                path,
                f'{where}, attribute {name!r}',
                f'{fields[name]!r:.60} and {value!r:.60}',
                'give each sentence a track of its own',
            )
    rotated = sum(float(box.get('rotation') or 0) != 0 for box in boxes)
    if rotated:
        kind = 'rotated boxes, taken without the rotation'
        record.note(kind, f'{path}, {where}', rotated)
    try:
        made = Track.from_key_frames(
            track.get('label') or '',
            [int(box.attrib['frame']) for box in boxes],
            [[float(box.attrib[side]) for side in SIDES] for box in boxes],
            [box.get('outside') != '1' for box in boxes],
            end=video.frame_count,
        )
    except (KeyError, ValueError) as error:
        found = f'no track ({error})'
        raise ConversionError(path, where, found, _CVAT) from error
    fields.setdefault('object', f'{path.stem}/{track.get("id")}')
    footage.tubes.append(Tube(video.video_id, made, fields))


def _read_label_studio(footage: Footage, record: Record) -> None:
    """The regions of all tasks."""
    source, tasks = footage.path, read_json(footage.path)
    if not isinstance(tasks, list):
        found = f'expected a list of tasks, found {type(tasks).__name__}'
        cure = 'export the project as JSON'
        raise ConversionError(source, 'the top level', found, cure)
    for place, task in enumerate(tasks):
        where = f'task {place}'
        need(source, where, task, ('data',))
        answers = task.get('annotations') or task.get('predictions') or []
        answers = [one for one in answers if not one.get('was_cancelled')]
        if len(answers) != 1:
            kind = 'tasks with several annotations (the last taken)'
            if not answers:
                kind = 'tasks without an annotation (left out)'
            record.note(kind, where)
        for answer in answers[-1:]:
            results = read_list(source, where, answer, 'result')
            file = _video_of_task(source, where, task['data'])
            _read_regions(footage, where, file, results)


def _video_of_task(source: PathLike, where: str, data: Any) -> str:
    """The file of a task, without what an upload puts before its name."""
    need(source, where, data, ())
    texts = [value for value in data.values() if isinstance(value, str)]
    video = data.get('video') or (texts[0] if len(texts) == 1 else None)
    if not isinstance(video, str):
        found = f'no "video" in its data, found {sorted(data)}'
        raise ConversionError(source, where, found, _CURE)
    name = video.rpartition('?d=')[2].rpartition('/')[2]
    return re.sub(r'^[0-9a-f]{8}-', '', name)


def _read_regions(
    footage: Footage, where: str, file: str, results: list[Any]
) -> None:
    """Boxes, with the text areas of the same region beside them."""
    source = footage.path
    fields: dict[Any, dict[str, str]] = defaultdict(dict)
    for result in results:
        need(source, where, result, ('id', 'type', 'value'))
        name = result.get('from_name')
        if result['type'] == 'textarea' and name in FIELDS:
            texts = result['value'].get('text') or ''
            text = texts if isinstance(texts, str) else ' '.join(texts)
            fields[result['id']][name] = text.strip()
    for result in results:
        if result['type'] != 'videorectangle':
            continue
        value, place = result['value'], f'{where}, region {result["id"]!r}'
        count, seconds = value.get('framesCount'), value.get('duration')
        video = footage.add_video(
            file,
            frame_count=count,
            fps=count and seconds and round(count / seconds, 6),
            width=result.get('original_width'),
            height=result.get('original_height'),
        )
        sequence = read_list(source, place, value, 'sequence')
        keys_K5 = np.array(
            [
                [read_number(source, place, key, name) for name in _PERCENT]
                for key in sequence
            ],
            np.float64,
        ).reshape(-1, 5)
        shares_K4 = keys_K5[:, 1:] / 100
        shares_K4[:, 2:] += shares_K4[:, :2]
        track = Track.from_key_frames(
            str((value.get('labels') or [''])[0]),
            keys_K5[:, 0].astype(int) - 1,
            shares_K4,
            None,
            [key.get('enabled', True) for key in sequence],
            end=video.frame_count,
        )
        own = fields[result['id']]
        own.setdefault('object', str(result['id']))
        footage.tubes.append(Tube(video.video_id, track, own))


_PERCENT = ('frame', 'x', 'y', 'width', 'height')


def _read_coco_video(footage: Footage, interpolate: bool) -> None:
    """All objects; one that has a ``text`` is the tube of a sentence."""
    source, raw = footage.path, read_json(footage.path)
    videos: dict[int, VideoInfo] = {}
    for place, entry in enumerate(read_list(source, 'top', raw, 'videos')):
        where = f'videos[{place}]'
        number = read_whole(source, where, entry, 'id')
        file = entry.get('name') or entry.get('file_name')
        file = file or str((entry.get('file_names') or '?')[0]).split('/')[0]
        videos[number] = footage.add_video(
            file,
            frame_count=entry.get('length'),
            fps=entry.get('fps'),
            width=entry.get('width'),
            height=entry.get('height'),
        )
    names = {
        entry.get('id'): str(entry.get('name'))
        for entry in read_list(source, 'top', raw, 'categories')
    }
    images = {entry.get('id'): entry for entry in raw.get('images', [])}
    objects: dict[tuple, dict[int, list[float]]] = defaultdict(dict)
    about: dict[tuple, dict] = {}
    for place, entry in enumerate(
        read_list(source, 'top', raw, 'annotations')
    ):
        where = f'annotations[{place}]'
        need(source, where, entry, ('id',))
        image = images.get(entry.get('image_id'), entry)
        track = entry.get('instance_id', entry.get('track_id', entry['id']))
        boxes = {image.get('frame_id'): entry.get('bbox')}
        if 'bboxes' in entry:
            boxes = dict(enumerate(read_list(source, where, entry, 'bboxes')))
        video = videos.get(image.get('video_id'))
        if video is None or None in boxes:
            found = 'it is of no known video or frame'
            raise ConversionError(source, where, found, _CURE)
        # Of YouTube-VIS each entry is an object, or what is said of one.
        key = (video.video_id, 'bboxes' in entry and entry['id'], track)
        about.setdefault(key, entry)
        for frame, box in boxes.items():
            if box is not None:
                objects[key][frame] = _corners(source, where, box)
    for key, found_boxes in objects.items():
        entry = about[key]
        fields = {name: str(entry[name]) for name in FIELDS if entry.get(name)}
        fields.setdefault('object', str(key[2]))
        label = names.get(entry.get('category_id'), '')
        _add_object(footage, key[0], label, found_boxes, fields, interpolate)


def _corners(source: PathLike, where: str, box: Any) -> list[float]:
    """Left, top, width and height to xyxy."""
    try:
        x, y, width, height = map(float, box)
    except (TypeError, ValueError) as error:
        found = f'a box is four numbers, found {box!r:.60}'
        raise ConversionError(source, where, found, _CURE) from error
    return [x, y, x + width, y + height]


def _add_object(
    footage: Footage,
    video_id: str,
    label: str,
    boxes: Mapping[int, Sequence[float]],
    fields: dict[str, str],
    interpolate: bool,
) -> None:
    """Add the boxes of an object, linear between them where asked for."""
    array = np.array(list(boxes.values()), np.float64)
    if array.max() <= 1:
        raise ConversionError(
            footage.path,
            f'object {fields["object"]!r} of video {video_id!r}',
            f'all {len(array)} boxes are in [0, 1]',
            'give pixels: multiply by width and height',
        )
    make = Track.from_key_frames if interpolate else Track.from_boxes
    footage.tubes.append(
        Tube(video_id, make(label, list(boxes), array), fields)
    )


def _read_table(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Place and content of each row; Excel's mark and ``;`` are known."""
    if not path.is_file():
        raise FileNotFoundError(f'no table {path}; see docs/own_footage.md')
    text = path.read_text(encoding='utf-8-sig')
    first = text.partition('\n')[0]
    mark = ';' if first.count(';') > first.count(',') else ','
    rows = csv.DictReader(io.StringIO(text), delimiter=mark)
    return [(f'line {place}', row) for place, row in enumerate(rows, 2)]


def _read_boxes(footage: Footage, path: Path, interpolate: bool) -> None:
    """``boxes.csv``, with corners or with left, top, width and height."""
    boxes: dict[tuple, dict[int, list[float]]] = defaultdict(dict)
    labels: dict[tuple, str] = {}
    for where, row in _read_table(path):
        need(path, where, row, ('video', 'object', 'frame'))
        corners = 'x1' in row
        names = ('x1', 'y1', 'x2', 'y2') if corners else ('x', 'y', 'w', 'h')
        box = [_number(path, where, row, name) for name in names]
        key, frame = (row['video'], row['object']), row['frame']
        if not frame.isdecimal() or int(frame) in boxes[key]:
            found = f'frame {frame!r} is no number, or one that is twice'
            raise ConversionError(path, where, found, _CURE)
        box = box if corners else _corners(path, where, box)
        boxes[key][int(frame)] = box
        labels[key] = row.get('category') or ''
    for (file, name), found_boxes in boxes.items():
        video_id = footage.add_video(file).video_id
        label, fields = labels[file, name], dict(object=name)
        _add_object(footage, video_id, label, found_boxes, fields, interpolate)


def add_sentences(footage: Footage, path: Path) -> None:
    """Read sentences about objects that have boxes.

    Args:
        footage (Footage): With the objects; gets a tube for each sentence.
        path (Path): The table: ``video, object, start, end, text`` and, where
            wanted, what else is in :data:`FIELDS`.

    Raises:
        ConversionError: A row is wrong; names it.
        FileNotFoundError: There is no table.
    """
    tracks = {
        (tube.video_id, tube.fields['object']): tube.track
        for tube in footage.tubes
    }
    for where, row in _read_table(path):
        need(path, where, row, ('video', 'object', 'start', 'end', 'text'))
        video_id, name = Path(row['video']).stem, row['object']
        track = tracks.get((video_id, name))
        if track is None:
            found = f'object {name!r} of video {video_id!r} has no boxes'
            raise ConversionError(path, where, found, _CURE)
        start, end = (
            int(_number(path, where, row, key)) for key in ('start', 'end')
        )
        part = {f: box for f, box in boxes_of(track) if start <= f < end}
        cut = Track.from_boxes(track.category, list(part), list(part.values()))
        fields = {
            key: row[key].strip()
            for key in FIELDS
            if (row.get(key) or '').strip()
        }
        footage.tubes.append(Tube(video_id, cut, fields, (start, end)))


def _number(
    path: Path, where: str, row: Mapping[str, Any], name: str
) -> float:
    need(path, where, row, (name,))
    try:
        return float(row[name])
    except (TypeError, ValueError) as error:
        found = f'{name} is {row[name]!r:.40}, no number'
        raise ConversionError(path, where, found, _CURE) from error
