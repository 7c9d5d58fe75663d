"""DenseHeadProposals: what the head sees, and what it must fit."""

import pytest
import torch

from hero_mm.registry import MODELS


@pytest.fixture(scope='module')
def generator(generator_config):
    torch.manual_seed(0)
    generator = MODELS.build(generator_config('RPNHead'))
    generator.init_weights()
    return generator


def batch_of(model, collate, *clips):
    batch = collate(model, *clips)
    return model._encode(batch['inputs']), batch


def test_levels_are_maxima(generator):
    grid = torch.randn(2, 3, 5, 16)
    one, two = generator._levels(grid)
    assert one.shape == (2, 16, 3, 5) and two.shape == (2, 16, 2, 3)
    assert torch.equal(two[0, :, 0, 1], grid[0, :2, 2:4].amax((0, 1)))
    # An odd last row stands alone.
    assert torch.equal(two[1, :, 1, 2], grid[1, 2, 4])


def test_head_is_trained_on_real_frames_alone(
    build_proposing, make_clip, collate
):
    """Neither padded frames nor padded regions give it anything to learn."""
    model = build_proposing('RPNHead')
    clips = make_clip(1, (24, 32)), make_clip(3, (48, 40), seed=1)
    video, batch = batch_of(model, collate, *clips)
    seen = []
    head = model.proposal_generator.head
    usual = head.loss

    def loss(levels, samples):
        seen.append((levels, samples))
        return usual(levels, samples)

    head.loss = loss
    video.regions_BTHWD[~video.real_BTHW] = 5.0
    model.proposal_generator.loss(
        video, batch['inputs'], batch['data_samples']
    )
    ((levels, samples),) = seen
    assert len(levels[0]) == len(samples) == 1 + 3
    assert not levels[0][0, :, 4:].any() and not levels[0][0, :, :, 3:].any()
    assert samples[0].pad_shape == (32, 24)
    assert torch.equal(
        samples[2].gt_instances.bboxes,
        clips[1]['data_samples'].gt_tracks.bboxes[:, 1],
    )


def test_loss_weight_is_taken(build_proposing, make_clip, collate):
    losses = []
    for weight in (1.0, 3.0):
        model = build_proposing('FCOSHead', loss_weight=weight)
        video, batch = batch_of(model, collate, make_clip(2))
        told = model.proposal_generator.loss(
            video, batch['inputs'], batch['data_samples']
        )
        losses.append(told['loss_proposal_bbox'])
    torch.testing.assert_close(losses[1], 3 * losses[0])


def test_proposals_carry_no_gradient(build_proposing, make_clip, collate):
    model = build_proposing('RPNHead').train()
    video, batch = batch_of(model, collate, make_clip(2))
    told = model.proposal_generator(video, batch['inputs'], ())
    assert not told.boxes_BTK4.requires_grad
    assert told.valid_BTK.all(-1).any()


def test_video_alone_is_enough(build_proposing, make_clip, collate):
    """Neither sentences nor samples are needed to encode a clip."""
    model = build_proposing('RPNHead')
    batch = collate(model, make_clip(3, (24, 40)), make_clip(1, seed=1))
    with torch.no_grad():
        alone = model.encode_video(batch['inputs'])
        usual = model.encode_video(batch['inputs'], batch['data_samples'])
    assert torch.equal(alone.regions_BTHWD, usual.regions_BTHWD)


def test_bfloat16_is_near(build_proposing, make_clip, total_loss):
    model = build_proposing('RetinaHead', hero=dict(max_regions=None)).train()
    clips = make_clip(2), make_clip(3, (24, 40), seed=1)
    with torch.autocast('cpu', torch.bfloat16):
        losses, total = total_loss(model, *clips)
    total.backward()
    usual, _ = total_loss(model, *clips)
    for name in ('loss_proposal_cls', 'loss_proposal_bbox'):
        near = dict(rtol=0.05, atol=0.01)
        torch.testing.assert_close(losses[name].float(), usual[name], **near)
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name


def test_strides_that_do_not_fit_are_told(
    build_proposing, generator_config, make_clip, collate
):
    model = build_proposing('RPNHead')
    video, batch = batch_of(model, collate, make_clip(2))
    config = generator_config('RPNHead')
    config['head']['anchor_generator']['strides'] = [4, 8]
    wrong = MODELS.build(config)
    for call in (wrong.forward, wrong.loss):
        with pytest.raises(ValueError, match=r'\(4, 4\).*\(8.0, 8.0\)'):
            call(video, batch['inputs'], batch['data_samples'])
    config = generator_config('FCOSHead')
    config['num_levels'] = 1
    with pytest.raises(ValueError, match='num_levels to their number'):
        MODELS.build(config)(video, batch['inputs'], ())


def test_wrong_arguments_are_told(generator_config, hero_config):
    with pytest.raises(ValueError, match='num_levels must be at least 1: 0'):
        MODELS.build({**generator_config('RPNHead'), 'num_levels': 0})
    with pytest.raises(ValueError, match='give a proposal_generator too'):
        MODELS.build(hero_config(roi_encoder=dict(num_train=4)))


def test_training_needs_all_objects(build_proposing, make_clip, total_loss):
    model = build_proposing('RPNHead').train()
    with pytest.raises(ValueError, match='with_tracks=True'):
        total_loss(model, make_clip(2, tracks=False))


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (dict(in_channels=24), 'RPNHead does not run on 2 .* of 16 channels'),
        (dict(train_cfg=None), 'train_cfg and test_cfg stand inside head'),
        (dict(strides=[8]), 'proposal head mmdet.RPNHead refuses its argum'),
    ],
)
def test_a_head_that_does_not_fit_is_told(
    change, words, build_proposing, generator_config, make_clip, collate
):
    model = build_proposing('RPNHead')
    video, batch = batch_of(model, collate, make_clip(2))
    config = generator_config('RPNHead')
    config['head'].update(change)
    with pytest.raises(ValueError, match=words):
        MODELS.build(config).loss(
            video, batch['inputs'], batch['data_samples']
        )


def test_a_head_without_anchors_is_told_the_size_of_the_grid(
    build_proposing, make_clip, collate, monkeypatch
):
    """CenterNet tells its stride from it; frames end within a region."""
    model = build_proposing('RPNHead')
    video, batch = batch_of(model, collate, make_clip(2, (37, 50)))
    head = dict(
        type='mmdet.CenterNetHead',
        in_channels=video.regions_BTHWD.shape[-1],
        feat_channels=8,
        num_classes=1,
        loss_center_heatmap=dict(type='GaussianFocalLoss'),
        loss_wh=dict(type='L1Loss'),
        loss_offset=dict(type='L1Loss'),
        test_cfg=dict(topk=8, local_maximum_kernel=3, max_per_img=8),
    )
    generator = MODELS.build(dict(type='DenseHeadProposals', head=head))
    told = []
    decode = generator.head._decode_heatmap
    monkeypatch.setattr(
        generator.head,
        '_decode_heatmap',
        lambda *args, **rest: told.append(args) or decode(*args, **rest),
    )
    given = batch['inputs'], batch['data_samples']
    assert all(v.isfinite() for v in generator.loss(video, *given).values())
    assert generator(video, *given).valid_BTK.all()
    rows, columns = video.regions_BTHWD.shape[2:4]
    assert told[0][3] == (8 * rows, 8 * columns)
