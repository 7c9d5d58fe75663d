"""Draw what the model found, beside the truth, while it is evaluated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from hero_mm.datasets.video_reader import open_video
from hero_mm.errors import UserError, UserTypeError
from hero_mm.registry import HOOKS
from hero_mm.structures import GroundingDataSample
from hero_mm.visualization import TubeVisualizer


@HOOKS.register_module()
class TubeVisualizationHook(Hook):
    """Write sheets and videos of some samples of a validation or a test.

    The frames are read again from the video: the input of the model was
    resized. Only the main process draws, the samples that it sees. What
    cannot be drawn is reported and ends nothing.

    Args:
        enable (bool): Draw at all. Defaults to True.
        interval (int): Every how many clips one is drawn.
        max_samples (int): How many clips are drawn in one evaluation.
        max_queries (int): How many queries of a clip are drawn.
        video (bool): Write an mp4 beside each sheet.
        out_dir (str, optional): Folder of the files. Defaults to ``vis`` in
            the work dir.
        backend_args (dict, optional): Of the storage of the videos.
        show (bool): Set by MMAction2's ``tools/test.py --show``; there is no
            window, only False can be used.
        wait_time (float): Set beside ``show`` and not used.
    """

    def __init__(
        self,
        enable: bool = True,
        interval: int = 1,
        max_samples: int = 8,
        max_queries: int = 2,
        video: bool = True,
        out_dir: Optional[str] = None,
        backend_args: Optional[dict] = None,
        show: bool = False,
        wait_time: float = 0,
    ) -> None:
        if show:
            raise UserError(
                'TubeVisualizationHook: show=True (--show) asks for a window, '
                'and there is none; --show-dir FOLDER writes the drawings to '
                'files.'
            )
        counts = dict(
            interval=interval, max_samples=max_samples, max_queries=max_queries
        )
        for name, value in counts.items():
            if value < 1:
                raise UserError(
                    f'TubeVisualizationHook: {name} must be at least 1, got '
                    f'{value}.'
                )
        self.enable = enable
        self.interval = interval
        self.max_samples = max_samples
        self.max_queries = max_queries
        self.video = video
        self.out_dir = out_dir
        self.backend_args = backend_args
        self._seen = 0

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        """Count the samples of a validation or a test anew."""
        if mode == 'train':
            return
        if self.enable and not isinstance(runner.visualizer, TubeVisualizer):
            raise UserTypeError(
                'TubeVisualizationHook needs a TubeVisualizer, the config '
                f'has a {type(runner.visualizer).__name__}; set '
                "visualizer = dict(type='TubeVisualizer', vis_backends=...) "
                'or enable=False.'
            )
        self._seen = 0

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[Sequence[GroundingDataSample]] = None,
        mode: str = 'train',
    ) -> None:
        """Draw samples of the batch."""
        if mode == 'train' or not self.enable or not is_main_process():
            return
        # Asking a runner that tests for its training loop builds one.
        loop = runner._train_loop
        step = 0 if loop is None or isinstance(loop, dict) else runner.iter
        root = Path(self.out_dir or Path(runner.work_dir) / 'vis')
        folder = root / (f'val_{step}' if mode == 'val' else 'test')
        for sample in outputs or ():
            drawn, rest = divmod(self._seen, self.interval)
            self._seen += 1
            if rest or drawn >= self.max_samples:
                continue
            try:
                self._draw(runner, sample, folder, step)
            except (OSError, ValueError) as error:
                # The scores are worth more than their pictures.
                runner.logger.warning(
                    f'{sample.video_path} is not drawn: {error}'
                )

    def _draw(
        self,
        runner: Runner,
        sample: GroundingDataSample,
        folder: Path,
        step: int,
    ) -> None:
        with open_video(
            sample.video_path, backend_args=self.backend_args
        ) as reader:
            frames = reader.get_frames(sample.frame_inds)
            aspect = reader.pixel_aspect
        start, end = sample.segment
        runner.visualizer.add_datasample(
            f'{sample.video_id}_{start}-{end}',
            frames,
            sample,
            step=step,
            out_dir=folder,
            video=self.video,
            max_queries=self.max_queries,
            pixel_aspect=aspect,
        )
