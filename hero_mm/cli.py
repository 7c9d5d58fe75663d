"""The command ``hero-mm``: ask videos, give models away, check the install."""

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from typing import Any, Optional

from rich.console import Console

from .errors import UserError, run_tool
from .pretrained.reading import add_trust_argument
from .processes import launched
from .texts import printable
from .version import __version__

EXAMPLES = """examples:
  hero-mm ground clip.mp4 "the red circle spins" --out outputs
  hero-mm ground videos/ "a dog that runs" "What rolls?" --out found --top 10
  hero-mm ground frames/ "the child that jumps" --fps 25 --segment 2 8.5
  hero-mm ground videos/ --sentences questions.txt --format csv > found.csv
several GPUs, a share of the videos each:
  torchrun --nproc_per_node 8 -m hero_mm.cli ground videos/ "a dog" --out found
"""
OTHERS = """  hero-mm web --videos footage/
  hero-mm export work_dirs/hero_shapes package --licence Apache-2.0
  hero-mm ground clip.mp4 "the red circle spins" --model package
  hero-mm doctor
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog='hero-mm',
        description='Video object grounding with HERO',
        epilog=EXAMPLES + OTHERS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=__version__)
    commands = parser.add_subparsers(dest='command', required=True)
    _add_ground(commands)
    _add_export(commands)
    _add_web(commands)
    commands.add_parser(
        'doctor', help='what is installed, what clashes, and the cure'
    )
    # Prints a script by which a shell completes options.
    with suppress(ImportError):
        import shtab

        shtab.add_argument_to(parser, '--print-completion')
    return parser


def _add_ground(commands: Any) -> None:
    ground = commands.add_parser(
        'ground',
        help='find what sentences describe in videos',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = ground.add_argument
    add(
        'video',
        help='a video, a folder of videos, or a folder with a picture a '
        'frame, which is one video (needs --fps)',
    )
    add('sentences', nargs='*', metavar='SENTENCE', help='what to look for')
    add('--videos', nargs='+', default=[], metavar='MORE', help='more videos')
    add('--sentences', dest='file', metavar='FILE', help='a sentence a line')
    add(
        '--out',
        metavar='DIR',
        help='folder of answers.json, answers.csv and drawings; the same '
        'command goes on where it was stopped',
    )
    add(
        '--top',
        type=int,
        metavar='K',
        help='show and draw the K best answers over all videos, best first; '
        'without it all are shown, and drawn where there is one video',
    )
    add(
        '--segment',
        nargs=2,
        type=float,
        metavar=('START', 'END'),
        help='seconds; search this part of each video only',
    )
    add('--fps', type=float, help='frames a second, for folders of pictures')
    add('--format', default='table', choices=('table', 'json', 'csv'))
    add(
        '--window',
        type=float,
        metavar='SECONDS',
        help='search longer videos in windows of so many seconds, the length '
        'of the clips that the model was trained with; 0 looks at each video '
        'once; by default what the config says, for videos of more than two '
        'windows',
    )
    _add_model(ground)


def _add_export(commands: Any) -> None:
    export = commands.add_parser(
        'export', help='write a trained model as a package, to give away'
    )
    add = export.add_argument
    add('model', metavar='WORK_DIR', help='of a training, or a config')
    add('out', metavar='OUT', help='a new folder')
    add('--weights', help='checkpoint; by default the best of the work dir')
    add('--name', help='of the model; by default the folder')
    add('--data', help='what it was trained on, in words; see label.json')
    add(
        '--scores',
        metavar='FILE',
        help='JSON of eval_tubes.py; by default the scores of the validation',
    )
    add(
        '--licence',
        default='',
        help='name of the licence of the weights',
    )
    add_trust_argument(export)


def _add_web(commands: Any) -> None:
    web = commands.add_parser('web', help='the same as a page in the browser')
    add = web.add_argument
    add(
        '--videos',
        nargs='+',
        default=[],
        metavar='VIDEO_OR_FOLDER',
        help='to choose from, besides uploads',
    )
    add(
        '--host',
        default='127.0.0.1',
        help='address to listen at; 0.0.0.0 lets other machines in',
    )
    add('--port', type=int, default=7860)
    add(
        '--password',
        default=os.environ.get('HERO_MM_WEB_PASSWORD'),
        help='that visitors must know; HERO_MM_WEB_PASSWORD in the '
        'environment does the same and is seen by nobody',
    )
    add('--max-mb', type=float, default=200, help='of an upload (200)')
    add('--max-seconds', type=float, default=300, help='of a video (300)')
    _add_model(web)


def _add_model(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        '--model',
        help='a package (a folder, or hf://OWNER/NAME), the work dir of a '
        'training, a config, or a checkpoint beside it; a config is Python '
        'code that is run (by default a small model that knows rendered '
        'shapes)',
    )
    add('--weights', help='checkpoint; by default the best of the work dir')
    add('--device', help='cpu, cuda, cuda:1, ...')
    add(
        '--trust',
        action='store_true',
        help='run the code of others that a package wants to be run',
    )
    add_trust_argument(parser)


def read_sentences(args: argparse.Namespace) -> list[str]:
    """The sentences of the command line and of its file, each once."""
    from .apis.inputs import check_texts, is_video
    from .files import read_text

    texts = list(args.sentences)
    for text in texts:
        if os.path.exists(text) or (is_video(text) and ' ' not in text):
            raise UserError(
                f'{printable(text)!r} is a path and no sentence; name further '
                'videos behind --videos'
            )
    if args.file is not None:
        if not os.path.isfile(args.file):
            raise FileNotFoundError(
                f'--sentences {args.file}: there is no such file; give one '
                'with a sentence a line'
            )
        lines = read_text(args.file).splitlines()
        texts += [line for line in lines if line.strip()]
    return list(dict.fromkeys(check_texts(texts)))


def ground(args: argparse.Namespace, console: Console) -> None:
    """Ask the sentences of the videos and show the tubes.

    Where there is one video it is looked at before a model is loaded.
    """
    texts = read_sentences(args)
    if args.top is not None and args.top < 1:
        raise UserError(f'--top must be 1 or more, got {args.top}')
    errors = Console(stderr=True, highlight=False, markup=False)
    with _quiet():
        from .apis import TubeInferencer
        from .apis.answers import best_first, notes_on
        from .apis.asking import Asking
        from .apis.inputs import describe_video, is_long, list_videos
        from .files import check_folder

        given = [args.video, *args.videos]
        videos, _ = list_videos(given)
        one = len(videos) == 1
        if one and (args.segment or not is_long(videos[0])):
            facts = describe_video(videos[0], args.segment, fps=args.fps)
            end = facts['frame_edges'][-1]
            if args.segment is not None and args.segment[1] > end:
                errors.print(f'note: the video ends at {end:.2f} s')
        if args.out is not None:
            check_folder(args.out)
        inferencer = TubeInferencer(
            model=args.model,
            weights=args.weights,
            device=args.device,
            window=args.window,
            trust=args.trust,
        )
        asking = Asking(
            inferencer, given, texts, args.segment, args.fps, args.out
        )
        rank, _ = launched()
        if one:
            asking.on_update = partial(_say, errors)
        tubes = asking.answer_all(videos)
        if rank:
            # The first process has all answers.
            return
        files = [] if args.out is None else asking.write(tubes)
    shown = tubes if args.top is None else best_first(tubes, args.top)
    _show(shown, args.format, console, inferencer.facts())
    notes = [note for tube in tubes for note in notes_on(tube)]
    if args.model is None and any(tube['unknown_words'] for tube in shown):
        notes.append(
            'this is the small model of the package, which knows rendered '
            'shapes; train one on your own videos: docs/own_footage.md'
        )
    for note in dict.fromkeys(notes):
        errors.print(f'note: {note}', soft_wrap=True)
    if files and (one or args.top is not None):
        with _quiet():
            files += asking.draw(shown)
    place = console if args.format == 'table' else errors
    for number, path in enumerate(files):
        what = 'drawn' if number > 1 else 'written'
        place.print(f'{what}: {printable(path)}', markup=False, soft_wrap=True)
    for path, error in asking.errors.items():
        text = error if path in error else f'{path}: {error}'
        errors.print(printable(text), soft_wrap=True)
    if asking.errors:
        failed = len(set(videos) - {tube['video'] for tube in tubes})
        raise UserError(
            f'{failed} of {len(videos)} videos have no answer, '
            f'{len(asking.errors) - failed} are not drawn, see above; the '
            'same command asks them again'
        )


def _say(errors: Console, update: Mapping) -> None:
    """What was found so far in a long video."""
    tube, searched = update['tube'], update['searched_seconds'][1]
    start, end = tube['span_seconds']
    errors.print(
        f'searched {searched:.1f} s: "{printable(tube["query"])}" '
        f'{start:.2f} to {end:.2f} s, score {tube["score"]:.3f}',
        soft_wrap=True,
    )


def _show(
    tubes: Sequence[Mapping], kind: str, console: Console, facts: dict
) -> None:
    """Write answers in the format that was asked for."""
    from .apis.answers import answers_csv, answers_json, tube_table

    if kind == 'table':
        console.print(tube_table(tubes))
        console.print(
            f'the model was trained on: {printable(facts["trained_on"])}',
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    else:
        text = answers_csv(tubes)
        if kind == 'json':
            text = answers_json(tubes, facts)
        console.file.write(text)


def export(args: argparse.Namespace, console: Console) -> None:
    """Write a package, and read it back."""
    with _quiet():
        from .apis import TubeInferencer
        from .apis.package import read_package, write_package
        from .json_reader import read_json

        scores = None if args.scores is None else read_json(args.scores)
        if not isinstance(scores, (dict, type(None))):
            raise UserError(
                f'{args.scores} holds no scores by name; give the JSON of '
                'eval_tubes.py'
            )
        inferencer = TubeInferencer(args.model, args.weights, 'cpu')
        folder = write_package(
            inferencer, args.out, args.name, args.data, scores, args.licence
        )
        label = TubeInferencer(folder, device='cpu', trust=True).cfg.label
        try:
            read_package(folder)
            note = ''
        except UserError as error:
            note = f'note: without --trust it is refused: {error}'
    size = sum(f.stat().st_size for f in folder.rglob('*') if f.is_file())
    for line in (
        f'written: {folder} ({size / 1e6:.1f} MB)',
        f'trained on: {label.trained_on}',
        f'scores: {dict(label.scores) or "none; give --scores FILE"}',
        f'licence: {label.licence}',
        f'ask it: hero-mm ground VIDEO "SENTENCE" --model {folder}',
        note,
    ):
        if line:
            console.print(printable(line), markup=False, soft_wrap=True)


def web(args: argparse.Namespace, console: Console) -> None:
    """Serve the page until it is interrupted."""
    with _quiet():
        import gradio  # noqa: F401 (says what to install before it loads)

        from .apis import TubeInferencer
        from .web.page import HERE, running, videos_to_choose

        videos = videos_to_choose(args.videos)
        inferencer = TubeInferencer(
            args.model, args.weights, args.device, trust=args.trust
        )
    limits = args.host, args.port, args.max_mb, args.max_seconds
    with running(inferencer, videos, *limits, args.password) as page:
        console.print(f'the page: {page.local_url}', soft_wrap=True)
        if args.host not in HERE and not args.password:
            console.print(
                'note: whoever reaches this machine can use it; --password '
                'keeps others out'
            )
        page.block_thread()


@contextmanager
def _quiet() -> Iterator[None]:
    """What libraries log goes to the errors, and only what is wrong."""
    before = logging.root.manager.disable
    # Warnings about words are shown as notes.
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        logging.disable(before)
        found = sys.modules.get('mmengine.logging')
        if found is not None:
            # MMEngine's loggers remember what was off, until a level is set.
            logger = found.MMLogger.get_current_instance()
            logger.setLevel(logger.level)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line; gives the exit code."""
    args = make_parser().parse_args(argv)
    console = Console()
    if args.command == 'doctor':
        from .doctor import run_doctor

        return run_doctor(console)
    commands = dict(ground=ground, export=export, web=web)
    return run_tool(lambda: commands[args.command](args, console))


if __name__ == '__main__':
    sys.exit(main())
