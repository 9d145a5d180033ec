"""The notebooks, run cell by cell as a person would."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"


def execute(name: str, tmp_path: Path, **environment: str) -> str:
    """Run a notebook in its folder and give all that it printed."""
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    settings = os.environ | environment | {"XCONTRAST_CACHE": str(tmp_path), "MPLBACKEND": "agg"}
    client = NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        resources={"metadata": {"path": str(EXAMPLES)}},
    )
    client.execute(env=settings)
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "error"]
    return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")


def committed(name: str) -> str:
    """Give what the notebook printed when its outputs were kept."""
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    return "".join(o.text for o in outputs if o.output_type == "stream")


def test_pairs(data_dir: Path, tmp_path: Path) -> None:
    told = execute("1_pairs.ipynb", tmp_path, XCONTRAST_DATA=str(data_dir))
    # A fixed seed and no training: what was kept is what anybody gets.
    assert told == committed("1_pairs.ipynb")
    # Of passes every 24 days, twice, and optics every ten: 16 of 37 dates lie within three days.
    assert "16 pairs of 37 Sentinel-2 dates" in told
    assert "1 pair of 2 Sentinel-2 dates, lag 67 hours" in told
    assert "6 pairs, 2 of them clear: 2023-04-05, 2023-04-15" in told
    found = re.search(r"(\d+) chips: (\d+) to train on, (\d+) held out", told)
    assert found
    n_chips, n_train, n_held = map(int, found.groups())
    assert n_train > 2 * n_held > 0
    assert n_train + n_held < n_chips  # Those across a border are in neither.


def test_pretrain(tmp_path: Path) -> None:
    told = execute("2_pretrain.ipynb", tmp_path, XCONTRAST_EXAMPLE_STEPS="40")
    assert re.search(r"received a spread of 0\.0\d+ at step 4", told)  # The collapse on purpose.
    spread = re.search(r"^feature_std +[\d.]+ +([\d.]+)$", told, flags=re.M)
    assert spread
    assert float(spread[1]) > 0.1
    alike = re.search(r"same cell (-?[\d.]+), any two cells (-?[\d.]+)", told)
    assert alike
    assert float(alike[1]) > float(alike[2]) + 0.1
    areas = re.findall(r"^s[12]: AUC ([\d.]+)$", told, flags=re.M)
    assert len(areas) == 2
    assert all(float(area) > 0.7 for area in areas)
    assert "embeds alike: True" in told
    killed = re.search(r"killed after step (\d+); in the folder: checkpoint.ckpt", told)
    assert killed
    assert 5 <= int(killed[1]) < 20
    assert "went on to step 20; steps logged once each: True" in told
    assert "in the folder: card.json history.csv training.png weights.safetensors" in told


def test_flood_from_clicks(tmp_path: Path) -> None:
    told = execute("3_flood_from_clicks.ipynb", tmp_path, XCONTRAST_EXAMPLE_STEPS="40")
    assert "20 of 20 clicks agree with the truth" in told
    away = re.search(r"held-out ground, (\d+) m from the nearest click", told)
    assert away
    assert int(away[1]) > 500
    rows = re.findall(r"^(.+?) {2,}(0\.\d+) +(0\.\d+) +(0\.\d+)$", told, flags=re.M)
    iou = {name.strip(): float(value) for name, value, *_ in rows}
    assert list(iou) == [
        "pretrained encoder",
        "random-init encoder",
        "per-pixel boosting",
        "boosting, 5 x 5 windows",
    ]
    # Twenty clicks make a map; which method is best is for longer runs, and more floods, to say.
    assert iou["pretrained encoder"] > 0.4
    unsure = re.search(r"highest entropy: (\d+)%; among the rest: (\d+)%", told)
    assert unsure
    assert int(unsure[1]) > 2 * int(unsure[2])
    assert "EPSG:32632, 10 m, nodata 255, as mapped: True" in told


def test_land_cover(tmp_path: Path) -> None:
    told = execute("4_land_cover.ipynb", tmp_path)
    likeness = re.findall(
        r"^(\w+): one place in two seasons ([\d.-]+), two places on one day ([\d.-]+)$",
        told,
        flags=re.M,
    )
    seasons = {name: float(season) for name, season, _ in likeness}
    places = {name: float(place) for name, _, place in likeness}
    assert list(seasons) == ["invariant", "season", "artificial"]
    # A place is told from others through the year, but where the season is free to show.
    for name in ("invariant", "season"):
        assert seasons[name] > places[name] + 0.05
        assert seasons[name] > seasons["artificial"] + 0.05
    home = dict(re.findall(r"^(\w+) +accuracy ([\d.]+), mean IoU", told, flags=re.M))
    assert set(home) == {"encoder", "statistics", "pixels"}
    # A quarter of the ground is the commonest cover.
    assert all(float(value) > 0.5 for value in home.values())
    rows = re.findall(r"^(\w+) +([\d.]+) +([\d.]+)$", told, flags=re.M)
    away = {name: float(accuracy) for name, accuracy, _ in rows}
    assert set(away) == {"pixels", "statistics", "encoder", "invariant", "season"}
    # Labels of summer serve other seasons better where the season does not show.
    assert max(away["invariant"], away["season"]) > max(away[name] for name in home)
    assert all(away[name] < float(home[name]) for name in home)


def test_region_on_a_cluster(tmp_path: Path) -> None:
    told = execute("5_region_on_a_cluster.ipynb", tmp_path)
    stopped = re.search(r"stopped with (\d+) of 9 tiles to make", told)
    assert stopped
    assert 0 < int(stopped[1]) <= 6
    found = re.search(r"(\d+) tiles before the stop, (\d+) after it, flood IoU .* ([\d.]+)", told)
    assert found
    # Tiles at work when it was stopped may have been ended: they are not made again.
    assert int(found[1]) >= 9 - int(stopped[1])
    assert int(found[1]) + int(found[2]) == 9
    assert float(found[3]) > 0.5
    assert "in the store: ['overview_2']" in told
    assert "GeoTIFF: EPSG:32632, cells of 10 m" in told


def test_share(tmp_path: Path) -> None:
    told = execute("6_share.ipynb", tmp_path)
    flat = " ".join(told.split())
    used = re.search(r"tensors of the file that are used: (\d+) of (\d+)", told)
    assert used
    assert 0 < int(used[1]) < int(used[2])
    assert "not used: fc, layer4" in told
    assert "(64, 13, 7, 7) in the file, (64, 10, 7, 7) in the model" in told
    assert "Expected weights of 'resnet50'; received others" in flat
    found = dict(re.findall(r"^(\w+): accuracy in the east ([\d.]+)$", told, flags=re.M))
    assert set(found) == {"theirs", "ours"}
    assert float(found["ours"]) > 0.5
    assert "as the head was fitted; received" in flat
    assert "same digest: True" in told
    assert "weights that do not match their checksum" in flat
    assert "a card that does not match its digest" in flat
    rows = re.findall(r"^(ONNX Runtime|torch.export): .*difference ([\d.e+-]+)$", told, flags=re.M)
    assert [name for name, _ in rows] == ["ONNX Runtime", "torch.export"]
    assert all(float(difference) < 1e-4 for _, difference in rows)
    assert "license: cc-by-4.0" in told
    assert "https://example.org/models/po/weights.safetensors" in told


@pytest.mark.parametrize("name", sorted(file.stem for file in EXAMPLES.glob("*.ipynb")))
def test_outputs_are_kept_and_show_no_machine(name: str) -> None:
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [o for cell in cells for o in cell.outputs]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 2
    assert not [o for o in outputs if o.get("name") == "stderr" or o.output_type == "error"]
    texts = [str(o.get("text", "")) for o in outputs]
    texts += [str(text) for o in outputs for text in (o.get("data") or {}).values()]
    assert not [text for text in texts if re.search(r"/(tmp|home|root|work|Users)/", text)]
