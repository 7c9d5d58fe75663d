"""Data as STCAT, CG-STVG and TA-STVG lay it out, to the one format.

They keep the official files in folders of their own, so the converters of
these do the work; here is where what lies:

- ``vidstg``: ``sent_annos/{train,val,test}_annotations.json``,
  ``bbox_annos/<video id>.json`` (VidOR's), ``videos/<video id>.mp4``.
- ``hcstvg``: ``annos/hcstvg_v1/{train,test}.json``, ``v1_video/``.
- ``hcstvg-v2``: ``annos/hcstvg_v2/{train,test}.json``, which are version 2
  with the keys of version 1, ``v2_video/``. The labels of version 2's own
  test split are hidden: what is called test there is its val split.

Their caches (``data_cache``) and ``vstg_annos`` are not needed.
"""

from pathlib import Path
from typing import Any, Optional

from hero_mm.errors import UserError

from ..entries import Entry, PathLike
from ..progress import Progress
from .common import ConversionSummary
from .hcstvg import convert_hcstvg
from .videos import Videos
from .vidstg import convert_vidstg

# Data set to its sentences and videos below the folder.
PLACES = {
    'vidstg': ('sent_annos', 'videos'),
    'hcstvg': ('annos/hcstvg_v1', 'v1_video'),
    'hcstvg-v2': ('annos/hcstvg_v2', 'v2_video'),
}
NO_VIDEOS = 'paths of videos as in the raw files: no folder of videos'


def convert_stcat(
    folder: PathLike,
    out: PathLike,
    split: str,
    dataset: Optional[str] = None,
    videos: Videos = None,
    skip_bad: bool = False,
    workers: int = 1,
    progress: Optional[Progress] = None,
) -> ConversionSummary:
    """Convert one split of one data set.

    Args:
        folder (PathLike): ``data/vidstg``, ``data/hc-stvg`` or
            ``data/hc-stvg2``.
        out (PathLike): The annotation file to write; its boxes go beside it.
        split (str): ``train``, ``val`` or ``test``, as the file is called.
        dataset (str, optional): ``vidstg``, ``hcstvg`` or ``hcstvg-v2``.
            Defaults to what lies in the folder.
        videos (PathLike | VideoCheck, optional): Where each video must be; a
            :class:`VideoCheck` has them verified, too. Defaults to the folder
            of the layout; where that is missing no video is looked for, which
            the summary says.
        skip_bad (bool): Leave out and list what is wrong.
        workers (int): Processes that read boxes of VidSTG.
        progress (Callable, optional): Wraps the loop over the videos of
            VidSTG; gets an iterable and its length.

    Returns:
        ConversionSummary: What was written, repaired and skipped.

    Raises:
        FileNotFoundError: A file or folder is missing.
        ConversionError: Something is wrong; names the entry and the cure.
        ValueError: ``dataset`` is none of the three.
    """
    folder = Path(folder)
    dataset = find_dataset(folder) if dataset is None else dataset
    if dataset not in PLACES:
        raise UserError(f'dataset must be one of {list(PLACES)}: {dataset!r}')
    sentences, films = PLACES[dataset]
    own = folder / films
    if videos is None and own.is_dir():
        videos = own
    options: dict[str, Any] = dict(videos=videos, skip_bad=skip_bad)
    if dataset == 'vidstg':
        summary = convert_vidstg(
            folder / sentences / f'{split}_annotations.json',
            folder / 'bbox_annos',
            out,
            split=split,
            workers=workers,
            progress=progress,
            **options,
        )
    else:
        hidden = dataset == 'hcstvg-v2' and split == 'test'
        summary = convert_hcstvg(
            folder / sentences / f'{split}.json',
            out,
            dataset=dataset,
            split='val' if hidden else split,
            **options,
        )
    if videos is None:
        summary.note(NO_VIDEOS, str(own), summary.videos)
    return summary


def find_dataset(folder: PathLike) -> str:
    """The data set that a folder holds, as STCAT lays it out.

    Raises:
        FileNotFoundError: None of them.
        ConversionError: Several.
    """
    found = [
        name
        for name, (place, _) in PLACES.items()
        if Path(folder, place).is_dir()
    ]
    if not found:
        places = ', '.join(place for place, _ in PLACES.values())
        raise FileNotFoundError(
            f'{folder} has none of the folders {places}; give data/vidstg, '
            'data/hc-stvg or data/hc-stvg2 as STCAT lays them out'
        )
    if len(found) > 1:
        raise Entry(folder, 'its folders').error(
            f'the data sets {", ".join(found)} lie side by side',
            'say which one is meant with --dataset',
        )
    return found[0]
