"""Proposals of a detector for all videos of an annotation, on disk.

Shape legend: F frames.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from mmengine.registry import init_default_scope
from torch import nn

from hero_mm.datasets.annotation import VideoInfo, load_annotation
from hero_mm.datasets.progress import show_progress
from hero_mm.datasets.proposal_files import (
    load_proposals,
    proposal_path,
    save_proposals,
)
from hero_mm.datasets.video_base import same_aspect
from hero_mm.datasets.video_reader import VideoError, open_video
from hero_mm.errors import UserError

from .inputs import PathLike, pick_device

# Decoded frames that are kept at once.
_CHUNK_BYTES = 2**28


class ProposalExtractor:
    """A detector that looks at whole videos.

    Args:
        detector (str | os.PathLike | dict): Config file of a detector of
            mmdet, ``mmdet::PATH`` of one of mmdet's own, or its config.
        checkpoint (str | os.PathLike): Its weights: a file, URL or work dir.
        device (str, optional): Such as ``'cuda:0'``; CUDA if there is one.
        every (int): Every n-th frame is asked.
        short_side (int, optional): Pixels that the shorter side of frames is
            resized to.
        **options: ``max_per_frame``, ``text`` (a prompt; without it the
            sentences about the video) and ``batch_size`` (frames at once) of
            :class:`DetectorProposals`.
    """

    def __init__(
        self,
        detector: Union[PathLike, dict],
        checkpoint: PathLike,
        device: Optional[str] = None,
        every: int = 1,
        short_side: Optional[int] = None,
        **options: Any,
    ) -> None:
        from hero_mm.models import DetectorProposals

        if every < 1 or (short_side is not None and short_side < 1):
            raise UserError(
                f'every and short_side must be at least 1, got {every} and '
                f'{short_side}'
            )
        init_default_scope('hero_mm')
        self.every = every
        self.short_side = short_side
        named = detector if isinstance(detector, dict) else str(detector)
        model = DetectorProposals(named, str(checkpoint), **options)
        model.init_weights()
        self.generator = model.to(pick_device(device)).eval()
        # Stored with the boxes; files of weights may move.
        self.made_by = dict(
            detector=model.name,
            weights=fingerprint(model.detector),
            every=every,
            max_per_frame=model.max_per_frame,
            short_side=short_side,
            text=model.text,
        )

    def run(
        self,
        ann_file: PathLike,
        video_dir: PathLike,
        out: PathLike,
        shard: tuple[int, int] = (0, 1),
    ) -> dict[str, Any]:
        """Work through the part of the videos that a shard (I, N) names.

        Returns:
            dict: ``written`` and ``kept`` (they have a file), numbers of
            videos; ``broken``, why a video could not be read.
        """
        folder, part, parts = Path(out), *shard
        annotation = load_annotation(Path(ann_file))
        if not Path(video_dir).is_dir():
            raise FileNotFoundError(
                f'there is no folder of videos at {video_dir}; give the one '
                f'that the paths in {ann_file} are relative to'
            )
        # Videos that nobody asks about need no proposals.
        texts: dict[str, list[str]] = {}
        for clip in annotation.data_list:
            asked = [query['text'] for query in clip['queries']]
            texts.setdefault(clip['video_id'], []).extend(asked)
        names = sorted(texts)[part::parts]
        counts: dict[str, Any] = dict(written=0, kept=0, broken=[])
        for name in show_progress(names, len(names), 'proposals'):
            if proposal_path(folder, name).is_file():
                self._check_kept(folder, name)
                counts['kept'] += 1
                continue
            video = annotation.videos[name]
            try:
                found = self.detect_video(video, video_dir, texts[name])
            except VideoError as error:
                counts['broken'].append(f'{name}: {error}')
                continue
            size = (video.width, video.height)
            save_proposals(folder, name, *found, size, self.made_by)
            counts['written'] += 1
        return counts

    def _check_kept(self, folder: Path, name: str) -> None:
        """Files of another detector must not be taken for ours."""
        then = load_proposals(folder, name).made_by
        other = [
            f'{key}={then.get(key)!r}, not {value!r}'
            for key, value in self.made_by.items()
            if then.get(key) != value
        ]
        if other:
            raise UserError(
                f'{proposal_path(folder, name)} was made with '
                f'{"; ".join(other)}; go on as it was begun, or write into '
                'another folder'
            )

    def detect_video(
        self, video: VideoInfo, video_dir: PathLike, texts: Sequence[str]
    ) -> tuple[list[int], list[np.ndarray], list[np.ndarray]]:
        """Frames of a video, and of each boxes (K, 4) and scores (K,).

        Boxes are in pixels as annotated.
        """
        prompt = self.generator.text
        texts = list(dict.fromkeys(texts)) if prompt is None else [prompt]
        boxes: list[np.ndarray] = []
        scores: list[np.ndarray] = []
        with open_video(str(Path(video_dir) / video.path)) as reader:
            width, height = reader.size
            if not same_aspect(reader.size, (video.width, video.height)):
                raise VideoError(
                    reader.path,
                    f'frames are {width}x{height}, the annotation says '
                    f'{video.width}x{video.height} (width x height)',
                    'fetch the right file or correct its annotation',
                )
            if self.short_side is not None:
                self.generator.scale = self.short_side / min(width, height)
            factor = np.array([video.width / width, video.height / height] * 2)
            numbers = list(range(0, reader.frame_count, self.every))
            step = max(1, _CHUNK_BYTES // (3 * width * height))
            for at in range(0, len(numbers), step):
                imgs = reader.get_frames(np.array(numbers[at : at + step]))
                # From RGB to the BGR that mmdet takes.
                frames = torch.from_numpy(imgs).permute(0, 3, 1, 2).flip(1)
                found, sure = self.generator.detect(
                    frames.unbind(0), [texts] * len(frames)
                )
                boxes += [box.cpu().numpy() * factor for box in found]
                scores += [score.cpu().numpy() for score in sure]
        return numbers, boxes, scores


def fingerprint(model: nn.Module) -> str:
    """What tells the weights of a model from others."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        raw = value.cpu().contiguous().flatten().view(torch.uint8)
        digest.update(raw.numpy().tobytes())
    return digest.hexdigest()[:16]
