"""HERO on two processes: no unused weight, captions of all processes."""

import pickle

import pytest
import torch
from mmengine.structures import InstanceData
from tiny_clips import make_regions, make_text

from hero_mm.models import ContrastiveActionHead
from hero_mm.structures import GroundingDataSample

GATHER = """
import json, pickle, sys
import torch
from hero_mm.models import ContrastiveActionHead

torch.distributed.init_process_group('gloo')
rank = torch.distributed.get_rank()
with open(f'{sys.argv[1]}/setting.pkl', 'rb') as file:
    weights, inputs = pickle.load(file)
head = ContrastiveActionHead(8, common_dims=4)
head.load_state_dict(weights)
loss = head.loss(**inputs[rank])['loss_action_contrast']
with open(f'{sys.argv[1]}/{rank}.json', 'w') as file:
    json.dump(loss.item(), file)
# Who leaves first would take the other one's connection away.
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


def contrast_inputs(gen, names) -> dict:
    """Of one process: a clip with captions, one of which has a negative."""
    sample = GroundingDataSample()
    sample.queries = InstanceData(predicates=names)
    # What another process says may be true here.
    sample.set_metainfo(dict(video_predicates=[*names, 'ride']))
    seed = int(torch.randint(1000, (1,), generator=gen))
    return dict(
        regions=make_regions(1, 4, 3, 8, seed=seed),
        text=make_text(torch.randn(len(names), 8, generator=gen)),
        clip_of_query=torch.zeros(len(names), dtype=torch.long),
        samples=[sample],
        negatives=make_text(torch.randn(1, 8, generator=gen)),
        query_of_negative=torch.zeros(1, dtype=torch.long),
    )


def beside(mine: dict, theirs: dict) -> dict:
    """Captions of another process as further negatives of each of mine.

    But for 'ride', which may be true of every clip.
    """
    names = theirs['samples'][0].queries.predicates
    rivals = [place for place, name in enumerate(names) if name != 'ride']
    count = len(mine['clip_of_query'])
    further = theirs['text'].action_QD[rivals]
    owners = torch.arange(count).repeat_interleave(len(rivals))
    return dict(
        mine,
        negatives=make_text(
            torch.cat([mine['negatives'].action_QD, *[further] * count])
        ),
        query_of_negative=torch.cat([mine['query_of_negative'], owners]),
    )


@pytest.mark.slow
def test_captions_are_gathered(run_twice, tmp_path):
    """Whatever their number, they find their clips and are negatives."""
    gen = torch.Generator().manual_seed(0)
    inputs = [
        contrast_inputs(gen, names)
        for names in (['kick', 'hold'], ['ride', 'watch', 'swim'])
    ]
    torch.manual_seed(0)
    head = ContrastiveActionHead(8, common_dims=4)
    (tmp_path / 'setting.pkl').write_bytes(
        pickle.dumps((head.state_dict(), inputs))
    )
    one, two = run_twice(GATHER, tmp_path)
    for got, mine, theirs in ((one, *inputs), (two, *inputs[::-1])):
        alone = head.loss(**beside(mine, theirs))
        wanted = alone['loss_action_contrast'].item()
        assert got == pytest.approx(wanted, abs=1e-5)


@pytest.mark.slow
def test_two_processes(hero_config, make_clip, train_twice):
    clips = [
        make_clip(4, texts=['what grows ?'], negatives=False),
        make_clip(
            5,
            texts=['what grows ?', 'the red square moves left'] * 2,
            seed=1,
        ),
    ]
    one, two = train_twice(hero_config(), clips)
    assert one != two
    # One clip and one caption: alone there would be nothing to contrast and
    # the loss exactly zero.
    assert one['loss_action_contrast'] > 0
