"""Read the annotation of a video as VidOR publishes it.

``trajectories`` holds, for each frame, a list of boxes with the id of their
object. Ends of relations are exclusive, and so are our spans: no shift.
Objects of VidOR's categories are annotated wherever they are visible.
"""

from collections import defaultdict
from pathlib import Path

from hero_mm.json_reader import read_json

from ..action_phrases import PLACES
from ..entries import Entry
from ..tracks import VideoInfo
from .boxes import make_track
from .summary import ConversionSummary

CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
RAISED = 'videos with boxes past frame_count, which was raised'
# Frame numbers and boxes of a track.
_Boxes = tuple[list[int], list[list[float]]]


def read_vidor(
    path: Path, summary: ConversionSummary, asks_for_objects: bool = True
) -> VideoInfo:
    """Read ``<video id>.json``: the video with its tracks.

    A track has the predicates of all relations of the video that it is the
    subject of. It has those that it is the object of, too, where sentences ask
    for the object (*what does he hold?*), and where they are places. Tracks
    are complete unless a box was dropped. What is repaired is noted.
    """
    file = Entry(path, 'top level', read_json(path))
    frames = file.list('trajectories')
    frame_count = file.whole('frame_count', least=1)
    name = path.name.partition('.json')[0]
    video = VideoInfo(
        video_id=name,
        path=file.text('video_path', '') or f'{name}.mp4',
        frame_count=max(frame_count, len(frames)),
        fps=float(file.number('fps', least=1e-3)),
        width=file.whole('width', least=1),
        height=file.whole('height', least=1),
    )
    if len(frames) > frame_count:
        summary.note(RAISED, f'{path}: {frame_count} to {len(frames)}')
    true_of: dict[str, set[str]] = defaultdict(set)
    for relation in file.objects('relation_instances'):
        predicate = relation.text('predicate')
        subject, other = map(relation.name, ('subject_tid', 'object_tid'))
        true_of[subject].add(predicate)
        if asks_for_objects or predicate in PLACES:
            true_of[other].add(predicate)
    video.predicates = tuple(sorted(set().union(*true_of.values())))
    categories = {
        thing.name('tid'): thing.text('category')
        for thing in file.objects('subject/objects')
    }
    size = video.width, video.height
    for tid, (numbers, boxes) in _collect(file, frames).items():
        entry, category = file.at(f'tid {tid}', boxes), categories.get(tid, '')
        track = make_track(entry, numbers, boxes, size, summary, category)
        if track is not None:
            track.predicates = tuple(sorted(true_of[tid]))
            video.tracks[tid] = track
            if tid not in categories:
                summary.note('tracks without a category', f'{path}, tid {tid}')
    video.tracks_complete = not summary.skipped
    return video


def _collect(file: Entry, frames: list) -> dict[str, _Boxes]:
    """Frame numbers and boxes of each track, tracks in order of their id."""
    found: dict[str, _Boxes] = {}
    for number, boxes in enumerate(frames):
        frame = file.at(f'frame {number}', boxes)
        if not isinstance(boxes, list):
            raise frame.error(f'expected a list, found {boxes!r:.80}')
        for box in boxes:
            try:
                corners = [box['bbox'][corner] for corner in CORNERS]
                tid = frame.at(frame.where, box).name('tid')
            except (KeyError, TypeError) as error:
                raise frame.error(
                    f'a box needs tid and bbox with {", ".join(CORNERS)}, '
                    f'found {box!r:.120}'
                ) from error
            numbers, kept = found.setdefault(tid, ([], []))
            if numbers and numbers[-1] == number:
                found_twice = 'two boxes for one object'
                raise frame.error(found_twice, 'keep one', f'tid {tid}')
            numbers.append(number)
            kept.append(corners)
    # Whole numbers in their order, texts by length.
    return dict(sorted(found.items(), key=lambda one: (len(one[0]), one[0])))
