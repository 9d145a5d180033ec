from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from embeddings import LAND, embedding

import xcontrast as xc
from xcontrast.errors import DataError, ModelError
from xcontrast.folders import publish_folder, stage_folder
from xcontrast.heads.head import FORMAT, KINDS, VERSION


@pytest.mark.parametrize("kind", KINDS)
def test_planted_classes_are_recovered_from_few_labels(kind: str) -> None:
    emb, truth = embedding()
    few = truth.where(np.random.default_rng(0).random(truth.shape) < 0.05, 255).astype("uint8")
    head = emb.contrast.fit(few, legend=LAND, kind=kind)
    result = emb.contrast.predict(head)
    agreement = xc.score(result.label, truth, legend=LAND)
    assert float(agreement.accuracy) > 0.9
    assert head.facts["n_cells"].keys() == {"a", "b", "c"}
    assert kind in repr(head)
    assert "land" in head._repr_html_()


def test_a_category_never_labelled_is_never_given() -> None:
    emb, truth = embedding()
    two = truth.where(truth != 7, 255).astype("uint8")
    result = emb.contrast.predict(emb.contrast.fit(two, legend=LAND))
    assert set(np.unique(result.label)) == {3, 9}
    assert float(result.probability.sel(category="b").max()) < 1e-6


def test_prediction_is_lazy_labelled_and_honest_about_the_invalid(no_compute: None) -> None:
    import dask

    emb, truth = embedding()
    emb = emb.copy()
    emb.values[:, 5:8, 6:9] = np.nan
    emb.values[2, 20, 20] = np.nan
    with dask.config.set(scheduler="synchronous"):
        head = emb.contrast.fit(truth, legend=LAND)
    lazy = emb.chunk(y=10, x=7, feature=2).contrast.predict(head)
    with dask.config.set(scheduler="synchronous"):
        done, eager = lazy.compute(), emb.contrast.predict(head)
    xr.testing.assert_equal(done, eager)
    assert done.label.dtype == np.uint8
    assert (done.label.values == 255).sum() == 10
    assert np.isnan(done.probability.values[:, 6, 7]).all()
    assert done.label.attrs["flag_values"] == [3, 7, 9]
    assert done.label.rio.nodata == 255
    assert done.category.values.tolist() == ["a", "b", "c"]
    assert done.attrs["model_digest"] == "d"
    assert done.label.odc.geobox == emb.odc.geobox


def test_fit_reads_only_the_blocks_that_hold_labels() -> None:
    import dask.array as da

    emb, truth = embedding()
    read = []

    def note(block: np.ndarray, block_info: dict) -> np.ndarray:
        read.append(block_info[0]["chunk-location"][-2:])
        return block

    lazy = emb.chunk(y=12, x=12)
    lazy.data = da.map_blocks(note, lazy.data, meta=np.empty((0, 0, 0), "float32"))
    labels = truth.copy(data=np.full(truth.shape, 255, "uint8"))
    labels[0:10, 0:10] = truth[0:10, 0:10]
    labels[40:44, 14:30] = truth[40:44, 14:30]
    lazy.contrast.fit(labels, legend=LAND)
    assert set(read) == {(0, 0), (3, 1), (3, 2)}


def test_a_finer_grid_gets_interpolated_probabilities() -> None:
    emb, truth = embedding()
    head = emb.contrast.fit(truth, legend=LAND)
    fine = emb.odc.geobox.zoom_out(0.25)
    result = emb.contrast.predict(head, like=fine)
    assert result.label.odc.geobox == fine
    coarse = emb.contrast.predict(head)
    same = result.label.values[2::4, 2::4] == coarse.label.values
    assert same.mean() > 0.95
    p = result.probability
    np.testing.assert_allclose(p.sum("category").values[8:-8, 8:-8], 1, atol=1e-4)


def test_interpolation_is_exact_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    emb, truth = embedding(56)
    head = emb.contrast.fit(truth, legend=LAND)
    fine = emb.odc.geobox.zoom_out(0.25)
    whole = emb.contrast.predict(head, like=fine).probability
    # The reference: xarray's own bilinear interpolation between cell centres, in one piece.
    coarse = emb.contrast.predict(head).probability
    inner = {"y": whole.y[2:-2], "x": whole.x[2:-2]}
    np.testing.assert_allclose(whole.sel(inner), coarse.interp(inner), atol=1e-5)
    monkeypatch.setattr("xcontrast.heads.interpolation.BLOCK", 64)
    lazy = emb.chunk(y=13, x=9).contrast.predict(head, like=fine)
    assert lazy.probability.chunks is not None
    np.testing.assert_array_equal(lazy.probability.values, whole.values)
    degrees = emb.odc.geobox.to_crs("EPSG:4326", resolution=1e-4)
    one = emb.contrast.predict(head, like=degrees).probability
    np.testing.assert_array_equal(
        emb.chunk(y=10).contrast.predict(head, like=degrees).probability.values, one.values
    )
    assert np.isfinite(one).mean() > 0.8


def test_both_sensors_are_joined() -> None:
    one, truth = embedding(seed=0)
    two, _ = embedding(seed=1)
    both = xr.Dataset({"s1": one, "s2": two.assign_attrs(sensor="s2")})
    head = both.contrast.fit(truth, legend=LAND)
    assert head.facts["n_features"] == 10
    assert head.facts["sensors"] == ["s1", "s2"]
    assert float(xc.score(both.contrast.predict(head).label, truth, legend=LAND).accuracy) > 0.95
    with pytest.raises(DataError, match=r"sensors \['s1', 's2'\].*only the space 'joint'"):
        one.contrast.predict(head)


@pytest.mark.parametrize(
    "change", [{"model_digest": "e"}, {"space": "joint"}, {"composite": "before, after"}]
)
def test_sensors_are_of_one_model_and_space(change: dict) -> None:
    one, truth = embedding(seed=0)
    two = embedding(seed=1)[0].assign_attrs(sensor="s2")
    head = xr.Dataset({"s1": one, "s2": two}).contrast.fit(truth, legend=LAND)
    mixed = xr.Dataset({"s1": one, "s2": two.assign_attrs(change)})
    message = rf"sensors of one {next(iter(change))}.*embed them with the same model"
    with pytest.raises(DataError, match=message):
        mixed.contrast.fit(truth, legend=LAND)
    with pytest.raises(DataError, match=message):
        mixed.contrast.predict(head)


def test_only_the_joint_space_is_shared_by_sensors() -> None:
    emb, truth = embedding()
    head = emb.contrast.fit(truth, legend=LAND)
    for change in ({"sensor": "s2"}, {"model_digest": "e"}, {"space": "joint"}):
        with pytest.raises(DataError, match="as the head was fitted"):
            emb.assign_attrs(change).contrast.predict(head)
    change = emb.assign_attrs(composite="before, after, difference")
    with pytest.raises(DataError, match=r"of one time.*received before, after, difference"):
        change.contrast.predict(head)
    with pytest.raises(
        DataError, match=r"single times.*xc\.before_after\(embedding, event=\.\.\.\)"
    ):
        emb.contrast.predict(change.contrast.fit(truth, legend=LAND))
    joint = emb.assign_attrs(space="joint")
    head = joint.contrast.fit(truth, legend=LAND)
    joint.assign_attrs(sensor="s2").contrast.predict(head)
    with pytest.raises(DataError, match="Expected 5 features; received 3"):
        joint.isel(feature=slice(3)).contrast.predict(head)


@pytest.mark.parametrize("kind", KINDS)
def test_heads_survive_the_disk(kind: str, tmp_path: Path) -> None:
    emb, truth = embedding()
    head = emb.contrast.fit(truth, legend=LAND, kind=kind).save(tmp_path / "head")
    again = xc.load_head(tmp_path / "head")
    assert again.legend == LAND
    xr.testing.assert_identical(emb.contrast.predict(head), emb.contrast.predict(again))
    card = json.loads((tmp_path / "head" / "card.json").read_text())
    assert card["facts"]["n_features"] == 5
    (tmp_path / "head" / "card.json").write_text(json.dumps({**card, "kind": "svm"}))
    with pytest.raises(ModelError, match="does not match its digest"):
        xc.load_head(tmp_path / "head")
    with pytest.raises(ModelError, match="format 'xcontrast-head'"):
        xc.load_head(tmp_path)


def test_a_legend_of_codes_found_in_labels_survives_the_disk(tmp_path: Path) -> None:
    emb, truth = embedding()
    found = replace(LAND, codes=np.unique(truth), names=list(LAND.names))
    head = emb.contrast.fit(truth, legend=found)
    again = head.save(tmp_path / "head")
    assert again.legend == head.legend == LAND
    assert again.digest == head.digest


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: _cut(f / "weights.safetensors"), "weights that do not match their checksum"),
        (lambda f: _cut(f / "card.json"), "format 'xcontrast-head'"),
        (lambda f: (f / "weights.safetensors").unlink(), "a folder with weights"),
        (lambda f: _edit(f, format="xcontrast-model"), "format 'xcontrast-head'"),
        (lambda f: _edit(f, format_version=2), "format version 1 or older.*upgrade"),
        (lambda f: _edit(f, temperature=3.0), "a card that does not match its digest"),
    ],
)
def test_damaged_heads_are_refused(damage, message: str, tmp_path: Path) -> None:
    emb, truth = embedding()
    folder = tmp_path / "head"
    emb.contrast.fit(truth, legend=LAND).save(folder)
    damage(folder)
    with pytest.raises(ModelError, match=message):
        xc.load_head(folder)


def test_heads_of_other_arrays_are_refused(tmp_path: Path) -> None:
    emb, truth = embedding()
    head = emb.contrast.fit(truth, legend=LAND, kind="knn")
    # As before the number of categories was kept beside the bank.
    arrays = {name: array for name, array in vars(head.classifier).items() if name != "n"}
    facts = {
        "kind": "knn",
        "legend": asdict(LAND),
        "temperature": head.temperature,
        "facts": head.facts,
    }
    folder = tmp_path / "head"
    publish_folder(
        stage_folder(folder), folder, form=FORMAT, version=VERSION, facts=facts, arrays=arrays
    )
    message = r"(?s)Expected arrays bank, k, mean, member, n, std.*bank, k.*fit the head again"
    with pytest.raises(ModelError, match=message):
        xc.load_head(folder)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _edit(folder: Path, **facts: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, **facts}))


def test_labels_need_one_time_or_none() -> None:
    emb, truth = embedding()
    series = xr.concat([emb, emb], "s1_time").assign_attrs(emb.attrs)
    with pytest.raises(DataError, match=r"2 steps of s1_time.*before_after"):
        series.contrast.fit(truth, legend=LAND)
    series.isel(s1_time=[0]).contrast.fit(truth, legend=LAND)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda e, t: xc.fit(e, t, legend=LAND, kind="svm"),
            "a kind of linear, knn, forest, boosting, prototypes",
        ),
        (lambda e, t: xc.fit(e, t.where(t == 3, 255), legend=LAND), "at least two categories"),
        (lambda e, t: xc.fit(e * np.nan, t, legend=LAND), r"at least two categories.*none"),
        (lambda _, t: xc.fit(t, t, legend=LAND), r"dims feature, y and x.*embed\(model\)"),
    ],
)
def test_what_cannot_be_fitted(call, message: str) -> None:
    emb, truth = embedding()
    with pytest.raises(DataError, match=message):
        call(emb, truth)


def test_pixels_without_a_crs_get_interpolated_probabilities() -> None:
    emb, truth = embedding(georeferenced=False)
    emb = emb.assign_coords(y=4 * np.arange(48) + 1.5, x=4 * np.arange(48) + 1.5)
    head = emb.contrast.fit(truth, legend=LAND)
    pixels = xr.DataArray(np.zeros((190, 192)), dims=("y", "x"))
    for lazy in (emb, emb.chunk(y=20)):
        result = lazy.contrast.predict(head, like=pixels)
        assert result.label.shape == (190, 192)
        assert (result.label != 255).all()
        coarse = emb.contrast.predict(head).label.values
        assert (result.label.values[2::4, 2::4][:47, :47] == coarse[:47, :47]).mean() > 0.95
    with pytest.raises(DataError, match=r"`like` as a GeoBox.*leave `like` out"):
        embedding()[0].contrast.predict(emb.contrast.fit(truth, legend=LAND), like=pixels)


def test_many_labels_are_drawn_but_rare_categories_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xcontrast.heads.fitting.N_MAX", 300)
    monkeypatch.setattr("xcontrast.heads.fitting.N_RARE", 40)
    emb, truth = embedding()
    rare = truth.where((truth != 7) | (np.arange(48) < 4), 255).astype("uint8")
    facts = emb.contrast.fit(rare, legend=LAND).facts["n_cells"]
    assert 270 <= facts["a"] + facts["c"] <= 320
    assert 40 <= facts["b"] <= 60


def test_ready_made_tiles_are_fitted_and_mapped_tile_by_tile() -> None:
    emb, truth = embedding(georeferenced=False)
    tiles = xr.concat([emb, emb * 1.01], "location").assign_attrs(emb.attrs).chunk(location=1)
    labels = xr.concat([truth, truth], "location")
    few = labels.where(np.random.default_rng(0).random(labels.shape) < 0.1, 255).astype("uint8")
    result = tiles.contrast.predict(tiles.contrast.fit(few, legend=LAND))
    assert result.label.dims == ("location", "y", "x")
    assert float(xc.score(result.label.compute(), labels, legend=LAND).accuracy) > 0.9
    with pytest.raises(DataError, match=r"labels with the dims \('location', 'y', 'x'\)"):
        tiles.contrast.fit(truth, legend=LAND)
