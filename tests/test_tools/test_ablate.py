"""The tool that runs suites of ablations, with commands that stand in.

Spans are 10 frames long and boxes are perfect, so that the overlap of a
predicted span that ends at frame n is n / 10, in time and in space.
"""

import contextlib
import csv
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hero_mm.apis.ablation import scheduler

STUB = Path(__file__).with_name('ablation_stub.py')
COMMANDS = {
    word: [sys.executable, str(STUB), word]
    for word in ('train', 'test', 'cost')
}
JOINT = {'stub.ends': dict(seed0=[6, 6, 4], seed1=[8, 6, 2])}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with a config and an annotation: two videos, 2 + 1 queries."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('HERO_MM_STOP_AT', raising=False)
    runpy.run_path(str(STUB))['write_data'](tmp_path)
    return tmp_path


@pytest.fixture
def run(tool, place, capsys):
    """Run the tool on runs; gives what it wrote."""

    def call(runs, *words, **more):
        lines = [
            f'runs = {runs!r}',
            *(f'{k} = {v!r}' for k, v in more.items()),
        ]
        (place / 's.py').write_text('\n'.join(lines))
        capsys.readouterr()
        before = signal.getsignal(signal.SIGTERM)
        try:
            tool.main(['s.py', '--out', 'out', *map(str, words)], COMMANDS)
        finally:
            signal.signal(signal.SIGTERM, before)
        return capsys.readouterr().out

    return call


def one(name, options=(), **more):
    """A run of eight iterations."""
    budget = more.pop('budget', dict(clips=16))
    options = dict(options)
    return (
        dict(name=name, config='c.py', options=options, budget=budget) | more
    )


def calls():
    path = Path('calls.txt')
    return path.read_text().splitlines() if path.exists() else []


def read(name):
    return json.loads(Path('out', name).read_text())


def table():
    with open('out/table.csv') as file:
        return {row['run']: row for row in csv.DictReader(file)}


TWO = [
    one('full', seeds=(0, 1)),
    one('joint', JOINT, seeds=(0, 1), compare_to='full'),
]


def test_the_numbers_of_the_report(run):
    """By hand: means, spread, and the interval over two videos."""
    shown = run(TWO)
    assert 'full, seed 0: done, test: m_vIoU 0.667' in shown
    result = read('joint/seed1/result.json')
    assert (result['clips'], result['cpu_seconds']) == (16, 8.0)
    assert result['options'] == {'stub.ends': repr(JOINT['stub.ends'])}
    assert result['tests']['test']['scores']['m_vIoU'] == 1.6 / 3
    assert result['tests']['test']['params'] == 1234567
    assert len(result['commit']) >= 40
    full, joint = table()['full'], table()['joint']
    # 2/3 and 6/10.
    assert float(full['m_vIoU']) == pytest.approx(1.9 / 3)
    assert float(full['m_vIoU sd']) == pytest.approx(0.2 / 3 / 2**0.5)
    assert float(joint['m_vIoU sd']) == 0 and full['seeds'] == '0 1'
    # Four answers about the first video lose .2, .2, .2 and 0; two about the
    # second one lose nothing. Draws: the first twice, both, the second twice.
    assert float(joint['m_vIoU difference']) == pytest.approx(-0.6 / 6)
    assert float(joint['m_vIoU low']) == pytest.approx(-0.6 / 4)
    assert float(joint['m_vIoU high']) == pytest.approx(0)
    assert float(joint['gt_m_vIoU difference']) == 0
    page = Path('out/report.md').read_text()
    row = (
        '| joint | 2 of 2 | 53.3 ± 0.0 | 53.3 ± 0.0 | – | -10.0 (full) | '
        '-15.0 to +0.0 | 1,234,567 | 2.5 | 12.5 | 16 | 8 | – |'
    )
    assert row in page
    assert '| full | 2 of 2 | 63.3 ± 4.7 |' in page
    for name in ('all-runs-clips', 'all-runs-cpu-seconds'):
        assert f'![{name}]({name}.svg)' in page
        assert '<svg' in Path(f'out/{name}.svg').read_text()
    curve = [(p['clips'], p['cpu_seconds']) for p in result['curve']]
    assert curve == [(8, 4.0), (16, 8.0)]


def test_what_is_done_is_not_done_again(run):
    run(TWO, '--only', 'joint')
    assert sorted(calls()) == [
        *('test test 0', 'test test 1'),
        *('train joint 0 new', 'train joint 1 new'),
    ]
    before = len(calls())
    run(TWO, '--jobs', 1)
    assert sorted(calls()[before:]) == [
        *('test test 0', 'test test 1'),
        *('train full 0 new', 'train full 1 new'),
    ]
    before = len(calls())
    run(TWO)
    run(TWO, '--report')
    assert len(calls()) == before


def test_a_new_test_needs_no_training(run):
    more = dict(name='other', options={'stub.ends.seed0': [2, 2, 2]})
    run([one('full')])
    run([one('full', tests=[dict(name='test'), more])])
    assert calls() == ['train full 0 new', 'test test 0', 'test other 0']
    scores = read('full/seed0/result.json')['tests']
    assert scores['other']['scores']['m_vIoU'] == pytest.approx(0.2)
    # What a test does has changed: it is done again, and it alone.
    more['options'] = {'stub.ends.seed0': [3, 3, 3]}
    run([one('full', tests=[dict(name='test'), more])])
    assert calls()[3:] == ['test other 0']
    scores = read('full/seed0/result.json')['tests']
    assert scores['other']['scores']['m_vIoU'] == pytest.approx(0.3)


def test_a_folder_of_other_options_is_not_taken(run):
    run([one('full')])
    with pytest.raises(ValueError, match='holds a run with other options'):
        run([one('full', {'stub.cost': 0.25})])
    assert 'the folder holds a run with other options' in (
        Path('out/report.md').read_text()
    )
    assert len(calls()) == 2


def test_seconds_become_clips(run):
    """40 seconds at half a second a clip, measured once for both seeds."""
    run(
        [
            one('full', budget=dict(cpu_seconds=40), seeds=(0, 1)),
            one(
                'cheap',
                {'stub.cost': 0.25},
                budget=dict(compute_of='full'),
                seeds=(0, 1),
            ),
        ]
    )
    assert read('full/calibration.json')['cpu_seconds_a_clip'] == 0.5
    assert read('full/seed0/plan.json')['iterations'] == 40
    for seed in (0, 1):
        result = read(f'cheap/seed{seed}/result.json')
        assert result['seconds'] == result['cpu_seconds'] == 40
        assert result['clips'] == 160
    # Two trainings and a calibration each.
    assert sum(line.startswith('train') for line in calls()) == 6
    assert not list(Path('out').rglob('calibration'))


def test_another_run_has_trained(run):
    run([one('full', seeds=(0, 1))])
    Path('out').rename('parts')
    more = dict(name='two', options={'stub.ends.seed1': [2, 2, 2]})
    again = dict(
        name='again',
        budget=dict(trained='parts/full'),
        seeds=(1,),
        tests=[dict(name='one', facts=dict(share=0.5)), more],
    )
    plots = [
        dict(title='By share', x='share', series={'s': ['again/one']}),
        dict(title='Empty', x='nothing', series={'s': ['again/one']}),
    ]
    run([again], plots=plots)
    tests = read('again/seed1/result.json')['tests']
    assert tests['one']['scores']['m_vIoU'] == pytest.approx(0.6)
    assert tests['two']['scores']['m_vIoU'] == pytest.approx(0.2)
    assert read('again/seed1/result.json')['clips'] == 16
    assert sum(line.startswith('train') for line in calls()) == 2
    page = Path('out/report.md').read_text()
    assert '![by-share](by-share.svg)' in page
    assert page.count('Nothing to draw yet.') == 1
    with pytest.raises(ValueError, match='needs parts/other, which is not'):
        run([dict(again, name='x', budget=dict(trained='parts/other'))])


def test_a_run_that_fails_is_told_and_the_others_go_on(run):
    runs = [
        one('bad', {'stub.fails': 'no such thing'}),
        one('worse', {'stub.no.place.cost': 1}),
        one('dear', {'stub.no_cost': True}),
        one('after', budget=dict(compute_of='bad')),
        one('full'),
        one('early', {'stub.early': True}),
    ]
    runs[1]['config'] = 'absent.py'
    with pytest.raises(ValueError, match='4 runs have no result') as error:
        run(runs, '--jobs', 1)
    told = str(error.value)
    assert 'bad, seed 0: the training failed (1): no such thing' in told
    assert 'worse, seed 0: FileNotFoundError' in told
    assert 'after, seed 0: it needs bad, which is not done' in told
    assert 'early, seed 0: the training ended after 4 of 8 iter' in told
    page = Path('out/report.md').read_text()
    assert '- bad: seed 0: failed: the training failed (1)' in page
    assert '- after: seed 0: not run yet' in page
    assert table()['full']['m_vIoU'] and not table()['bad']['m_vIoU']
    # The score counts, though the cost could not be measured.
    assert table()['dear']['m_vIoU'] and not table()['dear']['params']
    assert 'this model cannot be counted' in table()['dear']['notes']
    before = len(calls())
    with pytest.raises(ValueError, match='4 runs'):
        run(runs)
    assert len(calls()) == before
    with pytest.raises(ValueError, match='3 runs'):
        run(runs, '--retry')
    again = [line for line in calls()[before:] if 'train' in line]
    assert sorted(again) == ['train bad 0 new', 'train early 0 resume']


def test_a_broken_source_fails_what_needs_it_alone(run):
    full = one('full')
    run([full])
    Path('out/full/seed0/result.json').write_text('no json')
    runs = [one('like', budget=dict(compute_of='full')), one('other')]
    with pytest.raises(
        ValueError, match='full/seed0/result.json, .* not valid J'
    ):
        run([full, *runs], '--only', 'like', 'other')
    assert 'not valid JSON' in read('like/seed0/failed.json')['message']
    assert read('other/seed0/result.json')


def begin(place, runs):
    """Start the tool as a process; its first training hangs."""
    (place / 's.py').write_text(f'runs = {runs!r}')
    script = (
        'import sys; sys.path[:0] = sys.argv[1:3]; '
        'import ablate, test_ablate as t; '
        "ablate.main(['s.py', '--out', 'out'], t.COMMANDS)"
    )
    root = Path(__file__).resolve().parents[2]
    folders = [root / 'tools/analysis_tools', STUB.parent]
    process = subprocess.Popen(
        [sys.executable, '-c', script, *map(str, folders)],
        env={**os.environ, 'PYTHONPATH': str(root)},
        start_new_session=True,
    )
    cost = place / 'out/full/seed0/train/training_cost.json'
    limit = time.monotonic() + 120
    while not cost.is_file():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.05)
    return process


HANGS = [one('full', {'stub.hangs': True})]


@pytest.mark.slow
def test_a_killed_run_is_resumed(place, run):
    process = begin(place, HANGS)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not Path('out/full/seed0/result.json').exists()
    run(HANGS)
    assert calls() == [
        'train full 0 new',
        'train full 0 resume',
        'test test 0',
    ]
    assert read('full/seed0/result.json')['clips'] == 16


@pytest.mark.slow
def test_a_run_that_goes_on_alone_is_left_alone(place, run, monkeypatch):
    """The tool was killed, and its training was not."""
    process = begin(place, HANGS)
    try:
        process.kill()
        process.wait()
        monkeypatch.setattr(scheduler, 'LOCK_SECONDS', 0.2)
        told = run(HANGS)
        assert 'is in use by another process' in told and '1 runs are' in told
        assert calls() == ['train full 0 new']
    finally:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc').is_dir(), reason='processes of Linux')
def test_an_interrupt_ends_the_training_too(place):
    process = begin(place, HANGS)
    assert running(process.pid) > 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) != 0
    limit = time.monotonic() + 20
    while running(process.pid):
        assert time.monotonic() < limit, 'a training goes on'
        time.sleep(0.05)


def running(group):
    """How many processes of a group run; the dead may wait to be reaped."""
    states = []
    for path in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):
            # After the name, in brackets: state, parent, group.
            state, _, of = path.read_text().rpartition(') ')[2].split()[:3]
            states += [state] if int(of) == group else []
    return sum(state not in 'ZX' for state in states)


def test_a_run_longer_than_the_limit_goes_on_in_pieces(run):
    runs = [one('full', {'stub.late': True}), one('other', JOINT)]
    words = ('--only', 'full', '--time-limit', 0.1)
    told = run(runs, *words)
    assert 'full, seed 0: stopped, 4 of 8 iterations' in told
    told = run(runs, '--jobs', 1)
    assert read('full/seed0/result.json')['iterations'] == 8
    assert calls()[0] == 'train full 0 new'
    # What was begun comes first.
    resumed = calls().index('train full 0 resume')
    assert resumed < calls().index('train other 0 new')


def test_time_is_up(run):
    told = run(HANGS, '--time-limit', 0.05)
    assert 'full, seed 0: stopped, the training' in told
    run(HANGS)
    assert calls()[1] == 'train full 0 resume'


def test_a_dry_run_says_how_far_it_is(run):
    like = one('like', budget=dict(compute_of='full'))
    unknown = one('unknown', budget=dict(cpu_seconds=99)) | dict(config='o.py')
    runs = [*TWO, like, unknown]

    def rows():
        told = run(runs, '--dry-run')
        return [line.split() for line in told.splitlines()]

    assert ['full', '1', 'new', '16', 'clips'] in rows()
    assert ['unknown', '0', 'new', '99', 'cpu_seconds'] in rows()
    assert not Path('out').exists() and not calls()
    run(runs, '--only', 'full')
    assert ['full', '1', 'done', '16', 'clips'] in rows()
    assert ['like', '0', 'new', 'compute_of', 'full'] in rows()


@pytest.mark.parametrize(
    'words',
    [
        ['--jobs', '0'],
        ['--time-limit', '0'],
        ['--dry-run', '--report'],
    ],
)
def test_wrong_words_are_refused(tool, words):
    with pytest.raises(SystemExit):
        tool.parse_args(['parts', *words])


def test_an_unknown_suite_or_run_is_told(tool, explain, run):
    assert "or one of ['labels', 'parts'" in explain(tool, 'none')
    with pytest.raises(ValueError, match="no run 'x'; its runs are full"):
        run([one('full')], '--only', 'x')
