from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from builders import DATES, build, make_ground, make_images, to_double

import xcontrast as xc
from xcontrast.nn.losses import nt_xent
from xcontrast.nn.parallel import gather_rows
from xcontrast.training.gradients import send_back
from xcontrast.training.ground import find_near, find_near_points
from xcontrast.training.methods.points import draw_points
from xcontrast.training.methods.views import View

METHODS = tuple(DATES)


def _views(method, n: int = 6, seed: int = 0):
    images = make_images(n, n_dates=method.n_dates, seed=seed)
    return method.make_views(images, size=24, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", METHODS)
def test_encoders_of_two_sensors_share_no_parameter(name: str) -> None:
    method = build(name)
    one, two = ({id(p) for p in method.encoder(s).parameters()} for s in ("s1", "s2"))
    assert one
    assert not one & two
    for space in method.spaces:
        one, two = ({id(p) for p in method.projector(space, s).parameters()} for s in ("s1", "s2"))
        assert not one & two
    assert method.n_dates == DATES[name]


def test_seasonal_views_are_those_of_the_paper() -> None:
    """q = t0, k0 = aug(t1), k1 = t2, k2 = aug(t0); four crops of their own."""
    method = build("seco", sensors=("s2",))
    value = torch.arange(1.0, 4.0).view(1, 3, 1, 1, 1).expand(5, 3, 3, 32, 32)
    rows = torch.linspace(0, 0.1, 32).view(1, 1, 1, 32, 1)
    images = {"s2": (value + rows, torch.ones(5, 3, 1, 32, 32))}
    views = method.make_views(images, size=24, generator=torch.Generator().manual_seed(0))
    assert list(views) == ["s2.query", "s2.0", "s2.1", "s2.2"]
    clean = {role: views[f"s2.{role}"].values for role in ("query", "1")}
    for role, date in (("query", 1.0), ("1", 3.0)):
        assert (clean[role] >= date - 1e-5).all()
        assert (clean[role] <= date + 0.1 + 1e-5).all()
        # Neither flipped nor changed: the ramp still rises.
        assert (clean[role].diff(dim=2) > -1e-6).all()
    artificial = views["s2.2"].values
    assert not ((artificial >= 1 - 1e-5) & (artificial <= 1.1 + 1e-5)).all()
    boxes = [view.boxes.abs() for view in views.values()]
    assert all(not torch.allclose(a, b) for k, a in enumerate(boxes) for b in boxes[:k])


@pytest.mark.parametrize(("name", "date"), [("moco", 0), ("moco_tp", 1)])
def test_momentum_baselines_take_both_views_changed(name: str, date: int) -> None:
    still = xc.Augmentation(p_jitter=0.0, p_grey=0.0, p_blur=0.0, p_flip=1.0)
    method = build(name, sensors=("s2",), s2_augmentation=still)
    value = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1, 1).expand(5, 2, 3, 32, 32)
    columns = torch.linspace(0, 0.1, 32).view(1, 1, 1, 1, 32)
    images = {"s2": (value + columns, torch.ones(5, 2, 1, 32, 32))}
    views = method.make_views(images, size=24, generator=torch.Generator().manual_seed(0))
    assert list(views) == ["s2.query", "s2.0"]
    for view, when in zip(views.values(), (0, date), strict=True):
        assert torch.allclose(view.values.floor(), torch.tensor(when + 1.0))
        # All that is left of the changes is the flip: the ramp falls in both.
        assert (view.values.diff(dim=3) < 1e-6).all()


def test_seasonal_logits_are_as_wide_as_the_papers() -> None:
    method = build("seco", sensors=("s2",), queue=16384, min_distance=None)
    n = 4
    views = _views(method, n)
    projected, keys = method.project(views), method.keys(views)
    ground = make_ground(n)
    widths = {
        space: method.logits(projected, keys, ground, "s2", space).shape[1]
        for space in method.spaces
    }
    assert widths == {
        "invariant": 16385, "season": 16385 + 2 * n, "artificial": 16385 + 2 * n,
    }  # fmt: skip


def test_the_seasonal_loss_equals_its_loop() -> None:
    method = build("seco", sensors=("s2",), queue=6, min_distance=None, temperature=0.3)
    views = _views(method, 5)
    projected, keys = method.project(views), method.keys(views)
    loss = method.loss(projected, keys, make_ground(5))
    pooled = [method._pool_key("s2", views[f"s2.{k}"]) for k in range(3)]
    total = 0.0
    for space, own, others in (
        ("invariant", 0, ()),
        ("season", 1, (0, 2)),
        ("artificial", 2, (0, 1)),
    ):
        head = method.key_projectors[space]["s2"]
        # All three keys pass the head of the space.
        z = [F.normalize(head(feature), dim=1) for feature in pooled]
        q = F.normalize(projected[f"s2.{space}"], dim=1)
        for i in range(5):
            row = [q[i] @ z[own][i]]
            row += [q[i] @ other for other in method.queue(space, "s2").keys]
            row += [q[i] @ z[k][j] for k in others for j in range(5)]
            total -= torch.log_softmax(torch.stack(row) / 0.3, 0)[0].item() / 5
    assert float(loss.detach()) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("name", ["moco", "moco_tp", "seco"])
def test_queues_receive_their_own_key_and_no_gradient_reaches_keys(name: str) -> None:
    method = build(name)
    views = _views(method)
    ground = make_ground(6)
    _, keys, _ = send_back(method, views, ground)
    assert all(not rows.requires_grad for rows in keys.values())
    frozen = [*method.key_encoders.parameters(), *method.key_projectors.parameters()]
    assert all(p.grad is None and not p.requires_grad for p in frozen)
    for sensor in method.sensors:
        used = [p for s in method.spaces for p in method.projector(s, sensor).parameters()]
        assert all(p.grad is not None for p in (*method.encoder(sensor).parameters(), *used))
    method.end_step(keys, ground)
    for sensor in method.sensors:
        for space, own in method.recipe.positives.items():
            queue = method.queue(space, sensor)
            assert torch.allclose(queue.keys[:6], keys[f"{sensor}.{space}.{own}"])
            assert torch.equal(queue.ground[:6], ground)
            assert (queue.ground[6:, 0] == -1).all()


def test_the_momentum_update_covers_heads_and_leaves_buffers() -> None:
    method = build("seco", key_momentum=0.9)
    with torch.no_grad():
        for p in (*method.encoders.parameters(), *method.projectors.parameters()):
            p.add_(1.0)
    before = {k: v.clone() for k, v in method.state_dict().items() if k.startswith("key_")}
    query = {k: v for k, v in method.state_dict().items() if not k.startswith("key_")}
    parameters = {k for k, _ in method.named_parameters()}
    method.train()
    method.begin_step()
    moved = 0
    for name, old in before.items():
        new = method.state_dict()[name]
        if name not in parameters:
            assert torch.equal(new, old)  # Batch norm's statistics are the key encoder's own.
            continue
        expected = 0.9 * old + 0.1 * query[name.removeprefix("key_")]
        assert torch.allclose(new, expected, atol=1e-6)
        moved += "projectors" in name
    assert moved == 3 * 2 * 4  # Spaces, sensors, weights and biases of two layers.


def test_what_shows_the_same_ground_is_no_negative() -> None:
    method = build("moco", sensors=("s2",), queue=8)
    ground = torch.tensor([[0, 0, 0, 32, 32], [0, 16, 16, 48, 48], [1, 0, 0, 32, 32]])
    method.queue("artificial", "s2").push(torch.randn(3, 4), ground)
    views = _views(method, 3)
    logits = method.logits(method.project(views), method.keys(views), ground, "s2", "artificial")
    hidden = torch.isinf(logits[:, 1:4])
    assert hidden.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    assert not torch.isinf(logits[:, 4:]).any()


ONE = torch.tensor([[0, 0, 0, 32, 32], [0, 16, 16, 48, 48]])
TWO = torch.tensor([[0, 0, 0, 32, 32], [0, 40, 40, 72, 72]])


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("simclr", {}, False), ("simclr", {"min_distance": None}, True),
        ("simclr", {"negatives": "none"}, True), ("simclr", {"negatives": "cross"}, False),
        ("multimodal", {}, True), ("multimodal", {"dense_weight": 0.0}, False),
        ("moco", {}, False), ("moco", {"negatives": "none"}, False),
        ("moco", {"min_distance": None}, True), ("seco", {}, True),
    ],
)  # fmt: skip
def test_chips_that_all_overlap_have_negatives_only_otherwise(
    name: str, options: dict, expected: bool
) -> None:
    method = build(name, **options)
    method.end_step(method.keys(_views(method, 2)), ONE)
    assert method.has_negatives(ONE) is expected
    method.end_step(method.keys(_views(method, 2)), TWO)
    assert method.has_negatives(TWO)


def test_a_queue_of_past_batches_has_negatives_for_a_batch_without() -> None:
    method = build("moco")
    keys = method.keys(_views(method, 2))
    method.end_step(keys, ONE + torch.tensor([0, 100, 0, 100, 0]))
    method.end_step(keys, ONE)
    assert method.has_negatives(ONE)
    assert not build("simclr").has_negatives(ONE)


def test_distances_are_centre_to_centre_at_one_place() -> None:
    ground = torch.tensor([[0, 0, 0, 32, 32], [0, 0, 40, 32, 72], [1, 0, 0, 32, 32]])
    assert find_near(ground, ground, 0.0).tolist() == torch.eye(3, dtype=torch.bool).tolist()
    assert find_near(ground, ground, 40.0).tolist() == [
        [True, True, False], [True, True, False], [False, False, True],
    ]  # fmt: skip
    assert not find_near(ground, ground, 39.0)[0, 1]
    assert find_near(ground, ground, None) is None


def test_the_multimodal_loss_is_the_papers_when_nothing_is_masked() -> None:
    method = build("multimodal", min_distance=None, dense_weight=0.0, temperature=0.1)
    views = _views(method)
    projected = method.project(views)
    loss = method.loss(projected, {}, make_ground(6))
    assert torch.allclose(loss, nt_xent(projected["s1"], projected["s2"], temperature=0.1))


def test_points_show_the_same_ground_in_both_crops() -> None:
    """A picture of positions: read at the points, both crops tell the same place."""
    n, side = 12, 64
    line = (torch.arange(side) + 0.5) / side
    place = torch.stack([line[:, None].expand(side, side), line.expand(side, side)])
    images = {
        name: (place.expand(n, 1, 2, side, side), torch.ones(n, 1, 1, side, side))
        for name in ("s1", "s2")
    }
    method = build("multimodal")
    g = torch.Generator().manual_seed(0)
    views = {}
    for name in ("s1", "s2"):
        cut = method.cut(images, name, date=0, size=32, generator=g)
        views[name] = cut
    marked = draw_points(views, n=5, generator=g)
    good = marked["s1"].points[..., -1] * marked["s2"].points[..., -1] > 0.5
    assert 0.5 < float(good.float().mean()) <= 1
    for view in marked.values():
        grid = (view.points[..., :2].flip(-1) * 2 - 1)[:, :, None]
        read = F.grid_sample(view.values, grid, padding_mode="border", align_corners=False)
        told = read[..., 0].transpose(1, 2)
        assert torch.allclose(told[good], view.points[..., 2:4][good], atol=0.02)


def test_crops_apart_have_no_points() -> None:
    boxes = torch.tensor([[0.25, 0.25, 0.5, 0.5]]), torch.tensor([[0.75, 0.75, 0.4, 0.4]])
    views = {
        name: View(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8), box)
        for name, box in zip(("s1", "s2"), boxes, strict=True)
    }
    marked = draw_points(views, n=3, generator=torch.Generator().manual_seed(0))
    assert not marked["s1"].points[..., -1].any()


def test_neighbouring_points_of_a_chip_are_no_negatives() -> None:
    points = torch.tensor([[[0.5, 0.5], [0.55, 0.5], [0.9, 0.9]], [[0.5, 0.5]] * 3])
    near = find_near_points(points, torch.eye(2, dtype=torch.bool))
    assert near[:3, :3].tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    assert near[3:, 3:].all()
    assert not near[:3, 3:].any()
    assert find_near_points(points, torch.ones(2, 2, dtype=torch.bool))[:3, 3:].all()


def test_a_dense_and_a_seasonal_term_are_added() -> None:
    plain = build("multimodal", n_projected=4, dense_weight=0.0)
    torch.manual_seed(0)
    both = build("multimodal", dense_weight=0.5, seasonal_weight=0.5)
    assert both.spaces == ("joint", "invariant")
    assert plain.spaces == ("joint",)
    views = _views(both)
    assert {"s1", "s2", "s1.later", "s2.later"} == set(views)
    projected = both.project(views)
    assert projected["s1.points"].shape == (6, 8, 4 + 3)
    total = both.loss(projected, {}, make_ground(6))
    near = find_near(make_ground(6), make_ground(6), 0.0)
    expected = both._contrast(projected["s1"], projected["s2"], near)
    expected = expected + 0.5 * both._contrast_points(projected, near)
    for name in ("s1", "s2"):
        dates = projected[f"{name}.one"], projected[f"{name}.other"]
        expected = expected + 0.25 * both._contrast(*dates, near)
    assert torch.allclose(total, expected)
    total.backward()
    assert all(p.grad is not None for p in both.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("micro_batch", [2, 5])
def test_a_batch_in_parts_has_the_whole_batchs_gradient(name: str, micro_batch: int) -> None:
    """In eval mode: batch norm's own statistics are those of the chips that pass together."""
    method = build(name).double().eval()
    views = {key: to_double(view) for key, view in _views(method.float()).items()}
    method.double()
    ground = make_ground(6)
    losses, gradients = [], []
    for size in (None, micro_batch):
        method.zero_grad()
        loss, _, _ = send_back(method, views, ground, micro_batch=size)
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in method.parameters()
                                    if p.grad is not None]))  # fmt: skip
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    assert torch.allclose(*gradients, rtol=1e-6, atol=1e-9)
    # The mean of the parts' own gradients is another one: the check can fail.
    method.zero_grad()
    parts = [slice(0, 3), slice(3, 6)]
    for rows in parts:
        send_back(method, {k: v[rows] for k, v in views.items()}, ground[rows])
    mean = torch.cat([p.grad.flatten() / 2 for p in method.parameters() if p.grad is not None])
    if name in ("multimodal", "simclr", "seco"):
        assert not torch.allclose(mean, gradients[0], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("n", "micro_batch", "expected"),
    [
        (9, 4, [3, 3, 3]), (6, 4, [3, 3]), (7, 2, [3, 2, 2]), (3, 2, [3]), (8, 4, [4, 4]),
        (4, 1, [2, 2]), (5, None, [5]), (5, 8, [5]),
    ],
)  # fmt: skip
def test_no_part_of_a_batch_is_a_single_chip(
    n: int, micro_batch: int | None, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The projectors' batch norm takes two chips or more."""
    method = build("simclr").train()
    sizes: list[int] = []
    project = method.project

    def count(part):
        sizes.append(len(next(iter(part.values())).values))
        return project(part)

    monkeypatch.setattr(method, "project", count)
    loss, _, _ = send_back(method, _views(method, n), make_ground(n), micro_batch=micro_batch)
    assert torch.isfinite(loss)
    # In parts, each is projected twice.
    assert sizes == (expected * 2 if len(expected) > 1 else expected)


def test_parts_leave_batch_norms_statistics_as_one_pass_does() -> None:
    method = build("multimodal").train()
    views = _views(method)
    norm = method.encoder("s1").body.bn1
    send_back(method, views, make_ground(6), micro_batch=3)
    assert int(norm.num_batches_tracked) == 2
    assert norm.momentum == 0.1


def test_alone_nothing_is_gathered() -> None:
    rows = torch.randn(3, 2)
    assert gather_rows(rows) is rows
