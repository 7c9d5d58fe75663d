"""What must not change the answer: neighbours in the batch, order, truth."""

import copy

import pytest
import torch

from hero_mm.models.pruning import select_frames
from hero_mm.registry import MODELS

VARIANTS = {
    'whole': {},
    'strong links': dict(tube_head=dict(link_weight=8.0)),
    'no neck': dict(neck=None),
    'no action head': dict(action_head=None),
    'joint attention': dict(neck=dict(attention='joint')),
    'half of the frames': dict(keep_ratio=0.5),
    'some regions': dict(max_regions=5),
    # More than the smallest clip has, fewer than the largest.
    'most regions': dict(max_regions=12),
    'no details': dict(region_detail=None),
    'third of the frames': dict(keep_ratio=0.3),
    'large windows': dict(neck=dict(spatial_window=3, temporal_window=4)),
    'span by agreement': dict(tube_head=dict(expected_iou=True)),
}


@pytest.fixture(params=VARIANTS)
def model(request, build_hero):
    return build_hero(shake=0.12, **VARIANTS[request.param])


def test_models_of_this_file_are_sharp(build_hero, make_clip, predict):
    """The tests below could not fail if every answer were the same."""
    model = build_hero(shake=0.12)
    one, other = predict(model, make_clip(6), make_clip(6, seed=3))
    for name in one.keys():  # noqa: SIM118
        # See the tolerance of same_predictions.
        enough = 0.01 * one[name].abs().max()
        if name in ('bboxes', 'spans'):
            enough = 0.01
        assert (one[name] - other[name]).abs().max() > enough, name
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


def test_one_frame_beside_many(model, make_clip, predict, same_predictions):
    clip = make_clip(1, (24, 24))
    (alone,) = predict(model, clip)
    _, beside = predict(model, make_clip(7, seed=1), clip)
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


def test_order_of_clips(model, make_clip, predict, same_predictions):
    clips = [make_clip(3 + i, (24 + 8 * i, 32), seed=i) for i in range(3)]
    forth = predict(model, *clips)
    back = predict(model, *clips[::-1])
    for one, other in zip(forth, back[::-1]):
        same_predictions(one, other)


def test_truth_is_not_read(model, make_clip, predict, same_predictions):
    """Other truth, and no truth at all, give the same tubes."""
    clip = make_clip(5)
    (usual,) = predict(model, clip)
    changed = copy.deepcopy(clip)
    truth = changed['data_samples'].gt_queries
    truth.spans += 3
    truth.bboxes *= 0.5
    truth.valid = ~truth.valid
    changed['data_samples'].gt_tracks.bboxes *= 0.5
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
        video = model.encode_video(inputs)
        for place, text in enumerate(texts):
            sample = make_clip(5, texts=[text], truth=False)['data_samples']
            (answer,) = model.ground(video, [sample])
            row = slice(place, place + 1)
            same_predictions(together, answer.pred_queries, row)


def test_loss_of_a_clip_ignores_padded_frames(build_hero, make_clip, collate):
    """Junk on padded frames of the batch must not reach any loss."""
    model = build_hero()
    batch = collate(model, make_clip(3), make_clip(6, seed=1))
    losses = model(**batch, mode='loss')
    batch['inputs']['imgs'][0, 3:] = 5.0
    with_junk = model(**batch, mode='loss')
    for key, value in losses.items():
        torch.testing.assert_close(with_junk[key], value, msg=key)


def test_loss_ignores_padded_pixels(build_hero, make_clip, collate):
    model = build_hero()
    clips = make_clip(3, (16, 24)), make_clip(3, (40, 32), seed=1)
    batch = collate(model, *clips)
    losses = model(**batch, mode='loss')
    batch['inputs']['imgs'][0, :, :, 24:] = 5.0
    batch['inputs']['imgs'][0, :, :, :, 16:] = -5.0
    with_junk = model(**batch, mode='loss')
    for key, value in losses.items():
        torch.testing.assert_close(with_junk[key], value, msg=key)


def test_losses_do_not_depend_on_padding(build_hero, make_clip, collate):
    """A clip teaches the same alone and padded to twice its size."""
    small = build_hero()
    large = build_hero(data_preprocessor=dict(pad_size_divisor=64))
    clip = make_clip(3, (32, 32))
    batches = [collate(model, clip) for model in (small, large)]
    assert [b['inputs']['imgs'].shape[-1] for b in batches] == [32, 64]
    alone, padded = (small(**batch, mode='loss') for batch in batches)
    for key, value in alone.items():
        torch.testing.assert_close(
            padded[key], value, atol=1e-4, rtol=1e-4, msg=key
        )


def test_motion_is_seen(build_hero, make_clip, predict):
    """Frames in another order are another video, also for a short span."""
    model = build_hero(shake=0.12)
    clip = make_clip(6)
    (forth,) = predict(model, clip)
    clip['inputs'] = clip['inputs'].flip(0)
    (back,) = predict(model, clip)
    assert (forth.bboxes - back.bboxes.flip(1)).abs().max() > 0.1


def test_same_seed_same_model(build_hero, make_clip, predict):
    clip = make_clip(4)
    (one,), (two,) = predict(build_hero(7), clip), predict(build_hero(7), clip)
    (other,) = predict(build_hero(8), clip)
    assert torch.equal(one.bboxes, two.bboxes)
    assert not torch.equal(one.bboxes, other.bboxes)


def test_config_is_left_as_it_was(hero_config):
    config = hero_config()
    before = copy.deepcopy(config)
    MODELS.build(config)
    assert config == before


@torch.no_grad()
def test_frames_left_out_are_as_if_never_sampled(
    build_hero, make_clip, collate
):
    """Reasoning on the kept frames is reasoning on a shorter clip."""
    clip = make_clip(8, texts=['what grows ?'])
    pruned, whole = build_hero(keep_ratio=0.5), build_hero()
    batch = collate(pruned, clip)
    (told,) = pruned(**batch, mode='predict')
    video = whole.encode_video(batch['inputs'])
    degree = told.pred_queries.action_consistency[0]
    kept = degree.topk(4).indices.sort().values
    assert kept.tolist() not in ([0, 1, 2, 3], [4, 5, 6, 7])
    short = make_clip(8, texts=['what grows ?'], truth=False)['data_samples']
    short.set_metainfo(dict(frame_inds=short.frame_inds[kept.numpy()]))
    (wanted,) = whole.ground(select_frames(video, kept[None]), [short])
    for name in ('spans', 'span_scores'):
        torch.testing.assert_close(
            told.pred_queries[name], wanted.pred_queries[name]
        )
    torch.testing.assert_close(
        told.pred_queries.bboxes[:, kept], wanted.pred_queries.bboxes
    )
