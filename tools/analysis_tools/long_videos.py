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
    from hero_mm.datasets.annotation import (
        GroundingAnnotation,
        load_annotation,
    )
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
    parser.add_argument('model', help='work dir of a training, or a config')
    parser.add_argument('--weights', help='checkpoint')
    parser.add_argument('--root', default='data/shapes-haystack')
    parser.add_argument(
        '--splits', nargs='+', default=list(HAYSTACKS), choices=HAYSTACKS
    )
    parser.add_argument(
        '--videos', type=int, help='at most so many of each split'
    )
    parser.add_argument('--window', type=float, default=4.0, help='seconds')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...')
    parser.add_argument('--workers', type=int, default=2, help='of rendering')
    parser.add_argument('--json', type=Path, help='file for the table')
    return parser.parse_args()


def ask(
    inferencer: TubeInferencer, video: str, texts: list[str]
) -> tuple[list[dict[str, Any]], float, float]:
    """Tubes of one video, seconds until the first and until the last."""
    begun, first = time.perf_counter(), None
    tubes = []
    for update in inferencer.stream(video, texts):
        first = first or time.perf_counter() - begun
        if update['final']:
            tubes.append(update['tube'])
    return tubes, first or 0.0, time.perf_counter() - begun


def prediction(tube: dict[str, Any]) -> dict[str, Any]:
    """A tube as the scoring functions take it."""
    return {
        'span': tube['span'],
        'boxes': (np.array(tube['frames']), np.array(tube['bboxes'])),
    }


def measure(
    inferencer: TubeInferencer, root: Path, split: str, videos: Optional[int]
) -> dict[str, Any]:
    """The row of a split."""
    annotation = load_annotation(root / f'{split}.json')
    meta = json.loads((root / f'vidstg/{split}_meta.json').read_text())
    # Ids are places in the official file.
    clips = [item['clip'] for item in meta for _ in item['captions']]
    chosen = annotation.data_list[:videos]
    ranked: list[dict[str, Any]] = [{} for _ in range(TOP)]
    single: dict[str, Any] = {}
    seconds, first = [], []
    peak_memory(reset=True)
    for clip in chosen:
        texts = [query['text'] for query in clip['queries']]
        path = film(root, annotation, clip)
        tubes, soon, whole = ask(inferencer, path, texts)
        seconds.append(whole)
        first.append(soon)
        for query, tube in zip(clip['queries'], tubes):
            for rank, one in enumerate([tube, *tube['others']][:TOP]):
                ranked[rank][query['query_id']] = prediction(one)
    memory = peak_memory()
    window, inferencer.window = inferencer.window, 0
    for clip in chosen:
        for query in clip['queries']:
            encoded = inferencer.encode_video(
                film(root, annotation, clip),
                clips[int(query['query_id'])],
                'frames',
            )
            (tube,) = inferencer.ground(encoded, query['text'])
            single[query['query_id']] = prediction(tube)
    inferencer.window = window
    truths = annotation.ground_truths()
    asked = {query: truths[query] for query in single}
    return dict(
        split=split,
        videos=len(chosen),
        sentences=len(asked),
        **score(asked, ranked),
        single=score(asked, [single])['m_vIoU'],
        seconds=float(np.mean(seconds)),
        first_seconds=float(np.mean(first)),
        peak_mb=memory,
    )


def film(root: Path, annotation: GroundingAnnotation, clip: dict) -> str:
    """The file of a clip."""
    path = annotation.videos[clip['video_id']].path
    return str(root / 'vidor/video' / path)


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


def guesses(root: Path, split: str) -> dict[str, float]:
    """What guesses with perfect boxes score, m_vIoU by name."""
    questions = read_questions(root, split)
    return {
        name: score_guess(questions, GUESSES[name][1], PROTOCOL)['m_vIoU']
        for name in GUESSED
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print the tables."""
    titles = [*COLUMNS, 'single clips, m_vIoU', 's', 'first after', 'peak MB']
    print(f'| length | sentences | {" | ".join(titles)} |')
    print('| --- |' + ' --- |' * (1 + len(titles)))
    for row in rows:
        cells = [f'{row[name]:.3f}' for name in (*COLUMNS, 'single')]
        cells += [f'{row["seconds"]:.1f}', f'{row["first_seconds"]:.2f}']
        memory = row['peak_mb']
        cells.append('unknown' if memory is None else f'{memory:.0f}')
        print(f'| {row["split"]} | {row["sentences"]} | {" | ".join(cells)} |')
    print(f'\n| perfect boxes, m_vIoU | {" | ".join(GUESSED)} |')
    print('| --- |' + ' --- |' * len(GUESSED))
    for row in rows:
        cells = [f'{row["guesses"][name]:.3f}' for name in GUESSED]
        print(f'| {row["split"]} | {" | ".join(cells)} |')


def main() -> None:
    """Ask the sentences of all videos and print the table."""
    args = parse_args()
    root = Path(args.root)
    sizes = {
        split: profile.videos[split] if split in args.splits else 0
        for split, profile in HAYSTACKS.items()
    }
    if args.videos is not None:
        sizes = {split: min(args.videos, n) for split, n in sizes.items()}
    build_shapes(root, sizes, workers=args.workers, profile='haystack')
    inferencer = TubeInferencer(
        args.model, args.weights, args.device, window=args.window, top_k=TOP
    )
    rows = []
    for split in args.splits:
        row = measure(inferencer, root, split, args.videos)
        rows.append(dict(row, guesses=guesses(root, split)))
        show(rows[-1:])
        if args.json is not None:
            write_text(args.json, json.dumps(rows, indent=2))
    if len(rows) > 1:
        show(rows)


if __name__ == '__main__':
    sys.exit(run_tool(main))
