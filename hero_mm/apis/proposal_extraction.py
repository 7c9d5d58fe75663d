"""Proposals of a detector for all videos of an annotation, on disk.

Shape legend: F frames.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from mmengine.registry import init_default_scope

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.proposal_files import proposal_path, save_proposals
from hero_mm.datasets.video_reader import VideoError, open_video

from .inputs import PathLike, pick_device

_CHUNK = 64


class ProposalExtractor:
    """A detector that looks at whole videos.

    Args:
        detector (str | os.PathLike): Config file of a detector of mmdet.
        checkpoint (str): Its weights.
        device (str, optional): Such as ``'cuda:0'``. Defaults to CUDA where
            there is one.
        every (int): Every n-th frame is asked. Defaults to 1.
        max_per_frame (int): Most boxes of a frame. Defaults to 50.
        short_side (int, optional): Frames are resized so that their shorter
            side has these pixels.
        text (str, optional): Prompt of a detector with a language model.
            Defaults to the sentences about the video.
        batch_size (int): Frames at once. Defaults to 16.

    Raises:
        FileNotFoundError: If the config or the checkpoint is missing.
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        detector: PathLike,
        checkpoint: str,
        device: Optional[str] = None,
        every: int = 1,
        max_per_frame: int = 50,
        short_side: Optional[int] = None,
        text: Optional[str] = None,
        batch_size: int = 16,
    ) -> None:
        from hero_mm.models.proposals import DetectorProposals

        if every < 1 or (short_side is not None and short_side < 1):
            raise ValueError(
                'every and short_side must be at least 1, got '
                f'{every} and {short_side}'
            )
        init_default_scope('hero_mm')
        self.device = pick_device(device)
        self.every = every
        self.short_side = short_side
        self.generator = DetectorProposals(
            str(detector),
            checkpoint,
            text=text,
            max_per_frame=max_per_frame,
            batch_size=batch_size,
        )
        self.generator.to(self.device).eval()

    def run(
        self,
        ann_file: PathLike,
        video_dir: PathLike,
        out: PathLike,
        shard: tuple[int, int] = (0, 1),
    ) -> dict[str, Any]:
        """Work through the videos; those that have a file are kept.

        Args:
            ann_file (str | os.PathLike): Annotation file.
            video_dir (str | os.PathLike): Folder of the videos.
            out (str | os.PathLike): Folder of the files.
            shard (tuple[int, int]): Which part of how many.

        Returns:
            dict: ``written`` and ``kept``, numbers of videos; ``broken``, why
            a video could not be read.
        """
        annotation = load_annotation(Path(ann_file))
        folder = Path(out)
        texts: dict[str, list[str]] = {}
        for clip in annotation.data_list:
            told = [query['text'] for query in clip['queries']]
            texts.setdefault(clip['video_id'], []).extend(told)
        names = sorted(annotation.videos)[shard[0] :: shard[1]]
        counts: dict[str, Any] = dict(written=0, kept=0, broken=[])
        for name in _show(names):
            if proposal_path(folder, name).is_file():
                counts['kept'] += 1
                continue
            video = annotation.videos[name]
            try:
                frames, boxes, scores = self.detect_video(
                    Path(video_dir) / video.path,
                    (video.width, video.height),
                    list(dict.fromkeys(texts.get(name, []))),
                )
            except VideoError as error:
                counts['broken'].append(str(error))
                continue
            size = (video.width, video.height)
            save_proposals(folder, name, frames, boxes, scores, size)
            counts['written'] += 1
        return counts

    def detect_video(
        self, path: PathLike, size: tuple[int, int], texts: list[str]
    ) -> tuple[list[int], list[np.ndarray], list[np.ndarray]]:
        """Proposals of a video.

        Args:
            path (str | os.PathLike): The file.
            size (tuple[int, int]): Its annotated (width, height), which the
                boxes are for.
            texts (list[str]): Sentences about it.

        Returns:
            tuple: F frame numbers, F arrays of boxes (K_i, 4) and F of
            scores (K_i,).

        Raises:
            VideoError: If it cannot be read.
        """
        boxes, scores = [], []
        with open_video(str(path)) as reader:
            numbers = list(range(0, reader.frame_count, self.every))
            for at in range(0, len(numbers), _CHUNK):
                imgs = reader.get_frames(np.array(numbers[at : at + _CHUNK]))
                # From RGB to the BGR that mmdet takes.
                frames = torch.from_numpy(imgs[..., ::-1].copy())
                frames = frames.permute(0, 3, 1, 2).to(self.device).float()
                height, width = frames.shape[-2:]
                if self.short_side is not None:
                    self.generator.scale = self.short_side / min(height, width)
                found, sure = self.generator.detect(
                    frames.unbind(0), self._prompts(texts, len(frames))
                )
                factor = np.array([size[0] / width, size[1] / height] * 2)
                boxes += [box.cpu().numpy() * factor for box in found]
                scores += [score.cpu().numpy() for score in sure]
        return numbers, boxes, scores

    def _prompts(self, texts: list[str], number: int) -> list[list[str]]:
        if self.generator.text is not None:
            texts = [self.generator.text]
        return [[text] * number for text in texts]


def _show(names: list[str]) -> Iterable[str]:
    """A progress bar where there is a terminal."""
    if not sys.stderr.isatty():
        return names
    from rich.console import Console
    from rich.progress import track

    return track(names, 'proposals', console=Console(stderr=True))
