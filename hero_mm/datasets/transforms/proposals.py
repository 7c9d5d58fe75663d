"""Load proposals that were made before.

Shape legend: T sampled frames, K most proposals of a frame.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Union

import numpy as np
from mmcv.transforms import BaseTransform

from hero_mm.errors import UserError
from hero_mm.registry import TRANSFORMS

from ..proposal_files import load_proposals
from .loading import boxes_to_frame


@TRANSFORMS.register_module()
@dataclass(eq=False)
class LoadProposals(BaseTransform):
    """Load the proposals of the sampled frames.

    Stands after ``DecodeFrames``. Added keys: ``proposal_bboxes`` (T, K, 4),
    in pixels of the frames, ``proposal_scores`` (T, K), ``proposal_valid``
    (T, K).

    Args:
        folder (str | PathLike): Files of ``tools/extract_proposals.py``.
        max_per_frame (int): Most proposals of a frame, the best.
        max_gap (int): How many frames those of another frame may be away,
            where not every frame was asked. Defaults to 0.
    """

    folder: Union[str, Path]
    max_per_frame: int = 50
    max_gap: int = 0

    def transform(self, results: dict) -> dict:
        """Load them; ValueError where a file is not of this video."""
        name = results['video_id']
        found = load_proposals(self.folder, name)
        height, width = results['ori_shape']
        if found.size != (width, height):
            raise UserError(
                f'{self.folder}: the proposals of video {name!r} were made at '
                f'{found.size[0]}x{found.size[1]}, but it is annotated with '
                f'{width}x{height}; make them again with '
                'tools/extract_proposals.py'
            )
        frames = results['frame_inds']
        shape = (len(frames), self.max_per_frame)
        boxes = np.zeros((*shape, 4), np.float32)
        scores = np.zeros(shape, np.float32)
        valid = np.zeros(shape, np.bool_)
        for row, frame in enumerate(frames.tolist()):
            nearest, box, score = found.at(frame)
            if abs(nearest - frame) > self.max_gap:
                raise UserError(
                    f'{self.folder}: video {name!r} has no proposals of frame '
                    f'{frame}, the nearest are of {nearest}; raise max_gap '
                    f'(now {self.max_gap}), or make them with a smaller '
                    '--every'
                )
            number = min(self.max_per_frame, len(box))
            boxes[row, :number] = box[:number]
            scores[row, :number] = score[:number]
            valid[row, :number] = True
        height, width = results['img_shape']
        high = np.array([width, height] * 2, np.float32)
        boxes = np.clip(boxes_to_frame(boxes, results), 0, high)
        # At least a pixel is left of them.
        valid &= (boxes[..., 2:] - boxes[..., :2] >= 1).all(-1)
        boxes[~valid] = 0
        results.update(
            proposal_bboxes=boxes, proposal_scores=scores, proposal_valid=valid
        )
        return results
