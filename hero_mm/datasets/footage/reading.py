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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hero_mm.errors import UserError

from ..converters.boxes import to_corners
from ..converters.common import Record, read_json
from ..entries import Entry, PathLike
from ..tracks import Track, VideoInfo
from .tubes import FIELDS, Footage, Tube, boxes_of

FORMATS = ('cvat', 'label-studio', 'coco-video', 'csv')
SIDES = ('xtl', 'ytl', 'xbr', 'ybr')
_CURE = 'correct it, see docs/own_footage.md'
_PERCENT = ('frame', 'x', 'y', 'width', 'height')
_CVAT = 'export each task by itself, as "CVAT for video 1.1"'


def read_footage(
    source: PathLike, format: str, interpolate: bool, record: Record
) -> Footage:
    """Read an export; boxes of Label Studio are shares of the picture.

    Args:
        source (PathLike): A file, or a folder of them.
        format (str): One of :data:`FORMATS`.
        interpolate (bool): The boxes of ``coco-video`` and ``csv`` are on key
            frames; those of the others always are.
        record (Record): Notes what is left out.

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
    elif format == 'csv':
        _read_boxes(footage, path / 'boxes.csv', interpolate)
    else:
        file = Entry(source, 'the top level', read_json(path), _CURE)
        if format == 'label-studio':
            _read_label_studio(footage, file, record)
        else:
            _read_coco_video(footage, file, interpolate)
    if not footage.tubes:
        raise Entry(source, 'the export', cure=_CURE).error('not one box')
    return footage


def _read_cvat(footage: Footage, path: Path, record: Record) -> None:
    """The task of a file."""
    file = Entry(path, 'the file', cure=_CVAT)
    try:
        if path.suffix == '.zip':
            with zipfile.ZipFile(path) as packed:
                root = Xml.fromstring(packed.read('annotations.xml'))
        else:
            root = Xml.parse(path).getroot()
    except (Xml.ParseError, zipfile.BadZipFile, KeyError) as error:
        raise file.error(f'no whole export ({error})') from error
    task = root.find('meta/task')
    task = root.find('meta/job') if task is None else task
    tracks = root.findall('track')
    if task is None or not tracks:
        images = len(root.findall('image'))
        raise file.error(f'{images} images and no tracks of a task')
    step = task.findtext('frame_filter') or ''
    if 'step' in step:
        place = file.at('frame_filter', step)
        raise place.error(f'it is {step!r}', 'make a task without frame step')
    name = root.findtext('meta/source') or task.findtext('source')
    try:
        count, width, height = (
            int(task.findtext(key) or 0)
            for key in ('size', 'original_size/width', 'original_size/height')
        )
    except ValueError as error:
        raise file.error(f'no whole export ({error})') from error
    video = footage.add_video(
        name or task.findtext('name') or path.stem,
        frame_count=count,
        width=width,
        height=height,
    )
    for track in tracks:
        place = file.at(f'track {track.get("id")}', track)
        _read_cvat_track(footage, place, video, record)


def _read_cvat_track(
    footage: Footage, entry: Entry, video: VideoInfo, record: Record
) -> None:
    track, where = entry.value, f'{entry.path}, {entry.where}'
    boxes = track.findall('box')
    if not boxes:
        record.note('tracks of other shapes than boxes (left out)', where)
        return
    fields: dict[str, str] = {}
    for attribute in track.iter('attribute'):
        name, value = attribute.get('name'), (attribute.text or '').strip()
        if name not in FIELDS or not value:
            continue
        if fields.setdefault(name, value) != value:
            raise entry.error(
                f'{fields[name]!r:.60} and {value!r:.60}',
                'give each sentence a track of its own',
                f'attribute {name!r}',
            )
    rotated = sum(float(box.get('rotation') or 0) != 0 for box in boxes)
    if rotated:
        kind = 'rotated boxes, taken without the rotation'
        record.note(kind, where, rotated)
    try:
        made = Track.from_key_frames(
            track.get('label') or '',
            [int(box.attrib['frame']) for box in boxes],
            [[float(box.attrib[side]) for side in SIDES] for box in boxes],
            [box.get('outside') != '1' for box in boxes],
            end=video.frame_count,
        )
    except (KeyError, ValueError) as error:
        raise entry.error(f'no track ({error})') from error
    stem = Path(entry.path).stem
    fields.setdefault('object', f'{stem}/{track.get("id")}')
    footage.tubes.append(Tube(video.video_id, made, fields))


def _read_label_studio(footage: Footage, file: Entry, record: Record) -> None:
    """The regions of all tasks."""
    if not isinstance(file.value, list):
        found = f'expected a list of tasks, found {type(file.value).__name__}'
        raise file.error(found, 'export the project as JSON')
    for place, value in enumerate(file.value):
        task = file.at(f'task {place}', value)
        task.need('data')
        answers = value.get('annotations') or value.get('predictions') or []
        answers = [one for one in answers if not one.get('was_cancelled')]
        if len(answers) != 1:
            kind = 'tasks with several annotations (the last taken)'
            if not answers:
                kind = 'tasks without an annotation (left out)'
            record.note(kind, task.where)
        for answer in answers[-1:]:
            results = [
                task.at(task.where, result)
                for result in task.at(task.where, answer).list('result')
            ]
            name = _video_of_task(task.at(task.where, value['data']))
            _read_regions(footage, name, results)


def _video_of_task(data: Entry) -> str:
    """The file of a task, without what an upload puts before its name."""
    data.need()
    texts = [text for text in data.value.values() if isinstance(text, str)]
    video = data.value.get('video') or (texts[0] if len(texts) == 1 else None)
    if not isinstance(video, str):
        found = sorted(data.value)
        raise data.error(f'no "video" in its data, found {found}')
    name = video.rpartition('?d=')[2].rpartition('/')[2]
    return re.sub(r'^[0-9a-f]{8}-', '', name)


def _read_regions(footage: Footage, name: str, results: list[Entry]) -> None:
    """Boxes, with the text areas of the same region beside them."""
    fields: dict[Any, dict[str, str]] = defaultdict(dict)
    for entry in results:
        entry.need('id', 'type', 'value')
        result, field = entry.value, entry.value.get('from_name')
        if result['type'] == 'textarea' and field in FIELDS:
            texts = result['value'].get('text') or ''
            text = texts if isinstance(texts, str) else ' '.join(texts)
            fields[result['id']][field] = text.strip()
    for entry in results:
        result = entry.value
        if result['type'] != 'videorectangle':
            continue
        where = f'{entry.where}, region {result["id"]!r}'
        region = entry.at(where, result['value'])
        count, seconds = map(region.value.get, ('framesCount', 'duration'))
        video = footage.add_video(
            name,
            frame_count=count,
            fps=count and seconds and round(count / seconds, 6),
            width=result.get('original_width'),
            height=result.get('original_height'),
        )
        keys = [region.at(where, key) for key in region.list('sequence')]
        keys_K5 = np.array(
            [[key.number(name) for name in _PERCENT] for key in keys],
            np.float64,
        ).reshape(-1, 5)
        shares_K4 = keys_K5[:, 1:] / 100
        shares_K4[:, 2:] += shares_K4[:, :2]
        track = Track.from_key_frames(
            str((region.value.get('labels') or [''])[0]),
            keys_K5[:, 0].astype(int) - 1,
            shares_K4,
            None,
            [key.value.get('enabled', True) for key in keys],
            end=video.frame_count,
        )
        own = fields[result['id']]
        own.setdefault('object', str(result['id']))
        footage.tubes.append(Tube(video.video_id, track, own))


def _read_coco_video(footage: Footage, file: Entry, linear: bool) -> None:
    """All objects; one that has a ``text`` is the tube of a sentence."""
    videos: dict[int, VideoInfo] = {}
    for place, value in enumerate(file.list('videos')):
        number = file.at(f'videos[{place}]', value).whole('id')
        name = value.get('name') or value.get('file_name')
        name = name or str((value.get('file_names') or '?')[0]).split('/')[0]
        videos[number] = footage.add_video(
            name,
            frame_count=value.get('length'),
            fps=value.get('fps'),
            width=value.get('width'),
            height=value.get('height'),
        )
    names = {
        entry.get('id'): str(entry.get('name'))
        for entry in file.list('categories')
    }
    images = {entry.get('id'): entry for entry in file.value.get('images', [])}
    objects: dict[tuple, dict[int, Any]] = defaultdict(dict)
    about: dict[tuple, Entry] = {}
    for place, value in enumerate(file.list('annotations')):
        entry = file.at(f'annotations[{place}]', value)
        entry.need('id')
        image = images.get(value.get('image_id'), value)
        track = value.get('instance_id', value.get('track_id', value['id']))
        boxes = {image.get('frame_id'): value.get('bbox')}
        if 'bboxes' in value:
            boxes = dict(enumerate(entry.list('bboxes')))
        video = videos.get(image.get('video_id'))
        if video is None or None in boxes:
            raise entry.error('it is of no known video or frame')
        # Of YouTube-VIS each entry is an object, or what is said of one.
        key = (video.video_id, 'bboxes' in value and value['id'], track)
        about.setdefault(key, entry)
        found = {f: box for f, box in boxes.items() if box is not None}
        if found:
            objects[key].update(found)
    for key, found in objects.items():
        entry = about[key]
        own = {f: str(entry.value[f]) for f in FIELDS if entry.value.get(f)}
        own.setdefault('object', str(key[2]))
        label = names.get(entry.value.get('category_id'), '')
        boxes_T4 = to_corners(entry, list(found), list(found.values()))
        track = _track(entry, label, list(found), boxes_T4, linear)
        footage.tubes.append(Tube(key[0], track, own))


def _track(
    entry: Entry,
    label: str,
    frames: list[int],
    boxes_T4: np.ndarray,
    linear: bool,
) -> Track:
    """The boxes of an object, linear between them where asked for."""
    if len(boxes_T4) and boxes_T4.max() <= 1:
        raise entry.error(
            f'all {len(boxes_T4)} boxes are in [0, 1]',
            'give pixels: multiply by width and height',
        )
    make = Track.from_key_frames if linear else Track.from_boxes
    return make(label, frames, boxes_T4)


def _rows(path: Path, *names: str) -> Iterator[Entry]:
    """Rows with these columns; Excel's mark and ``;`` are known."""
    if not path.is_file():
        raise FileNotFoundError(f'no table {path}; see docs/own_footage.md')
    text = path.read_text(encoding='utf-8-sig')
    first = text.partition('\n')[0]
    mark = ';' if first.count(';') > first.count(',') else ','
    rows = csv.DictReader(io.StringIO(text), delimiter=mark)
    for place, row in enumerate(rows, 2):
        entry = Entry(path, f'line {place}', row, _CURE)
        entry.need(*names)
        yield entry


def _read_boxes(footage: Footage, path: Path, linear: bool) -> None:
    """``boxes.csv``, with corners or with left, top, width and height."""
    boxes: dict[tuple, dict[int, list[float]]] = defaultdict(dict)
    last: dict[tuple, Entry] = {}
    for row in _rows(path, 'video', 'object', 'frame'):
        key, frame = (
            (row.value['video'], row.value['object']),
            row.value['frame'],
        )
        if not frame.isdecimal() or int(frame) in boxes[key]:
            found = f'frame {frame!r} is no number, or one that is twice'
            raise row.error(found)
        corners = 'x1' in row.value
        names = ('x1', 'y1', 'x2', 'y2') if corners else ('x', 'y', 'w', 'h')
        boxes[key][int(frame)] = [_number(row, name) for name in names]
        last[key] = row
    for key, own in boxes.items():
        row = last[key]
        name, label = key[1], row.value.get('category') or ''
        boxes_T4 = np.array(list(own.values()))
        if 'x1' not in row.value:
            boxes_T4 = to_corners(row, list(own), boxes_T4)
        track = _track(row, label, list(own), boxes_T4, linear)
        video_id = footage.add_video(key[0]).video_id
        footage.tubes.append(Tube(video_id, track, dict(object=name)))


def add_sentences(footage: Footage, path: Path) -> None:
    """Read a table of sentences; each adds a tube of an object with boxes.

    It has ``video, object, start, end, text`` and, where wanted, what else is
    in :data:`FIELDS`.
    """
    tracks = {
        (tube.video_id, tube.fields['object']): tube.track
        for tube in footage.tubes
    }
    for row in _rows(path, 'video', 'object', 'start', 'end', 'text'):
        video_id, name = Path(row.value['video']).stem, row.value['object']
        track = tracks.get((video_id, name))
        if track is None:
            found = f'object {name!r} of video {video_id!r} has no boxes'
            raise row.error(found)
        start, end = (int(_number(row, key)) for key in ('start', 'end'))
        part = {f: box for f, box in boxes_of(track) if start <= f < end}
        cut = Track.from_boxes(track.category, list(part), list(part.values()))
        texts = {key: (row.value.get(key) or '').strip() for key in FIELDS}
        fields = {key: text for key, text in texts.items() if text}
        footage.tubes.append(Tube(video_id, cut, fields, (start, end)))


def _number(row: Entry, name: str) -> float:
    row.need(name)
    try:
        return float(row.value[name])
    except (TypeError, ValueError) as error:
        found = f'{name} is {row.value[name]!r:.40}, no number'
        raise row.error(found) from error
