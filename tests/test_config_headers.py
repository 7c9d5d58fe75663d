"""The first lines of the large configs say what holds of them."""

import re
import shlex

import pytest
from mmengine.config import Config

from hero_mm.datasets.converters.summary import official_counts

GPUS = 8
# Config to its data set.
LARGE = {
    'hero_vidstg': 'vidstg',
    'hero_vidstg-hcstvg': 'vidstg',
    'hero_hcstvg': 'hcstvg',
    'hero_hcstvg-v2': 'hcstvg-v2',
    'hero_vid-sentence': 'vid-sentence',
    'hero_r101-roberta_200f-10e_vidstg': 'vidstg',
    'hero_r101-roberta_200f-40e_hcstvg': 'hcstvg',
    'hero_r101-roberta_200f-20e_hcstvg-v2': 'hcstvg-v2',
    'hero_r101-roberta_200f-20e_vid-sentence': 'vid-sentence',
}


@pytest.fixture(params=LARGE)
def told(request, repo_root):
    """Path, data set, lines by what they say, and the config."""
    path = repo_root / 'configs' / f'{request.param}.py'
    cfg = Config.fromfile(str(path))
    (real,) = re.findall("'./(hero/.*)'", path.read_text())
    head = (path.parent / real).read_text().partition('_base_')[0]
    text = head.replace('\\\n#', ' ').replace('\n#    ', ' ')
    lines = dict(re.findall(r'^#   ([\w ]+): +(.*)$', text, re.MULTILINE))
    lines = {name: ' '.join(line.split()) for name, line in lines.items()}
    return path, LARGE[request.param], lines, cfg


def test_commands_are_of_the_config(told, repo_root):
    path, _, lines, _ = told
    assert set(lines) == {
        *('data', 'train', 'one GPU', 'test', 'hardware', 'computed')
    }
    (page, section) = re.findall(r'(docs/.*), section (.*)', lines['data'])[0]
    assert f'### {section}\n' in (repo_root / page).read_text()
    (flops,) = re.findall(
        r'python tools/\S+/get_flops.* configs/\S+', told[2]['computed']
    )
    for command in (lines['train'], lines['one GPU'], lines['test'], flops):
        words = shlex.split(command)
        assert (repo_root / words[1]).is_file()
        assert words[2] == f'configs/{path.name}'


def test_sizes_and_numbers_are_those_of_the_config(told, load_tool):
    _, dataset, lines, cfg = told
    get_flops = load_tool('analysis_tools/get_flops')
    shape = re.findall(r'--shape ((?:\d+ ?)+)', lines['computed'])
    frames, height, width = get_flops.clip_shape(
        [int(size) for size in shape[0].split()[:4]] if shape else None, cfg
    )
    assert f' a clip of {frames} frames ' in lines['computed']
    resize = get_flops.test_steps(cfg)['ResizeClip']
    assert (height, width) == (resize['short_side'], resize['max_long'])
    batch = cfg.train_dataloader.batch_size
    each = 'a clip each' if batch == 1 else f'{batch} clips each'
    assert lines['hardware'].endswith(each)
    step = GPUS * batch
    assert cfg.auto_scale_lr.base_batch_size == step * cfg.optim_wrapper.get(
        'accumulative_counts', 1
    )
    iterations, told_step, clips = (
        int(number.replace(',', ''))
        for number in re.search(
            r'([\d,]+) iterations an epoch: (\d+) clips each, of (?:about )?'
            r'([\d,]+)',
            lines['computed'],
        ).groups()
    )
    assert told_step == step
    captions = official_counts(dataset, 'train')['declarative']
    if dataset == 'vidstg':
        # Captions share clips, as in val.
        assert (
            f'{captions:,} captions; the 3,996 of val have 2,048'
            in (lines['computed'])
        )
        wanted = captions * 2048 / 3996
        if cfg.train_dataloader.dataset.type == 'ConcatDataset':
            other = official_counts('hcstvg', 'train')['declarative']
            assert f'and the {other:,} of HC-STVG' in lines['computed']
            wanted += other
        assert clips == pytest.approx(wanted, rel=5e-3)
        assert iterations == pytest.approx(clips / step, rel=5e-3)
    else:
        assert clips == captions
        assert cfg.train_dataloader.drop_last
        assert iterations == clips // step
