"""Raw files in the form of VidOR's and VidSTG's, of any size.

Only the form is real: boxes wander, sentences are put together from a few
words.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from hero_mm.files import write_text

OBJECTS, SEGMENTS = 5.1, 4
SIZE = (640, 360)
HIDDEN = 5  # Frames; fewer than those of any span.
CATEGORIES = ('adult', 'child', 'dog', 'ball/sports_ball', 'bicycle', 'car')
PREDICATES = ('watch', 'hold', 'ride', 'kick', 'next_to', 'in_front_of')
LOOKS = ('red', 'white', 'small', 'tall', 'black', 'striped', 'old', 'blue')
_BOX = (
    '{"bbox": {"xmin": %d, "ymin": %d, "xmax": %d, "ymax": %d}, '
    '"tracker": "linear", "generated": 1, "tid": %d}'
)


def write_raw(
    folder: Path,
    videos: int,
    declarative: int,
    interrogative: int,
    frames: int,
    seed: int = 0,
) -> int:
    """Write ``train_annotations.json``, ``train_files.json`` and ``vidor/``.

    Captions are one an entry, questions at most two; a video has so many
    frames on mean. Gives the number of boxes.
    """
    rng = np.random.default_rng(seed)
    kinds = [
        _draw_video(rng, f'{7000000 + number}', frames)
        for number in range(videos)
    ]
    asked = np.full(declarative, interrogative // declarative)
    asked[: interrogative % declarative] += 1
    more = rng.integers(videos, size=declarative - videos)
    numbers = np.sort(np.r_[np.arange(videos), more])
    entries = [
        _draw_entry(rng, kinds[number], questions)
        for number, questions in zip(
            numbers.tolist(), rng.permutation(asked).tolist()
        )
    ]
    write_text(folder / 'train_annotations.json', json.dumps(entries))
    names = [kind['vid'] for kind in kinds]
    write_text(folder / 'train_files.json', json.dumps(names))
    return sum(
        write_vidor(folder / 'vidor', kind, whole_tracks(rng, kind), number)
        for number, kind in enumerate(kinds)
    )


def write_boxes(folder: Path, annotations: Path, seed: int = 0) -> int:
    """Write ``vidor/`` for a file of VidSTG, boxes where it needs them."""
    rng = np.random.default_rng(seed)
    videos: dict[str, dict] = {}
    needed: dict[str, dict[int, set[int]]] = {}
    for entry in json.loads(annotations.read_bytes()):
        videos.setdefault(entry['vid'], entry)
        truth = entry['temporal_gt']
        for sentence in entry['captions'] + entry['questions']:
            needed.setdefault(entry['vid'], {}).setdefault(
                sentence['target_id'], set()
            ).update(range(truth['begin_fid'], truth['end_fid']))
    count = 0
    for number, (name, video) in enumerate(videos.items()):
        tracks = {
            tid: _wander(rng, video, np.array(sorted(found)))
            for tid, found in needed[name].items()
        }
        count += write_vidor(folder / 'vidor', video, tracks, number)
    return count


def write_vidor(
    folder: Path,
    video: dict,
    tracks: dict[int, tuple[np.ndarray, np.ndarray]],
    number: int,
) -> int:
    """Write the file of a video as VidOR publishes it; gives its boxes.

    ``tracks``: object to frame numbers (T,) and boxes, xyxy, (T, 4).
    """
    rows: list[list[str]] = [[] for _ in range(video['frame_count'])]
    for tid, (frames_T, boxes_T4) in tracks.items():
        for frame, box in zip(frames_T.tolist(), boxes_T4.tolist()):
            rows[frame].append(_BOX % (*box, tid))
    part = f'{number // 1000:04d}'
    keys = ('frame_count', 'fps', 'width', 'height', 'subject/objects')
    relations = video.get('relations') or [video['used_relation']]
    told = {
        'version': 'VERSION 1.0',
        'video_id': video['vid'],
        'video_hash': '',
        'video_path': f'{part}/{video["vid"]}.mp4',
        **{key: video[key] for key in keys},
        'relation_instances': relations,
    }
    path = folder / 'training' / part / f'{video["vid"]}.json'
    boxes = ', '.join(f'[{", ".join(row)}]' for row in rows)
    told_json = json.dumps(told)[:-1]
    write_text(path, f'{told_json}, "trajectories": [{boxes}]}}')
    return sum(map(len, rows))


def whole_tracks(
    rng: np.random.Generator, video: dict
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Boxes of all objects, each hidden for a while."""
    count = video['frame_count']
    tracks = {}
    for thing in video['subject/objects']:
        begin = int(rng.integers(count))
        hidden = np.arange(begin, begin + HIDDEN)
        frames_T = np.setdiff1d(np.arange(count), hidden)
        tracks[thing['tid']] = _wander(rng, video, frames_T)
    return tracks


def _wander(
    rng: np.random.Generator, video: dict, frames_T: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A box that goes around; a few leave the picture a little."""
    width, height = video['width'], video['height']
    size = rng.integers(20, (width // 2, height // 2))
    turn_T = frames_T * rng.uniform(0.005, 0.05) + rng.uniform(0, 7)
    middle_T2 = np.stack(
        [
            width / 2 + 0.35 * width * np.sin(turn_T),
            height / 2 + 0.35 * height * np.cos(turn_T),
        ],
        1,
    )
    least = -2 if rng.random() < 0.05 else 0
    corner_T2 = np.clip(middle_T2 - size / 2, least, None).astype(int)
    far_T2 = np.minimum(corner_T2 + size, [width - 1, height - 1])
    return frames_T, np.concatenate([corner_T2, far_T2], 1)


def _draw_video(
    rng: np.random.Generator, name: str, frames: int
) -> dict[str, Any]:
    """A video with its objects, segments and relations."""
    count = max(30, int(rng.gamma(2, frames / 2)))
    things = [
        dict(tid=tid, category=str(rng.choice(CATEGORIES)))
        for tid in range(2 + rng.poisson(OBJECTS - 2))
    ]
    parts = [_draw_span(rng, 0, count, 15) for _ in range(SEGMENTS - 1)]
    relations = [
        dict(
            subject_tid=0,
            object_tid=1,
            predicate=str(rng.choice(PREDICATES)),
            begin_fid=begin,
            end_fid=end,
        )
        for begin, end in (_draw_span(rng, 0, count, 15) for _ in range(20))
    ]
    return {
        'vid': name,
        'frame_count': count,
        'fps': 29.97,
        'width': SIZE[0],
        'height': SIZE[1],
        'subject/objects': things,
        'segments': [(0, count), *parts],
        'relations': relations,
    }


def _draw_span(
    rng: np.random.Generator, start: int, end: int, least: int
) -> tuple[int, int]:
    length = int(rng.integers(least, end - start + 1))
    begin = start + int(rng.integers(end - start - length + 1))
    return begin, begin + length


def _draw_entry(
    rng: np.random.Generator, video: dict, questions: int
) -> dict[str, Any]:
    """An entry of VidSTG: one caption and some questions."""
    start, end = video['segments'][rng.integers(len(video['segments']))]
    begin, stop = _draw_span(rng, start, end, 10)
    if rng.random() < 0.17:
        begin, stop = begin + end - stop, end
    else:  # Only so many end one past the last frame that is named.
        stop = max(begin + 1, min(stop, end - 1))
    things = video['subject/objects']
    first, second = rng.choice(len(things), 2, replace=False).tolist()
    names = [things[tid]['category'].split('/')[-1] for tid in (first, second)]
    predicate = str(rng.choice(PREDICATES))
    does = predicate.replace('_', ' ')
    looks = rng.choice(LOOKS, 3).tolist()
    told = (
        f'the {looks[0]} {looks[1]} {names[0]} {does} the {looks[2]} '
        f'{names[1]}.',
        f'who {does} the {looks[2]} {names[1]}?',
        f'what does the {looks[0]} {names[0]} {does}?',
    )
    sentences = [
        dict(description=text, type='object', target_id=target)
        for text, target in zip(told, (first, first, second))
    ]
    keys = ('vid', 'frame_count', 'fps', 'width', 'height', 'subject/objects')
    times = dict(begin_fid=begin, end_fid=stop)
    return {
        **{key: video[key] for key in keys},
        'used_segment': dict(begin_fid=start, end_fid=end - 1),
        'used_relation': dict(
            subject_tid=first, object_tid=second, predicate=predicate, **times
        ),
        'temporal_gt': times,
        'captions': sentences[:1],
        'questions': sentences[1 : 1 + questions],
    }
