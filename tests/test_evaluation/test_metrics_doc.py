"""The page on metrics says what the code does."""

import re

from hero_mm.evaluation.functional import PROTOCOLS


def test_python_example_runs(repo_root):
    page = (repo_root / 'docs' / 'metrics.md').read_text()
    (example,) = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    names = {}
    exec(example, names)
    record = names['score_tubes'](
        {'q0': names['truth']}, {'q0': names['guess']}
    ).records()['q0']
    assert record['tiou'] == 55.5 / 60
    # 38 of 42 pixels overlap; the grid sees 30, 35, ... 85.
    assert abs(record['gt_viou'] - 38 / 42) < 1e-12
    assert abs(record['viou'] - 11 / 12 * 38 / 42) < 1e-12


def test_every_protocol_has_a_column(repo_root):
    page = (repo_root / 'docs' / 'metrics.md').read_text()
    (header,) = re.findall(r'^\| \| `tubedetr`.*$', page, re.MULTILINE)
    assert re.findall(r'`(\w+)`', header) == list(PROTOCOLS)
