r"""Make a checkpoint small enough to give away: the weights that are tested.

Example::

    python tools/model_converters/publish_model.py work_dirs/hero_shapes \
        published/hero_shapes.pth

writes ``published/hero_shapes_DATE-HASH.pth``.
"""

import argparse
import datetime
import hashlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import torch

from hero_mm.errors import UserError, explained, run_tool
from hero_mm.pretrained.reading import add_trust_argument

with explained():
    from hero_mm.apis.checkpoint import find_checkpoint, read_checkpoint
    from hero_mm.files import write_bytes

KEPT = ('meta', 'state_dict')
HASH_LETTERS = 8
SUFFIX = '.pth'


def to_publish(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Keep what is needed to test a model.

    MMEngine's ``EMAHook`` stores the moving average, which is what is tested,
    under ``state_dict``, and the weights as trained under ``ema_state_dict``:
    the average stays.
    """
    # A view would take the whole of what it looks at into the file.
    weights = {
        name: value.detach().clone()
        for name, value in checkpoint['state_dict'].items()
    }
    kept: dict[str, Any] = dict(state_dict=weights)
    if checkpoint.get('meta'):
        kept['meta'] = checkpoint['meta']
    return kept


def publish(in_file: str, out_file: str) -> tuple[Path, list[str]]:
    """Write the published checkpoint."""
    target = Path(out_file.removesuffix(SUFFIX))
    if Path(out_file).is_dir() or not target.name:
        raise UserError(
            f'{out_file!r} is a folder; give the name of a file in it, to '
            'which date and hash are added'
        )
    checkpoint = read_checkpoint(in_file)
    if not checkpoint['state_dict']:
        raise UserError(f'{in_file} holds no weights; nothing to publish')
    content = io.BytesIO()
    torch.save(to_publish(checkpoint), content)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    date = datetime.date.today().strftime('%Y%m%d')
    name = f'{target.name}_{date}-{digest[:HASH_LETTERS]}{SUFFIX}'
    written = target.with_name(name)
    write_bytes(written, content.getbuffer())
    return written, sorted(checkpoint.keys() - set(KEPT))


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Publish by the command line; the arguments are those of MMAction2."""
    parser = argparse.ArgumentParser(
        description='Process a checkpoint to be published'
    )
    parser.add_argument(
        'in_file', help='checkpoint file, or a work dir: its best one'
    )
    parser.add_argument(
        'out_file', help='name of the file; date and hash are added'
    )
    add_trust_argument(parser)
    args = parser.parse_args(argv)
    source = find_checkpoint(args.in_file)
    written, left = publish(source, args.out_file)
    averaged = 'ema_state_dict' in left
    print(f'read:    {source}')
    print(f'weights: {"moving average" if averaged else "as trained"}')
    print(f'left out: {", ".join(left) or "nothing"}')
    size = written.stat().st_size / 2**20
    print(f'written: {written} ({size:.1f} MB)')


if __name__ == '__main__':
    sys.exit(run_tool(main))
