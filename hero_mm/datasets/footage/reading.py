"""What annotation tools export, read by their published formats.

- *CVAT for video 1.1*: XML, a file a task or a job, of one video. Frames are
  those of the video, also where a task begins late or takes every n-th. A box
  whose ``outside`` is 1 ends its track on that frame.
- Label Studio's JSON of videos: regions ``videorectangle`` in percent of the
  picture; key frames count from 1, one that is not ``enabled`` is the last.
- COCO-video JSON: YouTube-VIS (``bboxes`` of an object, one a frame or null),
  or CocoVID, a box an image (``frame_id``, ``instance_id``); left, top, width
  and height.
- Tables: ``boxes.csv`` and ``sentences.csv``; the header says what stands
  where.

Boxes here are xyxy in pixels; frame numbers are native and 0-based. Numbers
may be written as texts.
"""

import csv
import io
import math
import re
import xml.etree.ElementTree as Xml
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from hero_mm.errors import UserError
from hero_mm.files import read_text
from hero_mm.json_reader import read_json

from ..converters.boxes import to_corners
from ..converters.summary import ConversionSummary
from ..entries import Entry, PathLike
from ..tracks import MOST_FRAMES, Track, VideoInfo
from ..video_base import VIDEO_SUFFIXES
from .tubes import FIELDS, Footage, Tube, boxes_of, positive_or_zero

FORMATS = ('cvat', 'label-studio', 'coco-video', 'csv')
SIDES = ('xtl', 'ytl', 'xbr', 'ybr')
ROTATED = 'rotated boxes, taken without the rotation'
_CURE = 'correct it, see docs/own_footage.md'
_FILM = re.compile(f'({"|".join(VIDEO_SUFFIXES)})([?#]|$)', re.IGNORECASE)
_CVAT = 'export each task by itself, as "CVAT for video 1.1"'


def read_footage(
    source: PathLike,
    format: str,
    interpolate: bool,
    summary: ConversionSummary,
) -> Footage:
    """Read an export, see :func:`convert_own`."""
    if format not in FORMATS:
        raise UserError(f'format must be one of {FORMATS}, got {format!r}')
    path, footage = Path(source), Footage(source, summary)
    if not path.exists():
        raise FileNotFoundError(f'{source} does not exist; give the export')
    if format == 'cvat':
        folder, paths = path.parent, [path]
        if path.is_dir():
            folder = path
            paths = sorted((*path.rglob('*.xml'), *path.rglob('*.zip')))
        for one in paths:
            name = one.relative_to(folder).with_suffix('').as_posix()
            _read_cvat(footage, one, name)
    elif format == 'csv':
        _read_boxes(footage, path / 'boxes.csv', interpolate)
    else:
        file = Entry(source, 'the top level', read_json(path), _CURE)
        if format == 'label-studio':
            _read_label_studio(footage, file)
        else:
            _read_coco_video(footage, file, interpolate)
    if not footage.tubes:
        raise Entry(source, 'the export', cure=_CURE).error('not one box')
    return footage


def _read_cvat(footage: Footage, path: Path, name: str) -> None:
    """The task or the job of a file."""
    file = Entry(path, 'the file', cure=_CVAT)
    try:
        if path.suffix == '.zip':
            with zipfile.ZipFile(path) as packed:
                root = Xml.fromstring(packed.read('annotations.xml'))
        else:
            root = Xml.parse(path).getroot()
    except (Xml.ParseError, zipfile.BadZipFile, KeyError) as error:
        raise file.error(f'no whole export ({error})') from error
    tracks, meta = root.findall('track'), root.find('meta')
    if not tracks or meta is None or meta.find('project') is not None:
        images = len(root.findall('image'))
        raise file.error(f'{images} images and no tracks of a task')
    facts = {one.tag: one.text for one in meta.iter()}
    # Of a part of a video the last frame is said.
    count = max(
        positive_or_zero(facts.get('size')),
        positive_or_zero(facts.get('stop_frame')) + 1,
    )
    video = footage.add_video(
        facts.get('source') or meta.findtext('task/name') or path.stem,
        frame_count=count,
        width=facts.get('width'),
        height=facts.get('height'),
    )
    for track in tracks:
        number = track.get('id')
        entry = file.at(f'track {number}', track)
        fields: dict[str, str] = {}
        for attribute in track.iter('attribute'):
            key, value = attribute.get('name'), (attribute.text or '').strip()
            if key not in FIELDS or not value:
                continue
            if fields.setdefault(key, value) != value:
                raise entry.error(
                    f'{key} is {fields[key]!r:.60} and {value!r:.60}',
                    'give each sentence a track of its own',
                )
        boxes = [entry.at(entry.where, b.attrib) for b in track.iter('box')]
        _note_rotated(footage, boxes)
        footage.add(
            entry,
            video,
            track.get('label') or '',
            [_frame(box, 'frame') for box in boxes],
            [[_number(box, side) for side in SIDES] for box in boxes],
            {'object': f'{name}/{number}', **fields},
            shown=[box.value.get('outside') != '1' for box in boxes],
            end=int(count),
        )


def _note_rotated(footage: Footage, boxes: list[Entry]) -> None:
    # Any digit but 0, of either sign.
    turns = [str(box.value.get('rotation') or '') for box in boxes]
    rotated = sum(bool(re.search('[1-9]', turn)) for turn in turns)
    if rotated:
        where = f'{boxes[0].path}, {boxes[0].where}'
        footage.summary.note(ROTATED, where, rotated)


def _read_label_studio(footage: Footage, file: Entry) -> None:
    """The regions of all tasks."""
    file.cure = f'export the project as JSON, or {_CURE}'
    for task in file.at('export', dict(task=file.value)).objects('task'):
        data = task.at(f'{task.where}, data', task.object('data'))
        is_drawn = bool(task.value.get('annotations'))
        given = 'annotations' if is_drawn else 'predictions'
        answers = [
            answer
            for answer in task.objects(given)
            if not answer.value.get('was_cancelled')
        ]
        if len(answers) != 1:
            kind = 'tasks with several annotations (the last taken)'
            if not answers:
                kind = 'tasks without an annotation (left out)'
            footage.summary.note(kind, task.where)
        for answer in answers[-1:]:
            name = _name_of_upload(_address(data))
            _read_regions(footage, name, [*answer.objects('result')])


def _address(data: Entry) -> str:
    """The ``video`` of a task's data, or what else there ends like one."""
    texts = [text for text in data.value.values() if isinstance(text, str)]
    films = [text for text in texts if _FILM.search(text)]
    video = data.value.get('video') or [*films, None][0]
    if not isinstance(video, str):
        raise data.error(f'no "video" in it, found {sorted(data.value)}')
    return video


def _name_of_upload(video: str) -> str:
    """The file of a task, without what an upload puts before its name."""
    if '://' not in video and not video.startswith('/data/'):
        return video
    # A file of the disk may have a # in its name.
    _, is_local, local = video.partition('?d=')
    name = unquote(local if is_local else urlsplit(video).path)
    name = name.rpartition('/')[2]
    is_upload = '/upload/' in video
    return re.sub(r'^[0-9a-f]{8}-', '', name) if is_upload else name


def _read_regions(footage: Footage, name: str, results: list[Entry]) -> None:
    """Boxes, with the text areas of the same region beside them."""
    fields: dict[str, dict[str, str]] = defaultdict(dict)
    for entry in results:
        result, field = entry.value, entry.value.get('from_name')
        if result.get('type') == 'textarea' and field in FIELDS:
            texts = entry.object('value').get('text') or ''
            texts = texts if isinstance(texts, list) else [texts]
            text = ' '.join(map(str, texts))
            fields[str(result.get('id'))][field] = text.strip()
    for number, entry in enumerate(results):
        if entry.value.get('type') != 'videorectangle':
            continue
        title = str(entry.value.get('id', number))
        entry.where += f', region {title!r}'
        region = entry.at(entry.where, entry.object('value'))
        keys = [*region.objects('sequence')]
        _note_rotated(footage, keys)
        count, seconds = (
            positive_or_zero(region.value.get(key))
            for key in ('framesCount', 'duration')
        )
        sizes = ('width', 'height') if keys else ()
        size = {side: _number(entry, f'original_{side}') for side in sizes}
        fps = seconds and round(count / seconds, 6)
        video = footage.add_video(name, frame_count=count, fps=fps, **size)
        shares = [*zip(('x', 'y', 'width', 'height'), [*size.values()] * 2)]
        frames = [_frame(key, 'frame', 1) - 1 for key in keys]
        # It may be missing or null.
        named = region.value.get('labels') is not None
        labels = region.list('labels') if named else []
        boxes_K4 = [[_number(k, s) / 100 * n for s, n in shares] for k in keys]
        footage.add(
            region,
            video,
            str([*labels, ''][0]),
            frames,
            to_corners(region, frames, boxes_K4),
            {'object': title, **fields[str(entry.value.get('id'))]},
            runs_on=[key.value.get('enabled', True) for key in keys],
            end=int(count),
        )


def _by_id(file: Entry, key: str) -> dict[str, dict]:
    """The objects of a list by their id."""
    return {one.name('id'): one.value for one in file.objects(key)}


def _read_coco_video(footage: Footage, file: Entry, linear: bool) -> None:
    """All objects; one that has a ``text`` is the tube of a sentence."""
    file.need('videos', 'annotations')
    videos: dict[str, VideoInfo] = {}
    for number, value in _by_id(file, 'videos').items():
        name = value.get('name') or value.get('file_name')
        name = name or str((value.get('file_names') or '?')[0]).split('/')[0]
        facts = {k: value.get(k) for k in ('fps', 'width', 'height')}
        videos[number] = footage.add_video(
            name, frame_count=value.get('length'), **facts
        )
    labels, images = _by_id(file, 'categories'), _by_id(file, 'images')
    objects: dict[tuple, dict[int, Any]] = defaultdict(dict)
    about: dict[tuple, Entry] = {}
    for entry in file.objects('annotations'):
        value, number = entry.value, entry.name('id')
        image = images.get(str(value.get('image_id')), value)
        name = str(value.get('instance_id', number))
        video = videos.get(str(image.get('video_id')))
        if video is None:
            raise entry.error('it is of no known video')
        if 'bboxes' in value:
            boxes = dict(enumerate(entry.list('bboxes')))
        else:
            place = entry.at(f'{entry.where}, image', image)
            boxes = {_frame(place, 'frame_id'): value.get('bbox')}
        # Of YouTube-VIS each entry is an object, or what is said of one.
        own = video.video_id, 'bboxes' in value and number, name
        about.setdefault(own, entry)
        objects[own].update({f: box for f, box in boxes.items() if box})
    for own, found in objects.items():
        entry = about[own]
        said = {f: str(entry.value[f]) for f in FIELDS if entry.value.get(f)}
        label = labels.get(str(entry.value.get('category_id')), {})
        boxes_T4 = to_corners(entry, list(found), list(found.values()))
        footage.add(
            entry,
            footage.videos[own[0]],
            str(label.get('name') or ''),
            list(found),
            boxes_T4,
            {'object': own[2], **said},
            linear,
        )


def _rows(path: Path, *names: str) -> Iterator[Entry]:
    """Rows with these columns, separated as the header is."""
    text = read_text(path)
    mark = max(',;\t', key=text.partition('\n')[0].count)
    file = io.StringIO(text, None)
    try:
        rows = [*csv.reader(file, delimiter=mark, skipinitialspace=True)]
    except csv.Error as error:
        raise Entry(path, 'the file', cure=_CURE).error(str(error)) from error
    titles = [title.strip().lower() for title in (rows or [[]])[0]]
    for place, row in enumerate(rows[1:], 2):
        if any(row):
            cells = dict(zip(titles, map(str.strip, row)))
            entry = Entry(path, f'line {place}', cells, _CURE)
            entry.need(*names)
            yield entry


def _read_boxes(footage: Footage, path: Path, linear: bool) -> None:
    """``boxes.csv``, with corners or with left, top, width and height."""
    boxes: dict[tuple, dict[int, list[float]]] = defaultdict(dict)
    last: dict[tuple, Entry] = {}
    for row in _rows(path, 'video', 'object', 'frame'):
        key = row.value['video'], row.value['object']
        frame = _frame(row, 'frame')
        if frame in boxes[key]:
            raise row.error(f'frame {frame} of this object is there twice')
        corners = 'x1' in row.value
        names = ('x1', 'y1', 'x2', 'y2') if corners else ('x', 'y', 'w', 'h')
        boxes[key][frame] = [_number(row, name) for name in names]
        last[key] = row
    for key, own in boxes.items():
        row, boxes_T4 = last[key], np.array(list(own.values()))
        if 'x1' not in row.value:
            boxes_T4 = to_corners(row, list(own), boxes_T4)
        footage.add(
            row,
            footage.add_video(key[0]),
            row.value.get('category') or '',
            list(own),
            boxes_T4,
            dict(object=key[1]),
            linear,
        )


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
        video_id = footage.name_of(row.value['video'])
        name = row.value['object']
        track = tracks.get((video_id, name))
        if track is None:
            found = f'object {name!r} of video {video_id!r} has no boxes'
            raise row.error(found)
        start, end = (_frame(row, key) for key in ('start', 'end'))
        part = {f: box for f, box in boxes_of(track) if start <= f < end}
        cut = Track.from_boxes(track.category, list(part), list(part.values()))
        fields = {f: row.value[f] for f in FIELDS if row.value.get(f)}
        footage.tubes.append(Tube(video_id, cut, fields, (start, end)))


def _number(entry: Entry, name: str) -> float:
    """A finite number, also one that is written as a text."""
    entry.need(name)
    try:
        number = float(entry.value[name])
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise entry.error(f'{name} is {entry.value[name]!r:.40}, no number')
    return number


def _frame(entry: Entry, name: str, least: int = 0) -> int:
    """The number of a frame, from ``least`` on."""
    number = _number(entry, name)
    if number != int(number) or not least <= number <= MOST_FRAMES:
        raise entry.error(f'{name} is {number:g}, no frame from {least} on')
    return int(number)
