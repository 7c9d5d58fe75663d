"""The visualizer of grounding results, in the form that MMEngine knows.

Shape legend: T frames, H height, W width in pixels; pictures are RGB uint8.
"""

from dataclasses import replace
from typing import Optional

import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer

from hero_mm.registry import VISUALIZERS
from hero_mm.structures import GroundingDataSample

from .drawing import draw_tube_sheet
from .render import safe_name, write_drawings
from .tube_view import views_from_sample
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

        ``image`` are the frames at ``frame_inds``, RGB uint8 (T, H, W, 3) of
        the original size, ``pixel_aspect`` is the width of their pixels in
        heights. Backends get the sheets at ``step``; ``out_dir`` gets them
        and, with ``video``, mp4 files, named by ``name`` and query id.

        Returns:
            list[str]: The files in ``out_dir``.
        """
        views = [
            replace(view, pixel_aspect=pixel_aspect)
            for view in views_from_sample(data_sample)[:max_queries]
        ]
        read = image.__getitem__
        names = [f'{name}_{view.query_id}' for view in views]
        for view, named in zip(views, names):
            self.add_image(safe_name(named), draw_tube_sheet(read, view), step)
        if out_dir is None:
            return []
        form = 'both' if video else 'sheet'
        return write_drawings(read, views, out_dir, names, form)
