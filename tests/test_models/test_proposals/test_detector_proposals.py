"""DetectorProposals: what a detector is given, and what is made of it."""

import pytest
import torch
from mmengine.structures import InstanceData

from hero_mm.models import DetectorProposals
from hero_mm.models.proposals.frame_samples import (
    frame_sample,
    pack_proposals,
    real_frames,
)


@pytest.fixture
def generator(detector_config, monkeypatch):
    """Looks at frames through a detector that the test can replace."""
    generator = DetectorProposals(detector_config('RetinaNet'), batch_size=2)
    calls = []

    def answer(boxes, scores):
        """Let the detector find the same in every frame."""

        def predict(inputs, samples, rescale):
            assert rescale is False
            calls.append((inputs, samples))
            for sample in samples:
                sample.pred_instances = InstanceData(
                    bboxes=torch.tensor(boxes).view(-1, 4),
                    scores=torch.tensor(scores),
                )
            return samples

        monkeypatch.setattr(generator.detector, 'predict', predict)
        return calls

    generator.answer = answer
    return generator


def frames_of(*sizes):
    return [torch.full((3, *size), 100.0) for size in sizes]


@pytest.mark.parametrize(
    ('options', 'scores'),
    [
        ({}, [0.9, 0.6, 0.1]),
        (dict(max_per_frame=2), [0.9, 0.6]),
        (dict(nms_iou=None), [0.9, 0.6, 0.5, 0.1]),
        (dict(nms_iou=None, max_per_frame=2), [0.9, 0.6]),
    ],
)
def test_the_best_boxes_that_do_not_overlap(generator, options, scores):
    """Whatever class they are of."""
    generator.answer(
        [[0, 0, 8, 8], [0, 0, 8, 9], [2, 0, 9, 9.0], [4, 4, 9, 9]],
        [0.5, 0.9, 0.6, 0.1],
    )
    for name, value in options.items():
        setattr(generator, name, value)
    ((boxes,), (found,)) = generator.detect(frames_of((16, 16)))
    assert found.tolist() == pytest.approx(scores)
    assert boxes[:2, 0].tolist() == [0, 2]


def test_frames_are_resized_and_boxes_come_back(generator):
    calls = generator.answer([[-4.0, 6, 40, 90]], [0.5])
    generator.scale = 2.0
    boxes, _ = generator.detect(frames_of((16, 24), (16, 24)))
    ((inputs, samples),) = calls
    assert inputs.shape[-2:] == (32, 64), 'padded to a multiple of 32'
    assert samples[0].img_shape == (32, 48)
    # 32 rows are 16 of ours; what lies outside is cut.
    assert boxes[0].tolist() == [[0, 3, 20, 16]]


def test_frames_of_one_size_go_together(generator):
    calls = generator.answer([[0.0, 0, 8, 8]], [0.5])
    sizes = [(16, 24), (16, 24), (40, 16), (16, 24), (40, 16)]
    boxes, _ = generator.detect(frames_of(*sizes))
    shapes = [(len(inputs), *inputs.shape[-2:]) for inputs, _ in calls]
    assert shapes == [(2, 32, 32), (1, 32, 32), (2, 64, 32)]
    assert len(boxes) == 5


@pytest.mark.parametrize('rgb_to_bgr', [False, True])
@pytest.mark.parametrize('name', ['RetinaNet', 'FCOS'])
def test_pixels_are_normalised_as_the_detector_was(
    name, rgb_to_bgr, build_proposing, make_clip, collate
):
    """RGB for one that converts, BGR for one of Caffe; HERO has either."""
    model = build_proposing(name)
    model.data_preprocessor.rgb_to_bgr = rgb_to_bgr
    model.proposal_generator.bind(model.data_preprocessor)
    clips = make_clip(2), make_clip(1, (24, 40), seed=1)
    batch = collate(model, *clips)
    generator = model.proposal_generator
    pixels = generator._pixels(batch['inputs'], real_frames(batch['inputs']))
    given, _ = generator._batch(pixels[2:], [frame_sample((40, 24))])
    prepare = generator.detector.data_preprocessor
    wanted = clips[1]['inputs'][0].float()
    if name == 'FCOS':
        wanted = wanted.flip(0)
    wanted = (wanted - prepare.mean) / prepare.std
    torch.testing.assert_close(
        given[0, :, :40, :24], wanted, atol=1e-3, rtol=1e-4
    )
    assert not given[0, :, 40:].any()


@pytest.mark.parametrize('name', ['Faster R-CNN', 'Deformable DETR', 'DINO'])
def test_bfloat16_gives_boxes_of_the_frame(name, detector_config):
    generator = DetectorProposals(detector_config(name))
    generator.init_weights()
    with torch.autocast('cpu', torch.bfloat16):
        ((boxes,), (scores,)) = generator.detect(frames_of((32, 48)))
    assert boxes.dtype == scores.dtype == torch.float32
    assert len(boxes) and (boxes >= 0).all()
    assert (boxes <= torch.tensor([48, 32, 48, 32])).all()


@pytest.mark.parametrize(
    ('name', 'shape'), [('RetinaNet', (32, 64)), ('DETR', (18, 33))]
)
def test_frames_are_padded_to_whole_cells(name, shape, detector_config):
    """As the pipelines of RTMDet do; transformers take any size."""
    config = detector_config(name)
    config.data_preprocessor.pop('pad_size_divisor', None)
    generator = DetectorProposals(config)
    inputs, _ = generator._batch(frames_of((18, 33)), [frame_sample((18, 33))])
    assert inputs.shape[-2:] == shape
    ((boxes,), _) = generator.detect(frames_of((18, 33)))
    assert len(boxes) and boxes.max() <= 33


def test_where_nothing_is_found_there_is_one_place():
    inputs = dict(
        frame_mask=torch.ones(1, 2, dtype=torch.bool),
        pixel_mask=torch.ones(1, 9, 9, dtype=torch.bool),
    )
    nothing = [torch.zeros(0, 4)] * 2, [torch.zeros(0)] * 2
    frames = real_frames(inputs)
    regions = pack_proposals(*nothing, frames, inputs['frame_mask'])
    assert regions.mask_BTN.tolist() == [[[False]] * 2]


@pytest.fixture(scope='module')
def prompted(build_proposing):
    return build_proposing('Grounding DINO')


def test_each_frame_is_asked_the_sentences_of_its_clip(
    prompted, make_clip, collate, monkeypatch
):
    calls = []
    generator = prompted.proposal_generator

    def predict(frames, texts):
        sizes = [tuple(frame.shape[-2:]) for frame in frames]
        calls.extend(zip(sizes, texts))
        return [(torch.zeros(0, 4), torch.zeros(0)) for _ in frames]

    monkeypatch.setattr(generator, '_predict', predict)
    batch = collate(
        prompted,
        make_clip(1, texts=['what grows ?', 'who turns', 'what grows ?']),
        make_clip(2, (24, 40), texts=['what grows ?'], seed=1),
    )
    generator(None, batch['inputs'], batch['data_samples'])
    assert calls == [
        ((32, 32), 'what grows ?'),
        ((32, 32), 'who turns'),
        ((40, 24), 'what grows ?'),
        ((40, 24), 'what grows ?'),
    ]
    # A fixed prompt takes their place.
    calls.clear()
    monkeypatch.setattr(generator, 'text', 'object')
    generator(None, batch['inputs'], batch['data_samples'])
    assert [text for _, text in calls] == ['object'] * 3


def test_the_whole_prompt_counts(prompted, monkeypatch):
    captions_seen = []
    generator = prompted.proposal_generator
    usual = generator.detector.language_model.forward

    def forward(captions, **kwargs):
        captions_seen.extend(captions)
        return usual(captions, **kwargs)

    monkeypatch.setattr(generator.detector.language_model, 'forward', forward)
    prompts = [['the red square moves left'], ['what grows?', 'object .']]
    boxes, _ = generator.detect(frames_of((32, 32), (32, 32)), prompts)
    wanted = ['the red square moves left.', 'what grows?.', 'object .']
    assert captions_seen == wanted
    assert len(boxes[0]) and len(boxes[1]) and boxes[0].isfinite().all()
    other, _ = generator.detect(frames_of((32, 32)), [['object .']])
    assert boxes[0].shape != other[0].shape or not torch.allclose(
        boxes[0], other[0]
    ), 'the prompt changes nothing'
    assert generator._sample((8, 8), 'a cup').tokens_positive == -1
    # The heads of GLIP want letters.
    monkeypatch.setattr(generator, 'name', 'GLIP')
    one = generator._sample((8, 8), 'a cup')
    assert one.text == 'a cup.' and one.tokens_positive == [[[0, 5]]]


def test_sentences_are_needed_with_the_video(prompted, make_clip, collate):
    batch = collate(prompted, make_clip(2))
    with pytest.raises(ValueError, match='ask them together with the video'):
        prompted.encode_video(batch['inputs'])


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [
        (dict(text='cup'), "RetinaNet has no language.*'cup'"),
        (dict(language_model='x'), "has no language model: .*'x'"),
        (dict(frozen=False), 'Train it by itself'),
        (dict(scale=0), 'must be positive; got 0, 50 and 16'),
    ],
)
def test_wrong_options_are_refused(wrong, words, detector_config):
    with pytest.raises(ValueError, match=words):
        DetectorProposals(detector_config('RetinaNet'), **wrong)


def test_frames_that_a_detector_does_not_take_are_named(detector_config):
    config = detector_config('DINO')
    config.num_queries = 900
    generator = DetectorProposals(config)
    words = r'DINO does not run on 1 frames of 40x32 pixels: .*too small.*512'
    with pytest.raises(ValueError, match=words):
        generator.detect(frames_of((32, 40)))
    config = detector_config('RetinaNet')
    del config['data_preprocessor']
    with pytest.raises(ValueError, match='RetinaNet has no data_preproces'):
        DetectorProposals(config).detect(frames_of((16, 16)))


@pytest.mark.parametrize(
    ('error', 'words'),
    [
        (RuntimeError('no epoch was set'), 'no epoch was set. So says the'),
        (ImportError('run "pip install x"'), 'pip install x". Install it'),
        (None, 'RetinaNet gives no boxes but nothing'),
    ],
)
def test_an_error_of_the_detector_is_no_guess_about_frames(
    generator, monkeypatch, error, words
):
    def predict(inputs, samples, rescale):
        if error is not None:
            raise error
        return samples

    monkeypatch.setattr(generator.detector, 'predict', predict)
    with pytest.raises(ValueError, match=words) as found:
        generator.detect(frames_of((16, 16)))
    assert 'small' not in str(found.value)
