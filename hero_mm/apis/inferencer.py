"""Ask a trained model: a video and sentences in, tubes out.

Shape legend: K sentences, T sampled frames, F native frames of a span. Boxes
are xyxy in pixels of the video; spans and segments are half-open
``[start, end)``.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from hero_mm.datasets.transforms.sampling import frames_of_span
from hero_mm.evaluation.functional import interpolate_boxes
from hero_mm.registry import INFERENCERS, MODELS
from hero_mm.structures import GroundingDataSample
from hero_mm.visualization import draw_from_video, views_from_sample

from .checkpoint import load_weights
from .inputs import (
    PathLike,
    build_pipeline,
    check_texts,
    describe_video,
    find_weights,
    load_config,
    pick_device,
)


@dataclass(frozen=True)
class EncodedVideo:
    """A clip that was encoded once and can be asked many sentences.

    Args:
        features (Any): What ``model.encode_video`` gave.
        sample (GroundingDataSample): Meta information of the clip.
    """

    features: Any
    sample: GroundingDataSample


@INFERENCERS.register_module()
class TubeInferencer:
    """Find what sentences describe in videos.

    Args:
        model (str | os.PathLike | Config): The work dir of a training (its
            dumped config and best checkpoint are taken), or a config.
        weights (str | os.PathLike, optional): Checkpoint file or work dir.
            Defaults to the best checkpoint of the work dir; for a config, of
            its own work dir or ``work_dirs/<name of the config>``.
        device (str, optional): Such as ``'cpu'`` or ``'cuda:0'``. Defaults
            to CUDA where there is one.
        batch_size (int): Sentences that are answered at once. Defaults to
            32.

    Raises:
        FileNotFoundError: If there is no config or no checkpoint.
        ValueError: If the device cannot be used, or the weights are of
            another config.

    Examples:
        >>> inferencer = TubeInferencer('work_dirs/hero_shapes')
        >>> result = inferencer('clip.mp4', 'What does the red square do?',
        ...                     out_dir='outputs')
        >>> result['predictions'][0]['span_seconds']
        [2.1, 4.6]
    """

    def __init__(
        self,
        model: Union[PathLike, Config],
        weights: Optional[PathLike] = None,
        device: Optional[str] = None,
        batch_size: int = 32,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f'batch_size must be >= 1, got {batch_size}')
        self.batch_size = batch_size
        self.device = pick_device(device)
        self.cfg = load_config(model)
        self.weights = find_weights(model, self.cfg, weights)
        init_default_scope(self.cfg.get('default_scope') or 'hero_mm')
        self.pipeline = build_pipeline(self.cfg)
        self.model = MODELS.build(self.cfg.model)
        load_weights(self.model, self.weights)
        self.model.to(self.device).eval()
        self._told: set[str] = set()

    def __call__(
        self,
        video: PathLike,
        texts: Union[str, Sequence[str]],
        out_dir: Optional[PathLike] = None,
        segment: Optional[tuple[float, float]] = None,
        unit: str = 'seconds',
    ) -> dict[str, list]:
        """Find what sentences describe, and draw it.

        Args:
            video (str | os.PathLike): Path of a video.
            texts (str | Sequence[str]): K sentences.
            out_dir (str | os.PathLike, optional): Folder for an mp4 and a
                PNG sheet a sentence. Nothing is drawn without it.
            segment (tuple[float, float], optional): The part of the video
                that is searched, ``[start, end)``. Defaults to all of it.
            unit (str): Of the segment, ``'seconds'`` or ``'frames'``.

        Returns:
            dict: ``predictions``, see :meth:`ground`; ``visualization``,
            the paths of the files written.
        """
        texts = check_texts(texts)
        encoded = self.encode_video(video, segment, unit, texts)
        sample = self._ground_sample(encoded, texts)
        paths: list[str] = []
        if out_dir is not None:
            views = views_from_sample(sample)
            stem = Path(sample.video_path).stem
            names = [f'{stem}_{place}' for place in range(len(views))]
            paths = draw_from_video(sample.video_path, views, out_dir, names)
        return dict(predictions=_read_tubes(sample), visualization=paths)

    @torch.inference_mode()
    def encode_video(
        self,
        video: PathLike,
        segment: Optional[tuple[float, float]] = None,
        unit: str = 'seconds',
        texts: Optional[Sequence[str]] = None,
    ) -> EncodedVideo:
        """Encode a clip once, for any number of sentences.

        Args:
            video (str | os.PathLike): Path of a video.
            segment (tuple[float, float], optional): The part that is
                searched, ``[start, end)``. Defaults to the whole video.
            unit (str): Of the segment, ``'seconds'`` or ``'frames'``.
            texts (Sequence[str], optional): Sentences that will be asked, for
                proposal generators that are prompted with them.

        Returns:
            EncodedVideo: For :meth:`ground`.

        Raises:
            TypeError: If the video is no path.
            ValueError: If the segment does not fit the video.
            VideoError: If the file is missing, empty or no video.
        """
        data = self.pipeline(describe_video(video, segment, unit))
        batch = self.model.data_preprocessor(
            dict(inputs=[data['inputs']], data_samples=[data['data_samples']]),
            training=False,
        )
        sample = batch['data_samples'][0]
        asked = sample if texts is None else _with_queries(sample, list(texts))
        features = self.model.encode_video(batch['inputs'], [asked])
        return EncodedVideo(features, sample)

    def ground(
        self, features: EncodedVideo, texts: Union[str, Sequence[str]]
    ) -> list[dict[str, Any]]:
        """Find what sentences describe in an encoded clip.

        Args:
            features (EncodedVideo): From :meth:`encode_video`.
            texts (str | Sequence[str]): K sentences.

        Returns:
            list[dict]: One a sentence: ``query`` (str), ``span`` (native
            frames) and ``span_seconds``, both ``[start, end)``, ``score``
            of the span in [0, 1], ``frames`` (the F native frames inside the
            span) and ``bboxes`` (F boxes in pixels of the video).

        Raises:
            TypeError: If the texts are no strings.
            ValueError: If one of them is empty.
        """
        texts = check_texts(texts)
        return _read_tubes(self._ground_sample(features, texts))

    @torch.inference_mode()
    def _ground_sample(
        self, encoded: EncodedVideo, texts: list[str]
    ) -> GroundingDataSample:
        """The sample with ``pred_queries`` of all the sentences."""
        self._tell_unknown(texts)
        parts = []
        for at in range(0, len(texts), self.batch_size):
            sample = _with_queries(
                encoded.sample, texts[at : at + self.batch_size]
            )
            (result,) = self.model.ground(encoded.features, [sample])
            parts.append(result.pred_queries)
        sample = _with_queries(encoded.sample, texts)
        sample.pred_queries = InstanceData.cat(parts)
        return sample

    def _tell_unknown(self, texts: list[str]) -> None:
        """Warn, once a word, of words that the text encoder does not know."""
        encoder: Any = getattr(self.model, 'text_encoder', None)
        if not hasattr(encoder, 'unknown_words'):
            return
        words = [
            word
            for word in encoder.unknown_words(texts)
            if word not in self._told
        ]
        if words:
            self._told.update(words)
            print_log(
                'the model was not trained with these words, and takes each '
                f'for any word: {", ".join(words)}',
                logger='current',
                level=logging.WARNING,
            )


def _with_queries(
    sample: GroundingDataSample, texts: Sequence[str]
) -> GroundingDataSample:
    """A new sample of the same clip that asks sentences."""
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


def _read_tubes(sample: GroundingDataSample) -> list[dict[str, Any]]:
    """Predictions as plain Python values, a box on each native frame."""
    tubes = []
    for view in views_from_sample(sample):
        start, end = view.pred_span or view.segment
        first, last = (int(edge) for edge in view.segment)
        frames_F = frames_of_span((start, end), (first, last))
        boxes_F4 = interpolate_boxes(
            view.frame_inds, np.asarray(view.pred_bboxes), frames_F
        )
        tubes.append(
            dict(
                query=view.text,
                span=[start, end],
                span_seconds=[view.seconds(start), view.seconds(end)],
                score=view.score,
                frames=frames_F.tolist(),
                bboxes=boxes_F4.tolist(),
            )
        )
    return tubes
