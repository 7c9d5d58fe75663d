"""The visualizer of grounding results, in the form that MMEngine knows.

Shape legend: T frames, H height, W width in pixels; pictures are RGB uint8.
"""

from typing import Optional

import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer

from hero_mm.registry import VISUALIZERS
from hero_mm.structures import GroundingDataSample

from .drawing import draw_tube_sheet
from .render import safe_name, stretch_frames, write_drawings
from .tube_view import stretch_view, views_from_sample
from .video_writer import PathLike


@VISUALIZERS.register_module()
class TubeVisualizer(Visualizer):
    """Draw true and predicted tubes as mp4 files and PNG sheets.

    The ``vis_backends`` of MMEngine's visualizer get the sheets by
    ``add_image``, the scalars as always.
    """

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: GroundingDataSample,
        step: int = 0,
        out_dir: Optional[PathLike] = None,
        video: bool = True,
        max_queries: Optional[int] = None,
        pixel_aspect: float = 1.0,
    ) -> list[str]:
        """Draw the queries of a clip.

        Args:
            name (str): First part of the file names; the query id follows.
            image (np.ndarray): The frames at ``frame_inds``, RGB uint8 of the
                original size, has shape (T, H, W, 3).
            data_sample (GroundingDataSample): The clip.
            step (int): Given to the backends.
            out_dir (str | os.PathLike, optional): Folder for ``.png`` and
                ``.mp4`` files. Without it only the backends get the sheets.
            video (bool): Write the mp4 beside the sheet.
            max_queries (int, optional): Draw the first few queries only.
            pixel_aspect (float): Width of a pixel in its heights.

        Returns:
            list[str]: The files written to ``out_dir``.
        """
        views = [
            stretch_view(view, pixel_aspect)
            for view in views_from_sample(data_sample)[:max_queries]
        ]
        read = stretch_frames(image, pixel_aspect).__getitem__
        names = [f'{name}_{view.query_id}' for view in views]
        for view, named in zip(views, names):
            self.add_image(safe_name(named), draw_tube_sheet(read, view), step)
        if out_dir is None:
            return []
        form = 'both' if video else 'sheet'
        return write_drawings(read, views, out_dir, names, form)
