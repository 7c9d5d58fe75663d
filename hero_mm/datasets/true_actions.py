"""What may be true of the videos of a data set, so that no negative says it.

That are the predicates of videos, tracks and sentences, and what is said in
the same words (:func:`~hero_mm.datasets.action_phrases.said_alike`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .action_phrases import said_alike
from .tracks import VideoInfo


def true_actions(
    videos: Mapping[str, VideoInfo], data_list: Sequence[dict]
) -> tuple[list[str], list[tuple[VideoInfo, list[str]]]]:
    """What may be true of each video and each object of a data set.

    Returns:
        tuple: All predicates of the data set, sorted; and the videos, whose
        tracks have all predicates that may be true of them, each with what
        may be true in it, sorted.
    """
    of_video = {
        name: set(video.predicates).union(
            *(track.predicates for track in video.tracks.values())
        )
        for name, video in videos.items()
    }
    of_track: dict[tuple[str, str], set[str]] = defaultdict(set)
    for clip in data_list:
        name = clip['video_id']
        for query in clip['queries']:
            predicate = query.get('predicate')
            if predicate:
                of_video[name].add(predicate)
                of_track[name, query['track_id']].add(predicate)
    predicates = sorted(set().union(*of_video.values()))
    alike = said_alike(predicates)

    def all_alike(names: Iterable[str]) -> list[str]:
        return sorted(set().union(*(alike[name] for name in names)))

    found = []
    for name, video in videos.items():
        tracks = {}
        for track_id, track in video.tracks.items():
            said = of_track[name, track_id].union(track.predicates)
            true = tuple(all_alike(said))
            same = true == track.predicates
            tracks[track_id] = (
                track if same else replace(track, predicates=true)
            )
        true_video = replace(video, tracks=tracks)
        found.append((true_video, all_alike(of_video[name])))
    return predicates, found
