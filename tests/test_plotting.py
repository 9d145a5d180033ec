import re

import dask
import dask.array
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.colors import to_rgba

import xcontrast as xc
from xcontrast.errors import DataError
from xcontrast.plotting import (
    plot,
    plot_hits,
    plot_lags,
    plot_map,
    plot_pairs,
    plot_pca,
    plot_places,
    plot_rate,
    plot_timeline,
    plot_training,
)
from xcontrast.plotting.panels import MAX_SIDE
from xcontrast.plotting.scenes import optical_rgba, radar_rgba

SIZE = 12


@pytest.fixture(autouse=True)
def agg(monkeypatch):
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("plt.show was called"))
    yield
    plt.close("all")


def grid(n=SIZE, step=10.0, north_up=True):
    x = 689_000 + step * (np.arange(n) + 0.5)
    y = 4_925_000 - step * (np.arange(n) + 0.5)
    if not north_up:
        y = y[::-1]
    return {"y": ("y", y, {"units": "metre"}), "x": ("x", x, {"units": "metre"})}


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    n = 6
    s2_time = pd.date_range("2023-05-01 10:00", periods=n, freq="5D").to_numpy("M8[ns]")
    lag = np.array([48, -31, 7, 0, 65, -5], "m8[h]").astype("m8[ns]")
    return xr.Dataset(
        {
            "s1": (
                ("pair", "s1_band", "y", "x"),
                rng.normal(-12, 3, (n, 2, SIZE, SIZE)).astype("f4"),
                {"units": "dB"},
            ),
            "s2": (
                ("pair", "s2_band", "y", "x"),
                rng.uniform(0, 0.3, (n, 4, SIZE, SIZE)).astype("f4"),
                {"units": "1"},
            ),
        },
        coords={
            **grid(),
            "s1_band": ["vv", "vh"],
            "s2_band": ["B02", "B03", "B04", "B08"],
            "s1_time": ("pair", s2_time + lag),
            "s2_time": ("pair", s2_time),
            "lag": ("pair", lag),
        },
    )


@pytest.fixture
def cube():
    return xr.Dataset(
        coords={
            "s1_time": pd.date_range("2023-05-01", periods=5, freq="6D").to_numpy("M8[ns]"),
            "s1_orbit_state": ("s1_time", np.array(list("adada"), object)),
            "s1_relative_orbit": ("s1_time", [15, 95, 15, 95, 15]),
            "s2_time": pd.date_range("2023-05-02", periods=3, freq="5D").to_numpy("M8[ns]"),
            "s2_cloud_cover": ("s2_time", [0.0, np.nan, 100.0]),
        }
    )


@pytest.fixture
def embedding():
    """Three planted directions in eight features, at two times; a corner is invalid."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(2, 3, SIZE * SIZE)) * np.array([5.0, 3.0, 1.0])[:, None]
    axes, _ = np.linalg.qr(rng.normal(size=(8, 3)))
    values = np.einsum("fk,tkp->tfp", axes, scores).reshape(2, 8, SIZE, SIZE).astype("f4")
    values[:, :, :2, :3] = np.nan
    times = np.array(["2023-05-04", "2023-05-16"], "M8[ns]")
    return xr.DataArray(
        values,
        dims=("s1_time", "feature", "y", "x"),
        coords={**grid(step=40.0), "s1_time": times},
        name="embedding",
        attrs={"sensor": "s1"},
    )


@pytest.fixture
def label():
    values = np.zeros((SIZE, SIZE), "u1")
    values[:3] = 1
    values[-1] = 255
    return xr.DataArray(values, dims=("y", "x"), coords=grid(), attrs=xc.FLOOD.attrs)


@pytest.fixture
def history():
    step = np.arange(1, 101)
    frame = pd.DataFrame({"step": step, "loss": 3.0 / step})
    at = step % 20 == 0
    for column, value in {
        "recall_at_1": 0.4, "recall_at_5": 0.8, "median_rank": 2.0, "feature_std": 0.9,
        "effective_rank": 20.0, "chance_recall_at_1": 1 / 64, "n_val": 64,
    }.items():  # fmt: skip
        frame[column] = np.where(at, value, np.nan)
    return frame


def title(ax):
    return ax.get_title(loc="left")


def image(ax):
    return np.asarray(ax.images[0].get_array())


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def busy(*_, **__):
    raise AssertionError("computed")


# --- pairs ---


def test_pairs_show_date_time_and_signed_lag(pairs):
    figure = plot_pairs(pairs, n=6)
    assert len(figure.axes) == 12
    assert title(figure.axes[0]) == "S1 2023-05-03 10:00"
    assert title(figure.axes[1]) == "S2 2023-05-01 10:00  lag +2.0 d"
    assert title(figure.axes[3]).endswith("lag −1.3 d")
    words = figure.get_suptitle()
    assert "VV −22 to 0" in words
    assert "dB" in words
    assert "B04, B03, B02" in words
    assert "reflectance 0 to 0.25" in words


def test_pairs_are_spread_over_all_and_only_those_are_computed(pairs):
    read = []

    def note(block, block_info=None):
        read.append(block_info[0]["chunk-location"][0])
        return block

    lazy = pairs.chunk(pair=1)
    lazy["s1"] = lazy.s1.copy(
        data=lazy.s1.data.map_blocks(note, dtype="f4", meta=np.empty((0,) * 4, "f4"))
    )
    figure = plot_pairs(lazy, n=2)
    assert sorted(set(read)) == [0, 5]
    assert [title(ax)[:13] for ax in figure.axes[::2]] == ["S1 2023-05-03", "S1 2023-05-26"]


def test_pairs_draw_in_given_axes_and_refuse_too_few(pairs):
    figure, axes = plt.subplots(2, 2)
    assert plot_pairs(pairs, n=2, axes=axes) is figure
    with pytest.raises(DataError, match=r"Expected 8 axes.*received 4.*smaller n"):
        plot_pairs(pairs, n=4, axes=axes)


def test_pairs_without_a_sensor_or_pair_are_refused(pairs):
    for wrong in (pairs[["s1"]], pairs.isel(pair=slice(0)), pairs.isel(pair=0)):
        with pytest.raises(DataError, match=r"Expected at least one pair.*xc\.pairs"):
            plot_pairs(wrong)
    with pytest.raises(DataError, match=r"Sentinel-2 pairs with dims"):
        plot_pairs(pairs.rename(s2_band="band"))


def test_radar_colours_are_the_stretch_and_nan_is_transparent(pairs):
    one = pairs.s1.isel(pair=0).copy()
    one.loc[{"s1_band": "vv"}] = -11.0
    one.loc[{"s1_band": "vh"}] = -17.0
    one[0, 0, 0] = np.nan
    rgba, _ = radar_rgba(one)
    np.testing.assert_allclose(rgba[1, 1], [0.5, 0.5, (6 - 2) / 12, 1.0], atol=1e-6)
    assert rgba[0, 0, 3] == 0
    grey, words = radar_rgba(one.sel(s1_band=["vv"]))
    np.testing.assert_allclose(grey[1, 1], [0.5, 0.5, 0.5, 1.0], atol=1e-6)
    assert words == "VV -22 to 0 dB".replace("-", "−")


def test_optical_colours_follow_band_names_not_their_order(pairs):
    one = pairs.s2.isel(pair=0)
    rgba, words = optical_rgba(one)
    shuffled, _ = optical_rgba(one.isel(s2_band=[3, 1, 2, 0]))
    np.testing.assert_array_equal(rgba, shuffled)
    expected = np.clip(one.sel(s2_band="B04") / 0.25, 0, 1)
    np.testing.assert_allclose(rgba[..., 0], expected, atol=1e-6)
    assert words.startswith("B04, B03, B02")


def test_optical_falls_back_to_the_first_bands_and_says_so(pairs):
    one = pairs.s2.isel(pair=0)
    rgba, words = optical_rgba(one.sel(s2_band=["B08", "B03", "B02"]))
    assert words.startswith("B08, B03, B02")
    np.testing.assert_allclose(
        rgba[..., 0], np.clip(one.sel(s2_band="B08") / 0.25, 0, 1), atol=1e-6
    )
    rgba, words = optical_rgba(one.assign_attrs(units="unknown"))
    assert words == "2 to 98 % of each picture"
    assert rgba[..., 0].min() == 0
    assert rgba[..., 0].max() == 1


# --- charts ---


def test_lags_count_every_pair_on_both_sides_of_zero(pairs):
    ax = plot_lags(pairs)
    assert sum(bar.get_height() for bar in ax.patches) == 6
    left = sum(b.get_height() for b in ax.patches if b.get_x() + b.get_width() <= 0)
    assert left == 2
    assert title(ax) == "6 pairs, median |lag| 0.8 d"
    with pytest.raises(DataError, match=r"Expected pairs with a 'lag'.*longer tolerance"):
        plot_lags(pairs.isel(pair=slice(0)))


def test_timeline_has_a_row_an_orbit_and_reads_no_pixel(cube):
    with dask.config.set(scheduler=busy):
        lazy = cube.assign(
            s1=(("s1_time", "s1_band", "y", "x"), dask.array.zeros((5, 2, 4, 4), chunks=2))
        )
        ax = plot_timeline(lazy)
    rows = [text.get_text() for text in ax.get_yticklabels()]
    assert rows == ["Sentinel-1 a 15  n = 3", "Sentinel-1 d 95  n = 2", "Sentinel-2  n = 3"]
    clouds = np.asarray(ax.collections[0].get_array())
    np.testing.assert_array_equal(clouds, [0, 100])
    hollow = [line for line in ax.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in hollow] == [1]
    assert "2023-05-01 to 2023-05-25" in title(ax)


def test_timeline_works_with_one_sensor_and_bare_times(cube):
    bare = cube.drop_vars(["s2_cloud_cover", "s1_orbit_state", "s1_relative_orbit"])
    assert len(plot_timeline(bare).get_yticks()) == 2
    assert len(plot_timeline(bare.drop_dims("s2_time")).get_yticks()) == 1
    with pytest.raises(DataError, match=r"Expected a cube with times.*open_cube"):
        plot_timeline(xr.Dataset())


def test_training_shows_the_chance_line_and_the_last_figures(history):
    figure = plot_training(history)
    left, right = figure.axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), history["loss"])
    chance = next(line for line in right.lines if line.get_linestyle() == "--")
    assert chance.get_ydata()[0] == pytest.approx(1 / 64)
    assert legend(right) == [
        "recall at 5, last 0.80",
        "recall at 1, last 0.40",
        "chance at 1, 0.016",
    ]
    assert "64 pairs" in title(right)
    assert "effective rank 20.0" in title(right)


def test_training_shows_a_run_that_failed(history):
    broken = history.assign(alignment=np.nan, uniformity=np.nan, feature_std=np.nan)
    figure = plot_training(broken)
    assert title(figure.axes[2]) == "Held-out features were not finite"
    assert "feature std" not in title(figure.axes[1])


def test_training_without_validation_says_so(history):
    figure = plot_training(history[["step", "loss"]])
    assert "not measured" in title(figure.axes[1])
    with pytest.raises(DataError, match=r"Expected a history with the columns step and loss"):
        plot_training(history[["loss"]])


# --- embedding ---


def test_pca_finds_the_planted_axes(embedding):
    ax = plot_pca(embedding, time="2023-05-15")
    assert title(ax).startswith("PCA of the S1 embedding · 2023-05-16 (2 of 2 dates)")
    shares = [float(x) for x in re.findall(r"(\d+)%", title(ax))]
    np.testing.assert_allclose(shares, [100 * v / 35 for v in (25, 9, 1)], atol=6)
    assert sum(shares) == pytest.approx(100, abs=1.5)
    rgba = image(ax)
    assert (rgba[:2, :3, 3] == 0).all()
    assert (rgba[2:, :, 3] == 1).all()
    assert rgba[..., :3].min() >= 0
    assert rgba[..., :3].max() <= 1


def test_pca_is_the_same_twice_and_blind_to_cells_it_cannot_see(embedding):
    one = image(plot_pca(embedding, sample=60, seed=3))
    np.testing.assert_array_equal(one, image(plot_pca(embedding, sample=60, seed=3)))
    assert not np.array_equal(one, image(plot_pca(embedding, sample=60, seed=4)))


def test_pca_computes_one_time_thinned(embedding):
    side = 2 * MAX_SIDE
    lazy = xr.DataArray(
        dask.array.random.default_rng(0).normal(size=(3, 3, side, 8), chunks=(1, 3, side, 8)),
        dims=("s1_time", "feature", "y", "x"),
        coords={"s1_time": pd.date_range("2023-01-01", periods=3).to_numpy("M8[ns]")},
    )
    seen = []
    with dask.config.set(
        scheduler=lambda dsk, keys, **kw: seen.append(1) or dask.get(dsk, keys, **kw)
    ):
        ax = plot_pca(lazy)
    assert len(seen) == 1
    assert image(ax).shape == (MAX_SIDE, 4, 4)
    assert ax.get_xlabel() == "x (cells)"


def test_pca_refuses_too_few_features_cells_and_open_dims(embedding):
    with pytest.raises(DataError, match=r"at least 3 features.*received 2 features"):
        plot_pca(embedding.isel(feature=slice(2)))
    with pytest.raises(DataError, match=r"4 valid cells.*0 valid cells on 2023-05-04.*time="):
        plot_pca(embedding.where(False))
    with pytest.raises(DataError, match=r"one location.*\.isel\(location="):
        plot_pca(embedding.isel(s1_time=0, drop=True).expand_dims(location=2))
    with pytest.raises(DataError, match=r"Expected an embedding with dims"):
        plot_pca(embedding.rename(feature="band"))


# --- maps ---


@pytest.mark.parametrize("north_up", [True, False])
def test_map_puts_north_up_whichever_way_rows_run(label, north_up):
    turned = label if north_up else label.isel(y=slice(None, None, -1))
    ax = plot_map(turned)
    low, high = ax.get_ylim()
    assert low < high
    left, right, _, top_edge = ax.images[0].get_extent()
    # The flooded rows are the northern ones: row 0 of the picture is drawn at its own y.
    assert abs(top_edge - turned.y.values[0]) == pytest.approx(5.0)
    assert (left, right) == (689_000.0, 689_120.0)
    assert ax.get_xlabel() == "easting (km)"
    ax.figure.canvas.draw()
    painted = np.asarray(ax.figure.canvas.buffer_rgba())
    box = ax.get_window_extent()
    height = painted.shape[0]
    top = painted[int(height - box.y1) + 4, int((box.x0 + box.x1) / 2), :3] / 255
    np.testing.assert_allclose(top, to_rgba(xc.FLOOD.colors[1])[:3], atol=0.01)


def test_a_scale_bar_is_of_a_round_length_and_only_where_metres_are_known(label):
    (bar,) = plot_map(label).artists
    assert bar.txt_label.get_text() == "20 m"  # Of 120 m; 30 would be a quarter.
    assert bar.size_bar.get_children()[0].get_width() == 20
    wide = label.assign_coords(x=label.x * 1000)
    (bar,) = plot_map(wide).artists
    assert bar.txt_label.get_text() == "20 km"
    assert not plot_map(label.drop_vars(["y", "x"])).artists


@pytest.mark.parametrize("north_up", [True, False])
def test_pairs_are_shown_north_up_whichever_way_rows_run(pairs, north_up):
    turned = pairs if north_up else pairs.isel(y=slice(None, None, -1))
    ax = plot_pairs(turned, n=1).axes[0]
    low, high = ax.get_ylim()
    assert low < high
    assert ax.images[0].get_extent()[3] == pytest.approx(turned.y.values[0], abs=10)
    assert len(ax.artists) == 1


def test_map_has_the_legend_colours_names_and_shares(label):
    ax = plot_map(label)
    rgba = image(ax)
    np.testing.assert_allclose(rgba[0, 0], to_rgba(xc.FLOOD.colors[1]))
    np.testing.assert_allclose(rgba[5, 0], to_rgba(xc.FLOOD.colors[0]))
    assert (rgba[-1, :, 3] == 0).all()
    assert legend(ax) == ["dry  72.7%", "flood  27.3%"]
    assert title(ax) == "flood"


def test_map_of_a_long_legend_lists_only_what_occurs(label):
    codes = xr.where(label == 1, 50, 10).astype("u1").assign_attrs(xc.WORLDCOVER.attrs)
    assert [text.split("  ")[0] for text in legend(plot_map(codes))] == ["tree cover", "built-up"]


def test_map_reads_flags_as_netcdf_and_masking_leave_them(label, tmp_path):
    label.where(label != 255).assign_attrs(
        flag_values=np.array([0, 1], "u1"),
        flag_meanings=label.attrs["flag_meanings"],
        flag_colors=label.attrs["flag_colors"],
    ).rename("label").to_netcdf(tmp_path / "map.nc")
    with xr.open_dataset(tmp_path / "map.nc") as stored:
        ax = plot_map(stored.label)
    np.testing.assert_array_equal(image(ax), image(plot_map(label)))


def test_map_without_colours_gets_some_and_without_flags_is_refused(label):
    bare = label.copy()
    del bare.attrs["flag_colors"]
    assert len(np.unique(image(plot_map(bare)).reshape(-1, 4), axis=0)) == 3
    del bare.attrs["flag_values"]
    with pytest.raises(DataError, match=r"flag_values.*received 0 values, 2 meanings.*xc\.FLOOD"):
        plot_map(bare)


def test_map_refuses_codes_outside_the_legend_and_probabilities(label):
    other = label.copy(data=np.where(label == 1, 7, label).astype("u1"))
    with pytest.raises(DataError, match=r"codes \[0, 1\].*also \[7\].*legend"):
        plot_map(other)
    negative = label.copy(data=np.full(label.shape, -3.0))
    with pytest.raises(DataError, match=r"codes 0\.\.255.*-3.*not the probability"):
        plot_map(negative)


def test_hits_counts_areas_and_iou(label):
    truth = label.copy()
    truth[0] = 0  # 12 false alarms
    truth[3, :6] = 1  # 6 misses
    truth[5] = 255  # not judged
    ax = plot_hits(label, truth)
    # Rows 1, 2 hits; row 0 false alarms; row 3 half misses; rows 5 and 11 not judged.
    assert title(ax) == f"flood · IoU {24 / 42:.3f}"
    assert [text.split("  ")[0] for text in legend(ax)] == [
        "hit", "miss", "false alarm", "rightly none",
    ]  # fmt: skip
    rgba = image(ax)
    np.testing.assert_allclose(rgba[0, 0], to_rgba("#e69f00"))
    np.testing.assert_allclose(rgba[1, 0], to_rgba("#56b4e9"))
    np.testing.assert_allclose(rgba[3, 0], to_rgba("#000000"))
    assert (rgba[5, :, 3] == 0).all()
    cells = plot_hits(label.drop_vars(["y", "x"]), truth.drop_vars(["y", "x"]))
    assert legend(cells) == [
        "hit  24 cells", "miss  6 cells", "false alarm  12 cells", "rightly none  78 cells",
    ]  # fmt: skip
    assert legend(plot_hits(label, truth))[1] == f"miss  {6 * 100 / 1e6:.2f} km²"


def test_hits_needs_one_grid(label):
    with pytest.raises(DataError, match=r"one grid.*\{'y': 12, 'x': 12\} and \{'y': 11.*reproject"):
        plot_hits(label, label.isel(y=slice(1, None)))
    with pytest.raises(DataError, match=r"with other coordinates"):
        plot_hits(label, label.assign_coords(x=label.x + 5))


# --- the one door ---


def test_plot_finds_the_picture(pairs, cube, embedding, label, history):
    assert len(plot(pairs, n=2).axes) == 4
    assert "median |lag|" in title(plot(pairs, kind="lags"))
    assert title(plot(cube)).startswith("Acquisitions")
    assert title(plot(embedding)).startswith("PCA")
    assert title(plot(embedding.to_dataset(name="s1"))).startswith("PCA")
    assert title(plot(label)) == "flood"
    assert title(plot(xr.Dataset({"label": label}))) == "flood"
    assert len(plot(history).axes) == 2


def test_plot_draws_in_given_axes(cube, embedding, label, pairs):
    for obj, kind in ((cube, None), (embedding, None), (label, None), (pairs, "lags")):
        ax = plt.subplots()[1]
        assert plot(obj, kind=kind, ax=ax) is ax


def test_plot_refuses_what_does_not_fit(pairs, embedding):
    with pytest.raises(DataError, match=r"for pairs, kind 'pairs' or 'lags'.*'pca'.*leave kind"):
        plot(pairs, kind="pca")
    with pytest.raises(
        DataError, match=r"a cube, a collection, pairs.*received a DataArray with dims"
    ):
        plot(xr.DataArray([1.0]))
    with pytest.raises(DataError, match=r"received a list"):
        plot([1])
    with pytest.raises(DataError, match=r"DataFrame with columns \['a'\]"):
        plot(pd.DataFrame({"a": [1]}))
    both = xr.Dataset({"s1": embedding, "s2": embedding.rename(s1_time="s2_time")})
    with pytest.raises(DataError, match=r"choose one sensor"):
        plot(both)


def test_real_same_day_pair_has_plausible_colours(data_dir):
    """Forest and field of a real scene fill the fixed stretch, neither black nor white."""
    with xr.open_dataset(data_dir / "timeseries" / "s1_grd_2023-04.nc") as file:
        raw = file.isel(t=0).load()
    db = xr.concat(
        [20 * np.log10(raw[f"S1-SIGMA0-{b}"].astype(float)) - 83 for b in ("VV", "VH")],
        dim="s1_band",
    ).assign_coords(s1_band=["vv", "vh"])
    rgba, _ = radar_rgba(db.assign_attrs(units="dB"))
    medians = np.median(rgba[rgba[..., 3] == 1][:, :3], axis=0)
    assert ((medians > 0.2) & (medians < 0.8)).all()


def collection(sensors=("s1", "s2"), places=5, dates=3):
    rng = np.random.default_rng(1)
    shape = (places, dates)
    bands = {"s1": np.array(["vv", "vh"], object), "s2": np.array(["B04", "B03", "B02"], object)}
    times = pd.date_range("2023-01-01", periods=places * dates, freq="9D").to_numpy("M8[ns]")
    made = xr.Dataset(coords={"lon": ("location", np.linspace(-3, 9, places)),
                              "lat": ("location", np.linspace(-1, 50, places))})  # fmt: skip
    for name in sensors:
        values = rng.normal(-12, 3, (*shape, len(bands[name]), SIZE, SIZE)).astype("f4")
        dims = ("location", "date", f"{name}_band", "y", "x")
        made[name] = (dims, values, {"units": "dB" if name == "s1" else "1"})
        when = (("location", "date"), times.reshape(shape))
        made = made.assign_coords({f"{name}_band": bands[name], f"{name}_time": when})
    return made


@pytest.mark.parametrize(("sensors", "columns"), [(("s1", "s2"), 6), (("s2",), 3), (("s1",), 3)])
def test_places_of_a_collection_with_all_their_dates(sensors, columns):
    figure = plot(collection(sensors))
    assert len(figure.axes) == 4 * columns
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    first = "S2" if "s2" in sensors else "S1"
    assert titles[0] == f"{first} 2023-01-01"
    assert titles[-1] == f"{sensors[0].upper()} 2023-05-07"
    labels = [ax.get_ylabel() for ax in figure.axes if ax.get_ylabel()]
    assert labels[0] == "1.00° S  3.00° W"
    assert len(labels) == 4


def test_only_the_places_shown_are_computed():
    whole = collection(places=50)
    chunked = whole.assign({name: whole[name].chunk({"location": 1}) for name in ("s1", "s2")})
    reads = []

    def count(graph, keys, **options):
        reads.append(keys)
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=count):
        plot_places(chunked, n=2)
    assert len(reads) == 2 * 6


@pytest.mark.parametrize(
    ("change", "n", "message"),
    [
        ({"location": slice(0)}, 4, r"a collection: s2 or s1.*received .*'location': 0"),
        ({}, 0, r"n >= 1; received .*n=0"),
    ],
)
def test_collections_that_cannot_be_shown(change, n, message):
    with pytest.raises(DataError, match=message):
        plot_places(collection().isel(change), n=n)


def test_the_match_rate_rises_to_what_the_pairs_are():
    start = np.datetime64("2023-01-01", "ns")
    day = np.timedelta64(1, "D")
    cube = xr.Dataset(
        coords={
            "s1_time": start + np.array([0, 12, 24]) * day,
            "s2_time": start + np.array([1, 5, 14, 30]) * day,
            "s1_orbit_state": ("s1_time", ["ascending", "descending", "ascending"]),
        }
    )
    ax = plot(cube, kind="rate")
    lines = {line.get_label(): line for line in ax.lines}
    assert set(lines) == {"any pass", "each pass once", "ascending", "descending"}
    at = {
        name: np.interp([1.05, 2.05, 5.05, 6.05], *line.get_data()) for name, line in lines.items()
    }
    assert at["any pass"].tolist() == [25, 50, 75, 100]
    assert at["each pass once"].tolist() == [25, 50, 50, 75]
    assert at["ascending"].tolist() == [25, 25, 50, 75]
    assert "4 Sentinel-2 dates, 3 Sentinel-1 passes" in ax.get_title(loc="left")
    with pytest.raises(DataError, match=r"dates of both sensors.*received 0 Sentinel-1 and 4"):
        plot_rate(cube.drop_dims("s1_time"))


def test_training_shows_how_features_spread(history):
    told = history.assign(alignment=0.4, uniformity=np.linspace(-0.5, -2.5, len(history)))
    figure = plot_training(told)
    assert len(figure.axes) == 3
    assert legend(figure.axes[2]) == ["alignment, last 0.40", "uniformity, last -2.50"]
    assert "both lower is better" in title(figure.axes[2])
