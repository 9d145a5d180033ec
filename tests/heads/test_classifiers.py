from __future__ import annotations

import tracemalloc
import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.preprocessing import StandardScaler, normalize

from xcontrast.heads.classifiers import (
    BoostingClassifier,
    ForestClassifier,
    LinearClassifier,
    NeighbourClassifier,
    PrototypeClassifier,
)
from xcontrast.heads.classifiers.calibration import find_temperature, soften
from xcontrast.heads.classifiers.linear import STRENGTHS, _regress
from xcontrast.heads.classifiers.places import hold_out_places
from xcontrast.heads.head import KINDS


def cells(n: int, k: int, *, n_features: int = 6, seed: int = 0, spread: float = 1.0) -> tuple:
    """Give features around a centre of each category, categories, and places of ten cells."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    centres = np.random.default_rng(99).normal(size=(k, n_features)) * spread
    x = (centres[y] + rng.normal(size=(n, n_features))).astype("float32")
    return x, y, np.arange(n) // 10


@pytest.mark.parametrize("k", [2, 3])
def test_linear_probabilities_equal_scikit_learn(k: int) -> None:
    x, y, places = cells(300, k)
    ours = LinearClassifier.fit(x, y, places, n_categories=k)
    z = StandardScaler().fit_transform(x)
    theirs = LogisticRegression(C=ours.strength[0], max_iter=500).fit(z, y)
    np.testing.assert_allclose(ours.probability(x), theirs.predict_proba(z), atol=2e-3)


def test_the_strength_is_chosen_on_places_not_on_neighbours() -> None:
    # A feature that tells the place apart, and with it the category, but of that place alone.
    rng = np.random.default_rng(0)
    places = np.repeat(np.arange(30), 20)
    y = (places % 2).astype(np.intp)
    own = rng.normal(size=(30, 10))[places]
    shared = y[:, None] + rng.normal(size=(600, 1)) * 2
    x = np.hstack([own, shared]).astype("float32")
    by_place = LinearClassifier.fit(x, y, places, n_categories=2).strength[0]
    by_cell = LinearClassifier.fit(x, y, np.arange(600), n_categories=2).strength[0]
    assert by_place < by_cell


def test_strengths_are_ranked_as_probabilities_are_given_with_a_temperature() -> None:
    # Places differ in how far their categories lie apart: what is sure in one is wrong in another.
    rng = np.random.default_rng(0)
    places = np.repeat(np.arange(12), 100)
    y = rng.integers(0, 2, 1200)
    noise = np.where(places % 3 == 0, 3.0, 0.3)[:, None] * rng.normal(size=(1200, 30))
    x = (y[:, None] * np.linspace(0, 1, 30) + noise).astype("float32")
    chosen = LinearClassifier.fit(x, y, places, n_categories=2).strength[0]
    z = StandardScaler().fit_transform(x)
    losses, tempered = {}, {}
    for strength in STRENGTHS:
        logs, truth = [], []
        for train, held in hold_out_places(y, places, 0):
            model = LogisticRegression(C=strength, max_iter=500).fit(z[train], y[train])
            logs.append(np.log(model.predict_proba(z[held]).clip(1e-6)))
            truth.append(y[held])
        log, told = np.concatenate(logs), np.concatenate(truth)
        losses[strength] = log_loss(told, softmax(log, axis=1))
        grid = np.exp(np.linspace(np.log(0.2), np.log(20), 400))
        tempered[strength] = min(log_loss(told, softmax(log / t, axis=1)) for t in grid)
    assert chosen == min(tempered, key=lambda c: tempered[c])
    assert chosen != min(losses, key=lambda c: losses[c])


def test_a_fit_that_takes_long_advises_no_options_of_others() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(600, 40)) @ rng.normal(size=(40, 300)) ** 3).astype("float32")
    y = (x[:, :3].sum(1) + rng.normal(size=600) > 0).astype(np.intp) + (x[:, 5] > 0)
    places = np.arange(600) // 20
    z = StandardScaler().fit_transform(x)
    with pytest.warns(ConvergenceWarning):
        LogisticRegression(C=0.1, max_iter=20).fit(z, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _regress(z, y, 0.1, 20).n_iter_.max() == 20
        LinearClassifier.fit(x, y, places, n_categories=3)


def test_neighbours_equal_scikit_learn() -> None:
    x, y, places = cells(200, 3)
    new, _, _ = cells(50, 3, seed=1)
    ours = NeighbourClassifier.fit(x, y, places, n_categories=3)
    scaler = StandardScaler().fit(x)
    bank, query = (normalize(scaler.transform(v)) for v in (x, new))
    theirs = KNeighborsClassifier(
        15, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.1)
    ).fit(bank, y)
    np.testing.assert_allclose(ours.probability(new), theirs.predict_proba(query), atol=1e-4)


def test_neighbours_of_a_large_bank_take_little_memory() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 32)).astype("float32")
    y = np.arange(20_000) % 4
    head = NeighbourClassifier.fit(x, y, y, n_categories=4)
    query = rng.normal(size=(3_000, 32)).astype("float32")
    tracemalloc.start()
    found = head.probability(query)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    # Cells are named one by one, however many are looked at.
    ends = (0, 1, 7, 190, 3_000)
    parts = [head.probability(query[a:b]) for a, b in pairwise(ends)]
    np.testing.assert_allclose(np.concatenate(parts), found, atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("k", [2, 4])
def test_trees_equal_scikit_learn(k: int) -> None:
    x, y, places = cells(800, k)
    new, _, _ = cells(9_000, k, seed=1)  # More rows than go down the trees at a time.
    forest = ForestClassifier.fit(x, y, places, n_categories=k, seed=3)
    theirs = RandomForestClassifier(100, min_samples_leaf=5, random_state=3).fit(x, y)
    np.testing.assert_allclose(forest.probability(new), theirs.predict_proba(new), atol=1e-5)
    boosting = BoostingClassifier.fit(x, y, places, n_categories=k, seed=3)
    theirs = HistGradientBoostingClassifier(early_stopping=False, random_state=3).fit(x, y)
    np.testing.assert_allclose(boosting.probability(new), theirs.predict_proba(new), atol=1e-5)


def test_trees_go_the_way_of_float64_at_the_threshold() -> None:
    # A threshold between two neighbouring float32 numbers, which rounds to the upper one.
    low = np.float32(1000)
    high = np.nextafter(low, np.float32(2000))
    x = np.repeat([[low], [high]], 200, axis=0)
    y = np.repeat([0, 1], 200)
    forest = ForestClassifier.fit(x, y, y, n_categories=2)
    np.testing.assert_array_equal(forest.probability(x).argmax(1), y)


def test_prototypes_are_the_nearest_mean_direction() -> None:
    x, y, places = cells(60, 3, spread=4)
    ours = PrototypeClassifier.fit(x, y, places, n_categories=4)
    middle = np.mean([x[y == c].mean(0) for c in range(3)], 0)
    units = normalize((x - middle) / x.std(0))
    centroids = NearestCentroid().fit(units, y).centroids_
    cosine = units @ normalize(centroids).T
    np.testing.assert_array_equal(ours.probability(x).argmax(1), cosine.argmax(1))
    expected = np.exp(cosine / 0.1)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(ours.probability(x)[:, :3], expected, atol=1e-4)
    assert (ours.probability(x)[:, 3] == 0).all()


def test_three_points_are_enough_for_prototypes() -> None:
    x, y, _ = cells(400, 3, spread=4)
    first = np.array([np.flatnonzero(y == c)[0] for c in range(3)])
    head = PrototypeClassifier.fit(x[first], y[first], first, n_categories=3)
    assert (head.probability(x).argmax(1) == y).mean() > 0.9


def test_held_out_places_are_never_fitted_on() -> None:
    rng = np.random.default_rng(0)
    y, places = rng.integers(0, 3, 200), rng.integers(0, 12, 200)
    tested = np.zeros(200, int)
    for train, held in hold_out_places(y, places, seed=0):
        assert not set(places[train]) & set(places[held])
        tested[held] += 1
    assert (tested == 1).all()
    assert not list(hold_out_places(y, np.zeros(200, int), seed=0))


def test_few_clicks_can_be_held_out_too() -> None:
    # Fewer cells of every category than folds, then of one.
    for y in (np.array([0, 0, 1, 1]), np.array([0, 0, 0, 0, 0, 1, 1])):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            folds = list(hold_out_places(y, np.arange(len(y)), seed=0))
        assert folds
        for train, held in folds:
            assert set(y[train]) == {0, 1}
            assert len(held)
            assert not set(train) & set(held)


@pytest.mark.parametrize("kind", KINDS.values())
def test_calibration_makes_new_places_more_likely(kind: type) -> None:
    """Cells of a place share an error, so that a head fitted on few places is too sure."""
    x, y, places, new, truth, _ = _cells_of_places()
    own = kind.fit(x, y, places, n_categories=2)
    temperature, n_held = find_temperature(own, x, y, places)
    assert n_held > 0.9 * len(y)
    raw, calm = own.probability(new), soften(own.probability(new), temperature, np.ones(2, bool))
    np.testing.assert_allclose(calm.sum(1), 1, atol=1e-5)
    # Order, and so the map, is as it was.
    sure = raw.max(1) < 1 - 1e-6
    np.testing.assert_array_equal(raw[sure].argmax(1), calm[sure].argmax(1))

    def loss(p: np.ndarray) -> float:
        return float(-np.log(p[np.arange(len(truth)), truth].clip(1e-6)).mean())

    assert loss(calm) <= loss(raw) + 0.01
    if kind is BoostingClassifier:  # The surest of itself.
        assert temperature > 1.5
        assert loss(calm) < 0.95 * loss(raw)


def _cells_of_places() -> tuple:
    rng = np.random.default_rng(4)

    def draw(n_places: int) -> tuple:
        places = np.repeat(np.arange(n_places), 40)
        y = rng.integers(0, 2, len(places))
        shift = rng.normal(size=(n_places, 12))[places]
        x = y[:, None] * 0.8 + shift + 0.5 * rng.normal(size=(len(places), 12))
        return x.astype("float32"), y, places

    return (*draw(60), *draw(60))


def test_a_temperature_is_the_likeliest_of_a_fine_grid() -> None:
    x, y, places, *_ = _cells_of_places()
    own = NeighbourClassifier.fit(x, y, places, n_categories=2)
    found, _ = find_temperature(own, x, y, places)
    logs, truths = [], []
    for train, held in hold_out_places(y, places, seed=0):
        part = NeighbourClassifier.fit(x[train], y[train], places[train], n_categories=2)
        logs.append(np.log(part.probability(x[held]).clip(1e-6)))
        truths.append(y[held])
    log, truth = np.concatenate(logs), np.concatenate(truths)
    grid = np.geomspace(0.3, 15, 400)
    losses = []
    for t in grid:
        p = np.exp(log / t)
        p /= p.sum(1, keepdims=True)
        losses.append(-np.log(p[np.arange(len(truth)), truth]).sum() + 2 * np.log(t) ** 2)
    assert abs(np.log(found / grid[np.argmin(losses)])) < 0.02
