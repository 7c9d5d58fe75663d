"""The part of an inferencer that searches long videos in windows."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Optional, Union

from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.logging import print_log
from mmengine.structures import InstanceData

from hero_mm.datasets.video_reader import open_video
from hero_mm.structures import GroundingDataSample

from .answers import SPARSE
from .inputs import PathLike, check_texts, describe_video, is_long
from .windows import LONG, Progress, as_sample, search, window_seconds

# What is said of each of the next best tubes of a long video.
OTHER = ('span', 'span_seconds', 'score', 'window', 'frames', 'bboxes')


class WindowSearch:
    """Mixed into an inferencer, which answers the sentences of a window."""

    cfg: Config
    pipeline: Compose
    window: Optional[float]
    top_k: int
    collate_fn: Callable[[Sequence[Any]], Any]
    forward: Callable[..., list[GroundingDataSample]]
    encode_video: Callable[..., Any]
    ground: Callable[..., list[dict[str, Any]]]
    read_tubes: Callable[[GroundingDataSample], list[dict[str, Any]]]

    def stream(
        self,
        video: PathLike,
        texts: Union[str, Sequence[str]],
        segment: Optional[tuple[float, float]] = None,
        unit: str = 'seconds',
        fps: Optional[float] = None,
    ) -> Iterator[dict[str, Any]]:
        """Find what sentences describe, and say what was found meanwhile.

        Args:
            video (str | os.PathLike): A video, of any length, or a folder
                with a picture a frame.
            texts (str | Sequence[str]): K sentences.
            segment (tuple[float, float], optional): As a call takes it.
            unit (str): As a call takes it.
            fps (float, optional): As a call takes it.

        Yields:
            dict: ``number`` of the sentence, ``tube`` (its best one so far,
            see :meth:`ground`), ``searched`` (native frames ``[start, end)``
            that were looked at), ``searched_seconds``, and ``final``. One
            for each sentence whose best tubes changed, and at the end a
            final one for each, in their order. Before the end, seconds are
            counted by the mean rate of the video.

        Raises:
            VideoError: If the video cannot be read; what is broken further
                on in a long one, when it is reached.
        """
        texts = check_texts(texts)
        progress = self._search(video, texts, segment, unit, fps)
        if progress is None:
            encoded = self.encode_video(video, segment, unit, texts, fps)
            tubes = self.ground(encoded, texts)
            for number, tube in enumerate(tubes):
                yield _update(number, tube, True)
            return
        for now in progress:
            # One at a time: frames of one tube are none of another.
            for number in now.changed:
                asked = [texts[number]]
                sample = self._sample(now, asked, [number])
                (tube,) = self.read_tubes(sample)
                yield _update(number, tube, now.final)

    def _search(
        self,
        video: PathLike,
        texts: Sequence[str],
        segment: Optional[tuple[float, float]] = None,
        unit: str = 'seconds',
        fps: Optional[float] = None,
    ) -> Optional[Iterator[Progress]]:
        """A search in windows; None where a video is looked at at once."""
        seconds = self.window
        if seconds is None:
            seconds = window_seconds(self.cfg, self.pipeline)
        if not seconds:
            if self.window is None:
                warn_of_gaps(str(video), self.pipeline)
            return None
        longest = seconds * (LONG if self.window is None else 1)
        path, facts = str(video), None
        length = None
        if segment is None and Path(path).is_file():
            with open_video(path) as reader:
                length = reader.header_seconds
        if length is None or length <= longest:
            facts = describe_video(video, segment, unit, fps)
            first, end = facts['segment']
            if (end - first) / facts['fps'] <= longest:
                return None
        return self._windows(path, list(texts), seconds, facts)

    def _windows(
        self,
        path: str,
        texts: list[str],
        seconds: float,
        facts: Optional[dict[str, Any]],
    ) -> Iterator[Progress]:
        """Open a long video and search it."""

        def answer(data: dict[str, Any]) -> GroundingDataSample:
            batch = self.collate_fn([data])
            samples = batch['data_samples']
            batch['data_samples'] = [with_queries(s, texts) for s in samples]
            (sample,) = self.forward(batch)
            return sample

        with open_video(path) as reader:
            if facts is None:
                facts = dict(
                    video_id=Path(path).stem, video_path=path, fps=reader.fps
                )
            yield from search(
                reader,
                answer,
                self.pipeline,
                facts,
                seconds,
                len(texts),
                self.top_k,
            )

    def _last(
        self, progress: Iterator[Progress], texts: Sequence[str]
    ) -> GroundingDataSample:
        """What a search has found in the end."""
        (last,) = deque(progress, maxlen=1)
        return self._sample(last, texts, last.changed)

    def _sample(
        self, now: Progress, texts: Sequence[str], numbers: Sequence[int]
    ) -> GroundingDataSample:
        """The tubes of some sentences of a search, the best one in front."""
        tubes = [now.best[number].best() for number in numbers]
        sample = as_sample(texts, [own[0] for own in tubes], now.facts)
        others: list[list[dict[str, Any]]] = []
        for text, own in zip(texts, tubes):
            found = [as_sample([text], [one], now.facts) for one in own[1:]]
            read = [self.read_tubes(one)[0] for one in found]
            others.append([{key: one[key] for key in OTHER} for one in read])
        sample.pred_queries.others = others
        return sample


def _update(number: int, tube: dict[str, Any], final: bool) -> dict[str, Any]:
    """What :meth:`TubeInferencer.stream` yields."""
    start, end = tube['segment']
    return dict(
        number=number,
        tube=tube,
        searched=[start, end],
        searched_seconds=[start / tube['fps'], end / tube['fps']],
        final=final,
    )


def with_queries(
    sample: GroundingDataSample, texts: Sequence[str]
) -> GroundingDataSample:
    """A new sample of the same clip that asks K sentences alone."""
    asked = GroundingDataSample(metainfo=sample.metainfo)
    asked.queries = InstanceData(
        texts=list(texts),
        query_ids=[str(place) for place in range(len(texts))],
        query_types=[
            'interrogative' if text.endswith('?') else 'declarative'
            for text in texts
        ],
        predicates=[''] * len(texts),
    )
    return asked


def warn_of_gaps(path: str, pipeline: Compose) -> None:
    """Say that of a long video hardly a frame is looked at."""
    for step in pipeline.transforms:
        number = getattr(step, 'num_frames', None)
        if number and is_long(path, number * SPARSE):
            print_log(
                f'{path} is long: of it {number} frames are looked at, fewer '
                f'than one in {SPARSE:g} s. Give window=SECONDS, the length '
                'of the clips that the model was trained with, to look at '
                'all of it; window=0 says that this is meant',
                logger='current',
                level=logging.WARNING,
            )
