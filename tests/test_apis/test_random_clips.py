"""Clips and models without data."""

import pytest
import torch

from hero_mm.apis.random_clips import WORDS, config_without_data, make_item

HERO = """
model = dict(type='HERO', text_encoder=dict({text}))
default_scope = 'hero_mm'
"""


def config(folder, text):
    path = folder / 'config.py'
    path.write_text(HERO.format(text=text))
    return path


def test_a_model_without_data(tmp_path):
    file = tmp_path / 'train.json'
    path = config(tmp_path, f"type='WordTextEncoder', ann_file='{file}'")
    text = config_without_data(path).model.text_encoder
    assert text.ann_file is None and text.vocabulary == [WORDS]
    # Data that is there is used.
    file.touch()
    found = config_without_data(path, {'model.max_regions': 3}).model
    assert found.text_encoder.ann_file == str(file)
    assert 'vocabulary' not in found.text_encoder and found.max_regions == 3
    # A language model gets random weights.
    path = config(tmp_path, "type='hero_mm.HFTextEncoder', name='x'")
    text = config_without_data(path).model.text_encoder
    assert text.pretrained is False and text.name == 'x'
    path.write_text("default_scope = 'hero_mm'")
    with pytest.raises(ValueError, match="config.py has no 'model'"):
        config_without_data(path)


@pytest.mark.parametrize(('frames', 'queries'), [(1, 1), (7, 2)])
def test_a_clip_holds_together(frames, queries):
    item, same = (make_item(frames, (40, 24), queries, 0) for _ in range(2))
    assert torch.equal(item['inputs'], same['inputs'])
    other = make_item(frames, (40, 24), queries, 1)
    assert not torch.equal(item['inputs'], other['inputs'])
    assert item['inputs'].shape == (frames, 3, 24, 40)
    sample = item['data_samples']
    truth, tracks = sample.gt_queries, sample.gt_tracks
    assert torch.equal(tracks.bboxes[truth.track_index], truth.bboxes)
    limit = torch.tensor([40, 24] * 2)
    for boxes in (truth.bboxes, sample.proposals.bboxes):
        assert ((boxes >= 0) & (boxes <= limit)).all()
        assert (boxes[..., 2:] > boxes[..., :2]).all()
    # A span is [start, end), and holds the frames with a box.
    for (start, end), valid in zip(truth.spans.int().tolist(), truth.valid):
        inside = [start <= t < end for t in range(frames)]
        assert valid.tolist() == inside and 0 <= start < end <= frames
