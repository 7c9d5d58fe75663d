"""Stands in for tools/train.py, tools/test.py and the measuring of costs.

A config is plain Python here (``write_data`` writes one), and ``stub`` in it
says what happens: how good the answers are at each seed, what a clip costs,
and what goes wrong.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

CONFIG = """
train_dataloader = dict(batch_size=2)
test_dataloader = dict(dataset=dict(ann_file={annotation!r}))
test_evaluator = dict(type='TubeMetric', protocol='tubedetr')
test_cfg = dict()
train_cfg = dict(by_epoch=True, max_epochs=2)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=0.1, total_steps=2, by_epoch=True,
         convert_to_iter_based=True)]
default_hooks = dict(checkpoint=dict(type='CheckpointHook'))
stub = dict(
    calls={calls!r}, cost=0.5,
    ends=dict(seed0=[8, 8, 4], seed1=[10, 6, 2]))
"""


def write_data(folder):
    """A config, and an annotation of two videos with 2 + 1 queries.

    Each has an object, and sentences about its first ten frames.
    """
    boxes = {str(frame): [0, 0, 10, 10] for frame in range(20)}
    video = dict(path='x.mp4', frame_count=20, fps=5.0, width=20, height=20)
    video['tracks'] = {'0': dict(category='a', boxes=boxes)}
    query = dict(text='a box', type='declarative', span=[0, 10], track_id='0')
    annotation = dict(
        metainfo=dict(format='hero_mm/1', dataset='toy', split='test'),
        videos=dict(v0=video, v1=video),
        data_list=[
            dict(
                video_id=name,
                segment=[0, 20],
                queries=[dict(query, query_id=one) for one in ids],
            )
            for name, ids in (('v0', '01'), ('v1', '2'))
        ],
    )
    (folder / 'test.json').write_text(json.dumps(annotation))
    (folder / 'c.py').write_text(
        CONFIG.format(
            annotation=str(folder / 'test.json'),
            calls=str(folder / 'calls.txt'),
        )
    )


def value_of(words, flag):
    return words[words.index(flag) + 1] if flag in words else None


def train(cfg, words):
    stub, work_dir = cfg['stub'], Path(value_of(words, '--work-dir'))
    seed = int(value_of(words, '--seed'))
    with open(stub['calls'], 'a') as file:
        file.write(f'train {work_dir.parent.parent.name} {seed} ')
        file.write(f'{"resume" if "--resume" in words else "new"}\n')
    if stub.get('fails'):
        sys.exit(f'\nerror: {stub["fails"]}')
    work_dir.mkdir(parents=True, exist_ok=True)
    iterations = cfg['train_cfg']['max_iters']
    batch = cfg['train_dataloader']['batch_size']
    warmup = cfg['custom_hooks'][-2]['warmup']
    # An epoch has four iterations.
    late = os.environ.get('HERO_MM_STOP_AT') and stub.get('late')
    early = stub.get('hangs') or stub.get('early') or late
    first = 4 if early else iterations
    if '--resume' in words:
        assert (work_dir / 'last_checkpoint').is_file()
        first = iterations
    for done in (*range(4, first, 4), first):
        points = [
            dict(
                cost(step, batch, stub, 0),
                scores={'tube/m_vIoU': step / 100, 'tube/a/m_vIoU': 1.0},
            )
            for step in (*range(4, done, 4), done)
        ]
        spent = cost(done - warmup, batch, stub, warmup)
        spent.update(max_iters=iterations, device='cpu', points=points)
        checkpoint = work_dir / f'iter_{done}.pth'
        checkpoint.write_text(json.dumps(dict(seed=seed)))
        (work_dir / 'last_checkpoint').write_text(str(checkpoint))
        (work_dir / 'training_cost.json').write_text(json.dumps(spent))
    if stub.get('hangs') and '--resume' not in words:
        # As a data worker that outlives it.
        subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
        time.sleep(60)


def cost(iterations, batch, stub, warmup):
    clips = iterations * batch
    seconds = clips * stub['cost']
    return dict(
        iterations=iterations,
        step=iterations + warmup,
        clips=clips,
        cpu_seconds=seconds,
        wall_seconds=seconds / 2,
    )


def predict(cfg, words):
    stub = cfg['stub']
    seed = json.loads(Path(words[1]).read_text())['seed']
    with open(stub['calls'], 'a') as file:
        file.write(f'test {Path(words[0]).parent.name} {seed}\n')
    boxes = {str(frame): [0, 0, 10, 10] for frame in range(20)}
    predictions = {
        str(place): dict(span=[0, end], boxes=boxes)
        for place, end in enumerate(stub['ends'][f'seed{seed}'])
    }
    dump = Path(value_of(words, '--dump'))
    dump.write_text(json.dumps(dict(metainfo={}, predictions=predictions)))
    ends = stub['ends'][f'seed{seed}']
    mean = sum(ends) / len(ends) / 10
    log = Path(value_of(words, '--work-dir')) / '0'
    log.mkdir(parents=True)
    scores = {'tube/m_tIoU': mean, 'tube/m_vIoU': mean, 'time': 1.0}
    (log / '0.json').write_text(json.dumps(scores))


def measure(cfg, words):
    if cfg['stub'].get('no_cost'):
        sys.exit('\nerror: this model cannot be counted')
    found = dict(params=1234567, flops=2.5e9, ms=12.5, errors={})
    Path(words[2]).write_text(json.dumps(found))


if __name__ == '__main__':
    action, *words = sys.argv[1:]
    cfg: dict = {}
    exec(Path(words[0]).read_text(), cfg)
    dict(train=train, test=predict, cost=measure)[action](cfg, words)
