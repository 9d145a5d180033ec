"""What tests and the examples of the docstrings begin with.

docs/reference/api.md names it to readers.
"""

from __future__ import annotations

import doctest
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Threads that wait for each other spin: on a machine that does other work too, two take ten times
# the processor's time of one. Read when torch is imported, here and by processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from _pytest.doctest import DoctestItem

sys.path.insert(0, str(Path(__file__).parent / "tests"))

IMPORTS = ("xc", "np", "pd", "xr")
GIVEN = ("cube", "model", "emb", "labels", "points", "archive", "folder", "client", "files")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep models without a folder of their own out of the user's cache, and theirs out of here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XCONTRAST_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def given(request: pytest.FixtureRequest, doctest_namespace: dict[str, Any]) -> Iterator[None]:
    """Give an example what it uses, and nothing to other tests."""
    if not isinstance(request.node, DoctestItem):
        yield
        return
    import xcontrast as xc

    words = set(re.findall(r"\w+", "".join(e.source for e in _examples(request.node))))
    found = dict(zip(IMPORTS, (xc, np, pd, xr), strict=True))
    found |= {name: request.getfixturevalue(f"given_{name}") for name in GIVEN if name in words}
    if {"plot", "click"} & words or any(word.startswith("plot_") for word in words):
        import matplotlib.pyplot as plt

        plt.switch_backend("agg")
    doctest_namespace |= found
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    for name in found:
        del doctest_namespace[name]


def _examples(item: DoctestItem) -> list[doctest.Example]:
    return item.dtest.examples if item.dtest is not None else []


@pytest.fixture(scope="session")
def given_cube() -> xr.Dataset:
    """Give both sensors twice over one square kilometre."""
    from scenes import planted_cube

    return planted_cube()


@pytest.fixture(scope="session")
def given_model(given_cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give two encoders with random weights."""
    import xcontrast as xc

    options = xc.PretrainOptions(chip_size=32, progress=False)
    out = tmp_path_factory.mktemp("doctest") / "model"
    return xc.pretrain(given_cube, max_steps=0, out=out, options=options)


@pytest.fixture(scope="session")
def given_emb(given_cube: xr.Dataset, given_model: Any) -> xr.Dataset:
    """Embed one date of the cube."""
    import xcontrast as xc

    return xc.embed(given_cube.isel(s1_time=0, s2_time=0), given_model).compute()


@pytest.fixture(scope="session")
def given_labels(given_cube: xr.Dataset) -> xr.DataArray:
    """Call the third of the pixels that is darkest in VV a flood."""
    vv = given_cube.s1.isel(s1_time=0, s1_band=0, drop=True)
    return (vv < vv.quantile(1 / 3, keep_attrs=False).drop_vars("quantile")).astype("uint8")


@pytest.fixture(scope="session")
def given_points(given_labels: xr.DataArray) -> Any:
    """Give forty points with a ``category``."""
    import geopandas

    rng = np.random.default_rng(0)
    row, col = rng.integers(0, given_labels.sizes["y"], (2, 40))
    codes = given_labels.values[row, col]
    at = geopandas.points_from_xy(given_labels.x.values[col], given_labels.y.values[row])
    frame = {"category": np.where(codes == 1, "flood", "dry")}
    return geopandas.GeoDataFrame(frame, geometry=at, crs=32632)


@pytest.fixture(scope="session")
def given_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulate a small archive."""
    import xcontrast as xc

    folder = tmp_path_factory.mktemp("doctest") / "archive"
    xc.simulate_archive(folder, size=128, cycle=48, progress=False)
    return folder


@pytest.fixture
def given_folder(tmp_path: Path) -> Path:
    """Give an empty folder."""
    return tmp_path


@pytest.fixture
def given_client() -> Iterator[Any]:
    """Start a cluster of one worker in this process."""
    from distributed import Client

    with Client(n_workers=1, processes=False, dashboard_address=None) as client:
        yield client


@pytest.fixture(scope="session")
def given_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write a few files to the layouts of the published data sets."""
    import layouts

    few = {"train": 2, "val": 1, "test": 1}
    made = {
        "eurosat": lambda f: layouts.write_eurosat(f, sizes=few),
        "bigearthnet": lambda f: layouts.write_bigearthnet(f, sizes=few | {"train": 10}),
        "oscd": layouts.write_oscd,
        "sen1floods11": lambda f: layouts.write_sen1floods11(
            f, sizes={"train": 10, "valid": 1, "test": 1, "bolivia": 1}
        ),
        "dynamic_world": lambda f: layouts.write_dynamic_world(f, n_train=10, n_test=1),
    }
    return {name: write(tmp_path_factory.mktemp(name)) for name, write in made.items()}
