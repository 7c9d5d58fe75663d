# What each part of HERO is worth: all of it against all but one part.
#   python tools/analysis_tools/ablate.py parts --dry-run
#   python tools/analysis_tools/ablate.py parts --time-limit 30
# Two seeds; at equal clips, and at the seconds that the whole model takes.
SHAPES = 'configs/hero_shapes.py'
LONG = 'configs/hero_shapes-long.py'
RPN = 'configs/hero_rpn_shapes.py'
SEEDS = (0, 1)
# Three epochs.
CLIPS = 13500
LONG_CLIPS = 6000
# A run is one process: its batch is that of the two of the README.
BATCH = {SHAPES: 8, RPN: 8, LONG: 4}

# Changes of the config by name of the run.
PARTS = {
    # The tube term of the head goes with it.
    'no_action_head': {
        'model.action_head': None,
        'model.retrieval': None,
        'model.tube_head.loss_tube': None,
    },
    # How deep retrieval goes in training: the whole model leaves frames out of
    # the reasoning in every second step; here it leaves out none, or shows
    # them to the first layers alone. At test time all go on: see `retrieval`.
    'weigh': {'model.retrieval.depth': 'weigh'},
    'scout': {'model.retrieval.depth': 'scout'},
    # The action head learns which frames show it from true spans.
    'spans': {'model.action_head.supervision': 'span'},
    'scout_spans': {
        'model.retrieval.depth': 'scout',
        'model.action_head.supervision': 'span',
    },
    'joint': {
        'model.neck.attention': 'joint',
        'model.region_encoder.attention': 'joint',
    },
    # The layers over regions, without words, go with it.
    'no_reasoning': {'model.neck': None, 'model.region_encoder.num_layers': 0},
    # One size, from the coarsest level.
    'no_pyramid': {
        'model.region_encoder.scales': (1.25,),
        'model.region_encoder.levels': (-1,),
        'model.neck.num_sizes': 1,
    },
    # Colours are those that the features hold.
    'no_colours': {'model.region_encoder.colour_points': 0},
    'no_shift': {
        'model.neck.shift': False,
        'model.region_encoder.shift': False,
    },
    'no_linking': {'model.linker': None},
    'no_words': {'model.neck.words': False},
}
# Of the others a clip costs about as much as of the whole model.
OF_OTHER_COST = ('scout', 'joint', 'no_reasoning')
LONG_OF_OTHER_COST = ('joint', 'no_reasoning')
ON_LONG = (*LONG_OF_OTHER_COST, 'scout')


def run(name: str, config: str, options: dict, budget: dict) -> dict:
    """A run at both seeds, compared to the whole model on the same data."""
    full = 'full-long' if config == LONG else 'full'
    return dict(
        name=name,
        config=config,
        options={'train_dataloader.batch_size': BATCH[config], **options},
        seeds=SEEDS,
        budget=budget,
        compare_to=None if name == full else full,
    )


def trained(clips: int, of: str = '') -> dict:
    """So many clips, or as long as another run."""
    return dict(compute_of=of) if of else dict(clips=clips)


runs = [
    run('full', SHAPES, {}, trained(CLIPS)),
    *(run(k, SHAPES, v, trained(CLIPS)) for k, v in PARTS.items()),
    run('rpn', RPN, {}, trained(CLIPS)),
    *(
        run(f'{k}-compute', SHAPES, PARTS[k], trained(0, 'full'))
        for k in OF_OTHER_COST
    ),
    run('rpn-compute', RPN, {}, trained(0, 'full')),
    run('full-long', LONG, {}, trained(LONG_CLIPS)),
    *(run(f'{k}-long', LONG, PARTS[k], trained(LONG_CLIPS)) for k in ON_LONG),
    *(
        run(f'{k}-long-compute', LONG, PARTS[k], trained(0, 'full-long'))
        for k in LONG_OF_OTHER_COST
    ),
]
comparisons = [
    dict(title='Equal clips', rows=['full', *PARTS, 'rpn']),
    dict(
        title='Equal compute',
        rows=[
            'full',
            *(f'{k}-compute' for k in OF_OTHER_COST),
            'rpn-compute',
        ],
    ),
    dict(
        title='Long clips, equal clips',
        rows=['full-long', *(f'{k}-long' for k in ON_LONG)],
    ),
    dict(
        title='Long clips, equal compute',
        rows=['full-long', *(f'{k}-long-compute' for k in LONG_OF_OTHER_COST)],
    ),
]
