"""Trees as plain arrays: random forests and gradient boosting, fitted by scikit-learn.

Letters: N cells, F features, K categories, T trees, M nodes of all trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from xcontrast.heads.classifiers.classifier import Codes, Floats

__all__ = ["BoostingClassifier", "ForestClassifier"]

ROWS = 8192
"""Cells that go down the trees at a time: what the caches hold."""
N_TREES = 100
"""Trees of a forest, and rounds of boosting: scikit-learn's defaults."""
LEAF = 20
"""Cells in a leaf of boosting, at least, but for few labels; scikit-learn's default."""

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class _Trees:
    """Trees of which each adds the value of one leaf to the scores of some categories."""

    feature: Ints
    """(M,): what a node looks at; any for a leaf."""
    threshold: Floats
    """(M,): a cell goes left where its feature is not above; infinite for a leaf."""
    left: Ints
    """(M,): node; a leaf's own."""
    right: Ints
    """(M,)"""
    value: Floats
    """(M, V): of a leaf: V is K, or 1 for a tree of one category."""
    root: Ints
    """(T,): node."""
    depth: Ints
    """(T,): steps from root to the deepest leaf."""
    category: Ints
    """(T,): that a tree is of; -1 for all."""
    start: Floats
    """(K,): scores before the first tree."""

    weighs_alike: ClassVar[bool] = False

    @property
    def n_categories(self) -> int:
        """K."""
        return len(self.start)

    def scores(self, x: Floats) -> Floats:
        """Give ``(N, K)``: `start` and the sum of all trees."""
        used, feature = np.unique(self.feature, return_inverse=True)
        result = np.empty((len(x), self.n_categories), np.float32)
        for first in range(0, len(x), ROWS):
            part = x[first : first + ROWS, used]
            result[first : first + ROWS] = self._descend(part, feature.ravel())
        return result

    def _descend(self, x: Floats, feature: npt.NDArray[np.intp]) -> Floats:
        rows = np.arange(len(x))
        total = np.tile(self.start, (len(x), 1))
        for root, depth, category in zip(self.root, self.depth, self.category, strict=True):
            node = np.full(len(x), root, np.int32)
            for _ in range(depth):
                goes_left = x[rows, feature[node]] <= self.threshold[node]
                node = np.where(goes_left, self.left[node], self.right[node])
            if category < 0:
                total += self.value[node]
            else:
                total[:, category] += self.value[node, 0]
        return total


@dataclass(frozen=True)
class ForestClassifier(_Trees):
    """A random forest (Breiman 2001)."""

    @classmethod
    def fit(
        cls,
        x: Floats,
        y: Codes,
        groups: Codes,
        *,
        n_categories: int,
        seed: int = 0,
        like: Self | None = None,
    ) -> Self:
        """Fit 100 trees, each on a bootstrap sample, on the square root of the features a split."""
        from sklearn.ensemble import RandomForestClassifier

        del groups, like
        model = RandomForestClassifier(
            N_TREES,
            # Single cells are noisy: leaves of a few make probabilities of a forest usable.
            min_samples_leaf=max(1, min(5, len(y) // 100)),
            random_state=seed,
            n_jobs=-1,
        ).fit(x, y)
        values = []
        for tree in (own.tree_ for own in model.estimators_):
            value = np.zeros((tree.node_count, n_categories), np.float32)
            share = tree.value[:, 0] / tree.value[:, 0].sum(1, keepdims=True)
            value[:, model.classes_] = share / N_TREES
            values.append(value)
        trees = [own.tree_ for own in model.estimators_]
        nodes = [(t.feature, t.threshold, t.children_left, t.children_right) for t in trees]
        depths = [t.max_depth for t in trees]
        start = np.zeros(n_categories, np.float32)
        return cls(*_join(nodes, values, depths, [-1] * len(trees)), start)

    def probability(self, x: Floats) -> Floats:
        """Give ``(N, K)``: the mean of the trees' shares."""
        return self.scores(x)


@dataclass(frozen=True)
class BoostingClassifier(_Trees):
    """Gradient boosting on histograms (Friedman 2001; scikit-learn's)."""

    NEVER: ClassVar[float] = -1e4
    """Score of a category never seen."""

    @classmethod
    def fit(
        cls,
        x: Floats,
        y: Codes,
        groups: Codes,
        *,
        n_categories: int,
        seed: int = 0,
        like: Self | None = None,
    ) -> Self:
        """Fit 100 rounds, without early stopping, which would look at neighbours."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        del groups, like
        model = HistGradientBoostingClassifier(
            max_iter=N_TREES,
            early_stopping=False,
            min_samples_leaf=max(1, min(LEAF, len(y) // 20)),
            random_state=seed,
        ).fit(x, y)
        # scikit-learn keeps one score for two categories: the second against the first.
        own = model.classes_[1:] if len(model.classes_) == 2 else model.classes_
        start = np.full(n_categories, cls.NEVER, np.float32)
        start[model.classes_] = 0
        start[own] = np.ravel(model._baseline_prediction)
        nodes, values, depths, categories = [], [], [], []
        for one_round in model._predictors:
            for category, tree in zip(own, one_round, strict=True):
                node = tree.nodes
                leaf = node["is_leaf"].astype(bool)
                children = [
                    np.where(leaf, -1, node[side].astype(np.int64)) for side in ("left", "right")
                ]
                nodes.append((node["feature_idx"], node["num_threshold"], *children))
                values.append(node["value"][:, None])
                depths.append(int(node["depth"].max()))
                categories.append(int(category))
        return cls(*_join(nodes, values, depths, categories), start)

    def probability(self, x: Floats) -> Floats:
        """Give ``(N, K)``: the softmax of the scores."""
        scores = self.scores(x)
        np.exp(scores - scores.max(1, keepdims=True), out=scores)
        result: Floats = scores / scores.sum(1, keepdims=True)
        return result


def _join(
    nodes: Sequence[tuple[Any, Any, Any, Any]],
    values: Sequence[npt.NDArray[Any]],
    depths: Sequence[int],
    categories: Sequence[int],
) -> tuple[Ints, Floats, Ints, Ints, Floats, Ints, Ints, Ints]:
    """Put trees one after another; children of -1, which leaves have, become the leaf itself."""
    counts = [len(value) for value in values]
    root = np.cumsum([0, *counts[:-1]])
    feature, threshold, left, right = [], [], [], []
    for first, n, (looks_at, at, low, high) in zip(root, counts, nodes, strict=True):
        own = np.arange(n)
        leaf = low < 0
        feature.append(np.where(leaf, 0, looks_at))
        threshold.append(np.where(leaf, np.inf, _round_down(at)))
        left.append(first + np.where(leaf, own, low))
        right.append(first + np.where(leaf, own, high))
    return (
        np.concatenate(feature).astype(np.int32),
        np.concatenate(threshold).astype(np.float32),
        np.concatenate(left).astype(np.int32),
        np.concatenate(right).astype(np.int32),
        np.concatenate(values).astype(np.float32),
        root.astype(np.int32),
        np.array(depths, np.int32),
        np.array(categories, np.int32),
    )


def _round_down(at: npt.NDArray[np.float64]) -> Floats:
    """Give the largest float32 not above: float32 features then go the same way as in float64."""
    near = at.astype(np.float32)
    return np.where(near > at, np.nextafter(near, np.float32(-np.inf)), near)
