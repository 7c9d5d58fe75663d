"""HERO as a whole: what goes in, what comes out, what can be switched off."""

import pytest
import torch

from hero_mm.registry import MODELS

SWITCHES = {
    'all': {},
    'no neck': dict(neck=None),
    'no action head': dict(action_head=None),
    'no neck, no action head': dict(neck=None, action_head=None),
    'no pyramid': dict(neck=dict(scales=(1,))),
    'whole frame alone': dict(neck=dict(scales=(0,))),
    'no window shift': dict(neck=dict(shift_windows=False)),
    'no channel shift': dict(neck=dict(shift_div=0)),
    'no shift': dict(neck=dict(shift_windows=False, shift_div=0)),
    'no frame tokens': dict(neck=dict(frame_tokens=False)),
    'joint attention': dict(neck=dict(attention='joint')),
    'no spatial window': dict(neck=dict(spatial_window=0)),
    'no temporal window': dict(neck=dict(temporal_window=0)),
    'no clip layers': dict(neck=dict(num_clip_layers=0)),
    'no alignment': dict(neck=dict(align=False)),
    'some regions, no alignment': dict(max_regions=5, neck=dict(align=False)),
    'no span layers': dict(tube_head=dict(num_span_layers=0)),
    'no linking': dict(tube_head=dict(link_weight=0)),
    'span by agreement': dict(tube_head=dict(expected_iou=True)),
    'half of the frames': dict(keep_ratio=0.5),
    'some regions': dict(max_regions=5),
    'some regions, no neck': dict(max_regions=5, neck=None),
    'some regions, joint': dict(max_regions=5, neck=dict(attention='joint')),
    'some regions, no clip layers': dict(
        max_regions=5, neck=dict(num_clip_layers=0)
    ),
    'some regions of half of the frames': dict(max_regions=5, keep_ratio=0.5),
    'no region layers': dict(neck=dict(num_region_layers=0)),
    'no details': dict(region_detail=None),
    'details of one frame': dict(region_detail=dict(shift_div=0)),
    'no motion': dict(
        video_encoder=dict(
            backbone=dict(
                type='ShiftConvNet',
                stem_channels=8,
                channels=(8, 16),
                num_blocks=(1, 1),
                out_indices=(0, 1),
                shift_div=0,
                motion_stem=False,
            )
        )
    ),
}


def check_tubes(sample, num_queries: int) -> None:
    """Predictions of a clip have the shapes and ranges that they promise."""
    tubes = sample.pred_queries
    num_frames = len(sample.frame_inds)
    height, width = sample.ori_shape
    assert len(tubes) == num_queries
    assert tubes.spans.shape == (num_queries, 2)
    assert tubes.bboxes.shape == (num_queries, num_frames, 4)
    assert tubes.scores.shape == (num_queries, num_frames)
    assert tubes.span_scores.shape == (num_queries,)
    assert tubes.action_consistency.shape == (num_queries, num_frames)
    low, high = tubes.spans.unbind(-1)
    assert (low < high).all()
    assert (low >= sample.segment[0]).all()
    assert (high <= sample.segment[1]).all()
    x1, y1, x2, y2 = tubes.bboxes.unbind(-1)
    assert ((x1 >= 0) & (x1 <= x2) & (x2 <= width)).all()
    assert ((y1 >= 0) & (y1 <= y2) & (y2 <= height)).all()
    for name in ('scores', 'span_scores', 'action_consistency'):
        assert ((tubes[name] >= 0) & (tubes[name] <= 1)).all()


@pytest.mark.parametrize('name', SWITCHES)
def test_every_switch_trains_and_predicts(
    name, build_hero, make_clip, collate, total_loss
):
    model = build_hero(**SWITCHES[name])
    clips = [make_clip(4), make_clip(6, (24, 32), seed=1)]
    losses, total = total_loss(model.train(), *clips)
    for key, value in losses.items():
        assert torch.isfinite(value).all(), key
    total.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    samples = model.eval()(**collate(model, *clips), mode='predict')
    for sample in samples:
        check_tubes(sample, 2)


def test_every_weight_learns(build_hero, make_clip, total_loss):
    """A matrix whose gradient is zero is a part that cannot learn."""
    model = build_hero().train()
    _, total = total_loss(model, make_clip(4), make_clip(6, seed=1))
    total.backward()
    silent = [
        name
        for name, parameter in model.named_parameters()
        if parameter.dim() > 1 and parameter.grad.abs().max() < 1e-9
    ]
    assert not silent


def test_gradients_reach_the_pixels(build_hero, make_clip, collate):
    model = build_hero().train()
    batch = collate(model, make_clip(4))
    batch['inputs']['imgs'].requires_grad_()
    losses = model(**batch, mode='loss')
    losses['loss_l1'].backward()
    assert batch['inputs']['imgs'].grad.abs().sum() > 0


def test_losses_are_named_and_summed(build_hero, make_clip, total_loss):
    losses, total = total_loss(build_hero().train(), make_clip(4))
    named = {key for key in losses if 'loss' in key}
    assert {
        'loss_location',
        'loss_match',
        'loss_early',
        'loss_l1',
        'loss_giou',
        'loss_boundary',
        'loss_offset',
        'loss_actionness',
        'loss_object',
        'loss_track_l1',
        'loss_track_giou',
        'loss_refined_l1',
        'loss_refined_giou',
        'loss_action_pair',
        'loss_action_part',
    } <= named
    torch.testing.assert_close(total, sum(losses[key] for key in named))


def test_loss_without_tracks_and_negatives(build_hero, make_clip, total_loss):
    clip = make_clip(4, negatives=False, tracks=False)
    losses, total = total_loss(build_hero().train(), clip)
    assert torch.isfinite(total)
    assert not any(
        word in key
        for key in losses
        for word in ('track', 'object', 'refined')
    )


def test_tracks_of_some_clips_alone_are_refused(
    build_hero, make_clip, total_loss
):
    clips = make_clip(4), make_clip(4, tracks=False, seed=7)
    with pytest.raises(ValueError, match="gt_tracks.*'v7'"):
        total_loss(build_hero().train(), *clips)


def test_target_without_a_visible_frame(build_hero, make_clip, total_loss):
    """No sampled frame shows the target: the box losses are zero."""
    clip = make_clip(4)
    clip['data_samples'].gt_queries.valid[:] = False
    losses, total = total_loss(build_hero().train(), clip)
    assert torch.isfinite(total)
    assert losses['loss_l1'] == losses['loss_location'] == 0
    assert losses['loss_boundary'] > 0


@pytest.mark.parametrize('num_frames', [1, 2, 5])
@pytest.mark.parametrize('size', [(32, 32), (40, 24), (33, 47), (8, 8)])
def test_any_length_and_size(
    num_frames, size, build_hero, make_clip, collate, total_loss
):
    model = build_hero()
    clip = make_clip(num_frames, size)
    _, total = total_loss(model, clip)
    assert torch.isfinite(total)
    (sample,) = model(**collate(model, clip), mode='predict')
    check_tubes(sample, 2)


def test_number_of_sentences_differs(build_hero, make_clip, collate):
    model = build_hero()
    one = make_clip(3, texts=['what grows ?'])
    three = make_clip(3, texts=['what grows ?'] * 3, seed=1)
    samples = model(**collate(model, one, three), mode='predict')
    check_tubes(samples[0], 1)
    check_tubes(samples[1], 3)


def test_tensor_mode_gives_the_raw_output(build_hero, make_clip, collate):
    model = build_hero()
    out = model(**collate(model, make_clip(4), make_clip(6)), mode='tensor')
    # Two sentences a clip, six frames, 32 pixels at stride 8.
    assert out.location_QTN.shape == (4, 6, 16)
    assert out.boxes_QTN4.shape == (4, 6, 16, 4)
    assert out.start_QT.shape == out.end_QT.shape == (4, 6)
    assert out.start_QT[:2, 4:].isneginf().all()
    assert out.start_QT[2:].isfinite().all()


def test_encode_video_shapes(build_hero, make_clip, collate):
    model = build_hero()
    batch = collate(model, make_clip(4), make_clip(6, (24, 16)))
    video = model.encode_video(batch['inputs'])
    assert video.regions_BTHWD.shape == (2, 6, 4, 4, 16)
    assert video.frame_mask_BT.sum(1).tolist() == [4, 6]
    assert video.real_BTHW.sum((1, 2, 3)).tolist() == [64, 36]
    assert video.stride == (8, 8)


def test_train_step_of_mmengine(build_hero, make_clip):
    from mmengine.optim import OptimWrapper

    model = build_hero().train()
    before = model.tube_head.location.weight.clone()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    clip = make_clip(4)
    data = dict(inputs=[clip['inputs']], data_samples=[clip['data_samples']])
    log = model.train_step(data, wrapper)
    assert log['loss'] > 0
    assert not torch.equal(before, model.tube_head.location.weight)


def test_errors_say_what_to_do(build_hero, hero_config, make_clip, collate):
    model = build_hero()
    batch = collate(model, make_clip(4))
    with pytest.raises(ValueError, match='data_samples'):
        model(batch['inputs'], None, mode='predict')
    with pytest.raises(ValueError, match="'loss', 'predict' or 'tensor'"):
        model(**batch, mode='train')
    with pytest.raises(ValueError, match=r'keep_ratio must be in \(0, 1\]'):
        MODELS.build(hero_config(keep_ratio=0.0))
    with pytest.raises(ValueError, match='needs action_head'):
        MODELS.build(hero_config(keep_ratio=0.5, action_head=None))
    with pytest.raises(ValueError, match="'hierarchical' or 'joint'"):
        MODELS.build(hero_config(neck=dict(attention='full')))
    with pytest.raises(ValueError, match='odd sides'):
        MODELS.build(hero_config(neck=dict(scales=(1, 2))))
    with pytest.raises(ValueError, match=r"\['boxes'\]"):
        MODELS.build(hero_config(tube_head=dict(loss_weights=dict(boxes=1))))
    with pytest.raises(ValueError, match='num_heads=3'):
        MODELS.build(hero_config(neck=dict(num_heads=3)))


def test_loss_weights_scale_their_loss(build_hero, make_clip, collate):
    clip = make_clip(4)
    names = (
        'location',
        'match',
        'l1',
        'giou',
        'boundary',
        'offset',
        'actionness',
    )
    usual = build_hero()
    base = usual(**collate(usual, clip), mode='loss')
    weights = {name: 3 * usual.tube_head.weights[name] for name in names}
    model = build_hero(tube_head=dict(loss_weights=weights))
    losses = model(**collate(model, clip), mode='loss')
    for name in names:
        key = f'loss_{name}'
        torch.testing.assert_close(losses[key], 3 * base[key])


@pytest.mark.parametrize('tracks', [True, False])
def test_target_that_is_not_among_the_regions(
    tracks, build_hero, make_clip, total_loss
):
    """More objects than regions, or objects that are not annotated."""
    model = build_hero(max_regions=1).train()
    clips = [make_clip(4, tracks=tracks, seed=seed) for seed in range(3)]
    losses, total = total_loss(model, *clips)
    for key, value in losses.items():
        assert torch.isfinite(value).all(), key
    total.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


def test_target_outside_of_the_frame(build_hero, make_clip, total_loss):
    clip = make_clip(4)
    clip['data_samples'].gt_queries.bboxes += 500
    clip['data_samples'].gt_tracks.bboxes += 500
    losses, total = total_loss(build_hero().train(), clip)
    assert torch.isfinite(total)
