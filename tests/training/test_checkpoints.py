from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError

QUICK = xc.PretrainOptions(chip_size=32, progress=False, checkpoint_seconds=0, eval_every=4)
STEPS = 14

SCRIPT = f"""
    import json, sys
    import xcontrast as xc
    options = xc.PretrainOptions(
        chip_size=32, progress=False, checkpoint_seconds=0, eval_every=4
    )
    for pixels, out, method in json.loads(sys.argv[1]):
        xc.pretrain(
            xc.load_chips(pixels), method=method, max_steps={STEPS}, batch_size=16, out=out,
            options=options,
        )
"""


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> xc.Chips:
    cut = xc.chips(xc.pairs(planted_cube(256, n_times=2)), size=32, stride=16)
    return cut.save(tmp_path_factory.mktemp("data") / "chips.zarr", progress=False)


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> xc.Chips:
    pairs = xc.pairs(planted_cube(256, n_times=4)[["s2"]], kind="seasonal", gap="12D")
    cut = xc.chips(pairs, size=32, stride=16)
    return cut.save(tmp_path_factory.mktemp("data") / "chips.zarr", progress=False)


def _begin(*runs: tuple[xc.Chips, Path, str]) -> subprocess.Popen[bytes]:
    """Begin runs in a process of their own: other tests change the threads of this one."""
    told = json.dumps([(chips.pixels.place, str(out), method) for chips, out, method in runs])
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(SCRIPT), told])


def _kill_midway(chips: xc.Chips, out: Path, method: str) -> None:
    """Begin a run and kill it after some checkpoints."""
    run = _begin((chips, out, method))
    deadline = time.monotonic() + 300
    seen = set()
    while len(seen) < 4:
        assert run.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        checkpoint = out / "checkpoint.ckpt"
        if checkpoint.exists():
            seen.add(checkpoint.stat().st_mtime_ns)
        time.sleep(0.01)
    run.kill()
    run.wait()


@pytest.fixture(scope="module")
def ended(
    chips: xc.Chips, seasons: xc.Chips, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Give a folder with a run that was killed and gone on with, and one that was not, a method."""
    own = {"multimodal": chips, "seco": seasons}
    folders = {method: tmp_path_factory.mktemp(method) for method in own}
    for method, folder in folders.items():
        _kill_midway(own[method], folder / "killed", method)
        assert not (folder / "killed" / "card.json").exists()
    runs = [
        (own[method], folder / name, method)
        for method, folder in folders.items()
        for name in ("killed", "whole")
    ]
    assert _begin(*runs).wait(300) == 0
    return folders


@pytest.mark.parametrize("method", ["multimodal", "seco"])
def test_a_killed_run_goes_on_to_the_bit(method: str, ended: dict[str, Path]) -> None:
    """Seasonal Contrast has a key encoder and queues to go on with, and dates to draw."""
    out = ended[method] / "killed"
    whole, resumed = xc.load_model(ended[method] / "whole"), xc.load_model(out)
    one, two = (load_file(m.path / "weights.safetensors") for m in (whole, resumed))
    assert all(np.array_equal(one[k], two[k]) for k in one)
    assert whole.history.equals(resumed.history)
    assert list(resumed.history.step) == list(range(1, STEPS + 1))
    assert resumed.card.training["held_out"] == whole.card.training["held_out"]
    assert resumed.card.training["steps"] == STEPS
    assert sorted(p.name for p in out.iterdir()) == [
        "card.json", "history.csv", "training.png", "weights.safetensors",
    ]  # fmt: skip


def test_a_run_that_is_told_to_end_leaves_a_checkpoint_and_no_model(
    chips: xc.Chips, tmp_path: Path
) -> None:
    script = f"""
        import xcontrast as xc
        options = xc.PretrainOptions(chip_size=32, progress=False, checkpoint_seconds=1e6)
        chips = xc.load_chips({chips.pixels.place!r})
        xc.pretrain(chips, max_steps=2000, batch_size=16, out="model", options=options)
    """
    run = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path)
    log = tmp_path / "model" / "log.csv"
    deadline = time.monotonic() + 300
    while not log.exists():
        assert run.poll() is None, "the run ended before it was told to"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.terminate()
    assert run.wait(timeout=300) == 143
    assert {"checkpoint.ckpt", "run.json", "log.csv"} <= {p.name for p in log.parent.iterdir()}
    assert not (log.parent / "card.json").exists()


def test_another_run_does_not_take_it_up(
    chips: xc.Chips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xcontrast.training import loop

    def stop(*_args, **_options):
        raise KeyboardInterrupt

    call = {"max_steps": STEPS, "batch_size": 16, "out": tmp_path / "m"}
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train", stop)
        with pytest.raises(KeyboardInterrupt):
            xc.pretrain(chips, options=QUICK, **call)
    run = json.loads((tmp_path / "m" / "run.json").read_text())
    assert run["steps"] == STEPS
    other = xc.PretrainOptions(chip_size=32, progress=False, eval_every=4, temperature=0.5)
    with pytest.raises(DataError, match=r"another one: temperature=0\.5 \(there 0\.1\)\. Do this"):
        xc.pretrain(chips, options=other, **call)
    with pytest.raises(DataError, match=r"another one: steps=15 \(there 14\)"):
        xc.pretrain(chips, options=QUICK, **{**call, "max_steps": STEPS + 1})


def test_a_run_that_fails_is_forgotten_unless_it_can_be_gone_on_with(
    chips: xc.Chips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xcontrast.training import loop

    out = tmp_path / "m"
    call = {"max_steps": 1, "batch_size": 16, "out": out}

    def fail(*_args, **_options):
        assert (out / "run.json").is_file()
        raise RuntimeError("this device is broken")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train", fail)
        with pytest.raises(RuntimeError, match="this device is broken"):
            xc.pretrain(chips, options=QUICK, **call)
        assert not (out / "run.json").exists()
        # What was kept of a run before it failed is not thrown away.
        out.mkdir(exist_ok=True)
        (out / "checkpoint.ckpt").write_bytes(b"")
        with pytest.raises(RuntimeError, match="this device is broken"):
            xc.pretrain(chips, options=QUICK, **call)
        assert {path.name for path in out.iterdir()} == {"run.json", "checkpoint.ckpt"}
    (out / "checkpoint.ckpt").unlink()
    # Another call is refused, and does not make the first one's run forgotten.
    with pytest.raises(DataError, match=r"another one: steps=2 \(there 1\)"):
        xc.pretrain(chips, options=QUICK, **{**call, "max_steps": 2})
    assert (out / "run.json").is_file()


def test_an_interrupted_kernel_keeps_the_model_so_far(tmp_path: Path) -> None:
    """As a person stops a cell: SIGINT to a real kernel, and the next cell has the model."""
    from jupyter_client import KernelManager

    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(Path(__file__).parents[1]))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        client.execute(
            "import xcontrast as xc\n"
            "from scenes import planted_cube\n"
            "cut = xc.chips(xc.pairs(planted_cube(256, n_times=2)), size=32, stride=16)\n"
            "options = xc.PretrainOptions(chip_size=32, progress=False, checkpoint_seconds=0)\n"
            f"out = {str(tmp_path / 'm')!r}\n"
            "model = xc.pretrain(cut, max_steps=5000, batch_size=16, out=out, options=options)\n"
        )
        deadline = time.monotonic() + 300
        while not (tmp_path / "m" / "checkpoint.ckpt").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        manager.interrupt_kernel()
        told: list[str] = []
        reply = client.execute_interactive(
            "told = model.card.training\n"
            "print(told['interrupted'], 0 < told['steps'] < 5000, len(model.history) > 0)",
            timeout=120,
            output_hook=lambda message: told.append(message["content"].get("text", "")),
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert reply["content"]["status"] == "ok", reply["content"]
    assert "True True True" in "".join(told)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [
        "card.json", "history.csv", "weights.safetensors",
    ]  # fmt: skip
