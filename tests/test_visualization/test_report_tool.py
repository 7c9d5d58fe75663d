"""What the report command takes from a training, and what it refuses."""

import pytest
from mmengine.config import Config

from hero_mm.datasets.source import dataset_config, dataset_paths


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('analysis_tools/report')


def test_predictions_of_another_model_are_refused(tool, tmp_path):
    run = tmp_path / 'run'
    for metainfo in ({}, dict(checkpoint='best.pth')):
        tool.check_own(run, metainfo)
    with pytest.raises(ValueError, match='analyze_results.py reports'):
        tool.check_own(run, dict(checkpoint='../other/best.pth'))


def test_the_demo_writes_guesses_where_its_report_looks(repo_root):
    cfg = Config.fromfile(repo_root / 'configs/hero_shapes.py')
    ann_file, _ = dataset_paths(dataset_config(cfg, 'test'))
    text = (repo_root / 'Makefile').read_text()
    assert f'ORACLES := {ann_file.with_suffix(".oracles.json")}\n' in text
    assert '--split test --json $(ORACLES)\n' in text


@pytest.mark.parametrize(
    'evaluator,protocol',
    [
        ([], 'tubedetr'),
        (dict(type='TubeMetric'), 'tubedetr'),
        (
            [dict(type='Other'), dict(type='TubeMetric', protocol='hcstvg')],
            'hcstvg',
        ),
    ],
)
def test_the_protocol_of_the_evaluator(tool, evaluator, protocol):
    cfg = Config(dict(test_evaluator=evaluator))
    assert tool.protocol_of(cfg) == protocol
