"""Clips with their sentences, from an annotation file or from several.

An item is a clip with K >= 1 queries; see ``docs/design.md``.
"""

import logging
import os
import zlib
from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np
import torch
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.dist import get_rank
from mmengine.fileio import join_path
from mmengine.logging import print_log
from torch.utils.data import get_worker_info

from hero_mm.errors import UserError
from hero_mm.registry import DATASETS, TRANSFORMS

from .action_phrases import true_actions
from .annotation import VideoInfo, load_annotation
from .source import missing_paths
from .video_base import VideoError

# With so many file descriptors nobody runs out of them.
_MANY = 4096
# Descriptors that a worker needs beside one a clip.
_SPARE = 8
_OPEN_FILES = '/proc/self/fd'


@DATASETS.register_module()
class GroundingDataset(BaseDataset):
    """Videos and sentences about them.

    The pipeline gets a dictionary with ``video_id, video_path, frame_count,
    fps, width, height, segment, queries, video_info, predicates,
    video_predicates``.

    A video that cannot be read is logged by name once and listed in
    :attr:`broken_videos`, also when a worker process met it. Another item
    takes its place: in training one at random, in testing the next one, which
    is counted once; the sentences of the broken video score 0.

    Args:
        ann_file (str): Annotation file, see ``docs/data.md``.
        data_prefix (dict): ``video`` is the folder that the paths of the
            videos are relative to.
        max_queries (int, optional): Most sentences an item. In training a
            random part is drawn for each access, in testing the clip is split
            so that each sentence is there once. Defaults to None, no limit.
        span_share (float): Share of the videos whose spans may be learned
            from, chosen by their ids; of the others a training sees the
            tracks and which sentences are theirs. Defaults to 1.
        make_command (str): The command that makes ``ann_file``; named in
            the error when it is missing.
        backend_args (dict, optional): Arguments of the MMEngine storage
            backend for the annotation. Defaults to None, the local disk.
        pipeline (Sequence[dict | Callable]): Transforms, see
            ``docs/design.md``.
        **kwargs: Of :class:`mmengine.dataset.BaseDataset`: ``data_root``,
            ``test_mode``, ``indices``, ``max_refetch``, ...
    """

    METAINFO: dict = dict(task_name='video_object_grounding')

    def __init__(
        self,
        ann_file: str,
        data_prefix: Optional[dict] = None,
        max_queries: Optional[int] = None,
        span_share: float = 1.0,
        make_command: str = '',
        backend_args: Optional[dict] = None,
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        if max_queries is not None and max_queries < 1:
            raise UserError(f'max_queries must be >= 1, got {max_queries}')
        if not 0 <= span_share <= 1:
            raise UserError(
                f'span_share is a share of the videos, got {span_share}'
            )
        self.max_queries = max_queries
        self.span_share = span_share
        self.make_command = make_command
        self.backend_args = backend_args
        # Set where several data sets are one.
        self.id_prefix = ''
        self._predicates: list[str] = []
        # Each with the predicates that may be true in it.
        self._videos: list[tuple[VideoInfo, list[str]]] = []
        # Epoch and seed, shared with workers that run on; -1 leaves them free.
        self._drawn = torch.full((2,), -1).share_memory_()
        # What the draws of the item being made depend on.
        self._source: list[int] = []
        super().__init__(
            ann_file=ann_file,
            data_prefix=data_prefix or dict(video=''),
            # Found by their bare name whatever the default scope is.
            pipeline=[
                TRANSFORMS.build(step) if isinstance(step, dict) else step
                for step in pipeline
            ],
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Read the annotation file: one entry an item.

        Raises:
            FileNotFoundError: The file or the folder of videos is missing;
                says how to make it.
            AnnotationError: The file is wrong.
        """
        if self.backend_args is None:
            for missing in missing_paths(
                self.ann_file, self.data_prefix['video'], self.make_command
            ):
                raise FileNotFoundError(missing)
        annotation = load_annotation(self.ann_file, self.backend_args)
        for key, value in annotation.metainfo.items():
            self._metainfo.setdefault(key, value)
        # Where the metric finds the tubes to score against.
        self._metainfo.setdefault('ann_file', self.ann_file)
        self._predicates, self._videos = true_actions(
            annotation.videos, annotation.data_list
        )
        # Shared with worker processes.
        self._broken = torch.zeros(len(self._videos), dtype=torch.uint8)
        self._broken.share_memory_()
        number = {name: place for place, name in enumerate(annotation.videos)}
        return [
            dict(
                video=number[clip['video_id']],
                segment=tuple(clip['segment']),
                queries=part,
            )
            for clip in annotation.data_list
            for part in self._parts(clip['queries'])
        ]

    def full_init(self) -> None:
        """Load the file; of ``indices`` alone, where they were given."""
        if self._fully_initialized:
            return
        super().full_init()
        if self._indices is not None:
            # The metric scores these alone.
            self._metainfo['served'] = [
                query['query_id']
                for place in range(len(self))
                for query in super(GroundingDataset, self).get_data_info(
                    place
                )['queries']
            ]

    def _parts(self, queries: list[dict]) -> list[list[dict]]:
        """Split the sentences of a clip into items."""
        if self.max_queries is None or not self.test_mode:
            return [queries]
        step = self.max_queries
        return [queries[i : i + step] for i in range(0, len(queries), step)]

    def set_epoch(self, epoch: int, seed: int) -> None:
        """Fix what is drawn at random in the items of an epoch.

        From then on an item of the training depends on seed, epoch and index
        alone, whichever process makes it and whatever was made before.
        """
        self._drawn.copy_(torch.tensor([epoch, seed]))

    def __getitems__(self, indices: list[int]) -> list[dict]:
        """The items of a batch, as a data loader asks for them.

        Raises:
            OSError: A worker process has too few file descriptors left to send
                them.
        """
        check_descriptors(len(indices))
        return [self[idx] for idx in indices]

    def __getitem__(self, idx: int) -> dict:
        """One item, through the pipeline."""
        epoch, seed = self._drawn.tolist()
        if self.test_mode or epoch < 0:
            return self._readable_item(idx)
        before = np.random.get_state()
        self._source = [seed, epoch, idx % len(self), 0]
        try:
            _seed_numpy(self._source)
            return self._readable_item(idx)
        finally:
            self._source = []
            np.random.set_state(before)

    def _readable_item(self, idx: int) -> dict:
        """An item, or the one that takes the place of a broken one."""
        for _ in range(self.max_refetch + 1):
            item = self.prepare_data(idx)
            if item is not None:
                return item
            broken, known = int(self._broken.sum()), len(self._broken)
            if broken == known:
                break
            again = (idx + 1) % len(self)
            idx = again if self.test_mode else self._rand_another()
        raise UserError(
            f'{self.ann_file}: {broken} of its {known} videos cannot be read, '
            f'and none of {self.max_refetch + 1} items in a row; see the '
            "warnings above, and check data_prefix['video'] = "
            f'{self.data_prefix["video"]!r}'
        )

    def _rand_another(self) -> int:
        """The index that takes the place of a broken one in training."""
        if self._source:
            # How much was drawn until now depends on whether it was known.
            self._source[-1] += 1
            _seed_numpy(self._source)
        return super()._rand_another()

    def get_data_info(self, idx: int) -> dict:
        """One item, as the pipeline gets it; see the class."""
        info = super().get_data_info(idx)
        place = info.pop('video')
        video, true = self._videos[place]
        info.update(
            video_place=place,
            video_id=video.video_id,
            video_path=join_path(self.data_prefix['video'], video.path),
            frame_count=video.frame_count,
            fps=video.fps,
            width=video.width,
            height=video.height,
            video_info=video,
            # A video is one whose spans are learned, or is not, by its id.
            spans_known=zlib.crc32(video.video_id.encode())
            < self.span_share * 2**32,
            predicates=self._predicates,
            video_predicates=list(true),
        )
        limit = self.max_queries
        queries = info['queries']
        if limit is not None and not self.test_mode and len(queries) > limit:
            chosen = np.sort(np.random.permutation(len(queries))[:limit])
            info['queries'] = [queries[i] for i in chosen]
        if self.id_prefix:
            info['queries'] = [
                {**query, 'query_id': self.id_prefix + query['query_id']}
                for query in info['queries']
            ]
        return info

    def prepare_data(self, idx: int) -> Optional[dict]:
        """Run the pipeline on one item; None where the video is broken."""
        info = self.get_data_info(idx)
        place = info['video_place']
        if self._broken[place]:
            return None
        try:
            return self.pipeline(info)
        except VideoError as error:
            self.leave_out(place, error)
            return None

    def leave_out(self, place: int, error: VideoError) -> None:
        """Serve nothing of a video (``video_place`` of an item) any more,
        and say so once.
        """
        if self._broken[place]:
            return
        self._broken[place] = 1
        count = int(self._broken.sum())
        what = 'left out' if self.test_mode else 'skipped in training'
        print_log(
            f'{error} ({what}; broken so far: {count} '
            f'of {len(self._broken)} videos)',
            logger='current',
            # MMEngine shows warnings of the first process only.
            level=logging.ERROR if get_rank() else logging.WARNING,
        )

    @property
    def broken_videos(self) -> list[str]:
        """list[str]: Ids of the videos that failed, in workers too."""
        if not self._fully_initialized:
            return []
        failed = torch.nonzero(self._broken).flatten().tolist()
        return sorted(self._videos[place][0].video_id for place in failed)


@DATASETS.register_module(name='ConcatDataset')
class GroundingConcatDataset(ConcatDataset):
    """Data sets one after the other, ``dict(type='ConcatDataset', ...)``.

    What each file says of itself may differ. Ids of queries count from 0 in
    each file: here they get the number of their data set in front, ``'1/17'``,
    so that all of them are scored.

    Args:
        datasets (Sequence[dict | BaseDataset]): Their configs.
        lazy_init (bool): Load them later. Defaults to False.
        ignore_keys (str | list[str], optional): Taken for MMEngine's sake:
            nothing that differs is refused.
    """

    def __init__(
        self,
        datasets: Sequence[Union[BaseDataset, dict]],
        lazy_init: bool = False,
        ignore_keys: Any = None,
    ) -> None:
        built = [
            DATASETS.build(one) if isinstance(one, dict) else one
            for one in datasets
        ]
        for number, one in enumerate(built):
            if isinstance(one, GroundingDataset):
                one.id_prefix = f'{number}/'
        facts = [one.metainfo for one in built]
        keys = sorted({key for one in facts for key in one})
        super().__init__(built, lazy_init=True, ignore_keys=keys)
        if not lazy_init:
            self.full_init()

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """The items of a batch; see :class:`GroundingDataset`."""
        check_descriptors(len(indices))
        return [self[idx] for idx in indices]

    @property
    def metainfo(self) -> dict[str, Any]:
        """dict: What all say alike; ``ann_file`` has the file of each."""
        facts = [one.metainfo for one in self.datasets]
        common = {
            key: value
            for key, value in facts[0].items()
            if all(key in one and one[key] == value for one in facts)
        }
        common['ann_file'] = [one.get('ann_file') for one in facts]
        common['served'] = [one.get('served') for one in facts]
        return common


def _seed_numpy(source: list[int]) -> None:
    np.random.seed(np.random.SeedSequence(source).generate_state(4))


def check_descriptors(count: int) -> None:
    """OSError where a worker could not send clips: it would wait for ever."""
    if get_worker_info() is None:
        return
    if not os.path.isdir(_OPEN_FILES):
        return
    # Windows has none.
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit >= _MANY:
        return
    free = limit - len(os.listdir(_OPEN_FILES))
    if free < count + _SPARE:
        raise OSError(
            f'a data worker has {free} of {limit} file descriptors left, and '
            f'needs {count + _SPARE} to send {count} clips; raise the limit '
            '(ulimit -n 1024), or set num_workers=0 or a smaller batch_size '
            'or prefetch_factor'
        )
