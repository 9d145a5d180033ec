from __future__ import annotations

import torch
import torch.nn.functional as F

from xcontrast.nn.queues import Queue


def test_a_queue_holds_the_last_keys_and_their_ground() -> None:
    queue = Queue(10, 3)
    assert torch.allclose(queue.keys.norm(dim=1), torch.ones(10))
    assert (queue.ground[:, 0] == -1).all()
    keys = torch.randn(24, 3)
    ground = torch.arange(24 * 5).view(24, 5)
    for k in range(0, 24, 4):
        queue.push(keys[k : k + 4], ground[k : k + 4])
    # Six pushes of four: the last ten in a ring whose oldest is next to go.
    order = torch.cat([torch.arange(20, 24), torch.arange(14, 20)])
    assert torch.allclose(queue.keys, F.normalize(keys[order]))
    assert torch.equal(queue.ground, ground[order])
    assert int(queue.position) == 4


def test_more_keys_than_it_holds_leave_the_last_ones() -> None:
    queue = Queue(4, 2)
    keys = torch.randn(9, 2)
    queue.push(keys, torch.zeros(9, 5, dtype=torch.long))
    assert torch.allclose(queue.keys, F.normalize(keys[-4:]))


def test_a_queue_is_part_of_a_checkpoint() -> None:
    one, two = Queue(4, 2), Queue(4, 2)
    one.push(torch.randn(3, 2), torch.ones(3, 5, dtype=torch.long))
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.keys, two.keys)
    assert int(two.position) == 3
