"""The visualizer of grounding results, in the form that MMEngine knows.

Shape legend: T frames, H height, W width in pixels; pictures are RGB uint8.
"""

from typing import Optional

import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer

from hero_mm.errors import UserError, UserTypeError
from hero_mm.registry import VISUALIZERS
from hero_mm.structures import GroundingDataSample

from .drawing import draw_tube_sheet
from .render import safe_name, stretch_frames, write_drawings
from .tube_view import stretch_view, views_from_sample
from .video_writer import PathLike


@VISUALIZERS.register_module()
class TubeVisualizer(Visualizer):
    """Draw true and predicted tubes as mp4 files and PNG sheets.

    Args:
        name (str): Of the instance. Defaults to ``'visualizer'``.
        vis_backends (list[dict], optional): MMEngine's backends; they get
            the sheets by ``add_image``, the scalars as always.
        save_dir (str, optional): Folder of the backends.
        num_frames (int): Frames of a sheet. Defaults to 8.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        vis_backends: Optional[list[dict]] = None,
        save_dir: Optional[str] = None,
        num_frames: int = 8,
    ) -> None:
        super().__init__(
            name=name, vis_backends=vis_backends, save_dir=save_dir
        )
        if num_frames < 2:
            raise UserError(
                f'num_frames must be at least 2, got {num_frames}.'
            )
        self.num_frames = num_frames

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: Optional[GroundingDataSample] = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        step: int = 0,
        out_dir: Optional[PathLike] = None,
        video: bool = True,
        max_queries: Optional[int] = None,
        pixel_aspect: float = 1.0,
    ) -> list[str]:
        """Draw the queries of a clip.

        Args:
            name (str): First part of the file names; the query id follows.
            image (np.ndarray): The frames of the clip at its
                ``frame_inds``, RGB uint8 of the original size, has shape
                (T, H, W, 3).
            data_sample (GroundingDataSample): The clip.
            draw_gt (bool): Draw the truth, where the sample has it.
            draw_pred (bool): Draw the prediction, where it has one.
            show (bool): Open a window with the sheet.
            wait_time (float): Seconds that the window stays; 0 is forever.
            step (int): Given to the backends.
            out_dir (str | os.PathLike, optional): Folder for ``.png`` and
                ``.mp4`` files. Without it only the backends get the sheets.
            video (bool): Write the mp4 beside the sheet.
            max_queries (int, optional): Draw the first few queries only.
            pixel_aspect (float): Width of a pixel of the video in its
                heights; the drawing is as wide as the video is displayed.

        Returns:
            list[str]: The files written to ``out_dir``.

        Raises:
            TypeError: If there is no data sample.
        """
        if data_sample is None:
            raise UserTypeError('add_datasample needs a GroundingDataSample.')
        views = views_from_sample(data_sample, draw_gt, draw_pred)
        views = [stretch_view(view, pixel_aspect) for view in views]
        views = views[:max_queries]
        frames = stretch_frames(image, pixel_aspect)
        names = [f'{name}_{view.query_id}' for view in views]
        for view, named in zip(views, names):
            sheet = draw_tube_sheet(frames, view, self.num_frames)
            self.add_image(safe_name(named), sheet, step)
            if show:
                self.show(sheet, win_name=named, wait_time=wait_time)
        if out_dir is None or not views:
            return []
        return write_drawings(
            frames.__getitem__,
            views,
            out_dir,
            names,
            'both' if video else 'sheet',
            self.num_frames,
        )
