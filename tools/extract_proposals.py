r"""Find proposals in the videos of an annotation with a detector of mmdet.

One file a video; files that are there are kept, so that an interrupted run
goes on. Several processes share the videos: start it under torchrun, one
process a GPU, or set RANK and WORLD_SIZE.

Example::

    python tools/extract_proposals.py DETECTOR.py DETECTOR.pth \
        --ann data/vidstg/test.json --videos data/vidor/video \
        --out data/vidstg/proposals
"""

import argparse
import sys

from hero_mm.errors import run_tool
from hero_mm.pretrained.reading import add_trust_argument
from hero_mm.processes import launched


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('detector', help='config file of a detector of mmdet')
    add('checkpoint', help='its weights')
    add('--ann', required=True, help='annotation file')
    add('--videos', required=True, help='folder of the videos')
    add('--out', required=True, help='folder to write to')
    add('--every', type=int, default=1, help='take every n-th frame')
    add('--max-per-frame', type=int, default=50, help='most boxes of a frame')
    add(
        '--short-side',
        type=int,
        help='resize the shorter side of the frames to this (default: as is)',
    )
    add(
        '--text',
        help='prompt of a detector with a language model (default: the '
        'sentences about the video)',
    )
    add('--batch-size', type=int, default=16)
    add('--device', help='cpu, cuda, cuda:1, ...')
    add_trust_argument(parser)
    return parser.parse_args()


def main() -> None:
    """Extract by the command line."""
    args = parse_args()
    from hero_mm.apis.proposal_extraction import ProposalExtractor

    extractor = ProposalExtractor(
        args.detector,
        args.checkpoint,
        device=args.device,
        every=args.every,
        max_per_frame=args.max_per_frame,
        short_side=args.short_side,
        text=args.text,
        batch_size=args.batch_size,
    )
    counts = extractor.run(args.ann, args.videos, args.out, launched())
    sys.stdout.write(
        f'{args.out}: {counts["written"]} videos written, {counts["kept"]} '
        f'were there, {len(counts["broken"])} could not be read\n'
    )
    for reason in counts['broken']:
        sys.stdout.write(f'  {reason}\n')
    if counts['broken']:
        sys.exit(1)


if __name__ == '__main__':
    sys.exit(run_tool(main))
