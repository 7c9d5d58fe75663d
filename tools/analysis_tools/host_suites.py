"""Run the suites of mmcv, mmdet, mmaction2 and mmengine beside hero_mm.

Each suite runs twice, without and with ``import hero_mm``, and no test that
passes without may be lost. The wheels ship no tests: ``HERO_MM_HOSTS`` names a
folder of checkouts (``mmcv``, ``mmdetection``, ``mmaction2``, ``mmengine``) of
the versions that are installed.

    HERO_MM_HOSTS=~/checkouts python tools/analysis_tools/host_suites.py
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

try:
    import pytest
except ModuleNotFoundError:
    sys.exit('error: pytest is not installed; pip install "hero-mm[dev]"')

# Checkout to its package, which is left out: what is installed is tested.
SUITES = {
    'mmcv': 'mmcv',
    'mmdetection': 'mmdet',
    'mmaction2': 'mmaction',
    'mmengine': 'mmengine',
}
RECORD, LIMIT = 'HOST_SUITES_RECORD', 'HOST_SUITES_LIMIT'
HERE = Path(__file__).resolve()
OUTCOMES: dict[str, str] = {}


# The plugin, which pytest loads in the process of a suite: it writes down what
# begins and how it ends, so that a crash loses one test.


def pytest_collection_modifyitems(config: Any, items: list) -> None:
    """Leave out what ran before the process crashed."""
    done = {name for name, _ in _records(Path(os.environ[RECORD]))}
    items[:] = [item for item in items if item.nodeid not in done]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: Any) -> Any:
    """Stop a test that takes too long."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f'longer than {os.environ[LIMIT]} seconds')

    _note(item.nodeid, 'crashed')
    OUTCOMES[item.nodeid] = 'passed'
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(int(os.environ[LIMIT]))
    try:
        return (yield)
    finally:
        signal.alarm(0)
        _note(item.nodeid, OUTCOMES[item.nodeid])


def pytest_runtest_logreport(report: Any) -> None:
    """What is no pass, in set-up, call or tear-down, decides."""
    if report.outcome != 'passed':
        OUTCOMES[report.nodeid] = report.outcome


def _note(name: str, outcome: str) -> None:
    with open(os.environ[RECORD], 'a') as file:
        file.write(json.dumps([name, outcome]) + '\n')


def _records(path: Path) -> list[list[str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(place: Path, words: list[str], limit: int, beside: bool) -> dict:
    """Run tests, again where the process died, until each has ended."""
    record = place / 'record.jsonl'
    record.write_text('')
    paths = [str(HERE.parent), str(HERE.parents[2])]
    paths += os.environ.get('PYTHONPATH', '').split(os.pathsep)
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths)))
    env.update({RECORD: str(record), LIMIT: str(limit)})
    command = [sys.executable, '-m', 'pytest', '-q', '-p', HERE.stem]
    command += ['-p', 'hero_mm'] if beside else []
    command += ['-p', 'no:cacheprovider', '--continue-on-collection-errors']
    before = -1
    while len(_records(record)) > before:
        before = len(_records(record))
        with open(place / 'log.txt', 'a') as log:
            done = subprocess.run(
                [*command, *words], cwd=place, env=env, stdout=log, stderr=log
            )
        if 0 <= done.returncode <= 5:
            break
    return dict(_records(record))


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
            kinds = ('passed', 'failed', 'skipped', 'crashed')
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
