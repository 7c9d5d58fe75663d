"""Ask a trained model: a video and sentences in, tubes out.

Shape legend: K sentences, T sampled frames, F native frames of a span. Boxes
are xyxy in pixels of the video; spans and segments are half-open
``[start, end)``.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.infer import BaseInferencer
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from rich.console import Console
from rich.progress import track

from hero_mm.datasets.tracks import frames_of_span
from hero_mm.datasets.video_reader import VideoError
from hero_mm.errors import UserError
from hero_mm.evaluation.functional import interpolate_boxes
from hero_mm.files import adding, check_folder, write_text
from hero_mm.registry import INFERENCERS, MODELS, TRANSFORMS
from hero_mm.structures import GroundingDataSample
from hero_mm.version import __version__
from hero_mm.visualization import draw_from_video, views_from_sample
from hero_mm.visualization.render import draw_sheets, safe_name

from .answers import answers_json, tube_table, word_notes
from .checkpoint import load_weights
from .inputs import (
    PathLike,
    check_texts,
    describe_video,
    find_weights,
    list_videos,
    load_config,
    pick_device,
    pipeline_steps,
)
from .package import building, log_warnings_only, trained_on
from .window_search import WindowSearch, with_queries
from .windows import check_seconds


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
class TubeInferencer(WindowSearch, BaseInferencer):
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
        scope (str, optional): Default scope; that of the config without.
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
        >>> inferencer = TubeInferencer('work_dirs/hero_shapes')
        >>> result = inferencer('clip.mp4', 'the red square spins')
        >>> result['predictions'][0]['span_seconds']
        [2.1, 4.6]
    """

    preprocess_kwargs = {'texts', 'segment', 'unit', 'fps'}
    forward_kwargs: set = set()
    visualize_kwargs = {'out_dir', 'return_vis', 'show'}
    postprocess_kwargs = {'print_result', 'pred_out_dir'}

    def __init__(
        self,
        model: Union[PathLike, Config, None] = None,
        weights: Optional[PathLike] = None,
        device: Optional[str] = None,
        batch_size: int = 32,
        scope: Optional[str] = None,
        show_progress: bool = True,
        window: Optional[float] = None,
        top_k: int = 5,
        trust: bool = False,
    ) -> None:
        # Not that of the base class: it loads half of a checkpoint, and
        # random weights, with a warning.
        for name, value in (('batch_size', batch_size), ('top_k', top_k)):
            if value < 1:
                raise UserError(f'{name} must be >= 1, got {value}')
        self.window = None if window is None else check_seconds(window)
        self.top_k = top_k
        self.batch_size = batch_size
        self.show_progress = show_progress
        self.device = pick_device(device)
        self.cfg = load_config(model, trust)
        self.weights = find_weights(model, self.cfg, weights)
        self.scope = scope or self.cfg.get('default_scope') or 'hero_mm'
        init_default_scope(self.scope)
        self.visualizer = None
        with building(self.cfg, trust), log_warnings_only():
            self.pipeline = self._init_pipeline(self.cfg)
            self.collate_fn = self._init_collate(self.cfg)
            self.model = MODELS.build(self.cfg.model)
        self.meta = load_weights(self.model, self.weights)
        self.model.to(self.device).eval()
        self._reported: set[str] = set()

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
        return_datasamples: bool = False,
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
            fps (float, optional): Frames a second, for folders of pictures.
            batch_size (int): Videos that are encoded at once.
            return_datasamples (bool): Give a :class:`GroundingDataSample` a
                video in place of its list of tubes.
            return_vis (bool): Give the sheets as arrays, RGB uint8 of shape
                (H, W, 3), in place of the paths of the files.
            print_result (bool): Print a table of the tubes.
            pred_out_dir (str | os.PathLike, optional): Folder for a
                prediction file a video. It is written before anything is
                drawn.

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
        videos, single = list_videos(video)
        for folder in (out_dir, pred_out_dir):
            if folder is not None:
                check_folder(folder)
        asked = (texts, segment, unit, fps)
        results: list[dict[str, Any]] = []
        broken: dict[str, VideoError] = {}
        errors: dict[str, str] = {}
        for chunk in self._chunks(videos, batch_size):
            for sample in self._samples(chunk, asked, broken):
                result = self.postprocess(
                    [sample],
                    [],
                    return_datasamples,
                    print_result=print_result,
                    pred_out_dir=pred_out_dir,
                )
                result['visualization'] = self.visualize(
                    [sample.video_path],
                    [sample],
                    out_dir=out_dir,
                    return_vis=return_vis,
                    errors=errors,
                )
                results.append(dict(result, video=sample.video_path))
        if not results:
            raise next(iter(broken.values()))
        errors.update({path: str(error) for path, error in broken.items()})
        return _gather(results, videos, single, errors)

    def _chunks(self, videos: list[str], size: int) -> Iterator[list[str]]:
        """Videos that are encoded at once, with a bar where there are many."""
        parts = [videos[at : at + size] for at in range(0, len(videos), size)]
        if self.show_progress and len(parts) > 1:
            console = Console(stderr=True)
            yield from track(parts, 'videos', console=console)
        else:
            yield from parts

    def _samples(
        self, videos: list[str], asked: tuple, broken: dict[str, VideoError]
    ) -> list[GroundingDataSample]:
        """Answers about videos that are encoded at once."""
        samples: list[GroundingDataSample] = []
        short: list[str] = []
        try:
            for video in videos:
                search = self._search(video, *asked)
                if search is None:
                    short.append(video)
                else:
                    samples.append(self._last(search, asked[0]))
            data = self.preprocess(short, len(short), *asked)
            for part in data if short else ():
                samples += self.forward(part)
            return samples
        except VideoError as error:
            if len(videos) == 1:
                _warn(str(error))
                broken[videos[0]] = error
                return []
        # One broken video takes none of the others along.
        return [s for v in videos for s in self._samples([v], asked, broken)]

    def preprocess(  # type: ignore[override]
        self,
        inputs: Sequence[PathLike],
        batch_size: int = 1,
        texts: Sequence[str] = (),
        segment: Optional[tuple[float, float]] = None,
        unit: str = 'seconds',
        fps: Optional[float] = None,
    ) -> Iterator[dict[str, Any]]:
        """Read clips, and ask them; see :meth:`__call__` for the arguments."""
        clips = (
            self.pipeline(describe_video(video, segment, unit, fps))
            for video in inputs
        )
        for chunk in self._get_chunk_data(clips, batch_size):
            batch = self.collate_fn(chunk)
            batch['data_samples'] = [
                with_queries(sample, texts) for sample in batch['data_samples']
            ]
            yield batch

    @torch.inference_mode()
    def forward(  # type: ignore[override]
        self, inputs: dict[str, Any]
    ) -> list[GroundingDataSample]:
        """Answer a batch of :meth:`preprocess`; gives B samples."""
        batch = self.model.data_preprocessor(inputs, training=False)
        samples = batch['data_samples']
        features = self.model.encode_video(batch['inputs'], samples)
        return self._answer(features, samples)

    def _answer(
        self, features: Any, samples: Sequence[GroundingDataSample]
    ) -> list[GroundingDataSample]:
        """Answer all sentences of encoded clips, so many at once."""
        texts = list(samples[0].queries.texts)
        self._report_words(texts)
        parts: list[list[InstanceData]] = [[] for _ in samples]
        step = max(1, self.batch_size // len(samples))
        for at in range(0, len(texts), step):
            asked = [with_queries(s, texts[at : at + step]) for s in samples]
            for part, result in zip(parts, self.model.ground(features, asked)):
                part.append(result.pred_queries)
        answered = []
        for sample, part in zip(samples, parts):
            answer = with_queries(sample, texts)
            answer.pred_queries = InstanceData.cat(part)
            answered.append(answer)
        return answered

    def visualize(  # type: ignore[override]
        self,
        inputs: Sequence[PathLike],
        preds: Sequence[GroundingDataSample],
        show: bool = False,
        out_dir: Optional[PathLike] = None,
        return_vis: bool = False,
        errors: Optional[dict[str, str]] = None,
    ) -> list[Any]:
        """Draw the tubes of one sample with answers.

        Other arguments as a call takes them; ``show`` is refused, for there
        is no window. ``errors`` gets what goes wrong, by path.

        Returns:
            list[str] | list[np.ndarray]: Paths, or the sheets.
        """
        if show:
            raise UserError(
                'there is no window to show drawings in; out_dir=FOLDER '
                'writes them to files.'
            )
        paths: list[str] = []
        if out_dir is None and not return_vis:
            return paths
        (sample,) = preds
        views = views_from_sample(sample)
        stem = Path(sample.video_path).stem
        names = [f'{stem}_{place}' for place in range(len(views))]
        # What is drawn together shares its frames.
        parts = [slice(None)]
        if 'windows' in sample.pred_queries:
            parts = [slice(at, at + 1) for at in range(len(views))]
        sheets: list[np.ndarray] = []
        try:
            for part in parts:
                if out_dir is not None:
                    paths += draw_from_video(
                        *(sample.video_path, views[part], out_dir),
                        names[part],
                        keep=True,
                    )
                if return_vis:
                    sheets += draw_sheets(sample.video_path, views[part])
            if return_vis:
                return sheets
        except (OSError, ValueError) as error:
            # The answers are there all the same.
            _warn(f'{sample.video_path} is not drawn: {error}')
            if errors is not None:
                errors[sample.video_path] = f'not drawn: {error}'
        return paths

    def postprocess(  # type: ignore[override]
        self,
        preds: Sequence[GroundingDataSample],
        visualization: list[Any],
        return_datasample: bool = False,
        print_result: bool = False,
        pred_out_dir: Optional[PathLike] = None,
    ) -> dict[str, Any]:
        """Turn one sample with answers into plain values, as a call does."""
        (sample,) = preds
        tubes = self.read_tubes(sample)
        if pred_out_dir is not None:
            name = f'{safe_name(Path(sample.video_path).stem)}.json'
            with adding(Path(pred_out_dir, name)) as draft:
                write_text(draft.part, answers_json(tubes, self.facts()))
        if print_result:
            Console().print(tube_table(tubes))
        predictions = sample if return_datasample else tubes
        return dict(predictions=predictions, visualization=visualization)

    def facts(self) -> dict[str, Any]:
        """What answered: config, weights, data, version, for JSON files."""
        return dict(
            model=str(self.cfg.filename or 'config'),
            trained_on=trained_on(self.cfg),
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

        Args:
            video (str | os.PathLike): Path of a video, or of a folder with a
                picture a frame.
            segment (tuple[float, float], optional): The part that is
                searched, ``[start, end)``. Defaults to the whole video.
            unit (str): Of the segment, ``'seconds'`` or ``'frames'``.
            texts (Sequence[str], optional): Sentences that will be asked, for
                proposal generators that are prompted with them.
            fps (float, optional): Frames a second of a folder of pictures.

        Returns:
            EncodedVideo: For :meth:`ground`.

        Raises:
            TypeError: If the video is no path.
            ValueError: If the segment does not fit the video.
            VideoError: If the file is missing, empty or no video.
        """
        data = self.pipeline(describe_video(video, segment, unit, fps))
        batch = self.model.data_preprocessor(
            dict(inputs=[data['inputs']], data_samples=[data['data_samples']]),
            training=False,
        )
        sample = batch['data_samples'][0]
        asked = sample if texts is None else with_queries(sample, list(texts))
        features = self.model.encode_video(batch['inputs'], [asked])
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
            TypeError: If the texts are no strings.
            ValueError: If one of them is empty.
        """
        asked = with_queries(features.sample, check_texts(texts))
        (sample,) = self._answer(features.features, [asked])
        return self.read_tubes(sample)

    def read_tubes(self, sample: GroundingDataSample) -> list[dict[str, Any]]:
        """Answers as :meth:`ground` gives them, boxes on native frames."""
        height, width = sample.ori_shape
        pred = sample.pred_queries
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
                unknown_words=self.unknown_words(view.text),
                cut_words=self.cut_words(view.text),
            )
            if view.action is not None:
                tube['action'] = dict(
                    frames=view.frame_inds.tolist(),
                    scores=np.asarray(view.action, dtype=float).tolist(),
                )
            if 'windows' in pred:
                tube['window'] = pred.windows[number].tolist()
            if 'others' in pred:
                tube['others'] = pred.others[number]
            tubes.append(tube)
        return tubes

    def unknown_words(self, text: str) -> list[str]:
        """Words of a sentence that are not in a vocabulary of the encoder."""
        encoder: Any = getattr(self.model, 'text_encoder', None)
        find = getattr(encoder, 'unknown_words', None)
        return [] if find is None else find([text])

    def cut_words(self, text: str) -> int:
        """How many words at the end of a sentence the model does not read."""
        encoder: Any = getattr(self.model, 'text_encoder', None)
        count = getattr(encoder, 'cut_words', None)
        return 0 if count is None else count(text)

    def _report_words(self, texts: Sequence[str]) -> None:
        """Warn of what is not read of a sentence, once."""
        for text in texts:
            unknown, cut = self.unknown_words(text), self.cut_words(text)
            for note in word_notes(text, unknown, cut):
                if note not in self._reported:
                    self._reported.add(note)
                    _warn(note)


def _warn(text: str) -> None:
    print_log(text, logger='current', level=logging.WARNING)


def _gather(
    results: Sequence[dict[str, Any]],
    videos: Sequence[str],
    single: bool,
    errors: dict[str, str],
) -> dict[str, Any]:
    """The result of a call: of one video, or lists in the order of many."""
    found = {result['video']: result for result in results}
    nothing: dict[str, Any] = dict(predictions=[], visualization=[])
    ordered = [found.get(video, nothing) for video in videos]
    keys = ('predictions', 'visualization')
    gathered: dict[str, Any] = {k: [one[k] for one in ordered] for k in keys}
    if single:
        gathered = {key: listed[0] for key, listed in gathered.items()}
    if errors:
        gathered['errors'] = errors
    return gathered
