"""The tube head before decoding: outputs, targets and losses."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from hero_mm.models import TubeHead
from hero_mm.models.heads.tube_head import TubeOutput
from hero_mm.structures import GroundingDataSample

D = 8


@pytest.fixture()
def setting(make_video, make_text):
    """Two clips of four and six frames, three queries, all random."""
    torch.manual_seed(0)
    video = make_video(torch.randn(2, 6, 3, 4, D), frames=[4, 6])
    text = make_text(torch.randn(3, D))
    head = TubeHead(D, num_span_layers=1, num_heads=2)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return head.eval(), video, text, torch.tensor([0, 1, 1])


def run(setting, consistency=None):
    head, video, text, clips = setting
    video = head.clip_outputs(video).of_queries(clips)
    fit = head.fit(video, text)
    return head(
        video.regions_BTHWD, video.frame_means(), video, text, consistency, fit
    )


def samples_of(boxes, spans, num_frames) -> list[GroundingDataSample]:
    """One clip a row, one query each; boxes (B, T, 4), spans (B, 2)."""
    samples = []
    for row, span, frames in zip(boxes, spans, num_frames):
        inds = np.arange(frames) * 4 + 1
        sample = GroundingDataSample(
            metainfo=dict(
                frame_inds=inds,
                segment=(0, 4 * frames),
                img_shape=(24, 32),
            )
        )
        valid = (inds >= span[0]) & (inds < span[1])
        sample.gt_queries = InstanceData(
            spans=torch.tensor([span]).float(),
            bboxes=row[None, :frames],
            valid=torch.tensor(valid)[None],
        )
        sample.gt_tracks = InstanceData(
            bboxes=row[None, :frames],
            valid=torch.ones(1, frames, dtype=torch.bool),
        )
        samples.append(sample)
    return samples


def test_shapes(setting):
    out = run(setting)
    assert out.location_QTN.shape == (3, 6, 12)
    assert out.boxes_QTN4.shape == (3, 6, 12, 4)
    assert out.offsets_QT2.shape == (3, 6, 2)
    assert ((out.offsets_QT2 > 0) & (out.offsets_QT2 < 1)).all()
    assert out.actionness_QT.shape == (3, 6)
    assert out.start_QT[0, 4:].isneginf().all()
    assert out.end_QT[0, 4:].isneginf().all()
    assert out.start_QT[1:].isfinite().all()
    width = out.boxes_QTN4[..., 2:] - out.boxes_QTN4[..., :2]
    assert (width > 0).all()


def test_padded_regions_get_no_probability(setting):
    head, video, text, clips = setting
    real = video.real_BTHW.clone()
    real[0, :, :, 2:] = False
    out = run((head, replace(video, real_BTHW=real), text, clips))
    prob = out.location_QTN.softmax(-1).view(3, 6, 3, 4)
    assert prob[0, :4, :, 2:].abs().max() == 0
    assert prob[1:].min() > 0


def test_the_sentence_moves_place_box_and_span(setting):
    head, video, text, clips = setting
    out = run(setting)
    text.sentence_QD = text.sentence_QD.clone()
    text.sentence_QD[1] += 1
    other = run((head, video, text, clips))
    assert (other.location_QTN[1] - out.location_QTN[1]).abs().max() > 1e-3
    assert (other.start_QT[1] - out.start_QT[1]).abs().max() > 1e-4
    torch.testing.assert_close(other.location_QTN[2], out.location_QTN[2])


def test_consistency_is_a_hint_for_the_span(setting):
    usual = run(setting)
    sure = run(setting, torch.full((3, 6), 50.0))
    half = run(setting, torch.zeros(3, 6))
    # No action head is the same as "all frames are consistent".
    torch.testing.assert_close(sure.end_QT, usual.end_QT)
    assert (half.end_QT - usual.end_QT)[1:].abs().max() > 1e-3
    torch.testing.assert_close(half.location_QTN, usual.location_QTN)


def perfect(truth, clips, video, sure: float = 30.0) -> TubeOutput:
    """The output that has nothing to learn, made from the truth."""
    queries, frames, regions = len(clips), 6, 12
    centres = video.centres_BTHW2.flatten(2, 3)
    location = torch.full((queries, frames, regions), -sure)
    boxes = torch.zeros(queries, frames, regions, 4)
    start = torch.full((queries, frames), -sure)
    end, actionness = start.clone(), start.clone()
    offsets = torch.full((queries, frames, 2), 0.5)
    for query, sample in enumerate(truth):
        tube = sample.gt_queries
        number = len(sample.frame_inds)
        span = tube.spans[0]
        for frame in range(number):
            box = tube.bboxes[0, frame]
            boxes[query, frame] = box
            middle = (box[:2] + box[2:]) / 2
            near = (centres[query, frame] - middle).square().sum(-1)
            if tube.valid[0, frame]:
                location[query, frame, near.argmin()] = sure
            if span[0] <= 4 * frame + 1.5 < span[1]:
                actionness[query, frame] = sure
        # The Gaussian target: a parabola round the place of the boundary.
        steps = torch.arange(frames)
        edges = torch.tensor([0, *(4 * np.arange(1, number) - 0.5)])
        edges = torch.cat([edges, torch.tensor([4.0 * number])])
        for side, row in ((0, start), (1, end)):
            index = int((edges < span[side] + (1 - side) * 0.01).sum()) - 1
            index = min(index, number - 1)
            share = (span[side] - edges[index]) / (
                edges[index + 1] - edges[index]
            )
            # Bins beside the boundary lead to it as well.
            offsets[query, :, side] = (index + share - steps).clamp(0, 1)
            row[query] = -0.5 * (steps - (index + share - 0.5)) ** 2
        start[query, number:] = end[query, number:] = float('-inf')
    return TubeOutput(
        location,
        boxes,
        start,
        end,
        offsets,
        actionness,
        early_QTN=location.clone(),
    )


@pytest.fixture()
def truth(make_video):
    boxes = torch.tensor([9.0, 9, 15, 15]).expand(2, 6, 4)
    truth = samples_of(boxes, [(3, 12), (8, 21)], [4, 6])
    video = make_video(torch.randn(2, 6, 3, 4, D), frames=[4, 6])
    head = TubeHead(D, num_span_layers=0, num_heads=2)
    clips = torch.arange(2)
    return head, truth, video, clips


def test_the_truth_has_no_loss(truth):
    head, samples, video, clips = truth
    out = perfect(samples, clips, video)
    losses = head.loss(out, video, samples, clips)
    for name, value in losses.items():
        if name == 'box_iou':
            assert value.item() == pytest.approx(1)
        else:
            assert value.item() == pytest.approx(0, abs=1e-4), name
    # And what is decoded from it is the truth.
    for sample in samples:
        sample.set_metainfo(
            dict(
                ori_shape=(24, 32),
                img_shape=(24, 32),
                crop_box=(0.0, 0.0, 32.0, 24.0),
            )
        )
    tubes = head.predict(out, samples, clips, None)
    for sample, tube in zip(samples, tubes):
        torch.testing.assert_close(tube.bboxes, sample.gt_queries.bboxes)
        wanted = sample.gt_queries.spans
        assert (tube.spans - wanted).abs().max() <= 0.6


@pytest.mark.parametrize(
    'name, damage',
    [
        ('loss_location', lambda out: out.location_QTN.zero_()),
        ('loss_match', lambda out: out.location_QTN.zero_()),
        # The right region, but at all times.
        ('loss_match', lambda out: out.location_QTN[..., 5].fill_(30.0)),
        ('loss_early', lambda out: out.early_QTN.zero_()),
        ('loss_l1', lambda out: out.boxes_QTN4.add_(1)),
        ('loss_giou', lambda out: out.boxes_QTN4.add_(1)),
        ('loss_boundary', lambda out: out.start_QT.mul_(0.1)),
        ('loss_boundary', lambda out: out.end_QT.mul_(3)),
        ('loss_offset', lambda out: out.offsets_QT2.add_(0.1)),
        ('loss_actionness', lambda out: out.actionness_QT.neg_()),
    ],
)
def test_each_loss_sees_its_error(name, damage, truth):
    head, samples, video, clips = truth
    good = perfect(samples, clips, video)
    bad = copy.deepcopy(good)
    damage(bad)
    before = head.loss(good, video, samples, clips)[name]
    after = head.loss(bad, video, samples, clips)[name]
    assert after > before + 0.01
    assert after.isfinite()


def test_box_losses_by_hand(truth):
    """Boxes one pixel to the right: 4 / frame size, and IoU 5/7."""
    head, samples, video, clips = truth
    out = perfect(samples, clips, video)
    out.boxes_QTN4 += torch.tensor([1.0, 0, 1, 0])
    losses = head.loss(out, video, samples, clips)
    assert losses['box_iou'].item() == pytest.approx(30 / 42)
    assert losses['loss_giou'].item() == pytest.approx(
        head.weights['giou'] * (1 - 30 / 42), rel=1e-4
    )
    # Two of four edges are off by one pixel in a frame 32 wide.
    assert losses['loss_l1'].item() == pytest.approx(
        head.weights['l1'] * 2 / 32, rel=1e-4
    )


def test_frames_outside_of_the_span_have_no_box_loss(truth):
    head, samples, video, clips = truth
    out = perfect(samples, clips, video)
    for query, sample in enumerate(samples):
        hidden = ~sample.gt_queries.valid[0]
        out.boxes_QTN4[query, : len(hidden)][hidden] = 0.0
    losses = head.loss(out, video, samples, clips)
    assert losses['loss_l1'].item() == pytest.approx(0, abs=1e-4)


def test_offsets_are_learned_near_the_boundaries(truth):
    """The neighbours too: the boundary's softmax may well choose them."""
    head, samples, video, clips = truth
    out = perfect(samples, clips, video)
    out.offsets_QT2 = (out.offsets_QT2 * 0.9 + 0.04).requires_grad_()
    head.loss(out, video, samples, clips)['loss_offset'].backward()
    touched = out.offsets_QT2.grad.abs() > 0
    assert 4 <= touched.sum() <= 10
    assert not touched[0, 4:].any(), 'padding has no offset'


def test_a_neighbour_of_the_true_bin_gives_the_same_span(truth):
    head, samples, video, clips = truth
    for sample in samples:
        sample.set_metainfo(
            dict(
                ori_shape=(24, 32),
                img_shape=(24, 32),
                crop_box=(0.0, 0.0, 32.0, 24.0),
            )
        )
    out = perfect(samples, clips, video)
    # The second span starts at frame 8, in the bin of frame 9; bins beside
    # it end at 7.5 and start at 11.5.
    for chosen, start in ((1, 7.5), (2, 8), (3, 11.5)):
        out.start_QT[1] = -30.0
        out.start_QT[1, chosen] = 30.0
        spans = head.predict(out, samples, clips, None)[1].spans
        assert spans[0, 0].item() == pytest.approx(start, abs=0.01)


def test_tracks_teach_boxes_and_objects(truth):
    head, samples, video, clips = truth
    with pytest.raises(ValueError, match='clip_outputs'):
        head.track_loss(video, samples)
    told = head.clip_outputs(video)
    losses = head.track_loss(told, samples)
    assert set(losses) == {
        'loss_object',
        'loss_track_l1',
        'loss_track_giou',
    }
    held = head.regions_of_tracks(told, samples)
    assert held.shape == (2, 6, 3, 4)
    # The centre (12, 12) lies in row 1, column 1, on real frames only.
    assert held[0, :4, 1, 1].all()
    assert held.sum() == 4 + 6
    good = replace(
        told,
        objectness_BTHW=torch.where(held, 30.0, -30.0),
        raw_boxes_BTHW4=torch.tensor([0.0, 0, np.log(0.75), np.log(0.75)])
        .float()
        .expand(2, 6, 3, 4, 4),
    )
    for name, value in head.track_loss(good, samples).items():
        assert value.item() == pytest.approx(0, abs=1e-4), name
    worse = replace(good, objectness_BTHW=-good.objectness_BTHW)
    assert head.track_loss(worse, samples)['loss_object'] > 10


def test_clip_without_annotated_objects(truth):
    head, samples, video, clips = truth
    for sample in samples:
        sample.gt_tracks.valid[:] = False
    losses = head.track_loss(head.clip_outputs(video), samples)
    assert losses['loss_track_l1'] == 0
    assert losses['loss_object'] > 0
    assert losses['loss_object'].isfinite()


def test_unknown_weight_is_named():
    with pytest.raises(ValueError, match=r"\['boxes'\].*'location'"):
        TubeHead(D, num_heads=2, loss_weights=dict(boxes=1.0))


def test_refined_boxes_are_learned_on_tracks(truth):
    head, samples, video, clips = truth
    assert head.refine_boxes(video) is video, 'there is nothing to refine'
    torch.nn.init.normal_(head.refine[1][2].bias, std=0.3)
    told = head.clip_outputs(video)
    refined = head.refine_boxes(told)
    move = head.refine(told.regions_BTHWD)
    torch.testing.assert_close(
        refined.raw_boxes_BTHW4, told.raw_boxes_BTHW4 + move
    )
    losses = head.refine_loss(refined, samples)
    assert set(losses) == {'loss_refined_l1', 'loss_refined_giou'}
    assert losses['loss_refined_l1'] > 0
    good = replace(
        told,
        raw_boxes_BTHW4=torch.tensor([0.0, 0, np.log(0.75), np.log(0.75)])
        .float()
        .expand(2, 6, 3, 4, 4),
    )
    for name, value in head.refine_loss(good, samples).items():
        assert value.item() == pytest.approx(0, abs=1e-4), name


def action_inputs(truth, make_text, others, told=(0, 0)):
    """The tubes show vectors 0 and 1; captions name what is told."""
    head, samples, video, clips = truth
    with torch.no_grad():
        fit = head.region_text_fit
        for layer in (fit.region_action, fit.text_action):
            layer.weight.copy_(torch.eye(D))
            layer.bias.zero_()
    eye = torch.eye(D)
    shown = torch.zeros(2, 6, 3, 4, D)
    shown[..., 7] = 1.0
    for clip, sample in enumerate(samples):
        valid = sample.gt_queries.valid[0].nonzero()[:, 0]
        shown[clip, valid, 1, 1] = eye[told[clip]]
    video = replace(video, regions_BTHWD=shown)
    owner = torch.zeros(len(others), dtype=torch.long)
    return (
        video,
        samples,
        make_text(eye[list(told)]),
        torch.tensor(told),
        make_text(eye[others]) if others else make_text(eye[:0]),
        owner,
    )


def test_action_loss_compares_with_swapped_actions(truth, make_text):
    head = truth[0]
    # Scale 10: the right action has logit 10, all others 0. Both clips show
    # and name one action, so that neither is a negative of the other.
    far = head.action_loss(*action_inputs(truth, make_text, [2, 3]))
    assert far['loss_action'].item() == pytest.approx(
        np.log1p(2 * np.exp(-10)) / 4, rel=1e-2
    )
    assert far['action_accuracy'] == 1
    same = head.action_loss(*action_inputs(truth, make_text, [0]))
    assert same['loss_action'].item() == pytest.approx(np.log(2) / 4, rel=1e-4)
    assert same['action_accuracy'] == 0


def test_action_loss_compares_with_other_clips_both_ways(truth, make_text):
    head = truth[0]
    inputs = list(action_inputs(truth, make_text, [], told=(0, 1)))
    right = head.action_loss(*inputs)['loss_action']
    assert right.item() == pytest.approx(np.log1p(np.exp(-10)), rel=1e-2)
    # Each tube shows what the other caption names.
    inputs[2] = make_text(torch.eye(D)[[1, 0]])
    wrong = head.action_loss(*inputs)['loss_action']
    assert wrong.item() == pytest.approx(10, rel=1e-2)
    # Two captions of one action do not contradict each other.
    inputs[3] = torch.zeros(2)
    assert head.action_loss(*inputs)['loss_action'] == 0


def test_action_loss_is_finite_however_sharp(truth, make_text):
    head = truth[0]
    with torch.no_grad():
        head.region_text_fit.log_scale.fill_(20.0)
    inputs = action_inputs(truth, make_text, [0])
    inputs[2].action_QD = -inputs[2].action_QD
    losses = head.action_loss(*inputs)
    # One of two queries, in one of two directions, is wrong by 2 x 40.
    assert losses['loss_action'].item() == pytest.approx(20, rel=1e-3)
    losses['loss_action'].backward()
    weight = head.region_text_fit.region_action.weight
    assert weight.grad.isfinite().all()


def test_action_loss_without_rivals_is_zero(truth, make_text):
    head = truth[0]
    losses = head.action_loss(*action_inputs(truth, make_text, []))
    assert losses['loss_action'].item() == pytest.approx(0, abs=1e-6)
    losses['loss_action'].backward()
    assert head.region_text_fit.region_action.weight.grad is not None


def test_a_tube_without_regions_teaches_no_action(truth, make_text):
    inputs = action_inputs(truth, make_text, [0])
    inputs[1][0].gt_queries.valid[:] = False
    losses = truth[0].action_loss(*inputs)
    assert losses['loss_action'].item() == pytest.approx(0, abs=1e-6)
    assert losses['action_accuracy'] == 0


def test_fit_moves_the_place(setting):
    """Regions that fit the sentence early are preferred."""
    head, video, text, clips = setting
    of_query = head.clip_outputs(video).of_queries(clips)
    fit = head.fit(of_query, text)
    assert fit.shape == (3, 6, 3, 4, 2)
    usual = run(setting)
    early = head.region_text_fit.total(fit)
    real = of_query.real_BTHW.flatten(2)
    torch.testing.assert_close(usual.early_QTN[real], early[real])
    assert (usual.early_QTN[~real] == -1e4).all()
    with torch.no_grad():
        head.region_text_fit.action_weight.zero_()
    without = run(setting)
    assert (usual.location_QTN - without.location_QTN).abs().max() > 1e-3


def test_padded_frames_have_no_loss(truth):
    head, samples, video, clips = truth
    out = perfect(samples, clips, video)
    wanted = head.loss(out, video, samples, clips)
    out.location_QTN[0, 4:] = out.early_QTN[0, 4:] = -1e4
    out.boxes_QTN4[0, 4:] = 99.0
    out.offsets_QT2[0, 4:] = 0.9
    out.actionness_QT[0, 4:] = 50.0
    told = head.loss(out, video, samples, clips)
    for name, value in wanted.items():
        torch.testing.assert_close(told[name], value, msg=name)
