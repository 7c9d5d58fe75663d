r"""Audit a converted annotation, alone and against its videos.

Every video is opened, its frames are counted, the first and the last are
decoded. A second run, or one that was interrupted, is quick. The exit status
is 1 where something is an error.

Example::

    python tools/analysis_tools/check_dataset.py data/vidstg/test.json \
        --videos data/vidor/video --list findings.txt
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from hero_mm.errors import UserError, explained, run_tool

with explained():
    from hero_mm.datasets.annotation import load_annotation
    from hero_mm.datasets.checks import (
        ERRORS,
        NOTES,
        Finding,
        audit_annotation,
        audit_videos,
    )
    from hero_mm.datasets.source import SPLITS, find_source
    from hero_mm.files import write_bytes
    from hero_mm.texts import printable


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Audit a converted annotation against its videos.'
    )
    parser.add_argument('source', help='a config, or an annotation file')
    parser.add_argument(
        '--videos',
        help="folder of the videos; default: the config's. An annotation "
        'file without it is audited alone',
    )
    parser.add_argument(
        '--split', default='train', choices=SPLITS, help='of the config'
    )
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count() or 1, help='processes'
    )
    parser.add_argument('--list', help='text file for all that was found')
    parser.add_argument(
        '--show', type=int, default=3, help='examples of each kind'
    )
    args = parser.parse_args(argv)
    for name, least in (('workers', 1), ('show', 0)):
        if getattr(args, name) < least:
            parser.error(f'--{name} must be {least} or more')
    return args


def summarize(findings: Sequence[Finding], show: int) -> list[str]:
    """Count what was found, errors first."""
    lines = []
    for kind, what in (ERRORS | NOTES).items():
        found = [part for part in findings if part.kind == kind]
        if found:
            level = 'error' if kind in ERRORS else 'note'
            lines.append(f'{level}: {len(found)} {what}')
        lines += [f'    {part.where}: {part.found}' for part in found[:show]]
        if show and len(found) > show:
            lines.append(f'    and {len(found) - show} more')
    return lines


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Audit and print what was found."""
    args = parse_args(argv)
    source = find_source(args.source, args.videos, args.split)
    annotation = load_annotation(source.ann_file)
    findings = list(audit_annotation(annotation))
    if source.video_dir is None:
        print('the videos are not looked at: no --videos FOLDER')
    else:
        findings += audit_videos(annotation, source.video_dir, args.workers)
    sentences = sum(len(clip['queries']) for clip in annotation.data_list)
    print(f'{len(annotation.videos)} videos, {sentences} sentences')
    lines = summarize(findings, args.show) or ['nothing found']
    print('\n'.join(map(printable, lines)))
    if args.list:
        lines = [f'{f.kind}\t{f.where}\t{f.found}\n' for f in findings]
        write_bytes(Path(args.list), ''.join(lines).encode())
        print(f'all of it: {args.list}')
    errors = sum(finding.kind in ERRORS for finding in findings)
    if errors:
        raise UserError(
            f'{errors} errors in {source.ann_file}, see above; fetch broken '
            'or missing videos again, or convert with --videos and '
            '--skip-bad to leave them out.'
        )


if __name__ == '__main__':
    sys.exit(run_tool(main))
