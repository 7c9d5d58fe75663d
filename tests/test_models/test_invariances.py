"""What must not change the answer: neighbours in the batch, order, truth."""

import copy

import pytest
import torch

HALF = dict(depth='reason', keep_ratio=0.5)
VARIANTS = {
    'whole': {},
    'no linker': dict(linker=None),
    'no linker, few regions': dict(
        linker=None, proposal_generator=dict(min_score=0.02)
    ),
    'few regions': dict(proposal_generator=dict(min_score=0.02)),
    'more regions than a small clip has': dict(
        max_regions=20,
        linker=dict(num_slots=20),
        proposal_generator=dict(num_proposals=40),
    ),
    'no neck': dict(neck=None),
    'no action head': dict(action_head=None, retrieval=None),
    'joint attention': dict(
        neck=dict(attention='joint'), region_encoder=dict(attention='joint')
    ),
    'half of the frames': dict(retrieval=HALF),
    'half of the frames, no neck': dict(retrieval=HALF, neck=None),
    'third of the frames': dict(retrieval=dict(HALF, keep_ratio=0.3)),
    'one size': dict(
        region_encoder=dict(scales=(1.25,), levels=(-1,)),
        neck=dict(num_sizes=1),
    ),
    'large windows': dict(
        neck=dict(temporal_window=6), region_encoder=dict(temporal_window=6)
    ),
    'span by agreement': dict(tube_head=dict(expected_iou=True)),
}


@pytest.fixture
def build(build_hero):
    """Function: a model that finds regions although it is not trained."""

    def make(**changes):
        changes = copy.deepcopy(changes)
        found = {'min_score': 0.0, **changes.pop('proposal_generator', {})}
        return build_hero(shake=0.15, proposal_generator=found, **changes)

    return make


@pytest.fixture(params=VARIANTS)
def model(request, build):
    return build(**VARIANTS[request.param])


def test_models_of_this_file_are_sharp(build, make_clip, predict):
    """The tests below could not fail if every answer were the same."""
    model = build()
    one, other = predict(model, make_clip(6), make_clip(6, seed=3))
    for name in one.keys():  # noqa: SIM118
        # See the tolerance of same_predictions.
        enough = 0.01 * one[name].abs().max()
        if name in ('bboxes', 'spans'):
            enough = 0.01
        assert (one[name] - other[name]).abs().max() > enough, name
        if name != 'bboxes':
            assert (one[name][0] - one[name][1]).abs().max() > enough, name


def test_beside_a_longer_clip(model, make_clip, predict, same_predictions):
    clip, longer = make_clip(4), make_clip(11, seed=1)
    (alone,) = predict(model, clip)
    beside, _ = predict(model, clip, longer)
    same_predictions(beside, alone)


@pytest.mark.parametrize('size', [(16, 24), (19, 30)])
def test_beside_a_larger_clip(
    size, model, make_clip, predict, same_predictions
):
    clip, larger = make_clip(4, size), make_clip(4, (48, 40), seed=1)
    (alone,) = predict(model, clip)
    _, beside = predict(model, larger, clip)
    same_predictions(beside, alone)


def test_sentence_alone_or_among_others(
    model, make_clip, predict, same_predictions
):
    texts = [
        'what grows ?',
        'the blue circle that is beside the square turns and stops .',
        'the red square moves left',
    ]
    (all_three,) = predict(model, make_clip(5, texts=texts))
    for place, text in enumerate(texts):
        (alone,) = predict(model, make_clip(5, texts=[text]))
        same_predictions(all_three, alone, slice(place, place + 1))


def test_truth_is_not_read(model, make_clip, predict, same_predictions):
    """Other truth, and no truth at all, give the same tubes."""
    clip = make_clip(5)
    (usual,) = predict(model, clip)
    changed = copy.deepcopy(clip)
    sample = changed['data_samples']
    sample.gt_queries.spans += 3
    sample.gt_queries.bboxes *= 0.5
    sample.gt_queries.valid = ~sample.gt_queries.valid
    sample.gt_tracks.bboxes *= 0.5
    sample.set_metainfo(
        dict(tracks_complete=False, video_predicates=[], spans_known=False)
    )
    (other,) = predict(model, changed)
    same_predictions(other, usual, atol=0)
    blind = make_clip(5, truth=False, tracks=False, negatives=False)
    for name in blind['data_samples'].all_keys():
        assert 'gt' not in name
    # What only a trained eye knows must not be needed either.
    del blind['data_samples'].queries.predicates
    del blind['data_samples'].queries.query_types
    (without,) = predict(model, blind)
    same_predictions(without, usual, atol=0)


def test_encode_once_and_ask_many_times(
    model, make_clip, collate, predict, same_predictions
):
    texts = ['what grows ?', 'the red square moves left']
    clip = make_clip(5, texts=texts)
    (together,) = predict(model, clip)
    with torch.no_grad():
        inputs = collate(model, clip)['inputs']
        regions = model.encode_video(inputs)
        for place, text in enumerate(texts):
            sample = make_clip(5, texts=[text], truth=False)['data_samples']
            (answer,) = model.ground(regions, [sample])
            row = slice(place, place + 1)
            same_predictions(together, answer.pred_queries, row)


def test_losses_do_not_depend_on_padding(build, make_clip, collate):
    """A clip teaches the same alone and padded to twice its size."""
    small = build(jitter=0.0)
    large = build(jitter=0.0, data_preprocessor=dict(pad_size_divisor=64))
    clip = make_clip(3, (32, 32))
    batches = [collate(model, clip) for model in (small, large)]
    assert [b['inputs']['imgs'].shape[-1] for b in batches] == [32, 64]
    alone, padded = (small(**batch, mode='loss') for batch in batches)
    for key, value in alone.items():
        torch.testing.assert_close(
            padded[key], value, atol=1e-4, rtol=1e-4, msg=key
        )
