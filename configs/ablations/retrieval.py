# What is lost where frames are left out, beside models that see fewer.
#   python tools/analysis_tools/ablate.py retrieval --dry-run
# Needs the runs `full`, `spans`, `scout` and `scout_spans` of `parts`, and of
# the long clips `full-long` and `scout-long`.
from collections.abc import Callable

SHAPES = 'configs/hero_shapes.py'
CLIPS = 13500
FRAMES = 16
SHARES = (0.25, 0.5, 0.75, 1.0)
# Of these a clip has one sentence, or all of its sentences: what one of them
# needs is kept for all.
ONE = {'test_dataloader.dataset.max_queries': 1}
ASKED = {'all': {}, 'one': ONE}
# What lies on the x axis: the share that is asked for. Where a test logs the
# share that is left after union and margin, its name stands here.
SHARE = 'share'


def tests(options_of: Callable[[float], dict]) -> list[dict]:
    """A test a share and way to ask."""
    return [
        dict(
            name=f'{asked}-{share:g}',
            options={**options_of(share), **more},
            facts=dict(share=share),
        )
        for asked, more in ASKED.items()
        for share in SHARES
    ]


def kept(share: float) -> dict:
    """The model leaves frames out."""
    return {'model.retrieval.keep_ratio': share}


def sampled(frames: int) -> dict:
    """The model sees every n-th frame."""
    changed = {
        f'{name}_dataloader.dataset.pipeline.0.num_frames': frames
        for name in ('train', 'val', 'test')
    }
    return {'train_dataloader.batch_size': 8, **changed}


# Of the reasoning, or of the layers behind the first ones; the model that was
# trained so.
DEPTHS = {
    'drop': 'full',
    'drop_spans': 'spans',
    'scout': 'scout',
    'scout_spans': 'scout_spans',
}
ON_LONG = {'drop-long': 'full-long', 'scout-long': 'scout-long'}
FEWER = (12, 8, 4)

runs = [
    dict(
        name='full',
        budget=dict(trained='parts/full'),
        tests=[
            dict(name='all', facts=dict(share=1.0)),
            dict(name='one', options=ONE, facts=dict(share=1.0)),
        ],
    ),
    *(
        dict(
            name=depth,
            budget=dict(trained=f'parts/{model}'),
            tests=tests(kept),
        )
        for depth, model in {**DEPTHS, **ON_LONG}.items()
    ),
    *(
        dict(
            name=f'frames-{frames}',
            config=SHAPES,
            options=sampled(frames),
            budget=dict(clips=CLIPS),
            facts=dict(share=frames / FRAMES),
            tests=[dict(name='all'), dict(name='one', options=ONE)],
        )
        for frames in FEWER
    ),
]
_fewer = [f'frames-{frames}' for frames in FEWER]
comparisons = [
    dict(
        title=title,
        reference=f'full/{asked}',
        rows=[
            f'full/{asked}',
            *(f'{d}/{asked}-{s:g}' for d in DEPTHS for s in SHARES),
            *(f'{name}/{asked}' for name in _fewer),
        ],
    )
    for title, asked in (
        ('All sentences of a clip', 'all'),
        ('One sentence', 'one'),
    )
]
comparisons += [
    dict(
        title=f'Long clips, {title}',
        reference=f'drop-long/{asked}-1',
        rows=[f'{d}/{asked}-{s:g}' for d in ON_LONG for s in SHARES[::-1]],
    )
    for title, asked in (
        ('all sentences of a clip', 'all'),
        ('one sentence', 'one'),
    )
]
plots = [
    dict(
        title=f'Score against {what}, {title}',
        x=x,
        x_label=label,
        series={
            **{d: tuple(f'{d}/{asked}-{s:g}' for s in SHARES) for d in DEPTHS},
            'every n-th frame': (
                f'full/{asked}',
                *(f'{name}/{asked}' for name in _fewer),
            ),
        },
    )
    for asked, title in (('all', 'all sentences'), ('one', 'one sentence'))
    for x, what, label in (
        (SHARE, 'share of frames', 'share of the frames'),
        # The scout is among them.
        ('gflops', 'FLOPs', ''),
    )
]
