"""Features of clips and sentences."""

import torch


def test_of_queries_repeats_clips(make_video):
    video = make_video(torch.randn(2, 3, 2, 2, 4), frames=[2, 3])
    told = video.of_queries(torch.tensor([1, 0, 1]))
    assert told.regions_BTHWD.shape[0] == 3
    assert torch.equal(told.regions_BTHWD[0], told.regions_BTHWD[2])
    assert torch.equal(told.regions_BTHWD[1], video.regions_BTHWD[0])
    assert told.frame_mask_BT.sum(1).tolist() == [3, 2, 3]
    assert told.stride == video.stride


def test_apply_reaches_contexts_and_leaves_the_rest(make_video):
    video = make_video(torch.ones(1, 2, 2, 2, 4))
    video.contexts = {3: torch.ones(1, 2, 2, 2, 4)}
    told = video.apply(lambda value: value[:, :1])
    assert told.contexts[3].shape == (1, 1, 2, 2, 4)
    assert told.raw_boxes_BTHW4 is None
    assert video.contexts[3].shape[1] == 2


def test_frame_means_leave_padding_out(make_video):
    regions = torch.randn(1, 3, 2, 2, 4)
    video = make_video(regions, frames=[2])
    video.real_BTHW = video.real_BTHW.clone()
    video.real_BTHW[0, 0, 1] = False
    told = video.frame_means()
    torch.testing.assert_close(told[0, 0], regions[0, 0, 0].mean(0))
    torch.testing.assert_close(told[0, 1], regions[0, 1].mean((0, 1)))
    assert told[0, 2].abs().max() == 0


def test_select_cuts_to_the_longest(make_text):
    text = make_text(torch.randn(3, 4), words=5)
    text.word_mask_QL[0, 2:] = False
    text.word_mask_QL[1, 3:] = False
    told = text.select(slice(0, 2))
    assert told.words_QLD.shape == (2, 3, 4)
    assert told.action_weights_QL.shape == (2, 3)
    assert torch.equal(told.sentence_QD, text.sentence_QD[:2])
    assert text.select(slice(2, None)).words_QLD.shape == (1, 5, 4)
    assert len(text.select(slice(3, None)).action_QD) == 0
