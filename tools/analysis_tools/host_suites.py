"""Run the suites of mmcv, mmdet, mmaction2 and mmengine beside hero_mm.

Each suite runs twice, without and with ``import hero_mm``, and no test that
passes without may be lost. The wheels ship no tests: ``HERO_MM_HOSTS`` names a
folder of checkouts (``mmcv``, ``mmdetection``, ``mmaction2``, ``mmengine``) of
the versions that are installed. Tests of mmdet need ``parameterized``, too.

    HERO_MM_HOSTS=~/checkouts python tools/analysis_tools/host_suites.py
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

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
    *('-q', '-n', '1', '--max-worker-restart', '100000'),
    *('-p', 'no:cacheprovider', '--continue-on-collection-errors'),
    *('-o', 'junit_family=xunit1', '-o', 'faulthandler_exit_on_timeout=true'),
    # That of mmdet asks for a plugin; a long traceback of its MOT tests ends
    # pytest itself.
    *('-o', 'addopts=', '--tb=native'),
)


def run(place: Path, words: list[str], limit: int, beside: bool) -> dict:
    """Run tests in a folder; how each of them ended, by its id."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *os.environ.get('PYTHONPATH', '').split(os.pathsep)]
    found = place / 'outcomes.xml'
    command = [sys.executable, '-m', 'pytest', *OPTIONS, f'--junitxml={found}']
    command += ['-o', f'faulthandler_timeout={limit}']
    command += ['-p', 'hero_mm'] if beside else []
    with open(place / 'log.txt', 'a') as log:
        subprocess.run(
            [*command, *words],
            cwd=place,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(paths)),
            stdout=log,
            stderr=log,
        )
    if not found.is_file():
        last = (place / 'log.txt').read_text(errors='replace')[-2000:]
        sys.exit(f'error: no test of {place.name} ran; pytest wrote:\n{last}')
    outcomes = {}
    for case in ElementTree.parse(found).iter('testcase'):
        file, kinds = case.get('file', ''), {part.tag for part in case}
        inner = case.get('classname', '')[len(file.removesuffix('.py')) + 1 :]
        parts = [file, *inner.split('.'), case.get('name', '')]
        outcomes['::'.join(filter(None, parts))] = (
            'failed'
            if kinds & {'failure', 'error'}
            else 'skipped'
            if 'skipped' in kinds
            else 'passed'
        )
    return outcomes


def compare(checkout: Path, words: list[str], limit: int) -> list[str]:
    """Run a suite without and with hero_mm, and print what differs."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, checkout.name)
        leave_out = shutil.ignore_patterns('.git', SUITES[checkout.name])
        shutil.copytree(checkout, place, symlinks=True, ignore=leave_out)
        found = [run(place, words, limit, beside) for beside in (False, True)]
        lost = _passed(found[0]) - _passed(found[1])
        if lost:
            # Some fail now and then.
            again = [
                _passed(run(place, sorted(lost), limit, beside))
                for beside in (False, True)
            ]
            lost = again[0] - again[1]
        for label, outcomes in zip(('without', 'with'), found):
            counts = Counter(outcomes.values())
            kinds = ('passed', 'failed', 'skipped')
            text = ', '.join(f'{counts[k]} {k}' for k in kinds if k in counts)
            print(f'{checkout.name} {label} hero_mm: {text}', flush=True)
        won = len(_passed(found[1]) - _passed(found[0]))
        print(f'{checkout.name}: {won} pass with it alone, {len(lost)} lost')
    return sorted(lost)


def _passed(outcomes: dict[str, str]) -> set[str]:
    return {name for name, how in outcomes.items() if how == 'passed'}


def main() -> None:
    """Run the suites that are there; exit 1 where a test is lost."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('suites', nargs='*', help=f'some of {list(SUITES)}')
    parser.add_argument('--tests', nargs='+', default=['tests'])
    parser.add_argument('--limit', type=int, default=60, help='seconds a test')
    args = parser.parse_args()
    hosts = Path(os.environ.get('HERO_MM_HOSTS', ''))
    wanted = args.suites or [
        n for n in SUITES if (hosts / n / 'tests').is_dir()
    ]
    missing = [n for n in wanted if not (hosts / n / 'tests').is_dir()]
    if 'HERO_MM_HOSTS' not in os.environ or missing or not wanted:
        parser.error(
            f'no checkout of {missing or list(SUITES)} with tests in '
            f'HERO_MM_HOSTS={os.environ.get("HERO_MM_HOSTS", "")!r}; clone '
            'the versions that are installed into a folder, and name it'
        )
    lost = []
    for name in wanted:
        lost += compare(hosts / name, args.tests, args.limit)
    for name in lost:
        print(f'lost: {name}')
    sys.exit(bool(lost))


if __name__ == '__main__':
    main()
