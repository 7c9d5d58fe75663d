"""Own footage: from annotation tools, and tubes back to them."""

import csv
import json
import xml.etree.ElementTree as Xml
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from hero_mm.datasets.annotation import (
    Track,
    VideoInfo,
    load_annotation,
    save_annotation,
)
from hero_mm.datasets.converters import ConversionError
from hero_mm.datasets.footage import convert_own, export_tubes
from hero_mm.datasets.footage.convert import WIDER, _find_split
from hero_mm.datasets.footage.tubes import CUT

COUNT, FPS, SIZE = 60, 12.5, (320, 200)


def _wander(frames):
    turn = np.asarray(frames) / 9
    x, y = 90 + 70 * np.sin(turn), 60 + 40 * np.cos(1.3 * turn)
    return np.stack([x, y, x + 30 + 5 * np.cos(turn), y + 50], 1)


def _creep(frames):
    """Nearly linear."""
    return np.stack(
        [frames * 0 + at for at in (1, 2, 30)] + [40 + frames**2 / 999], 1
    )


@pytest.fixture
def annotation(tmp_path):
    """Two videos; an object with a gap, one that nobody speaks of."""
    videos, clips = {}, []
    seen, frames = [*range(3, 30), *range(34, 60)], np.arange(10, 50)
    creep = np.arange(5, 40)
    tracks = {
        '0': Track.from_boxes('man', seen, _wander(seen)),
        '7': Track.from_boxes('cup', frames, _wander(frames + 20)),
        '8': Track.from_boxes('dog', creep, _creep(creep)),
    }
    for number, name in enumerate(('shop1', 'shop2')):
        facts = f'{name}.mp4', COUNT, FPS, *SIZE
        videos[name] = VideoInfo(name, *facts, tracks)
        walks = dict(
            query_id=f'{number}a',
            text='the man "in red" & blue walks',
            type='declarative',
            span=[5, 40],
            track_id='0',
            predicate='walk',
        )
        moves = dict(
            query_id=f'{number}b',
            text='what moves?',
            type='interrogative',
            span=[12, 20],
            track_id='7',
        )
        queries = [walks, moves]
        clips.append(dict(video_id=name, segment=[0, 55], queries=queries))
    path = tmp_path / 'ann.json'
    save_annotation(path, dict(dataset='d', split='x'), videos, clips)
    return load_annotation(path)


def _line(keys, held_until):
    """Linear boxes between key frames (frame, box, on it, after it)."""
    boxes = {}
    for (frame, box, here, after), following in zip(keys, [*keys[1:], None]):
        if here:
            boxes[frame] = np.array(box)
        # The last key frame is held.
        stop, other = following[:2] if following else (held_until, box)
        for between in range(frame + 1, stop if after else 0):
            share = (between - frame) / (stop - frame)
            start, end = (1 - share) * np.array(box), share * np.array(other)
            boxes[between] = start + end
    return boxes


def _corners(x, y, w, h):
    return np.array([x, y, x + w, y + h])


def read_cvat(folder):
    """(Video, text, label) to boxes by frame, by CVAT's documentation."""
    found = {}
    for path in folder.glob('*.xml'):
        root = Xml.parse(path).getroot()
        source = root.findtext('meta/task/source')
        count = int(root.findtext('meta/task/size'))
        for track in root.iter('track'):
            keys = []
            for box in sorted(track, key=lambda box: int(box.get('frame'))):
                sides = [box.get(s) for s in ('xtl', 'ytl', 'xbr', 'ybr')]
                there = box.get('outside') == '0'
                keys.append([int(box.get('frame')), [*map(float, sides)]])
                keys[-1] += [there, there]
            said = {a.get('name'): a.text for a in track[0].iter('attribute')}
            name = source, said.get('text'), track.get('label')
            found[name] = _line(keys, count)
    return found


def read_label_studio(folder):
    """The same by Label Studio's documentation."""
    found = {}
    for task in json.loads((folder / 'tasks.json').read_text()):
        answers = task.get('annotations') or task['predictions']
        results = answers[0]['result']
        texts = {
            r['id']: r['value']['text'][0]
            for r in results
            if r['from_name'] == 'text'
        }
        for r in results:
            if r['type'] != 'videorectangle':
                continue
            size = [r['original_width'], r['original_height']] * 2
            names = ('x', 'y', 'width', 'height')
            keys = []
            for key in r['value']['sequence']:
                sides = [key[s] * n / 100 for s, n in zip(names, size)]
                box = _corners(*sides)
                keys.append((key['frame'] - 1, box, True, key['enabled']))
            video, label = task['data']['video'], r['value']['labels'][0]
            boxes = _line(keys, r['value']['framesCount'])
            found[video, texts.get(r['id']), label] = boxes
    return found


def read_mot(folder):
    """(Video, number) to boxes by frame."""
    found = {}
    for path in folder.glob('*/gt/gt.txt'):
        for line in path.read_text().splitlines():
            frame, number, x, y, w, h = map(float, line.split(',')[:6])
            boxes = found.setdefault((path.parts[-3], int(number)), {})
            boxes[int(frame) - 1] = np.array([x, y, x + w, y + h])
    return found


FORMATS = ('cvat', 'label-studio', 'coco-video')
READERS = {'cvat': read_cvat, 'label-studio': read_label_studio}


def truth(annotation):
    """What :data:`READERS` find, and objects of :data:`FORMATS`."""
    found = {}

    def add(video, text, track, *span):
        frames = np.arange(*span)
        boxes, valid = video.track_boxes(track, frames)
        key = video.path, text, video.tracks[track].category
        found[key] = dict(zip(frames[valid].tolist(), boxes[valid]))

    for clip in annotation.data_list:
        video = annotation.videos[clip['video_id']]
        for query in clip['queries']:
            add(video, query['text'], query['track_id'], *query['span'])
        for name in video.tracks:
            add(video, None, name, COUNT)
    return found


def check_boxes(found, wanted):
    """Equal to a thousandth of a pixel, on the same frames."""
    assert sorted(found) == sorted(wanted)
    for frame, box in found.items():
        np.testing.assert_allclose(box, wanted[frame], atol=1e-3)


def check_tubes(found, wanted):
    assert found.keys() == wanted.keys()
    for key, boxes in found.items():
        check_boxes(boxes, wanted[key])


def check_annotations(ours, theirs):
    """Equal but for the order of the sentences."""
    sentences = [
        sorted(
            str([clip['video_id'], clip['segment'], sorted(said.items())])
            for clip in annotation.data_list
            for said in ({**q, 'category': ''} for q in clip['queries'])
        )
        for annotation in (ours, theirs)
    ]
    assert sentences[0] == sentences[1]
    check_tubes(truth(theirs), truth(ours))
    for name, video in ours.videos.items():
        other = theirs.videos[name]
        for key in ('frame_count', 'width', 'height', 'fps'):
            assert getattr(video, key) == pytest.approx(getattr(other, key))
        assert video.tracks.keys() == other.tracks.keys()


def _source(folder, format):
    names = {'label-studio': 'tasks.json', 'coco-video': 'coco_video.json'}
    return folder / names[format] if format in names else folder


def _back(tmp_path, format, **options):
    source, out = _source(tmp_path / 'out', format), tmp_path / 'back'
    if format == 'cvat':
        options['fps'] = FPS
    summary = convert_own(source, out, format, **options)
    return load_annotation(out / 'train.json'), summary


@pytest.mark.parametrize('format', FORMATS)
def test_there_and_back(annotation, tmp_path, format):
    summary = export_tubes(annotation, tmp_path / 'out', format)
    assert summary.sentences == dict(declarative=2, interrogative=2)
    if format in READERS:
        check_tubes(READERS[format](tmp_path / 'out'), truth(annotation))
    back, summary = _back(tmp_path, format)
    check_annotations(annotation, back)
    assert (summary.videos, summary.clips) == (2, 2)
    with open(tmp_path / 'back' / 'queries.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert {row['query_id'] for row in rows} == {'0a', '0b', '1a', '1b'}
    assert rows[0]['text'] == 'the man "in red" & blue walks'
    assert rows[0]['split'] == 'train'


def _edit_cvat(folder):
    """Somebody moves the box on frame 12 and ends the tube on frame 17."""
    path = folder / 'shop1.xml'
    tree = Xml.parse(path)
    (track,) = [
        t
        for t in tree.getroot().iter('track')
        if any(a.text == '0b' for a in t.iter('attribute'))
    ]
    for box in list(track):
        if int(box.get('frame')) >= 17:
            track.remove(box)
    track[0].attrib.update(xtl='11.5', ytl='12', xbr='41', ybr='62.25')
    end = Xml.SubElement(track, 'box', track[-1].attrib)
    end.attrib.update(frame='17', outside='1')
    tree.write(path)


def _edit_label_studio(folder):
    path = folder / 'tasks.json'
    tasks = json.loads(path.read_text())
    results = tasks[0]['annotations'][0]['result']
    (name,) = [r['id'] for r in results if r['value'].get('text') == ['0b']]
    (value,) = [r['value'] for r in results if r['id'] == name][:1]
    box = dict(x=11.5 / 3.2, y=12 / 2, width=29.5 / 3.2, height=50.25 / 2)
    keys = [key for key in value['sequence'] if key['frame'] <= 17]
    keys[0].update(box)
    keys[-1]['enabled'] = False
    value['sequence'] = keys
    path.write_text(json.dumps(tasks))


EDITS = {'cvat': _edit_cvat, 'label-studio': _edit_label_studio}


@pytest.mark.parametrize('format', READERS)
def test_one_box_and_one_span_are_corrected(annotation, tmp_path, format):
    out = tmp_path / 'out'
    export_tubes(annotation, out, format)
    EDITS[format](out)
    after = READERS[format](out)['shop1.mp4', 'what moves?', 'cup']
    back, _ = _back(tmp_path, format)
    queries = [query for clip in back.data_list for query in clip['queries']]
    (span,) = [q['span'] for q in queries if q['query_id'] == '0b']
    assert span == [12, 17]
    boxes, valid = back.videos['shop1'].track_boxes('7', range(12, 17))
    assert valid.all()
    check_boxes(dict(zip(range(12, 17), boxes)), after)
    np.testing.assert_allclose(boxes[0], [11.5, 12, 41, 62.25], atol=1e-3)
    # The rest is as it was.
    other, _ = back.videos['shop1'].track_boxes('7', np.arange(20, 50))
    np.testing.assert_allclose(other, _wander(np.arange(40, 70)), atol=1e-3)


def test_sentences_that_disagree_about_an_object(annotation, tmp_path):
    for clip in annotation.data_list:
        clip['queries'][1].update(track_id='0', span=[6, 20])
    export_tubes(annotation, tmp_path / 'out', 'coco-video')
    path = tmp_path / 'out' / 'coco_video.json'
    raw = json.loads(path.read_text())
    raw['annotations'][1]['bboxes'][10] = [1, 2, 3, 4]
    path.write_text(json.dumps(raw))
    back, summary = _back(tmp_path, 'coco-video')
    kind = 'tubes that disagree with others of their object (own track)'
    assert summary.notes[kind] == 1
    first = back.data_list[0]['queries']
    assert [query['track_id'] for query in first] == ['0', "0'"]
    boxes, _ = back.videos['shop1'].track_boxes("0'", [10])
    assert boxes.tolist() == [[1, 2, 4, 6]]
    boxes, _ = back.videos['shop1'].track_boxes('0', [10])
    np.testing.assert_allclose(boxes, _wander([10]), atol=1e-3)


@pytest.mark.parametrize('format', [*FORMATS, 'mot'])
def test_predicted_tubes(annotation, tmp_path, format):
    frames, out = np.arange(0, 60, 4), tmp_path / 'out'
    predictions = {
        '0a': dict(span=(8.5, 20.2), boxes=(frames, _wander(frames))),
        '1b': dict(span=(3.2, 3.6), boxes=(frames, _wander(frames))),
    }
    summary = export_tubes(annotation, out, format, predictions)
    assert sum(summary.sentences.values()) == 2
    between = np.arange(9, 21)
    if format == 'mot':
        found = read_mot(out)
        assert sorted(found) == [('shop1', 1), ('shop2', 1)]
        boxes = found['shop1', 1]
    else:
        back, _ = _back(tmp_path, format)
        assert back.data_list[1]['queries'][0]['span'] == [3, 4]
        found, _ = back.videos['shop1'].track_boxes('0a', between)
        boxes = dict(zip(between, found))
    wanted = [np.interp(between, frames, side) for side in _wander(frames).T]
    check_boxes(boxes, dict(zip(between, np.stack(wanted, 1))))


BOXES = 'video,object,category,frame,x,y,w,h\n'
SAID = 'video,object,start,end,text,segment\n'


def _tables(folder, boxes=None, said='clip0.mp4,1,0,21,a dog runs.\n'):
    rows = ''.join(
        f'clip{n}.mp4,1,dog,{frame},{frame + 5},6,20,10\n'
        for n in range(2)
        for frame in (0, 10, 20, 30)[: 3 + n]
    )
    folder.mkdir()
    (folder / 'boxes.csv').write_text(BOXES + (boxes or rows))
    (folder / 'sentences.csv').write_text('\ufeff' + SAID + said)
    return folder


@pytest.mark.parametrize(
    'change',
    [
        lambda text: text.encode(),
        lambda text: text.replace(',', '\t').encode(),
        lambda text: text.replace(',', ' ; ').upper().encode('utf-16'),
        lambda text: text.replace('\n', '\r').encode(),
    ],
    ids=['plain', 'tabs', 'semicolons, spaces, capitals, UTF-16', 'returns'],
)
def test_tables_with_key_frames(tmp_path, toy_tools, change):
    said = 'clip0.mp4,1,0,21,a dog runs.\nclip1.mp4,1,2,5,who runs?,3 30\n'
    source = _tables(tmp_path / 'own', said=said)
    for path in source.iterdir():
        path.write_bytes(change(path.read_text().lstrip('\ufeff')))
    (tmp_path / 'films' / 'deep').mkdir(parents=True)
    for name in ('clip0.mp4', 'CLIP0.MP4', 'deep/clip1.mp4', 'deep/CLIP1.MP4'):
        path = tmp_path / 'films' / name
        toy_tools.write_video(path, container='mp4')
    options = dict(videos=tmp_path / 'films', interpolate=True)
    splits, out = {'val': '*1', 'train': '1'}, tmp_path / 'out'
    summary = convert_own(source, out, 'csv', splits=splits, **options)
    train, val = (
        load_annotation(out / f'{split}.json') for split in ('train', 'val')
    )
    (video,), (other,) = train.videos.values(), val.videos.values()
    assert other.path.lower() == 'deep/clip1.mp4'
    assert (video.frame_count, video.fps, video.width) == (24, 8.0, 64)
    boxes, valid = video.track_boxes('1', [3, 20, 21])
    assert valid.tolist() == [True, True, False]
    assert boxes[0].tolist() == [8, 6, 28, 16]
    # Widened to the span, and cut to the video.
    assert val.data_list[0]['segment'] == [2, 24]
    assert summary.notes[WIDER] == summary.notes[CUT] == 1
    query = val.data_list[0]['queries'][0]
    assert {k: str(v).lower() for k, v in query.items()} == dict(
        query_id='clip1/3',
        type='interrogative',
        text='who runs?',
        span='[2, 5]',
        track_id='1',
        category='dog',
    )
    (source / 'boxes.csv').write_bytes((BOXES + 'a,1,d\xf6g').encode('cp1252'))
    with pytest.raises(ValueError, match='save it in UTF-8'):
        convert_own(source, tmp_path / 'out', 'csv', **options)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(boxes='clip0.mp4,1,dog,x,1,1,2,2\n'), "line 2: frame is 'x'"),
        (dict(boxes='clip0.mp4,1,dog,0,1,b,2,2\n'), "y is 'b', no number"),
        (dict(boxes='clip0.mp4,1,dog,0,1,1,2,2\n' * 2), 'is there twice'),
        (dict(said='clip0.mp4,9,0,3,hi\n'), "object '9' .* has no boxes"),
        (dict(said='clip0.mp4,1,0.5,3,hi\n'), 'start is 0.5, no frame'),
        (dict(boxes='clip0.mp4,1\n'), "key 'frame' is missing"),
        (dict(boxes='"' + 200_000 * 'a'), 'the file: field larger than'),
        (dict(boxes='clip0.mp4,1,dog,1e12,1,1,2,2\n'), 'no frame from 0'),
        (dict(), 'does not say frame_count, fps, width, height'),
        ('<annotations><meta>', 'no whole export'),
        ('<annotations><image/></annotations>', '1 images and no tracks'),
        (
            '<annotations><meta><task><size>9</size></task></meta>'
            '<track id="3"><box frame="0" xtl="1"/></track></annotations>',
            "track 3: key 'ytl' is missing",
        ),
    ],
)
def test_wrong_tables_and_exports(tmp_path, change, message):
    format, source = 'cvat', tmp_path / 'a.xml'
    if isinstance(change, dict):
        format, source = 'csv', _tables(tmp_path / 'own', **change)
    else:
        source.write_text(change)
    with pytest.raises(ConversionError, match=message):
        convert_own(source, tmp_path / 'out', format)


@pytest.mark.parametrize('format', ['cvat', 'mot'])
@pytest.mark.parametrize('ids', [('../shop', '..'), ('A', 'a')])
def test_ids_are_names_in_their_folder(annotation, tmp_path, format, ids):
    """Some file systems take ``A`` for ``a``."""
    for name, clip in zip(ids, annotation.data_list):
        video = annotation.videos.pop(clip['video_id'])
        annotation.videos[name] = replace(video, video_id=name)
        clip['video_id'] = name
    export_tubes(annotation, tmp_path / 'a' / 'b', format)
    found = {path.name for path in tmp_path.glob('*')}
    assert found == {'a', 'ann.json', 'ann.tracks.npy'}
    assert [path.name for path in (tmp_path / 'a').iterdir()] == ['b']
    written = {path.name.lower() for path in (tmp_path / 'a/b').iterdir()}
    assert len(written - {'tubes.csv'}) == 2


def _cvat(meta, frames, text):
    boxes = ''.join(
        f'<box frame="{frame}" outside="{int(frame == frames[-1])}" '
        f'xtl="{frame}" ytl="2" xbr="60" ybr="40"><attribute name="text"/>'
        f'<attribute name="text">{text}</attribute></box>'
        for frame in frames
    )
    return (
        f'<annotations><meta>{meta}<source>a.mp4</source><original_size>'
        '<width>64</width><height>48</height></original_size></meta>'
        f'<track id="0" label="man">{boxes}</track></annotations>'
    )


def test_parts_of_a_video_by_cvat(tmp_path):
    """A packed task of every fifth frame, and two jobs."""
    parts = {
        'task.zip': (
            '<task><size>4</size><start_frame>20</start_frame><stop_frame>35'
            '</stop_frame><frame_filter>step=5</frame_filter></task>',
            (20, 25, 35),
            'he walks',
        ),
        'one/annotations.xml': (
            '<job><size>30</size></job>',
            (2, 9, 12),
            'he sits',
        ),
        'two/annotations.xml': (
            '<job><size>30</size><stop_frame>59</stop_frame></job>',
            (30, 39, 59),
            'he runs',
        ),
    }
    for name, content in parts.items():
        path = tmp_path / 'in' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_cvat(*content))
        if path.suffix == '.zip':
            text = path.read_text()
            with zipfile.ZipFile(path, 'w') as packed:
                packed.writestr('annotations.xml', text)
    convert_own(tmp_path / 'in', tmp_path / 'out', 'cvat', fps=10)
    made = load_annotation(tmp_path / 'out/train.json')
    video = made.videos['a']
    assert (video.frame_count, video.width) == (60, 64)
    (clip,) = made.data_list
    assert {q['text']: q['span'] for q in clip['queries']} == {
        'he sits': [2, 12],
        'he walks': [20, 35],
        'he runs': [30, 59],
    }
    assert len(video.tracks) == 3
    boxes, _ = video.track_boxes('task/0', [22, 30])
    assert boxes[:, 0].tolist() == [22, 30]


def _task(
    video='/data/upload/3/0a1b2c3d-a.mp4', frames=('4', '14'), count='60'
):
    box = dict(x=10, y=20, width=30, height=40)
    sequence = [
        dict(box, frame=frame, enabled=frame != frames[-1], rotation=turn)
        for frame, turn in zip(frames, (-15, '0.0'))
    ]
    value = dict(framesCount=count, duration='6.0', labels=['man'])
    region = dict(id='r', type='videorectangle')
    region.update(original_width=64, original_height=48)
    text = dict(id='r', type='textarea', from_name='text')
    regions = [
        dict(type='relation', from_id='r', to_id='s', direction='right'),
        dict(region, value=dict(value, sequence=sequence)),
        dict(text, value=dict(text='he walks')),
        dict(id='s', type='videorectangle', value=dict(sequence=[])),
    ]
    answers = [
        dict(result=[dict(regions[1], id='old')]),
        dict(result=regions),
        dict(result=[], was_cancelled=True),
    ]
    return dict(data=dict(note='x', clip=video), annotations=answers)


@pytest.mark.parametrize(
    ('task', 'path', 'span', 'counted'),
    [
        (_task(), 'a.mp4', [3, 14], 3),
        (_task('/data/local-files/?d=x/20240101-a%20b.mp4'),)
        + ('20240101-a b.mp4', [3, 14], 3),
        (_task('https://host/x/a.mp4?key=1/2'), 'a.mp4', [3, 14], 3),
        (_task('/data/local-files/?d=x/a #1.mp4'), 'a #1.mp4', [3, 14], 3),
        # Counted at 24 frames a second.
        (_task(frames=(49, 73), count=144), 'a.mp4', [20, 31], 4),
        # Frame 3 of 24 a second lies between frames 1 and 2.
        (_task(frames=('3', '4'), count=144), 'a.mp4', [1, 2], 4),
    ],
)
def test_exports_of_label_studio(
    tmp_path, toy_tools, task, path, span, counted
):
    source = tmp_path / 'in.json'
    source.write_text(json.dumps([task]))
    films = tmp_path / 'films'
    films.mkdir()
    toy_tools.write_video(films / path, count=60, fps=10)
    summary = convert_own(
        source, tmp_path / 'out', 'label-studio', videos=films
    )
    assert summary.notes.total() == counted
    made = load_annotation(tmp_path / 'out/train.json')
    (clip,) = made.data_list
    assert clip['queries'][0]['span'] == span
    assert clip['queries'][0]['text'] == 'he walks'
    assert made.videos[path[:-4]].rows('r')[0] == pytest.approx(
        [6.4, 9.6, 25.6, 28.8]
    )
    task['data'].pop('clip')
    source.write_text(json.dumps([task]))
    with pytest.raises(ConversionError, match=r"no \"video\" in it, .*'note'"):
        convert_own(source, tmp_path / 'out', 'label-studio')


def test_coco_video_of_images_and_of_several_folders(tmp_path):
    size = dict(width=64, height=48, length='30')
    raw = dict(
        videos=[
            dict(size, id=1, name='day1/cam.mp4'),
            dict(size, id='v2', name='day2/cam.mp4'),
        ],
        images=[dict(id=n, video_id=1, frame_id=10 * n) for n in range(3)],
        annotations=[
            dict(id=9, video_id='v2', bboxes=[[], [1, 2, 9, 9]], text='it')
        ],
    )
    for number in range(3):
        box = dict(id=number, image_id=number, bbox=[number, 2, 30, 40])
        raw['annotations'].append(dict(box, instance_id=7, text='the red car'))
    path = tmp_path / 'in.json'
    path.write_text(json.dumps(raw))
    options = dict(interpolate=True, fps=5)
    convert_own(path, tmp_path / 'out', 'coco-video', **options)
    made = load_annotation(tmp_path / 'out/train.json')
    assert set(made.videos) == {'cam', 'day2/cam'}
    spans = [q['span'] for c in made.data_list for q in c['queries']]
    assert spans == [[1, 2], [0, 21]]
    boxes, _ = made.videos['cam'].track_boxes('7', [0, 15])
    assert boxes.tolist() == [[0, 2, 30, 42], [1.5, 2, 31.5, 42]]
    del raw['images'][0]['frame_id']
    path.write_text(json.dumps(raw))
    with pytest.raises(ConversionError, match="image: key 'frame_id' is mis"):
        convert_own(path, tmp_path / 'out', 'coco-video', **options)


def test_splits_go_by_the_name_of_a_video():
    shares = dict(train='0.8', val='0.2')
    found = [_find_split(f'clip{n}', shares) for n in range(400)]
    assert 280 < found.count('train') < 360
    assert _find_split('clip7', {'test': '*7', **shares}) == 'test'
    with pytest.raises(ValueError, match='in none of the splits'):
        [_find_split(f'clip{n}', dict(train='0.5')) for n in range(50)]


def test_the_commands(annotation, tmp_path, run_tool):
    out, back = tmp_path / 'out', tmp_path / 'back'
    words = [annotation.path, '--format', 'cvat', '--out', out]
    done = run_tool('dataset_converters/export_tubes', *words)
    assert done.returncode == 0 and 'sentences' in done.stdout, done.stderr
    words = ['dataset_converters/own', out, '--format', 'cvat', '--out', back]
    words += ['--splits', 'val=*2', 'train=*']
    done = run_tool(*words)
    assert done.returncode == 1
    assert 'error: ' in done.stderr and 'does not say fps' in done.stderr
    done = run_tool(*words, '--fps', FPS)
    assert done.returncode == 0, done.stderr
    assert set(load_annotation(back / 'val.json').videos) == {'shop2'}
    assert set(load_annotation(back / 'train.json').videos) == {'shop1'}


def _labelled(tmp_path, toy_tools, **facts):
    """Converts a task of Label Studio; its video has 60 frames."""
    (tmp_path / 'in.json').write_text(json.dumps([_task(**facts)]))
    films = tmp_path / 'films'
    films.mkdir(exist_ok=True)
    toy_tools.write_video(films / 'a.mp4', count=60, fps=10)
    return films, tmp_path / 'in.json', tmp_path / 'out'


def test_a_region_after_the_end(tmp_path, toy_tools):
    facts = dict(frames=('190', '199'), count=144)
    films, source, out = _labelled(tmp_path, toy_tools, **facts)
    with pytest.raises(ConversionError, match='after the end of its video'):
        convert_own(source, out, 'label-studio', videos=films)


def test_null_is_none_in_an_export(tmp_path, toy_tools):
    films, source, out = _labelled(tmp_path, toy_tools)
    (task,) = json.loads(source.read_text())
    task['predictions'] = None
    value = task['annotations'][1]['result'][1]['value']
    value['labels'] = None
    source.write_text(json.dumps([task]))
    convert_own(source, out, 'label-studio', videos=films)
    (track,) = load_annotation(out / 'train.json').videos['a'].tracks.values()
    assert track.category == ''
    value['labels'] = 'man'
    source.write_text(json.dumps([task]))
    with pytest.raises(ConversionError, match="a list, found 'man'"):
        convert_own(source, out, 'label-studio', videos=films)


def test_of_several_files_of_one_name_none_is_taken(tmp_path, toy_tools):
    """Boxes of one camera do not land on the film of another."""
    source = _tables(tmp_path / 'own', said='clip0.mp4,1,0,5,who runs?\n')
    for name in ('a', 'b'):
        (tmp_path / 'films' / name).mkdir(parents=True)
        toy_tools.write_video(tmp_path / 'films' / name / 'clip0.mp4')
        toy_tools.write_video(tmp_path / 'films' / name / 'clip1.mp4')
    options = dict(videos=tmp_path / 'films')
    with pytest.raises(ConversionError, match='2 such files: a/clip0.mp4, b/'):
        convert_own(source, tmp_path / 'out', 'csv', **options)
    # Nor is nothing written without a word.
    with pytest.raises(ConversionError, match='clip0.mp4: 2 such files'):
        convert_own(source, tmp_path / 'out', 'csv', skip_bad=True, **options)
