"""HERO as a whole: what goes in, what comes out, what can be switched off."""

import pytest
import torch
from mmengine.analysis import get_model_complexity_info

from hero_mm.apis.complexity import flops_of
from hero_mm.models.heads.tube_decoding import query_edges
from hero_mm.registry import MODELS

REASON = dict(depth='reason', train_prob=1.0)
JOINT = dict(attention='joint')
ONE_SIZE = dict(levels=(-1,))
SWITCHES = {
    'all': {},
    'no neck, no action head': dict(
        neck=None, action_head=None, retrieval=None
    ),
    'no retrieval': dict(retrieval=None),
    'some frames': dict(retrieval=REASON),
    'some frames, no neck': dict(neck=None, retrieval=REASON),
    'span supervision': dict(action_head=dict(supervision='span')),
    'no linker, one region': dict(linker=None, max_regions=1),
    'no pyramid': dict(
        region_encoder=dict(scales=(1.25,), **ONE_SIZE), neck=dict(num_sizes=1)
    ),
    'whole frame alone': dict(
        region_encoder=dict(scales=(0.0,), **ONE_SIZE), neck=dict(num_sizes=1)
    ),
    'no shift': dict(neck=dict(shift=False), region_encoder=dict(shift=False)),
    'no words': dict(neck=dict(words=False)),
    'joint attention': dict(neck=JOINT, region_encoder=JOINT),
    'no layers over the clip': dict(region_encoder=dict(num_layers=0)),
    'span by agreement': dict(tube_head=dict(expected_iou=True)),
    'no tube loss': dict(tube_head=dict(loss_tube=None)),
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
        # Else two processes would wait for each other.
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    samples = model.eval()(**collate(model, *clips), mode='predict')
    for sample in samples:
        check_tubes(sample, 2)


def test_regions_are_trained_on_tracks(build_hero, make_clip, total_loss):
    clips = make_clip(4), make_clip(4, tracks=False, seed=7)
    with pytest.raises(ValueError, match="'v7' has no gt_tracks: .*LoadTubes"):
        total_loss(build_hero().train(), *clips)


def test_target_without_a_visible_frame(build_hero, make_clip, total_loss):
    """No sampled frame shows the target: there is nothing to find."""
    clip = make_clip(4)
    clip['data_samples'].gt_queries.valid[:] = False
    losses, total = total_loss(build_hero().train(), clip)
    assert torch.isfinite(total)
    assert losses['loss_location'] == losses['loss_tube'] == 0
    assert losses['loss_span'] > 0


def test_clip_without_annotated_objects(build_hero, make_clip, total_loss):
    clip = make_clip(4)
    truth, tracks = (
        clip['data_samples'].gt_queries,
        clip['data_samples'].gt_tracks,
    )
    tracks.valid[:] = truth.valid[:] = False
    losses, total = total_loss(build_hero().train(), clip)
    total.backward()
    assert losses['loss_object'] > 0 == losses['loss_object_bbox']
    assert losses['loss_region_bbox'] == losses['loss_region_l1'] == 0


def test_a_negative_is_never_true(build_hero, make_clip, total_loss):
    """What may be true of all clips and objects leaves nothing to contrast."""
    clips = [
        make_clip(4, seed=seed, negatives=False, texts=[text])
        for seed, text in enumerate(
            ['the red square moves left', 'what grows ?']
        )
    ]
    model = build_hero().train()
    losses, _ = total_loss(model, *clips)
    for name in ('loss_action_contrast', 'loss_tube'):
        assert losses[name] > 1e-2, name
    every = sorted({'moves', 'grows'})
    for clip in clips:
        sample = clip['data_samples']
        sample.set_metainfo(dict(video_predicates=every))
        sample.gt_tracks.predicates = [every] * len(sample.gt_tracks)
    losses, _ = total_loss(model, *clips)
    for name in ('loss_action_contrast', 'loss_tube'):
        assert losses[name].item() == pytest.approx(0, abs=1e-5), name


@pytest.mark.parametrize('num_frames', [1, 2, 5])
@pytest.mark.parametrize('size', [(32, 32), (40, 24), (33, 47), (8, 8)])
def test_any_length_and_size(
    num_frames, size, build_hero, make_clip, collate, total_loss
):
    model = build_hero(retrieval=dict(depth='reason', train_prob=1.0))
    clip = make_clip(num_frames, size)
    (sample,) = model(**collate(model, clip), mode='predict')
    check_tubes(sample, 2)
    # The norm of the backbone does not train on a single cell.
    model.retrieval.train()
    _, total = total_loss(model, clip)
    total.backward()
    assert torch.isfinite(total)
    assert all(p.grad.isfinite().all() for p in model.neck.parameters())


@torch.no_grad()
def test_a_clip_is_encoded_into_slots(build_hero, make_clip, collate):
    model = build_hero(proposal_generator=dict(min_score=0.0))
    batch = collate(model, make_clip(4), make_clip(6, (24, 16)))
    regions = model.encode_video(batch['inputs'])
    assert regions.boxes_BTN4.shape == (2, 6, 6, 4)
    assert regions.features_BTND.shape == (2, 6, 6, 16)
    assert regions.looks_BTNSD.shape == (2, 6, 6, 3, 16)
    assert regions.frame_mask_BT.sum(1).tolist() == [4, 6]
    assert regions.times_BT.tolist() == [[0, 1, 2, 3, 4, 5]] * 2
    number = regions.mask_BTN.sum(-1)
    assert number.max() <= 5, 'there are five regions a frame at most'
    assert number.max() > 1 and number[0, 4:].max() == 0


def test_errors_say_what_to_do(build_hero, hero_config, make_clip, collate):
    model = build_hero()
    batch = collate(model, make_clip(4))
    with pytest.raises(ValueError, match='data_samples'):
        model(batch['inputs'], None, mode='predict')
    with pytest.raises(ValueError, match="'loss', 'predict' or 'tensor'"):
        model(**batch, mode='train')
    with pytest.raises(ValueError, match='give an action_head too'):
        MODELS.build(hero_config(action_head=None))
    with pytest.raises(ValueError, match="'hierarchical', or 'joint'"):
        MODELS.build(hero_config(neck=dict(attention='full')))
    few = build_hero(linker=dict(num_slots=3))
    with pytest.raises(ValueError, match='set model.linker.num_slots'):
        few(**batch, mode='predict')


def test_sizes_of_encoder_and_neck_must_agree(build_hero, make_clip, collate):
    """Else they would be stretched over each other in silence."""
    with pytest.raises(ValueError, match='num_sizes'):
        model = build_hero(neck=dict(num_sizes=1))
        model(**collate(model, make_clip(4)), mode='predict')


@torch.no_grad()
def test_frames_that_go_on_keep_their_times(build_hero, make_clip, collate):
    """Each clip its own share; gaps, bins and truth are theirs."""
    retrieval = dict(depth='reason', keep_ratio=0.5)
    model = build_hero(seed=1, retrieval=retrieval)
    batch = collate(model, make_clip(9), make_clip(4, seed=1))
    samples = batch['data_samples']
    regions = model.encode_video(batch['inputs'], samples)
    texts = [text for one in samples for text in one.queries.texts]
    clips = torch.tensor([0, 0, 1, 1])
    kept, consistency, _ = model.retrieve(
        regions, model.text_encoder(texts), clips
    )
    assert kept.frame_mask_BT.sum(1).tolist() == [5, 5, 2, 2]
    edges = query_edges(kept, samples, clips)
    for query, (clip, number) in enumerate(((0, 5), (0, 5), (1, 2), (1, 2))):
        real = 9 if clip == 0 else 4
        degree = consistency[query, :real]
        best = sorted(degree.argsort(descending=True)[:number].tolist())
        assert kept.times_BT[query, :number].tolist() == best
        for name in ('features_BTND', 'boxes_BTN4', 'mask_BTN'):
            wanted = getattr(regions, name)[clip, best]
            assert torch.equal(getattr(kept, name)[query, :number], wanted)
        gate = kept.gate_BT[query, :number]
        assert torch.equal(gate, degree[best])
        inds = samples[clip].frame_inds[best]
        middle = (inds[1:] + inds[:-1] + 1) / 2
        wanted = [0, *middle.tolist(), samples[clip].segment[1]]
        assert edges[query, : number + 1].tolist() == wanted
    assert not all(
        times.tolist() == [0, 1, 2, 3, 4] for times in kept.times_BT[:2]
    )


@pytest.mark.parametrize('shape', [(4, 3, 32, 48), (1, 3, 4, 32, 48)])
def test_features_are_extracted_as_in_mmaction2(build_hero, shape):
    """Four frames, also as a 3-D recogniser takes them; its counter runs."""
    model = build_hero()
    wide = torch.randn(1, *shape)
    inputs = dict(
        imgs=wide if len(shape) == 4 else wide[:, 0].transpose(1, 2),
        frame_mask=torch.ones(1, 4, dtype=torch.bool),
        pixel_mask=torch.ones(1, 32, 48, dtype=torch.bool),
    )
    levels = model.encode(inputs).levels
    found = model.extract_feat(wide)
    assert len(found) == len(levels) == 2
    assert all(map(torch.equal, found, levels))
    # What its get_flops.py does.
    model.forward = model.extract_feat
    counted = get_model_complexity_info(model, shape)['flops']
    products = flops_of(lambda: model.encode(inputs)) / 2
    assert products <= counted < 1.5 * products
