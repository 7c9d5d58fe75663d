"""DenseHeadProposals: what the head sees, and what it must fit."""

import pytest
import torch

from hero_mm.registry import MODELS


@pytest.fixture
def seen(monkeypatch):
    """Function: what the head of a model is trained on from now on."""

    def watch(model) -> list:
        calls = []
        head = model.proposal_generator.head
        usual = head.loss

        def loss(maps, samples):
            calls.append((maps, samples))
            return usual(maps, samples)

        monkeypatch.setattr(head, 'loss', loss)
        return calls

    return watch


@pytest.mark.parametrize(('level', 'stride'), [(0, 4), (-1, 8)])
def test_any_level_of_the_pyramid_can_be_seen(
    level, stride, build_proposing, generator_config, make_clip, seen, learn
):
    config = generator_config('RPNHead', level=level)
    config['head']['anchor_generator']['strides'] = [stride, 2 * stride]
    model = build_proposing('RPNHead')
    model.proposal_generator = MODELS.build(config)
    calls = seen(model)
    _, regions = learn(model, make_clip(2, (32, 48)))
    ((maps, _),) = calls
    assert maps[0].shape[-2:] == (48 // stride, 32 // stride)
    # The coarser one holds maxima of 2 x 2 cells.
    torch.testing.assert_close(
        maps[1], torch.nn.functional.max_pool2d(maps[0], 2)
    )
    assert regions.mask_BTN.any(-1).all()
    assert regions.boxes_BTN4[..., 3].max() > 32


def test_head_is_trained_on_real_frames_alone(
    build_proposing, make_clip, collate, seen, learn
):
    """Neither padded frames nor padded cells give it anything to learn."""
    model = build_proposing('RPNHead')
    clips = make_clip(1, (24, 32)), make_clip(3, (48, 40), seed=1)
    calls = seen(model)
    learn(model, *clips)
    ((maps, samples),) = calls
    assert len(maps[0]) == len(samples) == 1 + 3
    assert not maps[0][0, :, 4:].any() and not maps[0][0, :, :, 3:].any()
    assert maps[0][0, :, :4, :3].any(0).all()
    level, _ = model.encode(collate(model, *clips)['inputs']).level(-1)
    assert torch.equal(maps[0][2], level[1, 1])
    assert samples[0].pad_shape == (32, 24)
    assert torch.equal(
        samples[2].gt_instances.bboxes,
        clips[1]['data_samples'].gt_tracks.bboxes[:, 1],
    )


def test_video_alone_is_enough(build_proposing, make_clip, collate):
    """Neither sentences nor samples are needed to encode a clip."""
    model = build_proposing('RPNHead')
    batch = collate(model, make_clip(3, (24, 40)), make_clip(1, seed=1))
    with torch.no_grad():
        alone = model.encode_video(batch['inputs'])
        usual = model.encode_video(batch['inputs'], batch['data_samples'])
    assert torch.equal(alone.features_BTND, usual.features_BTND)


def test_bfloat16_is_near(build_proposing, make_clip, learn):
    model = build_proposing('RetinaHead').train()
    clips = make_clip(2), make_clip(3, (24, 40), seed=1)
    with torch.autocast('cpu', torch.bfloat16):
        losses, regions = learn(model, *clips)
    assert regions.boxes_BTN4.dtype == torch.float32
    sum(losses.values()).backward()
    usual, _ = learn(model, *clips)
    for name in ('loss_proposal_cls', 'loss_proposal_bbox'):
        near = dict(rtol=0.05, atol=0.01)
        torch.testing.assert_close(losses[name].float(), usual[name], **near)
    for name, parameter in model.proposal_generator.named_parameters():
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    ('kind', 'head', 'options', 'words'),
    [
        ('RPNHead', dict(in_channels=24), {}, '2 level.* of 16 channels'),
        ('RPNHead', dict(train_cfg=None), {}, 'train_cfg and test_cfg stand'),
        ('RPNHead', dict(strides=[8]), {}, 'mmdet.RPNHead refuses its argum'),
        ('RPNHead', {}, dict(level=0), r'\(8, 8\).*\(4.0, 4.0\)'),
        ('RPNHead', {}, dict(level=2), 'level 2 of the pyramid does not'),
        ('FCOSHead', {}, dict(num_levels=1), 'num_levels to their number'),
    ],
)
def test_a_head_that_does_not_fit_is_refused(
    kind,
    head,
    options,
    words,
    build_proposing,
    generator_config,
    make_clip,
    learn,
):
    model = build_proposing('own')
    config = {**generator_config(kind), **options}
    config['head'].update(head)
    with pytest.raises(ValueError, match=words):
        model.proposal_generator = MODELS.build(config)
        learn(model, make_clip(2))
