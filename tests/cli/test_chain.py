"""From an area to a map by commands alone, each telling machines what it did."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import typer
import xarray as xr
from click.testing import Result
from shapely.geometry import Point
from typer.testing import CliRunner

import xcontrast as xc
from xcontrast.cli import app
from xcontrast.cli.options import read_legend
from xcontrast.errors import DataError

Area = tuple[Path, str, xr.Dataset]
FAST = ["--max-steps=1", "--batch-size=4", "--chip-size=32", "--device=cpu"]


def _call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def _told(*words: object) -> dict[str, Any]:
    """Call with --json, and read the one object on the standard output."""
    done = _call(*words, "--json")
    assert done.exit_code == 0, (done.output[-2000:], done.exception)
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.fixture(scope="module")
def embedded(area: Area, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model that was pretrained by command, and what it embedded."""
    catalog, box, _ = area
    folder = tmp_path_factory.mktemp("chain")
    where = [f"--bbox={box}", "--datetime=2023-03/2023-06", f"--source={catalog}"]
    year = [where[0], "--datetime=2023", where[2]]
    trained = _told("pretrain", *year, f"--out={folder / 'model'}", *FAST)
    model = xc.load_model(folder / "model")
    assert trained["digest"] == model.digest
    assert trained["training"]["steps"] == 1
    store = folder / "e.zarr"
    facts = _told(
        "embed", *where, f"--model={folder / 'model'}", f"--store={store}", "--sensor=s1",
        "--relative-orbit=95",
    )  # fmt: skip
    assert facts["complete"] is True
    assert facts["failed"] == {}
    assert facts["pending"] == facts["done"] == facts["tiles"] > 0
    return folder / "model", store


def _labels(truth: xr.Dataset) -> gpd.GeoDataFrame:
    """Thirty points, half of them in the flood, with names."""
    rng = np.random.default_rng(0)
    points, names = [], []
    for code, name in enumerate(xc.FLOOD.names):
        rows, cols = np.nonzero(truth.flood.values[20:-20, 20:-20] == code)
        for k in rng.choice(len(rows), 15, replace=False):
            spot = truth.flood.isel(y=rows[k] + 20, x=cols[k] + 20)
            points.append(Point(float(spot.x), float(spot.y)))
            names.append(name)
    return gpd.GeoDataFrame({"category": names}, geometry=points, crs=truth.odc.crs)


def test_a_head_is_fitted_and_maps(area: Area, embedded: tuple[Path, Path], tmp_path: Path) -> None:
    truth, store = area[2], embedded[1]
    event = str(truth.attrs["peak"])[:10]
    _labels(truth).to_file(tmp_path / "clicks.gpkg")
    facts = _told(
        "fit", store, f"--labels={tmp_path / 'clicks.gpkg'}", "--column=category",
        "--legend=flood", f"--event={event}", f"--out={tmp_path / 'head'}",
    )  # fmt: skip
    head = xc.load_head(tmp_path / "head")
    assert facts["digest"] == head.digest
    assert set(facts["n_cells"]) == {"dry", "flood"}
    words = ["predict", store, f"--head={tmp_path / 'head'}", f"--event={event}"]
    told = _told(*words, f"--out={tmp_path / 'flood.zarr'}")
    assert told["head"] == head.digest
    direct = xc.predict(xc.before_after(xr.open_zarr(store), event=event), head)
    found = xr.open_zarr(tmp_path / "flood.zarr")
    xr.testing.assert_equal(found.label.compute(), direct.label.compute())
    assert _call(*words, f"--out={tmp_path / 'flood.tif'}").exit_code == 0
    for name in ("flood.zarr", "flood.tif"):
        again = [*words, f"--out={tmp_path / name}"]
        assert "set overwrite=True" in str(_call(*again).exception)
        assert _call(*again, "--overwrite").exit_code == 0
    with rasterio.open(tmp_path / "flood.tif") as file:
        assert (file.read(1) == found.label.values).all()
    assert "fitted on" in _call("info", tmp_path / "head").stdout
    told_of = _call("info", store).stdout
    assert "xcontrast embedding" in told_of
    assert "orbits 95 descending; 512 features" in told_of
    assert xc.load_model(embedded[0]).digest in told_of
    told_of = _call("info", tmp_path / "flood.zarr").stdout
    assert "flood: 0 dry, 1 flood" in told_of
    assert f"linear, model {head.facts['model_digest']}" in told_of
    assert _told("info", tmp_path / "head")["digest"] == head.digest


def test_a_segmenter_is_trained_and_maps(
    area: Area, embedded: tuple[Path, Path], tmp_path: Path
) -> None:
    catalog, _, truth = area
    cube = xc.open_cube(
        geobox=truth.odc.geobox, datetime="2023-03-10/2023-05-20", source=catalog,
        options=xc.CubeOptions(relative_orbit=95),
    )  # fmt: skip
    xc.write_zarr(cube[["s1"]], tmp_path / "cube.zarr", progress=False)
    xc.to_cog(truth.flood, tmp_path / "flood.tif")
    event = str(truth.attrs["peak"])[:10]
    with pytest.warns(UserWarning, match="too little is labelled to hold some out"):
        facts = _told(
        "finetune", tmp_path / "cube.zarr", f"--labels={tmp_path / 'flood.tif'}",
        f"--model={embedded[0]}", "--legend=flood", f"--out={tmp_path / 'segmenter'}",
        f"--event={event}", "--max-steps=1", "--batch-size=1", "--device=cpu",
    )  # fmt: skip
    assert facts["training"]["steps"] == 1
    told = _told(
        "predict", tmp_path / "cube.zarr", f"--head={tmp_path / 'segmenter'}",
        f"--event={event}", f"--out={tmp_path / 'map.zarr'}",
    )  # fmt: skip
    assert told["head"] == facts["digest"]
    assert set(np.unique(xr.open_zarr(tmp_path / "map.zarr").label)) <= {0, 1, 255}


def test_a_segmenter_is_trained_on_an_area_seen_from_one_orbit(
    area: Area, embedded: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, box, truth = area
    xc.to_cog(truth.flood, tmp_path / "flood.tif")
    seen: list[xr.Dataset] = []

    def refuse(cube: xr.Dataset, *_args: object, **_options: object) -> None:
        seen.append(cube)
        raise DataError("enough was seen")

    monkeypatch.setattr(xc, "finetune", refuse)
    words = [
        "finetune", f"--bbox={box}", "--datetime=2023-04/2023-05", f"--source={catalog}",
        f"--labels={tmp_path / 'flood.tif'}", f"--model={embedded[0]}", "--legend=flood",
        f"--out={tmp_path / 's'}", "--event=2023-05-16",
    ]  # fmt: skip
    for asked, orbits in (([], {15, 95}), (["--relative-orbit=95"], {95})):
        assert "enough was seen" in str(_call(*words, *asked).exception)
        assert set(seen.pop().s1_relative_orbit.values) == orbits


def test_places_are_gathered_and_pretrained_on(area: Area, tmp_path: Path) -> None:
    catalog, box, _ = area
    west, south, east, north = (float(part) for part in box.split(","))
    lon, lat = np.meshgrid(np.linspace(west, east, 6)[[1, 4]], np.linspace(south, north, 6)[[1, 4]])
    points = gpd.GeoDataFrame(
        geometry=gpd.points_from_xy(lon.ravel(), lat.ravel()), crs="EPSG:4326"
    )
    points.to_file(tmp_path / "places.geojson")
    store = tmp_path / "places.zarr"
    facts = _told(
        "collect", f"--store={store}", "--datetime=2023", f"--source={catalog}", "--dates=3",
        f"--locations={tmp_path / 'places.geojson'}", "--max-cloud=90", "--size=32",
        "--window=40D", "--gap=60D",
    )  # fmt: skip
    n = facts["sizes"]["location"]
    assert 3 <= n <= 4
    assert facts["sizes"]["date"] == 3
    assert f"{n} of 4 places accepted" in _call("info", store).stdout
    assert _told("info", store)["sizes"] == facts["sizes"]
    words = ["pretrain", store, f"--out={tmp_path / 'm'}", "--method=simclr", "--max-steps=0"]
    assert _told(*words, "--batch-size=2", "--chip-size=32")["method"] == "simclr"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrain", "--out=m"], "a store, or --bbox and --datetime; received neither"),
        (["pretrain", "a.zarr", "--out=m"], "a Zarr store that xcontrast wrote; received a.zarr"),
        (["collect", "--store=s.zarr", "--datetime=2023"], "give --locations=FILE or --n=1000"),
        (
            ["collect", "--store=s.zarr", "--datetime=2023", "--locations=none.gpkg"],
            "a file of points",
        ),
        (
            [
                "finetune",
                "c.zarr",
                "--labels=l.tif",
                "--model=m",
                "--legend=flood",
                "--out=s",
                "--relative-orbit=95",
            ],
            "--relative-orbit with --bbox and --datetime; received the store c.zarr",
        ),
        (["info", "nothing"], "the folder of a model, head or segmenter"),
        (["predict", "e.zarr", "--head=h", "--out=map.png"], "an output ending in .zarr or .tif"),
    ],
)
def test_what_is_wrong_is_told_in_three_parts(words: list[str], message: str) -> None:
    done = _call(*words)
    assert message in str(done.exception)
    assert "Do this:" in str(done.exception)


def test_labels_and_legends_that_cannot_be_read(
    area: Area, embedded: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.json").write_text('{"title": "t"}')
    xc.to_cog(area[2].flood, tmp_path / "flood.tif")
    words = ["fit", embedded[1], f"--out={tmp_path / 'h'}"]
    done = _call(*words, "--legend=flood", f"--labels={tmp_path / 'none.gpkg'}")
    assert "labels as a GeoTIFF" in str(done.exception)
    for legend in ("water", tmp_path / "bad.json"):
        done = _call(*words, f"--legend={legend}", f"--labels={tmp_path / 'flood.tif'}")
        assert "a legend: flood, worldcover, dynamic-world, or a JSON file" in str(done.exception)


def test_a_legend_of_ones_own_is_read(tmp_path: Path) -> None:
    own = {"title": "t", "codes": [1, 2], "names": ["a", "b"], "colors": ["#000000", "#ffffff"]}
    (tmp_path / "own.json").write_text(json.dumps(own))
    assert read_legend(str(tmp_path / "own.json")).names == ("a", "b")
    assert read_legend("worldcover") is xc.WORLDCOVER


def test_info_tells_versions_and_devices_and_no_names() -> None:
    facts = _told("info")
    assert facts["xcontrast"] == xc.version.__version__
    assert facts["gdal"] == rasterio.__gdal_version__
    assert facts["packages"]["xarray"] == xr.__version__
    assert "missing" not in facts["packages"].values()
    assert str(Path.home()) not in json.dumps(facts)
    assert f"xcontrast {xc.version.__version__}" in _call("info").stdout


def test_every_command_and_option_is_explained() -> None:
    group: Any = typer.main.get_command(app)
    wanted = {"collect", "pretrain", "embed", "fit", "predict", "map", "info", "demo"}
    assert wanted <= set(group.commands)
    for name, command in group.commands.items():
        assert command.help, name
        for option in command.params:
            assert getattr(option, "help", None), f"{name}: {option.name}"
    done = _call("pretrain", "--help")
    assert done.exit_code == 0
    assert "xcontrast pretrain eu.zarr --out=runs/eu" in " ".join(done.stdout.split())


def test_help_says_what_a_command_takes() -> None:
    group: Any = typer.main.get_command(app)
    told = {
        (name, str(option.name)): option.help
        for name, command in group.commands.items()
        for option in command.params
    }
    assert "pairs or chips" in told["pretrain", "data"]
    assert told["finetune", "data"] == "Store of a cube or a collection, of pixels."
    assert "imagenet" in told["pretrain", "weights"]
    spaces = inspect.get_annotations(xc.embed, eval_str=False)["space"]
    for space in re.findall(r"\w+", spaces.removeprefix("Literal")):
        assert space in told["embed", "space"]


def test_words_and_defaults_are_those_of_the_functions() -> None:
    group: Any = typer.main.get_command(app)
    functions = {"collect": xc.collect, "pretrain": xc.pretrain, "fit": xc.fit}
    for name, function in functions.items():
        own = inspect.signature(function).parameters
        for option in group.commands[name].params:
            same = own.get(str(option.name))
            if same is None or same.default is inspect.Parameter.empty or option.name == "sensors":
                continue
            assert option.default == same.default, f"{name}: {option.name}"
