"""The curves of a training while it goes on: in a file, and under the cell of a notebook."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image
from scenes import planted_cube

import xcontrast as xc
from xcontrast.plotting import live

ROWS = [
    {"step": 1, "loss": 2.0},
    {"step": 2, "loss": 1.5, "recall_at_1": 0.1, "recall_at_5": 0.3},
    {"step": 3, "loss": 1.2, "recall_at_1": 0.4, "recall_at_5": 0.8},
]
CELL = """
import xcontrast as xc
from scenes import planted_cube

options = xc.PretrainOptions(chip_size=32, eval_every=1)
model = xc.pretrain(planted_cube(), max_steps=2, batch_size=8, options=options);
"""


def n_colours(image: bytes) -> int:
    return len(
        np.unique(np.asarray(Image.open(io.BytesIO(image)).convert("RGB")).reshape(-1, 3), axis=0)
    )


def test_a_run_with_a_folder_leaves_its_curves_there(tmp_path: Path) -> None:
    options = xc.PretrainOptions(chip_size=32, eval_every=1, progress=False)
    out = tmp_path / "model"
    model = xc.pretrain(planted_cube(), max_steps=2, batch_size=8, out=out, options=options)
    assert n_colours((out / "training.png").read_bytes()) > 20
    assert not [p for p in out.iterdir() if "partial" in p.name]
    assert model.save(tmp_path / "copy").digest == model.digest
    assert (tmp_path / "copy" / "training.png").is_file()


def test_curves_are_drawn_when_held_out_ground_was_looked_at(tmp_path: Path) -> None:
    curve = live.Curve(tmp_path, shown=True)
    curve.draw(ROWS[:1], last=True)
    assert not (tmp_path / "training.png").exists()
    curve.draw(ROWS[:2])
    first = (tmp_path / "training.png").read_bytes()
    curve.draw(ROWS)
    assert (tmp_path / "training.png").read_bytes() == first  # Too soon for another.
    curve.draw(ROWS, last=True)
    assert (tmp_path / "training.png").read_bytes() != first


def test_a_picture_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "training.png").mkdir()
    curve = live.Curve(tmp_path, shown=False)
    with pytest.warns(UserWarning, match=r"no more curves in .*training\.png"):
        curve.draw(ROWS, last=True)
    curve.draw(ROWS, last=True)  # A warning here would be an error.


def test_a_run_without_a_folder_or_a_notebook_draws_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "plot_training", None)
    live.Curve(None, shown=True).draw(ROWS, last=True)


def test_nothing_is_shown_where_progress_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[bytes] = []
    monkeypatch.setattr(live, "in_notebook", lambda: True)
    monkeypatch.setattr(live.Curve, "_show", lambda _self, image: shown.append(image))
    live.Curve(None, shown=False).draw(ROWS)
    monkeypatch.setenv("XCONTRAST_PROGRESS", "0")
    live.Curve(None, shown=True).draw(ROWS)
    assert not shown
    monkeypatch.setenv("XCONTRAST_PROGRESS", "1")
    live.Curve(None, shown=True).draw(ROWS)
    assert len(shown) == 1


def test_a_notebook_shows_one_picture_that_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parent)]))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    told = [output.get("data", {}) for output in notebook.cells[0].outputs]
    images = [data["image/png"] for data in told if "image/png" in data]
    assert len(images) == 1
    assert n_colours(base64.b64decode(images[0])) > 20
