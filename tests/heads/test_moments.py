from __future__ import annotations

import geopandas
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from embeddings import LAND, embedding

import xcontrast as xc
from xcontrast.errors import DataError

DAYS = pd.to_datetime(["2023-05-01", "2023-05-13", "2023-05-25"])


def dated() -> tuple[xr.DataArray, xr.DataArray]:
    """Give an embedding in which each category moves on at each date, and the first date's."""
    emb, truth = embedding()
    moved = [np.roll(emb.values, 16 * step, axis=-1) for step in range(3)]
    series = emb.expand_dims(s1_time=DAYS).copy(data=np.stack(moved))
    return series, truth


def test_labels_with_a_time_are_fitted_on_the_embedding_of_it() -> None:
    series, truth = dated()
    labels = truth.assign_coords(time=DAYS[0] + pd.Timedelta("1D"))
    head = series.contrast.fit(labels, legend=LAND)
    first = series.isel(s1_time=0)
    assert float(xc.score(first.contrast.predict(head).label, truth, legend=LAND).accuracy) > 0.9
    # The same labels at another date are of another ground.
    late = series.contrast.fit(truth.assign_coords(time=DAYS[1]), legend=LAND)
    assert float(xc.score(first.contrast.predict(late).label, truth, legend=LAND).accuracy) < 0.5


def test_labels_of_several_times_are_fitted_together() -> None:
    series, truth = dated()
    steps = [truth.copy(data=np.roll(truth.values, 16 * i, axis=1)) for i in range(2)]
    labels = xr.concat(steps, pd.DatetimeIndex(DAYS[:2], name="time"))
    head = series.contrast.fit(labels, legend=LAND)
    assert sum(head.facts["n_cells"].values()) == 2 * truth.size
    mapped = series.contrast.predict(head).label
    for i, step in enumerate(steps):
        accuracy = xc.score(mapped.isel(s1_time=i, drop=True), step, legend=LAND).accuracy
        assert float(accuracy) > 0.9


def test_points_have_a_column_of_times() -> None:
    series, truth = dated()
    rng = np.random.default_rng(0)
    rows, cols, days = (rng.integers(0, n, 300) for n in (48, 48, 3))
    frame = geopandas.GeoDataFrame(
        {
            "land": truth.values[rows, (cols - 16 * days) % 48].astype(int),
            # Times of other zones are brought to UTC, which the embedding's are in.
            "time": [f"{DAYS[d]:%Y-%m-%d}T06:00:00+02:00" for d in days],
        },
        geometry=geopandas.points_from_xy(series.x.values[cols], series.y.values[rows]),
        crs=32632,
    )
    head = series.contrast.fit(frame, legend=LAND, column="land")
    accuracy = xc.score(series[0].contrast.predict(head).label, truth, legend=LAND).accuracy
    assert float(accuracy) > 0.9
    # As a list of points, embedded at all dates.
    listed = series.isel(y=xr.DataArray(rows, dims="point"), x=xr.DataArray(cols, dims="point"))
    listed = listed.assign_coords(row=("point", rows), column=("point", cols))
    again = listed.contrast.fit(frame, legend=LAND, column="land")
    assert sum(again.facts["n_cells"].values()) == 300
    assert (
        float(xc.score(series[0].contrast.predict(again).label, truth, legend=LAND).accuracy) > 0.9
    )


def test_labels_far_in_time_are_left_out() -> None:
    series, truth = dated()
    labels = xr.concat(
        [truth, truth], pd.DatetimeIndex([DAYS[0], DAYS[2] + pd.Timedelta("9D")], name="time")
    )
    assert sum(series.contrast.fit(labels, legend=LAND).facts["n_cells"].values()) == truth.size
    both = series.contrast.fit(labels, legend=LAND, tolerance="10D")
    assert sum(both.facts["n_cells"].values()) == 2 * truth.size
    with pytest.raises(DataError, match=r"within 3 days.*the nearest is 9 days"):
        series.contrast.fit(labels.isel(time=[1]), legend=LAND)


def test_places_are_whole_locations_or_what_groups_them() -> None:
    emb, truth = embedding(georeferenced=False)
    tiles = xr.concat([emb] * 6, "location").assign_attrs(emb.attrs)
    tiles = tiles.assign_coords(scene=("location", list("aabbcc")))
    labels = xr.concat([truth] * 6, "location")
    assert tiles.contrast.fit(labels, legend=LAND).facts["n_places"] == 6
    assert tiles.contrast.fit(labels, legend=LAND, groups="scene").facts["n_places"] == 3
    assert emb.contrast.fit(truth, legend=LAND).facts["n_places"] == 4  # Blocks of 32 cells.
    with pytest.raises(DataError, match=r"name of a coord on a leading dim.*'event'"):
        tiles.contrast.fit(labels, legend=LAND, groups="event")


def test_whole_images_have_one_label_each() -> None:
    rng = np.random.default_rng(0)
    codes = rng.choice([3, 7, 9], 60)
    values = (codes[:, None] + 0.1 * rng.normal(size=(60, 5))).astype("float32")
    attrs = {"model_digest": "d", "space": "encoder", "sensor": "s2"}
    pooled = xr.DataArray(values, dims=("location", "feature"), attrs=attrs)
    labels = xr.DataArray(np.where(np.arange(60) < 40, codes, 255), dims="location")
    head = pooled.contrast.fit(labels, legend=LAND)
    assert sum(head.facts["n_cells"].values()) == 40
    mapped = pooled.chunk(location=7).contrast.predict(head)
    assert mapped.label.dims == ("location",)
    assert mapped.probability.dims == ("location", "category")
    np.testing.assert_array_equal(mapped.label, codes)
    with pytest.raises(DataError, match=r"labels for the 60 of 'location'.*received 59"):
        pooled.contrast.fit(labels[:59], legend=LAND)
    with pytest.raises(DataError, match="an embedding with y and x"):
        pooled.contrast.predict(head, like=labels)


def test_entropy_is_zero_where_sure_and_one_where_all_are_alike() -> None:
    from scipy.stats import entropy

    emb, truth = embedding()
    mapped = emb.contrast.predict(emb.contrast.fit(truth, legend=LAND, kind="forest"))
    p = mapped.probability.transpose(..., "category").values
    expected = entropy(p, axis=-1) / np.log(3)
    np.testing.assert_allclose(mapped.entropy, expected, atol=1e-5)
    assert mapped.entropy.dtype == np.float32
    assert 0 <= float(mapped.entropy.min()) < 0.1 < float(mapped.entropy.max()) <= 1


def frame_of(truth: xr.DataArray, times: list) -> geopandas.GeoDataFrame:
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, 48, (2, len(times)))
    return geopandas.GeoDataFrame(
        {"land": truth.values[rows, cols].astype(int), "time": times},
        geometry=geopandas.points_from_xy(truth.x.values[cols], truth.y.values[rows]),
        crs=32632,
    )


def test_what_has_no_time_or_lies_outside_is_left_out() -> None:
    series, truth = dated()
    first = f"{DAYS[0]:%Y-%m-%d}"
    whole = series.contrast.fit(frame_of(truth, [first] * 60), legend=LAND, column="land")
    frame = frame_of(truth, [first] * 60)
    frame["time"] = pd.to_datetime(frame.time)
    frame.loc[7, "time"] = pd.NaT
    kept = series.contrast.fit(frame, legend=LAND, column="land")
    counts = [sum(head.facts["n_cells"].values()) for head in (whole, kept)]
    assert counts[0] - counts[1] in (0, 1)  # Two points may lie in one cell.
    frame.loc[7, ["time", "geometry"]] = [DAYS[1], geopandas.points_from_xy([0], [0])[0]]
    alone = series.contrast.fit(frame, legend=LAND, column="land")
    assert alone.facts["n_cells"] == kept.facts["n_cells"]
    empty = xr.full_like(truth, 255)
    steps = xr.concat([truth, empty], pd.DatetimeIndex(DAYS[:2], name="time"))
    assert sum(series.contrast.fit(steps, legend=LAND).facts["n_cells"].values()) == truth.size


def test_a_date_that_was_chosen_is_a_date_still() -> None:
    series, truth = dated()
    chosen = series.isel(s1_time=0)
    labels = truth.assign_coords(time=DAYS[0])
    assert chosen.contrast.fit(labels, legend=LAND).facts["n_features"] == 5
    daily = chosen.rename(s1_time="date").expand_dims("date")
    assert daily.contrast.fit(labels, legend=LAND).facts["n_features"] == 5
    for emb in (chosen, daily):
        with pytest.raises(DataError, match=r"within 3 days.*nearest is 12 days"):
            emb.contrast.fit(truth.assign_coords(time=DAYS[1]), legend=LAND)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {"labels": t.expand_dims(time=["last spring"])}, "`time` of each.*last spring"),
        (lambda t: {"labels": t.assign_coords(time=("y", np.arange(48)))}, r"along \('y',\)"),
        (lambda _: {"tolerance": "three days"}, "tolerance of at least zero.*'three days'"),
    ],
)
def test_times_that_cannot_be_read(change, message: str) -> None:
    series, truth = dated()
    given = {"labels": truth.assign_coords(time=DAYS[0])} | change(truth)
    with pytest.raises(DataError, match=message):
        series.contrast.fit(legend=LAND, **given)


def test_an_event_that_is_no_date() -> None:
    series, _ = dated()
    with pytest.raises(DataError, match=r"a date, or a date and a time.*'when it rained'"):
        xc.before_after(series, event="when it rained")
    # A zone is brought to UTC, which the embedding's times are in.
    zoned = xc.before_after(series, event="2023-05-13T01:00+02:00")
    plain = xc.before_after(series, event="2023-05-12T23:00")
    np.testing.assert_array_equal(zoned, plain)
