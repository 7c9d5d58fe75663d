"""The page on analysis says what the tools do."""

import argparse
import importlib.util
import re
import shlex

import pytest

from hero_mm.evaluation import breakdown
from hero_mm.evaluation.comparison import SAMPLES
from hero_mm.visualization.report_tables import FEW_VIDEOS

TOOLS = (
    'tools/analysis_tools/analyze_logs.py',
    'tools/analysis_tools/analyze_results.py',
    'tools/analysis_tools/benchmark.py',
    'tools/analysis_tools/check_dataset.py',
    'tools/analysis_tools/dataset_stats.py',
    'tools/analysis_tools/print_config.py',
    'tools/model_converters/publish_model.py',
    'tools/visualizations/browse_dataset.py',
    'tools/visualizations/vis_scheduler.py',
)


@pytest.fixture(scope='module')
def page(repo_root):
    return (repo_root / 'docs' / 'analysis.md').read_text()


def commands(page):
    """Words of every command in the blocks of the page."""
    blocks = re.findall(r'^```(\w*)\n(.*?)^```$', page, re.DOTALL | re.M)
    for block in [text for language, text in blocks if not language]:
        for line in block.replace('\\\n', ' ').splitlines():
            yield shlex.split(line)


def test_every_tool_has_a_command(page):
    assert {words[1] for words in commands(page)} == set(TOOLS)
    assert all(words[0] == 'python' for words in commands(page))


@pytest.mark.parametrize('tool', TOOLS)
def test_the_commands_are_understood(page, repo_root, tool, monkeypatch):
    spec = importlib.util.spec_from_file_location('told', repo_root / tool)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # Folders of videos are looked for when the command line is read.
    monkeypatch.setattr('pathlib.Path.is_dir', lambda path: True)
    told = [words[2:] for words in commands(page) if words[1] == tool]
    assert told
    if hasattr(module, 'parse_args'):
        for words in told:
            module.parse_args(words)
        return
    # The command line is read in main: stop there.
    read = argparse.ArgumentParser.parse_args

    def stop(parser, words):
        raise KeyboardInterrupt(read(parser, words))

    monkeypatch.setattr('argparse.ArgumentParser.parse_args', stop)
    for words in told:
        with pytest.raises(KeyboardInterrupt, match='Namespace'):
            module.main(words)


def test_the_example_runs(page):
    (example,) = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    names = {}
    exec(example, names)
    assert names['split'].true_span.summary()['m_vIoU'] == 1
    assert names['split'].predicted.summary()['m_vIoU'] == 0.75


def test_the_numbers_are_those_of_the_code(page):
    def listed(edges):
        return ', '.join(f'{edge:g}' for edge in edges)

    assert f'({listed(breakdown.SPAN_EDGES)} s)' in page
    assert f'({listed(breakdown.AREA_EDGES)} %' in page
    assert f'({listed(breakdown.VIDEO_EDGES)} s)' in page
    assert f'{SAMPLES:,} times' in page
    assert f'fewer than {FEW_VIDEOS} videos' in page
    assert breakdown.MOST_NAMES == 12 and 'eleven most frequent' in page
