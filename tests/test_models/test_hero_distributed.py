"""HERO on two processes: no unused weight, captions of all processes."""

import pickle

import pytest
import torch
from mmengine.structures import InstanceData

from hero_mm.models import ContrastiveActionHead
from hero_mm.structures import GroundingDataSample

SCRIPT = """
import json, os, pickle, sys
import torch
from torch.nn.parallel import DistributedDataParallel
from hero_mm.registry import MODELS

torch.distributed.init_process_group('gloo')
rank = torch.distributed.get_rank()
folder = sys.argv[1]
with open(os.path.join(folder, 'setting.pkl'), 'rb') as file:
    config, clips = pickle.load(file)
torch.manual_seed(rank)
model = MODELS.build(config)
model.init_weights()
batch = model.data_preprocessor(
    dict(
        inputs=[clips[rank]['inputs']],
        data_samples=[clips[rank]['data_samples']],
    )
)
wrapped = DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(2):
    # A second step fails where a weight of the first one had no gradient.
    losses = wrapped(**batch, mode='loss')
    total, _ = model.parse_losses(losses)
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
weights = sum(p.abs().sum().item() for p in model.parameters())
losses = {key: value.item() for key, value in losses.items()}
with open(os.path.join(folder, f'{rank}.json'), 'w') as file:
    json.dump(dict(weights=weights, losses=losses), file)
# Who leaves first would take the other one's connection away.
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


GATHER = """
import json, pickle, sys
import torch
from hero_mm.models import ContrastiveActionHead
from hero_mm.models.heads.contrastive_action_head import _gather_captions

torch.distributed.init_process_group('gloo')
rank = torch.distributed.get_rank()
# Three clips with four captions on one, two clips with two on the other.
clips = [[0, 1, 1, 2], [0, 1]][rank]
owner = torch.tensor(clips)
look = (torch.arange(len(clips)) + 10.0 * rank)[:, None].requires_grad_()
action = (look.detach() + 0.5).requires_grad_()
(looks, actions, owners, numbers), mine = _gather_captions(
    look, action, owner, owner + 100 * rank, [3, 2][rank]
)
(looks.sum() + actions.sum()).backward()
with open(f'{sys.argv[1]}/setting.pkl', 'rb') as file:
    weights, inputs = pickle.load(file)
head = ContrastiveActionHead(8, common_dims=4)
head.load_state_dict(weights)
loss = head.loss(**inputs[rank])['loss_action_contrast']
with open(f'{sys.argv[1]}/{rank}.json', 'w') as file:
    json.dump(
        dict(
            looks=looks[:, 0].tolist(),
            actions=actions[:, 0].tolist(),
            owners=owners.tolist(),
            numbers=numbers.tolist(),
            mine=[mine.start, mine.stop],
            learned=[look.grad.sum().item(), action.grad.sum().item()],
            loss=loss.item(),
        ),
        file,
    )
# Who leaves first would take the other one's connection away.
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


def contrast_inputs(make_regions, make_text, gen, names) -> dict:
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


def beside(mine: dict, theirs: dict, make_text) -> dict:
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
def test_captions_are_gathered(make_regions, make_text, run_twice, tmp_path):
    """Whatever their number, they find their clips and are negatives."""
    gen = torch.Generator().manual_seed(0)
    inputs = [
        contrast_inputs(make_regions, make_text, gen, names)
        for names in (['kick', 'hold'], ['ride', 'watch', 'swim'])
    ]
    torch.manual_seed(0)
    head = ContrastiveActionHead(8, common_dims=4)
    (tmp_path / 'setting.pkl').write_bytes(
        pickle.dumps((head.state_dict(), inputs))
    )
    one, two = run_twice(GATHER, tmp_path)
    assert one['looks'] == two['looks'] == [0, 1, 2, 3, 10, 11]
    assert one['actions'] == [look + 0.5 for look in one['looks']]
    assert one['numbers'] == two['numbers'] == [0, 1, 1, 2, 100, 101]
    # Clips count from the first one of the process.
    assert one['owners'] == [0, 1, 1, 2, 3, 4] and one['mine'] == [0, 4]
    assert two['owners'] == [-3, -2, -2, -1, 0, 1] and two['mine'] == [4, 6]
    # Captions of the other process carry no gradient.
    assert one['learned'] == [4, 4] and two['learned'] == [2, 2]
    for got, mine, theirs in ((one, *inputs), (two, *inputs[::-1])):
        alone = head.loss(**beside(mine, theirs, make_text))
        wanted = alone['loss_action_contrast'].item()
        assert got['loss'] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.slow
def test_two_processes(hero_config, make_clip, run_twice, tmp_path):
    config = hero_config()
    clips = [
        make_clip(4, texts=['what grows ?'], negatives=False),
        make_clip(
            5,
            texts=['what grows ?', 'the red square moves left'] * 2,
            seed=1,
        ),
    ]
    (tmp_path / 'setting.pkl').write_bytes(pickle.dumps((config, clips)))
    one, two = run_twice(SCRIPT, tmp_path)
    # The gradients were averaged: both hold the same weights.
    assert one['weights'] == two['weights']
    assert one['losses'].keys() == two['losses'].keys()
    assert one['losses'] != two['losses']
    # One clip and one caption: alone there would be nothing to contrast and
    # the loss exactly zero.
    assert one['losses']['loss_action_contrast'] > 0
