"""`xcontrast reproduce`, as a person calls it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from click.testing import Result
from layouts import write_bigearthnet, write_eurosat
from typer.testing import CliRunner

import xcontrast as xc
from xcontrast.cli import app
from xcontrast.errors import DataError, ModelError, SourceError
from xcontrast.protocols.options import ReproduceOptions
from xcontrast.protocols.reproducing import PROTOCOLS, reproduce
from xcontrast.protocols.tables import published


@pytest.fixture(scope="module")
def eurosat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"train": 2, "val": 1, "test": 1}
    return write_eurosat(tmp_path_factory.mktemp("eurosat"), sizes=sizes)


def _call(*words: str) -> Result:
    return CliRunner().invoke(app, ["reproduce", *words])


def test_our_row_is_printed_beside_the_published_ones(eurosat: Path) -> None:
    done = _call("eurosat", f"--data={eurosat}", "--model=random", "--quick")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "eurosat: accuracy, %"
    rows = published("eurosat")
    for _, row in rows.iterrows():
        line = next(k for k in lines if row["start"] in k and f"{row['mean']:.2f}" in k)
        assert row["source"] in line
        assert ("*" in line) == (not row["checked"])
    ours = [k for k in lines if "this run" in k]
    assert len(ours) == 2
    # Within its task, below what is published.
    assert lines.index("linear") < lines.index(ours[0]) < lines.index("kNN-5")
    assert "- training ended after 2 steps: not to be compared" in lines
    assert "- batches hold 2 images, however many the paper's do" in lines
    assert "- the test split is scored, not the validation split" in lines


def test_json_holds_both_tables(tmp_path: Path, patch_seer: xc.Model) -> None:
    root = write_bigearthnet(tmp_path, sizes={"train": 4, "val": 2, "test": 2})
    done = _call(
        "bigearthnet", f"--data={root}", f"--model={patch_seer.path}", "--quick", "--json",
        "--paper-compat", "--seed=3",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["metric"] == "micro-averaged average precision, %"
    assert {row["task"] for row in told["ours"]} == {row["task"] for row in told["published"]}
    assert all(row["start"] == "random" and row["std"] is None for row in told["ours"])
    assert "training ended after 2 steps: not to be compared" in told["departures"]


def test_a_file_of_published_weights_is_taken(eurosat: Path, tmp_path: Path) -> None:
    state = timm.create_model("test_resnet").state_dict()
    torch.save(state, tmp_path / "timm.pth")
    done = _call(
        "eurosat", f"--data={eurosat}", f"--model={tmp_path / 'timm.pth'}", "--quick",
        "--layout=timm", "--encoder=test_resnet",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "imported (timm)" in done.stdout


def test_what_does_not_fit_is_told(eurosat: Path, seer: xc.Model, tmp_path: Path) -> None:
    options = ReproduceOptions(max_steps=1)
    with pytest.raises(SourceError, match=r"Expected the official layout, with EuroSAT/2750"):
        reproduce("eurosat", tmp_path, seer, options=options)
    with pytest.raises(DataError, match=r"Expected a data set of sen1floods11.*received 'so2sat'"):
        reproduce("so2sat", eurosat, seer)
    with pytest.raises(ModelError, match=r"encoder for s1, as sen1floods11 has; received one for"):
        reproduce("sen1floods11", eurosat, seer)
    done = _call("eurosat", f"--data={eurosat}", f"--model={tmp_path / 'none'}")
    assert isinstance(done.exception, ModelError)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_was_changed_of_a_training_is_told(
    name: str, eurosat: Path, seer: xc.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = replace(
        PROTOCOLS[name],
        open=lambda *_: None,
        run=lambda *_, **__: published(name),
        inputs={"s2": None},
    )
    monkeypatch.setitem(PROTOCOLS, name, quiet)
    told = {"batches hold 8 images, however many the paper's do"}
    plain = reproduce(name, eurosat, seer).departures
    assert plain
    changed = reproduce(name, eurosat, seer, options=ReproduceOptions(batch_size=8)).departures
    assert set(changed) - set(plain) == told
    assert changed[1:] == plain
    both = reproduce(name, eurosat, seer, options=ReproduceOptions(batch_size=8, max_steps=3))
    assert both.departures[0] == "training ended after 3 steps: not to be compared"
    assert both.departures[1:] == changed


@pytest.mark.parametrize("name", ["sen1floods11", "dynamic-world", "oscd"])
def test_the_layout_is_looked_at_first(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="Expected the official layout"):
        reproduce(name, tmp_path, "random")
