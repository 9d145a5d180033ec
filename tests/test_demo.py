"""The demo as a person runs it: the command, its files, its report."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import rasterio
import xarray as xr

import xcontrast as xc


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo")
    out = folder / "quick"
    # As the README has it: a relative folder.
    command = [sys.executable, "-m", "xcontrast", "demo", "--out", "quick", "--quick"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=600, cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done.stdout


def test_progress_is_told_all_the_way(run: tuple[Path, str]) -> None:
    steps = re.findall(r"^\[(\d)/9\]", run[1], flags=re.M)
    assert steps == [str(n) for n in range(1, 10)]
    assert "flood IoU on held-out ground, simulated" in run[1]


def test_all_that_was_promised_is_there_and_opens(run: tuple[Path, str]) -> None:
    out = run[0]
    model = xc.load_model(out / "model")
    head = xc.load_head(out / "head")
    assert head.facts["model_digest"] == model.digest
    assert model.card.training["steps"] == 45
    flood = xr.open_zarr(out / "flood.zarr")
    assert flood.label.dtype == "uint8"
    truth = xc.read_truth(out / "archive")
    with rasterio.open(out / "flood.tif") as file:
        assert file.crs.to_epsg() == 32632
        assert file.transform == truth.odc.geobox.transform
        assert (file.read(1) == flood.label.values).all()
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.tags()["model_digest"] == model.digest


def test_the_report_stands_alone_and_says_simulated(run: tuple[Path, str]) -> None:
    page = (run[0] / "report.html").read_text()
    assert "Simulated data" in page
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page)
    assert "<script" not in page
    assert page.count("data:image/png;base64,") >= 8
    scores = pd.read_csv(run[0] / "scores.csv", index_col=0)
    for name, value in scores.mean().items():
        assert str(name) in page
        assert f"{value:.3f}" in page


def test_the_verdict_follows_the_scores() -> None:
    from types import SimpleNamespace

    from xcontrast.demo import METHODS, QUICK
    from xcontrast.story import _verdict

    def verdict(*ious: float) -> str:
        scores = pd.DataFrame([ious], columns=list(METHODS))
        return _verdict(SimpleNamespace(scores=scores, scale=QUICK))  # type: ignore[arg-type]

    assert "It is not above" not in verdict(0.9, 0.5, 0.4, 0.3)
    worse = verdict(0.4, 0.5, 0.3, 0.2)
    assert "It is not above: random-init encoder 0.50" in worse
    assert "above: per-pixel boosting 0.30" in worse


def test_a_folder_in_use_is_refused_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    command = [sys.executable, "-m", "xcontrast", "demo", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "does not exist or is empty" in done.stderr
    assert "Traceback" not in done.stderr


def test_baselines_and_encoders_get_the_same_labels(run: tuple[Path, str]) -> None:
    scores = pd.read_csv(run[0] / "scores.csv", index_col=0)
    assert scores.shape == (1, 4)
    assert ((scores > 0) & (scores < 1)).all().all()
