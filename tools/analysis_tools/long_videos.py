r"""Score a model on long videos: what is found, how fast, in what memory.

The videos are those of the profile ``haystack`` of the benchmark of moving
shapes, which are rendered where they are missing; docs/long_videos.md.

Example:
    python tools/analysis_tools/long_videos.py work_dirs/hero_shapes \
        --splits 1min 5min --json work_dirs/hero_shapes/long_videos.json
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Optional

import numpy as np

from hero_mm.errors import explained, run_tool

with explained():
    # The tool beside this one.
    from shapes_oracles import GUESSES, score_guess

    from hero_mm.apis import TubeInferencer
    from hero_mm.apis.benchmark.timing import peak_memory
    from hero_mm.datasets.annotation import load_annotation
    from hero_mm.datasets.shapes import build_shapes
    from hero_mm.datasets.shapes.profiles import HAYSTACKS
    from hero_mm.datasets.shapes.questions import read_questions
    from hero_mm.evaluation.functional import score_tubes
    from hero_mm.files import write_text

# Scored on native frames: a grid of at most 200 frames would miss the events.
PROTOCOL = 'stcat'
TOP = 5
COLUMNS = ('m_tIoU', 'm_vIoU', 'R1@0.5', 'R5@0.5')
GUESSED = (
    'right look, any of its spans',
    'right action, any object',
    'right object, any of its spans',
)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add('model', help='work dir of a training, or a config')
    add('--root', type=Path, default=Path('data/shapes-haystack'))
    add('--splits', nargs='+', default=list(HAYSTACKS), choices=HAYSTACKS)
    add('--videos', type=int, help='at most so many of each split')
    add('--window', type=float, default=4.0, help='seconds')
    add('--device', help='cpu, cuda, cuda:1, ...')
    add('--json', type=Path, help='file for the table')
    return parser.parse_args()


def prediction(tube: dict[str, Any]) -> dict[str, Any]:
    """A tube as the scoring functions take it."""
    boxes = np.array(tube['frames']), np.array(tube['bboxes'])
    return dict(span=tube['span'], boxes=boxes)


def measure(
    inferencer: TubeInferencer, root: Path, split: str, videos: Optional[int]
) -> dict[str, Any]:
    """The row of a split."""
    annotation = load_annotation(root / f'{split}.json')
    meta = json.loads((root / f'vidstg/{split}_meta.json').read_text())
    # Ids are places in the official file.
    clips = [item['clip'] for item in meta for _ in item['captions']]
    ranked: list[dict[str, Any]] = [{} for _ in range(TOP)]
    single: dict[str, Any] = {}
    seconds = 0.0
    peak_memory(reset=True)
    chosen = annotation.data_list[:videos]
    paths = [
        str(root / 'vidor/video' / annotation.videos[clip['video_id']].path)
        for clip in chosen
    ]
    for clip, path in zip(chosen, paths):
        texts = [query['text'] for query in clip['queries']]
        begun = time.perf_counter()
        tubes = inferencer(path, texts)['predictions']
        seconds += time.perf_counter() - begun
        for query, tube in zip(clip['queries'], tubes):
            for rank, one in enumerate([tube, *tube['others']]):
                ranked[rank][query['query_id']] = prediction(one)
    memory = peak_memory()
    for clip, path in zip(chosen, paths):
        for query in clip['queries']:
            part = clips[int(query['query_id'])]
            encoded = inferencer.encode_video(path, part, 'frames')
            (tube,) = inferencer.ground(encoded, query['text'])
            single[query['query_id']] = prediction(tube)
    truths = annotation.ground_truths()
    asked = {query: truths[query] for query in single}
    questions = read_questions(root, split)
    return dict(
        split=split,
        sentences=len(asked),
        **score(asked, ranked),
        single=score(asked, [single])['m_vIoU'],
        seconds=seconds / len(chosen),
        peak_mb=memory,
        guesses={
            name: score_guess(questions, GUESSES[name][1], PROTOCOL)['m_vIoU']
            for name in GUESSED
        },
    )


def score(
    truths: dict[str, Any], ranked: list[dict[str, Any]]
) -> dict[str, float]:
    """Scores of the best tubes, and whether one of the best k is right."""
    scores = [
        score_tubes(truths, {k: one[k] for k in truths if k in one}, PROTOCOL)
        for one in ranked
        if one
    ]
    right = np.array([one.viou > 0.5 for one in scores])
    return {
        'm_tIoU': float(scores[0].tiou.mean()),
        'm_vIoU': float(scores[0].viou.mean()),
        'R1@0.5': float(right[0].mean()),
        f'R{TOP}@0.5': float(right.any(0).mean()),
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print the tables."""
    titles = [*COLUMNS, 'single clips, m_vIoU', 's', 'peak MB']
    print(f'| length | sentences | {" | ".join(titles)} |')
    print('| --- |' + ' --- |' * (1 + len(titles)))
    for row in rows:
        cells = [f'{row[name]:.3f}' for name in (*COLUMNS, 'single')]
        cells += [f'{row["seconds"]:.1f}', f'{row["peak_mb"] or np.nan:.0f}']
        print(f'| {row["split"]} | {row["sentences"]} | {" | ".join(cells)} |')
    print(f'\n| perfect boxes, m_vIoU | {" | ".join(GUESSED)} |')
    print('| --- |' + ' --- |' * len(GUESSED))
    for row in rows:
        cells = [f'{row["guesses"][name]:.3f}' for name in GUESSED]
        print(f'| {row["split"]} | {" | ".join(cells)} |')


def main() -> None:
    """Ask the sentences of all videos and print the table."""
    args = parse_args()
    sizes = {
        split: profile.videos[split] if split in args.splits else 0
        for split, profile in HAYSTACKS.items()
    }
    if args.videos is not None:
        sizes = {split: min(args.videos, n) for split, n in sizes.items()}
    build_shapes(args.root, sizes, workers=2, profile='haystack')
    inferencer = TubeInferencer(
        args.model, device=args.device, window=args.window, top_k=TOP
    )
    rows = []
    for split in args.splits:
        rows.append(measure(inferencer, args.root, split, args.videos))
        if args.json is not None:
            write_text(args.json, json.dumps(rows, indent=2))
    show(rows)


if __name__ == '__main__':
    sys.exit(run_tool(main))
