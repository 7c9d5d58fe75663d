# What the contrastive action head is worth where few videos have spans.
#   python tools/analysis_tools/ablate.py labels --dry-run
# Needs the runs `full` and `no_action_head` of the suite `parts`. Videos
# without spans keep their tracks; what is derived from spans is off for them.
SHAPES = 'configs/hero_shapes.py'
CLIPS = 13500
SHARES = (0.1, 0.05)
HEADS = {
    'with': ('parts/full', {}),
    'without': (
        'parts/no_action_head',
        {
            'model.action_head': None,
            'model.retrieval': None,
            'model.tube_head.loss_tube': None,
        },
    ),
}

runs = [
    dict(
        name=f'{head}-100',
        budget=dict(trained=source),
        facts=dict(labelled=100.0),
    )
    for head, (source, _) in HEADS.items()
]
runs += [
    dict(
        name=f'{head}-{100 * share:g}',
        config=SHAPES,
        options={
            'train_dataloader.batch_size': 8,
            'train_dataloader.dataset.span_share': share,
            **options,
        },
        budget=dict(clips=CLIPS),
        facts=dict(labelled=100 * share),
    )
    for share in SHARES
    for head, (_, options) in HEADS.items()
]
PERCENT = [100, *(100 * share for share in SHARES)]
comparisons = [
    dict(
        title=f'Spans on {percent:g} % of the videos',
        rows=[f'with-{percent:g}', f'without-{percent:g}'],
        reference=f'with-{percent:g}',
    )
    for percent in PERCENT
]
plots = [
    dict(
        title='Score against labelled videos',
        x='labelled',
        x_label='videos with spans, in percent',
        series={
            f'{head} the action head': tuple(
                f'{head}-{percent:g}' for percent in PERCENT
            )
            for head in HEADS
        },
    )
]
