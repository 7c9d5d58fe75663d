"""The command ``hero-mm``: ground sentences in a video, check the install."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Optional

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .errors import run_tool
from .pretrained.reading import add_trust_argument
from .version import __version__

DEFAULT_MODEL = 'work_dirs/hero_shapes'


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog='hero-mm', description='Video object grounding with HERO'
    )
    parser.add_argument('--version', action='version', version=__version__)
    commands = parser.add_subparsers(dest='command', required=True)
    ground = commands.add_parser(
        'ground', help='find what sentences describe in a video'
    )
    ground.add_argument('video', help='video file')
    ground.add_argument(
        'sentences', nargs='+', metavar='SENTENCE', help='what to look for'
    )
    ground.add_argument('--out', metavar='DIR', help='folder to draw in')
    ground.add_argument(
        '--model',
        default=DEFAULT_MODEL,
        metavar='CONFIG_OR_WORK_DIR',
        help=f'config file or work dir of a training ({DEFAULT_MODEL})',
    )
    ground.add_argument(
        '--weights', help='checkpoint; by default the best of the work dir'
    )
    ground.add_argument('--device', help='cpu, cuda, cuda:1, ...')
    add_trust_argument(ground)
    commands.add_parser(
        'doctor', help='what is installed, what clashes, and the cure'
    )
    return parser


def ground(args: argparse.Namespace, console: Console) -> None:
    """Ground the sentences and show the tubes.

    Args:
        args (Namespace): Of the command ``ground``.
        console (Console): Where to write.

    Raises:
        ValueError: When a sentence is empty.
        VideoError: When the video cannot be read; told before a model is
            loaded.
    """
    from .apis import TubeInferencer, inputs

    for sentence in args.sentences:
        if not sentence.strip():
            raise ValueError(
                'a SENTENCE is empty; say what to look for, for instance '
                '"the red circle that spins"'
            )
    inputs.describe_video(args.video)
    inferencer = TubeInferencer(
        model=args.model, weights=args.weights, device=args.device
    )
    result = inferencer(args.video, args.sentences, out_dir=args.out)
    console.print(tube_table(result['predictions']))
    for path in result['visualization']:
        console.print(f'drawn: {path}', markup=False, soft_wrap=True)


def tube_table(predictions: Sequence[dict[str, Any]]) -> Table:
    """The tubes that were found, one a row.

    Args:
        predictions (Sequence[dict]): As ``TubeInferencer`` gives them.
    """
    table = Table()
    for title in ('sentence', 'seconds', 'frames', 'score', 'first box'):
        table.add_column(title)
    for found in predictions:
        start, end = found['span']
        begin, stop = found['span_seconds']
        box = found['bboxes'][0] if len(found['bboxes']) else []
        table.add_row(
            escape(found['query']),
            f'{begin:.2f} to {stop:.2f}',
            escape(f'[{round(start, 1):g}, {round(end, 1):g})'),
            f'{found["score"]:.3f}',
            ' '.join(f'{value:.0f}' for value in box),
        )
    return table


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line.

    Args:
        argv (Sequence[str], optional): Arguments; those of the process by
            default.

    Returns:
        int: Exit code.
    """
    args = make_parser().parse_args(argv)
    console = Console()
    if args.command == 'doctor':
        from .doctor import run_doctor

        return run_doctor(console)
    return run_tool(lambda: ground(args, console))


if __name__ == '__main__':
    sys.exit(main())
