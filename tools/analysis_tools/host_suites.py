"""Run the suites of mmcv, mmdet, mmaction2 and mmengine beside hero_mm.

Each suite runs twice, without and with ``import hero_mm``, and no test that
passes without may be lost. The wheels ship no tests: ``HERO_MM_HOSTS`` names a
folder of checkouts (``mmcv``, ``mmdetection``, ``mmaction2``, ``mmengine``) of
the versions that are installed. Tests of mmdet need ``parameterized``, too.

    HERO_MM_HOSTS=~/checkouts python tools/analysis_tools/host_suites.py
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

try:
    import pytest  # noqa: F401
    import xdist  # noqa: F401
except ModuleNotFoundError:
    sys.exit('error: pytest is not installed; pip install "hero-mm[dev]"')

# Checkout to its package, which is left out: what is installed is tested.
SUITES = {
    'mmcv': 'mmcv',
    'mmdetection': 'mmdet',
    'mmaction2': 'mmaction',
    'mmengine': 'mmengine',
}
# A test that crashes or takes too long ends its worker, not the run.
OPTIONS = (
    *('-q', '-rp', '-n', '1', '--max-worker-restart', '100000'),
    *('-p', 'no:cacheprovider', '--continue-on-collection-errors'),
    *('-o', 'faulthandler_exit_on_timeout=true'),
    # That of mmdet asks for a plugin; a long traceback of its MOT tests ends
    # pytest itself.
    *('-o', 'addopts=', '--tb=native'),
)


def run(
    place: Path, words: Sequence[str], limit: int, beside: bool
) -> tuple[set[str], str]:
    """Run tests in a folder; those that pass, and how many did what."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *os.environ.get('PYTHONPATH', '').split(os.pathsep)]
    command = [sys.executable, '-m', 'pytest', *OPTIONS]
    command += ['-o', f'faulthandler_timeout={limit}']
    command += ['-p', 'hero_mm'] if beside else []
    log = place / 'log.txt'
    with open(log, 'w') as file:
        subprocess.run(
            [*command, *words],
            cwd=place,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(paths)),
            stdout=file,
            stderr=file,
        )
    text = log.read_text(errors='replace')
    passed = set(re.findall('^PASSED (.*)', text, re.MULTILINE))
    counts = re.findall(r'(\d+ [a-z, \d]*) in [\d.:]+s', text)
    if not counts:
        last = f'pytest wrote:\n{text[-2000:]}'
        sys.exit(f'error: no test of {place.name} ran; {last}')
    return passed, counts[-1]


def compare(checkout: Path, words: Sequence[str], limit: int) -> set[str]:
    """Run a suite without and with hero_mm, and print what differs."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, checkout.name)
        leave_out = shutil.ignore_patterns('.git', SUITES[checkout.name])
        shutil.copytree(checkout, place, symlinks=True, ignore=leave_out)
        without, counts = run(place, words, limit, False)
        print(f'{checkout.name} without hero_mm: {counts}', flush=True)
        beside, counts = run(place, words, limit, True)
        print(f'{checkout.name} with hero_mm: {counts}', flush=True)
        lost = without - beside
        if lost:
            # Some fail now and then.
            again, _ = run(place, sorted(lost), limit, False)
            lost &= again - run(place, sorted(lost), limit, True)[0]
    won = len(beside - without)
    print(f'{checkout.name}: {won} pass with it alone, {len(lost)} lost')
    return lost


def main() -> None:
    """Run the suites that are there; exit 1 where a test is lost."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('suites', nargs='*', help=f'some of {list(SUITES)}')
    parser.add_argument('--tests', nargs='+', default=['tests'])
    parser.add_argument('--limit', type=int, default=60, help='seconds a test')
    args = parser.parse_args()
    hosts = Path(os.environ.get('HERO_MM_HOSTS', '/nowhere'))
    there = [name for name in SUITES if (hosts / name / 'tests').is_dir()]
    wanted = args.suites or there
    missing = [name for name in wanted if name not in there]
    if missing or not wanted:
        parser.error(
            f'no checkout of {missing or list(SUITES)} with tests in '
            f'HERO_MM_HOSTS={os.environ.get("HERO_MM_HOSTS", "")!r}; clone '
            'the versions that are installed into a folder, and name it'
        )
    lost = []
    for name in wanted:
        lost += sorted(compare(hosts / name, args.tests, args.limit))
    for name in lost:
        print(f'lost: {name}')
    sys.exit(bool(lost))


if __name__ == '__main__':
    main()
