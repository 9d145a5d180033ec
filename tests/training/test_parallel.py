"""Two processes with half the batch each, against one with the whole batch; gloo, float64."""

from __future__ import annotations

import multiprocessing
from functools import partial
from pathlib import Path

import children
import pytest
import torch
from builders import DATES, run_step

import xcontrast as xc


def _run_both(target, folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=target, args=(rank, str(folder))) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(300)
        assert process.exitcode == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two ranks have left what a step of each method gave, and the model they trained."""
    folder = tmp_path_factory.mktemp("ranks")
    _run_both(children.step_rank, folder)
    return folder


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict]:
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", list(DATES))
def test_two_processes_give_the_gradients_of_one(ranks: list[dict], name: str, train: bool) -> None:
    """Batch norm in eval mode, and in training mode shared over both; keys, queues, statistics."""
    whole = run_step(name, train=train)
    assert sum(key.startswith("grad") for key in whole) > 50
    for own in ranks:
        found = own[f"{name} {train}"]
        assert found.keys() == whole.keys()
        for key, tensor in whole.items():
            assert torch.allclose(found[key], tensor, rtol=1e-5, atol=1e-8), key


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="this needs two GPUs")
def test_two_gpus_give_the_gradients_of_one_process(tmp_path: Path) -> None:
    _run_both(partial(children.step_rank, on_gpu=True), tmp_path)
    for rank in range(2):
        own = torch.load(tmp_path / f"rank{rank}.pt")
        for name in DATES:
            for key, tensor in run_step(name, train=True).items():
                assert torch.allclose(own[f"{name} True"][key], tensor, rtol=1e-5, atol=1e-8), key


def test_unshared_statistics_would_show(ranks: list[dict]) -> None:
    """In training mode the halves' own statistics give other gradients: the check can fail."""
    half, whole = (run_step("simclr", train=True, rank=0, n_ranks=n) for n in (2, 1))
    key = next(key for key in whole if key.startswith("grad"))
    assert not torch.allclose(half[key], whole[key], rtol=1e-3)
    assert torch.allclose(ranks[0]["simclr True"][key], whole[key], rtol=1e-5)


def test_pretraining_in_two_processes_gives_one_model(folder: Path) -> None:
    digests = [(folder / f"digest{rank}").read_text() for rank in range(2)]
    model = xc.load_model(folder / "model")
    assert digests == [model.digest, model.digest]
    assert list(model.history.step) == list(range(1, 7))
    assert model.card.training["n_devices"] == 2
    assert sorted(p.name for p in model.path.iterdir()) == [
        "card.json", "chips.zarr", "history.csv", "training.png", "weights.safetensors",
    ]  # fmt: skip


def test_all_processes_refuse_where_the_first_one_does(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "run.json").write_text('{"method": "simclr"}')
    _run_both(children.refuse_rank, tmp_path)
    first, second = ((tmp_path / f"told{rank}").read_text().split("\n") for rank in range(2))
    assert first[:2] == ["DataError: planted", "Stubborn: planted too"]
    assert second[:2] == ["DataError: planted", "RuntimeError: Stubborn: planted too"]
    assert first[2] == second[2]
    assert "received another one: method='multimodal' (there 'simclr')" in second[2]
    assert first[3] == second[3] == "and on"
