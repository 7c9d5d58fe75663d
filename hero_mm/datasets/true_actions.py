"""What may be true of the videos of a data set, so that no negative says it.

That are the predicates of videos, tracks and sentences, and what is said in
the same words (:func:`~hero_mm.datasets.action_phrases.said_alike`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .action_phrases import said_alike
from .tracks import VideoInfo


class TrueActions:
    """What may be true of each video and each object of a data set.

    ``predicates`` has all of the data set, sorted.
    """

    def __init__(
        self, videos: Mapping[str, VideoInfo], data_list: Sequence[dict]
    ) -> None:
        self._of_video = {
            name: set(video.predicates).union(
                *(track.predicates for track in video.tracks.values())
            )
            for name, video in videos.items()
        }
        self._of_track: dict[tuple[str, str], set[str]] = defaultdict(set)
        for clip in data_list:
            name = clip['video_id']
            for query in clip['queries']:
                predicate = query.get('predicate')
                if predicate:
                    self._of_video[name].add(predicate)
                    self._of_track[name, query['track_id']].add(predicate)
        self.predicates = sorted(set().union(*self._of_video.values()))
        self._alike = said_alike(self.predicates)

    def of_video(self, video_id: str) -> list[str]:
        """The predicates that may be true in a video, sorted."""
        return self._all_alike(self._of_video[video_id])

    def video(self, video: VideoInfo) -> VideoInfo:
        """The video; its tracks have all predicates that may be true."""
        tracks = {}
        for name, track in video.tracks.items():
            said = self._of_track.get((video.video_id, name), set())
            true = tuple(self._all_alike(said.union(track.predicates)))
            same = true == track.predicates
            tracks[name] = track if same else replace(track, predicates=true)
        return replace(video, tracks=tracks)

    def _all_alike(self, names: Iterable[str]) -> list[str]:
        return sorted(set().union(*(self._alike[name] for name in names)))
