"""The demo script, on the model that is shipped."""

import runpy
import sys

from hero_mm.apis.package import SHIPPED


def test_the_demo(repo_root, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'out'
    flags = ['--device', 'cpu', '--out', out, '--segment', '0.4', '1.6']
    video = SHIPPED / 'example.mp4'
    argv = ['demo.py', video, 'red square', 'what moves?', *flags]
    monkeypatch.setattr(sys, 'argv', [str(part) for part in argv])
    runpy.run_path(str(repo_root / 'demo/demo.py'))['main']()
    lines = capsys.readouterr().out.splitlines()
    answers = [line for line in lines if ' score ' in line]
    assert [line.split()[-1] for line in answers] == ['square', 'moves?']
    for line in answers:
        assert 0.4 <= float(line.split()[0]) < 1.6
    assert sorted(path.name for path in out.iterdir()) == [
        f'example_{place}.{end}' for place in (0, 1) for end in ('mp4', 'png')
    ]
