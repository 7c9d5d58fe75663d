r"""Find sentences in a video: ``python demo/demo.py VIDEO "SENTENCE" ...``.

The same as ``hero-mm ground``, as a page of Python to copy from::

    python demo/demo.py clip.mp4 "the red circle spins" \
        --model work_dirs/hero_shapes --out outputs
"""

import argparse
import sys

from hero_mm.errors import explained, run_tool
from hero_mm.pretrained.reading import add_trust_argument

with explained():
    from hero_mm.apis import TubeInferencer
    from hero_mm.texts import printable


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Find what sentences describe in a video.'
    )
    parser.add_argument('video', help='path of a video')
    parser.add_argument('texts', nargs='+', help='one or more sentences')
    parser.add_argument(
        '--model',
        help='package, work dir or config (by default a small model that '
        'knows rendered shapes)',
    )
    parser.add_argument('--weights', help='checkpoint; default: the best one')
    parser.add_argument('--device', help='cpu, cuda or cuda:N')
    parser.add_argument('--out', default='outputs', help='folder of drawings')
    parser.add_argument(
        '--segment',
        nargs=2,
        type=float,
        metavar=('START', 'END'),
        help='seconds; search this part only',
    )
    add_trust_argument(parser)
    return parser.parse_args()


def main() -> None:
    """Ask, print the spans and say where the drawings are."""
    args = parse_args()
    inferencer = TubeInferencer(args.model, args.weights, args.device)
    result = inferencer(
        args.video, args.texts, out_dir=args.out, segment=args.segment
    )
    for tube in result['predictions']:
        start, end = tube['span_seconds']
        print(
            f'{start:6.2f} s to {end:6.2f} s  score {tube["score"]:.2f}  '
            f'{printable(tube["query"])}'
        )
    for line in [*result['visualization'], *result.get('errors', {}).values()]:
        print(printable(line))


if __name__ == '__main__':
    sys.exit(run_tool(main))
