"""Ask a trained model: a video and sentences in, tubes out.

Shape legend: K sentences, B clips, F native frames of a span. Boxes are xyxy
in pixels of the video; spans and segments are half-open ``[start, end)``.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Optional, Union

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.infer import BaseInferencer
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from rich.console import Console

from hero_mm.datasets import progress
from hero_mm.datasets.tracks import frames_of_span
from hero_mm.datasets.video_reader import open_video
from hero_mm.errors import UserError
from hero_mm.evaluation.functional import interpolate_boxes
from hero_mm.files import adding, check_folder, write_text
from hero_mm.registry import INFERENCERS, MODELS, TRANSFORMS
from hero_mm.structures import GroundingDataSample
from hero_mm.version import __version__
from hero_mm.visualization import views_from_sample
from hero_mm.visualization.render import safe_name

from .answers import Tube, answers_json, draw_tubes, notes_on, tube_table
from .checkpoint import load_weights
from .inputs import (
    PathLike,
    check_texts,
    describe_video,
    find_weights,
    is_long,
    list_videos,
    load_config,
    pick_device,
    pipeline_steps,
)
from .package import building, trained_on
from .windows import (
    LONG,
    Found,
    as_sample,
    check_seconds,
    search,
    window_seconds,
)

# What is said of each of the next best tubes of a long video.
OTHER = ('span', 'span_seconds', 'score', 'window', 'frames', 'bboxes')


@dataclass(frozen=True)
class EncodedVideo:
    """A clip that was encoded once: features of the model, and its facts."""

    features: Any
    sample: GroundingDataSample


@INFERENCERS.register_module()
class TubeInferencer(BaseInferencer):
    """Find what sentences describe in videos.

    Args:
        model (str | os.PathLike | Config, optional): A work dir (its config
            and best checkpoint are taken), a config, or a package: a folder,
            or ``hf://OWNER/NAME``. A config is Python code that is run; of a
            package nothing is. Defaults to the model that is shipped.
        weights (str | os.PathLike, optional): Checkpoint file or work dir.
            Defaults to the best one of the work dir, also of a config.
        device (str, optional): Such as ``'cpu'``; CUDA if there is one.
        batch_size (int): Sentences that are answered at once.
        show_progress (bool): Show how many of several videos are done.
        window (float, optional): Seconds of a window: longer videos are
            searched in such, see ``docs/long_videos.md``; 0 for never.
            Defaults to what the config says, and to videos of more than two.
        top_k (int): Tubes of a sentence that windows give, the best one and
            its ``others``. Defaults to 5.
        trust (bool): Run the code that a package wants to be run.

    Raises:
        FileNotFoundError: If there is no config or no checkpoint.
        ValueError: If the device cannot be used, the weights are of another
            config, or a number is out of its range.

    Examples:
        ::

            inferencer = TubeInferencer('work_dirs/hero_shapes')
            result = inferencer('clip.mp4', 'the red square spins')
            result['predictions'][0]['span_seconds']  # [2.1, 4.6]
    """

    def __init__(
        self,
        model: Union[PathLike, Config, None] = None,
        weights: Optional[PathLike] = None,
        device: Optional[str] = None,
        batch_size: int = 32,
        show_progress: bool = True,
        window: Optional[float] = None,
        top_k: int = 5,
        trust: bool = False,
    ) -> None:
        # Not that of the base class: it loads half of a checkpoint, and
        # random weights, with a warning.
        _check_positive(batch_size=batch_size, top_k=top_k)
        self.window = None if window is None else check_seconds(window)
        self.top_k = top_k
        self.batch_size = batch_size
        self.show_progress = show_progress
        self.device = pick_device(device)
        self.cfg = load_config(model, trust)
        self.weights = find_weights(model, self.cfg, weights)
        init_default_scope(self.cfg.get('default_scope') or 'hero_mm')
        with building(self.cfg, trust):
            self.pipeline = self._init_pipeline(self.cfg)
            self.collate_fn = self._init_collate(self.cfg)
            self.model = MODELS.build(self.cfg.model)
        self.meta = load_weights(self.model, self.weights)
        self.model.to(self.device).eval()
        self._noted: set[str] = set()

    def _init_pipeline(self, cfg: Config) -> Compose:
        return Compose([TRANSFORMS.build(s) for s in pipeline_steps(cfg)])

    def __call__(  # type: ignore[override]
        self,
        video: Union[PathLike, Sequence[PathLike]],
        texts: Union[str, Sequence[str]],
        out_dir: Optional[PathLike] = None,
        segment: Optional[tuple[float, float]] = None,
        unit: str = 'seconds',
        fps: Optional[float] = None,
        batch_size: int = 1,
        return_vis: bool = False,
        print_result: bool = False,
        pred_out_dir: Optional[PathLike] = None,
    ) -> dict[str, Any]:
        """Find what sentences describe, and draw it.

        Args:
            video (str | os.PathLike | Sequence): A video, a folder with a
                picture a frame, or N videos: a list, or a folder of them.
            texts (str | Sequence[str]): K sentences, asked of every video.
            out_dir (str | os.PathLike, optional): Folder for an mp4 and a
                PNG sheet a sentence. No file is replaced. Nothing is drawn
                without it.
            segment (tuple[float, float], optional): The part of the video
                that is searched, ``[start, end)``. Defaults to all of it.
            unit (str): Of the segment, ``'seconds'`` or ``'frames'``.
            fps (float, optional): Frames a second of a folder of pictures.
            batch_size (int): Videos that are encoded at once.
            return_vis (bool): Give the sheets as arrays, RGB uint8 of shape
                (H, W, 3), in place of the paths of the files.
            print_result (bool): Print a table of the tubes.
            pred_out_dir (str | os.PathLike, optional): Folder for a
                prediction file a video, written before anything is drawn.

        Returns:
            dict: ``predictions``, see :meth:`ground`, and ``visualization``,
            the paths of the files written. Of N videos both are lists of N
            of these. ``errors`` says what could not be drawn, and which of
            several videos could not be read (their list is empty), by path.

        Raises:
            VideoError: If the video cannot be read, or none of several can.
            WriteError: If a folder cannot be written to.
        """
        texts = check_texts(texts)
        _check_positive(batch_size=batch_size)
        videos, single = list_videos(video)
        for folder in (out_dir, pred_out_dir):
            if folder is not None:
                check_folder(folder)
        result: dict[str, Any] = dict(predictions=[], visualization=[])
        broken: list[UserError] = []
        errors: dict[str, str] = {}
        starts: Any = range(0, len(videos), batch_size)
        if self.show_progress and len(starts) > 1:
            starts = progress.show_progress(starts, len(starts), 'videos')
        for at in starts:
            chunk = videos[at : at + batch_size]
            found = self._ask_videos(chunk, texts, segment, unit, fps)
            for path, tubes in zip(chunk, found):
                drawn: list[Any] = []
                if isinstance(tubes, UserError):
                    broken.append(tubes)
                    errors[path], tubes = str(tubes), []
                else:
                    self.postprocess(tubes, [], print_result, pred_out_dir)
                    try:
                        how = out_dir, return_vis
                        drawn = self.visualize(path, tubes, *how)
                    except (OSError, ValueError) as error:
                        # The answers are there all the same.
                        errors[path] = f'not drawn: {error}'
                result['predictions'].append(tubes)
                result['visualization'].append(drawn)
        if len(broken) == len(videos):
            raise broken[0]
        for path, said in errors.items():
            _warn(f'{path}: {said}')
        if single:
            result = {key: listed[0] for key, listed in result.items()}
        return dict(result, errors=errors) if errors else result

    def _ask_videos(
        self, videos: Sequence[str], texts: list[str], *how: Any
    ) -> list[Any]:
        """Tubes of each video, or why it cannot be read."""
        clips: dict[str, Any] = {}
        found: dict[str, Any] = {}
        for video in videos:
            try:
                window, facts = self.plan(video, *how)
                if window is None:
                    clips[video] = self.pipeline(facts)
                    continue
                updates = self._search(facts, texts, window)
                found[video] = [u['tube'] for u in updates if u['final']]
            except UserError as error:
                found[video] = error
        if clips:
            samples = self.forward(list(clips.values()), texts)
            found.update(zip(clips, map(self.read_tubes, samples)))
        return [found[video] for video in videos]

    @torch.inference_mode()
    def forward(  # type: ignore[override]
        self, inputs: Sequence[dict[str, Any]], texts: Sequence[str]
    ) -> list[GroundingDataSample]:
        """Answer K sentences about B clips that the pipeline gave."""
        return self._answer(*self._encode(inputs, texts), texts)

    def _encode(
        self,
        clips: Sequence[dict[str, Any]],
        texts: Optional[Sequence[str]],
    ) -> tuple[Any, list[GroundingDataSample]]:
        batch = self.model.data_preprocessor(self.collate_fn(clips), False)
        samples = batch['data_samples']
        if texts is not None:
            samples = [with_queries(sample, texts) for sample in samples]
        return self.model.encode_video(batch['inputs'], samples), samples

    def _answer(
        self,
        features: Any,
        samples: Sequence[GroundingDataSample],
        texts: Sequence[str],
    ) -> list[GroundingDataSample]:
        """Answer all sentences of encoded clips, so many at once."""
        parts: list[list[InstanceData]] = [[] for _ in samples]
        step = max(1, self.batch_size // len(samples))
        for at in range(0, len(texts), step):
            asked = [with_queries(s, texts[at : at + step]) for s in samples]
            for part, result in zip(parts, self.model.ground(features, asked)):
                part.append(result.pred_queries)
        answered = [with_queries(sample, texts) for sample in samples]
        for sample, part in zip(answered, parts):
            sample.pred_queries = InstanceData.cat(part)
        return answered

    def visualize(  # type: ignore[override]
        self,
        inputs: PathLike,
        preds: Sequence[Tube],
        out_dir: Optional[PathLike] = None,
        return_vis: bool = False,
    ) -> list[Any]:
        """Draw the tubes of one video, as a call does: paths, or sheets."""
        if out_dir is None and not return_vis:
            return []
        names = [f'{Path(inputs).stem}_{k}' for k in range(len(preds))]
        with TemporaryDirectory() as spare:
            form = 'both' if out_dir else 'sheet'
            paths = draw_tubes(preds, names, Path(out_dir or spare), form=form)
            if not return_vis:
                return paths
            sheets: Any = [cv2.imread(p) for p in paths if p.endswith('.png')]
            return [cv2.cvtColor(one, cv2.COLOR_BGR2RGB) for one in sheets]

    def postprocess(  # type: ignore[override]
        self,
        preds: list[dict[str, Any]],
        visualization: list[Any],
        print_result: bool = False,
        pred_out_dir: Optional[PathLike] = None,
    ) -> dict[str, Any]:
        """Print and write the tubes of one video, as a call does."""
        if pred_out_dir is not None:
            name = f'{safe_name(Path(preds[0]["video"]).stem)}.json'
            with adding(Path(pred_out_dir, name)) as draft:
                write_text(draft.part, answers_json(preds, self.facts()))
        if print_result:
            Console().print(tube_table(preds))
        return dict(predictions=preds, visualization=visualization)

    def facts(self) -> dict[str, Any]:
        """What answered: config, weights, data, version, for JSON files."""
        return dict(
            model=str(self.cfg.filename or 'config'),
            trained_on=trained_on(self.cfg, self.weights),
            weights=str(self.weights),
            hero_mm_version=__version__,
        )

    @torch.inference_mode()
    def encode_video(
        self,
        video: PathLike,
        segment: Optional[tuple[float, float]] = None,
        unit: str = 'seconds',
        texts: Optional[Sequence[str]] = None,
        fps: Optional[float] = None,
    ) -> EncodedVideo:
        """Encode a clip once, for any number of sentences.

        Arguments and errors are those of a call. Proposal generators that
        are prompted need the ``texts`` that will be asked.
        """
        clip = self.pipeline(describe_video(video, segment, unit, fps))
        features, (sample,) = self._encode([clip], texts)
        return EncodedVideo(features, sample)

    @torch.inference_mode()
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
            span, at least one) and ``bboxes`` (F boxes in pixels of the
            video). Of the video: ``video`` (path), ``fps``, ``size`` (width,
            height), ``frame_count`` and ``segment``, the searched part in
            native frames. Of the sentence: ``unknown_words``, which the
            model was not trained with, and ``cut_words``, how many at its
            end were not read. ``action``, where the model says it: how much
            each of its T frames shows the action, in [0, 1], as
            ``dict(frames, scores)``. Of a long video, ``window`` and
            ``others``, see ``docs/long_videos.md``.

        Raises:
            TypeError, ValueError: If a text is no string, or empty.
        """
        texts = check_texts(texts)
        (sample,) = self._answer(features.features, [features.sample], texts)
        return self.read_tubes(sample)

    def stream(
        self,
        video: PathLike,
        texts: Union[str, Sequence[str]],
        segment: Optional[tuple[float, float]] = None,
        unit: str = 'seconds',
        fps: Optional[float] = None,
    ) -> Iterator[dict[str, Any]]:
        """Find what sentences describe, and say what was found meanwhile.

        Takes one video, of any length; other arguments as a call takes them.

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
        window, facts = self.plan(video, segment, unit, fps)
        if window is not None:
            yield from self._search(facts, texts, window)
            return
        (sample,) = self.forward([self.pipeline(facts)], texts)
        for number, tube in enumerate(self.read_tubes(sample)):
            yield _update(number, tube, True)

    def plan(
        self,
        video: PathLike,
        segment: Optional[tuple[float, float]] = None,
        unit: str = 'seconds',
        fps: Optional[float] = None,
    ) -> tuple[Optional[float], dict[str, Any]]:
        """Seconds of a window, None where a video is looked at as one clip.

        And what the pipeline needs to know of it.
        """
        seconds, longest = self.window, self.window or 0.0
        if seconds is None:
            seconds = window_seconds(self.cfg, self.pipeline)
            longest = LONG * (seconds or 0.0)
        path, whole = str(video), segment is None and fps is None
        # Hours are not decoded to learn that they are long.
        if seconds and whole and is_long(path, longest):
            return seconds, dict(video_id=Path(path).stem, video_path=path)
        facts = describe_video(video, segment, unit, fps)
        start, end = facts['segment']
        searched = seconds and (end - start) / facts['fps'] > longest
        return seconds if searched else None, facts

    def _search(
        self, facts: dict[str, Any], texts: list[str], window: float
    ) -> Iterator[dict[str, Any]]:
        """Search a long video, as :meth:`stream` yields it."""

        def answer(clip: dict[str, Any]) -> GroundingDataSample:
            return self.forward([clip], texts)[0]

        how = self.pipeline, facts, window, len(texts), self.top_k
        with open_video(facts['video_path']) as reader:
            if 'fps' not in facts:
                facts['fps'] = reader.fps
            for now in search(reader, answer, *how):
                for number in now.changed:
                    found = now.best[number].best()
                    tube = self._read_found(texts[number], found, now.facts)
                    yield _update(number, tube, now.final)

    def _read_found(
        self, text: str, found: Sequence[Found], facts: dict[str, Any]
    ) -> dict[str, Any]:
        """The best tube of a search, which knows the others."""
        # One at a time: frames of one tube are none of another.
        best, *others = (
            self.read_tubes(as_sample([text], [one], facts))[0]
            for one in found
        )
        best['others'] = [{key: one[key] for key in OTHER} for one in others]
        return best

    def read_tubes(self, sample: GroundingDataSample) -> list[dict[str, Any]]:
        """Answers as :meth:`ground` gives them, boxes on native frames."""
        height, width = sample.ori_shape
        encoder: Any = getattr(self.model, 'text_encoder', None)
        tubes = []
        for number, view in enumerate(views_from_sample(sample)):
            start, end = view.pred_span or view.segment
            first, last = (int(edge) for edge in view.segment)
            frames_F = frames_of_span((start, end), (first, last))
            boxes_F4 = interpolate_boxes(
                view.frame_inds, np.asarray(view.pred_bboxes), frames_F
            )
            tube = dict(
                query=view.text,
                span=[start, end],
                span_seconds=[view.seconds(start), view.seconds(end)],
                score=view.score,
                frames=frames_F.tolist(),
                bboxes=boxes_F4.tolist(),
                video=str(sample.video_path),
                fps=float(sample.fps),
                size=[int(width), int(height)],
                frame_count=int(sample.frame_count),
                segment=[int(edge) for edge in sample.segment],
                unknown_words=[],
                cut_words=0,
            )
            # Not every encoder has a vocabulary, or an end.
            for name in ('unknown_words', 'cut_words'):
                if hasattr(encoder, name):
                    tube[name] = getattr(encoder, name)(view.text)
            if view.action is not None:
                tube['action'] = dict(
                    frames=view.frame_inds.tolist(),
                    scores=np.asarray(view.action, dtype=float).tolist(),
                )
            if 'windows' in sample.pred_queries:
                tube['window'] = sample.pred_queries.windows[number].tolist()
            tubes.append(tube)
        for note in dict.fromkeys(n for tube in tubes for n in notes_on(tube)):
            if note not in self._noted:
                self._noted.add(note)
                _warn(note)
        return tubes


def with_queries(
    sample: GroundingDataSample, texts: Sequence[str]
) -> GroundingDataSample:
    """A new sample of the same clip that asks K sentences alone."""
    asked = GroundingDataSample(metainfo=sample.metainfo)
    if '_proposals' in sample:
        asked.proposals = sample.proposals
    asked.queries = InstanceData(texts=list(texts))
    return asked


def _check_positive(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise UserError(f'{name} must be >= 1, got {value}')


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


def _warn(text: str) -> None:
    print_log(text, logger='current', level=logging.WARNING)
