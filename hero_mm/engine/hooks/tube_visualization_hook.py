"""Draw what the model found, beside the truth, while it is evaluated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Optional, Union

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from hero_mm.datasets.video_reader import open_video
from hero_mm.errors import UserError, UserTypeError
from hero_mm.registry import HOOKS
from hero_mm.structures import GroundingDataSample
from hero_mm.visualization import TubeVisualizer

DataBatch = Optional[Union[dict, tuple, list]]


@HOOKS.register_module()
class TubeVisualizationHook(Hook):
    """Write sheets and videos of some samples of a validation or a test.

    The frames are read again from the video: the input of the model was
    resized. Only the main process draws, the samples that it sees. What
    cannot be drawn is reported and ends nothing.

    Args:
        enable (bool): Draw at all. Defaults to True.
        interval (int): Every how many clips one is drawn. Defaults to 1.
        max_samples (int): How many clips are drawn in one evaluation.
            Defaults to 8.
        max_queries (int): How many queries of a clip are drawn.
            Defaults to 2.
        video (bool): Write an mp4 beside each sheet. Defaults to True.
        out_dir (str, optional): Folder of the files. Defaults to
            ``vis`` in the work dir.
        show (bool): What MMAction2's ``tools/test.py --show`` sets. There is
            no window: only False can be used. Defaults to False.
        wait_time (float): Set beside ``show`` and not used. Defaults to 0.

    Raises:
        ValueError: If a number is below 1, or a window is asked for.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        enable: bool = True,
        interval: int = 1,
        max_samples: int = 8,
        max_queries: int = 2,
        video: bool = True,
        out_dir: Optional[str] = None,
        show: bool = False,
        wait_time: float = 0,
    ) -> None:
        if show:
            raise UserError(
                'TubeVisualizationHook: show=True (--show) asks for a window, '
                'and there is none; --show-dir FOLDER writes the drawings to '
                'files.'
            )
        for name, value in (
            ('interval', interval),
            ('max_samples', max_samples),
            ('max_queries', max_queries),
        ):
            if value < 1:
                raise UserError(
                    f'TubeVisualizationHook: {name} must be at least 1, got '
                    f'{value}; enable=False switches the hook off.'
                )
        self.enable = enable
        self.interval = interval
        self.max_samples = max_samples
        self.max_queries = max_queries
        self.video = video
        self.out_dir = out_dir
        self._seen = 0
        self._drawn = 0

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
        self._seen = self._drawn = 0

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Optional[Sequence[GroundingDataSample]] = None,
        mode: str = 'train',
    ) -> None:
        """Draw samples of the batch."""
        if mode != 'train':
            step = _trained_iters(runner)
            folder = f'val_{step}' if mode == 'val' else 'test'
            self._draw_batch(runner, outputs or (), folder, step)

    def _draw_batch(
        self,
        runner: Runner,
        outputs: Sequence[GroundingDataSample],
        folder: str,
        step: int,
    ) -> None:
        if not self.enable or not is_main_process():
            return
        root = Path(self.out_dir or Path(runner.work_dir) / 'vis')
        for sample in outputs:
            due = self._seen % self.interval == 0
            self._seen += 1
            if not due or self._drawn >= self.max_samples:
                continue
            self._drawn += 1
            try:
                self._draw(runner, sample, root / folder, step)
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
        with open_video(sample.video_path) as reader:
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


def _trained_iters(runner: Runner) -> int:
    """Iterations trained so far; asking a runner that tests builds a loop."""
    loop = runner._train_loop
    return 0 if loop is None or isinstance(loop, dict) else runner.iter
