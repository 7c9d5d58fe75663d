# The models of the suite `parts` on small test splits, each of which holds
# what one part should be good for.
#   python tools/analysis_tools/ablate.py probes --dry-run
PROBES = (
    'tiny',
    'huge',
    'crowded',
    'fast',
    'long-actions',
    'order',
    'look-alikes',
    'relations',
)
RUNS = (
    'full',
    'no_action_head',
    'weigh',
    'scout',
    'joint',
    'no_reasoning',
    'no_pyramid',
    'no_shift',
    'no_linking',
    'no_words',
    'rpn',
)
FOLDER = 'data/shapes/probes/'
# Made once, before the tests.
prepare = [
    dict(type='hero_mm.datasets.shapes.build_probes', out='data/shapes')
]

tests = [
    dict(
        name=probe,
        options={
            'test_dataloader.dataset.ann_file': f'{FOLDER}{probe}.json',
            'test_dataloader.dataset.data_prefix.video': (
                f'{FOLDER}vidor/video'
            ),
        },
        # The same on every probe: the first one tells it.
        cost=probe == PROBES[0],
    )
    for probe in PROBES
]
runs = [
    dict(name=name, budget=dict(trained=f'parts/{name}'), tests=tests)
    for name in RUNS
]
comparisons = [
    dict(
        title=f'Probe {probe}',
        reference=f'full/{probe}',
        rows=[f'{name}/{probe}' for name in RUNS],
    )
    for probe in PROBES
]
