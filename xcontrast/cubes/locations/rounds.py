"""Rounds of candidates: all of a recipe's locations drawn at once, usable and far enough apart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from xcontrast.cubes.locations.land import homogeneous, is_land
from xcontrast.cubes.locations.proposals import Lattice, Proposals, Within, lay_lattice, near_cities
from xcontrast.cubes.locations.regions import RADIUS, area_of, contains, cover, to_unit
from xcontrast.errors import DataError, problem

__all__ = ["KINDS", "Round", "draw_round"]

KINDS = ("cities", "land", "grid")
TRIALS = 100
"""How often one location is proposed in one round before it counts as without a place."""
PILOT = 200_000

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Round:
    """The candidates of one number, NaN where a location found no place."""

    lon: Floats
    lat: Floats
    city: Ints


def draw_round(recipe: str, attempt: int) -> Round:
    """Draw the candidates number `attempt` of all locations of a recipe.

    Parameters
    ----------
    recipe : str
        JSON, its keys sorted.
    attempt : int
        From 0.

    Returns
    -------
    Round
        Pure in both arguments.

    Raises
    ------
    DataError
        If the region holds nothing usable, or candidates 0 do not all find a place.

    Notes
    -----
    Greedy, attempt by attempt: what is kept depends on earlier attempts alone, whichever of them
    are used in the end. Within an attempt all locations still without a place are proposed at
    once, and one too near another, kept before or of a lower number, is proposed anew.
    """
    if not json.loads(recipe)["min_distance"]:
        return _draw_alone(recipe, attempt)
    # From below, so that the recursion is never deeper than what is remembered.
    for before in range(attempt):
        _draw_after(recipe, before)
    return _draw_after(recipe, attempt)[-1]


@dataclass(frozen=True)
class _Plan:
    """A recipe made ready: what proposes, and how often at a time."""

    recipe: dict[str, Any]
    proposals: Proposals
    tries: int

    @property
    def chord(self) -> float:
        return float(2 * np.sin(self.recipe["min_distance"] / RADIUS / 2))


@lru_cache(maxsize=64)
def _draw_after(recipe: str, attempt: int) -> tuple[Round, ...]:
    earlier = _draw_after(recipe, attempt - 1) if attempt else ()
    return (*earlier, _draw(_make_plan(recipe), attempt, earlier))


@lru_cache(maxsize=4)
def _draw_alone(recipe: str, attempt: int) -> Round:
    return _draw(_make_plan(recipe), attempt, ())


def _draw(plan: _Plan, attempt: int, earlier: tuple[Round, ...]) -> Round:
    from scipy.spatial import cKDTree

    n, kind, seed = (plan.recipe[name] for name in ("n", "kind", "seed"))
    lon, lat, city = np.full(n, np.nan), np.full(n, np.nan), np.full(n, -1)
    taken = [_plant(earlier)] if earlier else []
    pending = np.arange(n)
    for trial in range(TRIALS):
        # All n every time: a location's numbers must not depend on which others are pending.
        rng = np.random.default_rng((seed, KINDS.index(kind), attempt, trial))
        uniform = rng.random((n, plan.tries, 3))[pending]
        # A lattice's own points are the first proposals of attempt 0 and no later ones.
        where = _find_usable(plan, uniform, pending, trial + (attempt > 0))
        points = to_unit(*where[:2])
        some = np.flatnonzero(np.isfinite(where[0]))
        if plan.chord:
            some = _keep_apart(points, some, pending, taken, plan.chord)
            taken.append((cKDTree(points[some]), pending[some]))
        lon[pending[some]], lat[pending[some]], city[pending[some]] = (v[some] for v in where)
        pending = np.delete(pending, some)
        if not len(pending):
            break
    if len(pending) and attempt == 0:
        raise DataError(_say_full(plan, n - len(pending)))
    return Round(lon, lat, city)


def _plant(rounds: tuple[Round, ...]) -> tuple[Any, Ints]:
    """Put all candidates of some rounds into one tree; return it and whose they are."""
    from scipy.spatial import cKDTree

    lon, lat = (np.concatenate([getattr(one, axis) for one in rounds]) for axis in ("lon", "lat"))
    placed = np.flatnonzero(np.isfinite(lon))
    return cKDTree(to_unit(lon[placed], lat[placed])), placed % len(rounds[0].lon)


def _find_usable(
    plan: _Plan, uniform: Floats, which: Ints, trial: int
) -> tuple[Floats, Floats, Ints]:
    """Take of each location's tries the first that is usable; NaN if none is."""
    lon, lat, city = plan.proposals.propose(uniform, which, trial)
    usable = _is_usable(plan.recipe, lon.ravel(), lat.ravel()).reshape(lon.shape)
    row, first = np.arange(len(lon)), usable.argmax(1)
    good = usable[row, first]
    return (
        np.where(good, lon[row, first], np.nan),
        np.where(good, lat[row, first], np.nan),
        city[row, first],
    )


def _is_usable(recipe: dict[str, Any], lon: Floats, lat: Floats) -> npt.NDArray[np.bool_]:
    kind, region = recipe["kind"], recipe["region"]
    usable = np.ones(lon.shape, bool)
    if kind != "cities" or recipe["preset"] is None:
        usable = is_land(lon, lat)
    if region is not None:
        usable[usable] = contains(region, lon[usable], lat[usable])
    elif kind != "cities":
        usable[usable] = ~homogeneous(lon[usable], lat[usable])
    return usable


def _keep_apart(
    points: Floats, some: Ints, names: Ints, taken: list[tuple[Any, Ints]], chord: float
) -> Ints:
    """Drop points too near one of another name that was kept before, or one earlier in the row."""
    from scipy.spatial import cKDTree

    for tree, owners in taken:
        # As many as are its own at most, and one: if another's is near, it is among them.
        most = int(np.bincount(owners).max(initial=0)) + 1
        away, row = tree.query(points[some], k=[*range(1, most + 1)], distance_upper_bound=chord)
        own = np.append(owners, -1)[row] == names[some, None]
        some = some[(own | ~np.isfinite(away)).all(1)]
    # Two points in one cube of this side are too near; without them the pairs below are few.
    side = max(chord / np.sqrt(3), 2.0**-20)
    cube = (np.floor(points[some] / side).astype(np.int64) + 2**20) @ (1, 2**21, 2**42)
    some = some[np.sort(np.unique(cube, return_index=True)[1])]
    pairs = cKDTree(points[some]).query_pairs(chord, output_type="ndarray")
    return np.delete(some, np.unique(pairs.max(1, initial=0)) if len(pairs) else [])


@lru_cache(maxsize=4)
def _make_plan(text: str) -> _Plan:
    recipe = json.loads(text)
    n, region, flat = recipe["n"], recipe["region"], recipe["preset"] == "paper"
    proposals = (
        near_cities(region, flat=flat)
        if recipe["kind"] == "cities"
        else Within(cover(region), flat)
    )
    pilot = np.random.default_rng(0).random((1, PILOT, 3))
    lon, lat, _ = proposals.propose(pilot, np.zeros(1, np.intp), 0)
    share = _is_usable(recipe, lon[0], lat[0]).mean()
    if not share:
        raise DataError(
            problem(
                expected="a region with land in it",
                received=f"none at {PILOT:,} points in {region}"[:200],
                do="check the order (west, south, east, north), or enlarge the region",
            )
        )
    if recipe["kind"] == "grid":
        return _Plan(recipe, _fit_lattice(recipe, float(share)), 1)
    # Three tries for one that is usable, within a hundred megabytes.
    tries = np.clip(np.ceil(3 / share), 1, max(1, 1_000_000 // n))
    return _Plan(recipe, proposals, int(tries))


def _fit_lattice(recipe: dict[str, Any], share: float) -> Lattice:
    """Find the widest step, nearly, that leaves n points on land, and thin the few too many."""
    n, cells = recipe["n"], cover(recipe["region"])
    rng = np.random.default_rng((recipe["seed"], len(KINDS)))
    start = rng.random(2)

    def lay(step: float) -> tuple[Floats, Floats]:
        lon, lat = lay_lattice(cells, step, (float(start[0]), float(start[1])))
        usable = _is_usable(recipe, lon, lat)
        return lon[usable], lat[usable]

    wide = float(np.rad2deg(np.sqrt(area_of(cells).sum() * share / n) / RADIUS)) * 1.1
    step = wide / 1.2
    while len((best := lay(step))[0]) < n:
        wide, step = step, step * 0.9
    for _ in range(20):
        if len(best[0]) <= n * 1.002:
            break
        middle = (step + wide) / 2
        found = lay(middle)
        if len(found[0]) < n:
            wide = middle
        else:
            step, best = middle, found
    lon, lat = best
    kept = rng.permutation(len(lon))[:n]
    kept = kept[np.lexsort((lon[kept], -lat[kept]))]
    return Lattice(lon[kept], lat[kept], step)


def _say_full(plan: _Plan, placed: int) -> str:
    recipe = plan.recipe
    return problem(
        expected=f"room for {recipe['n']:,} locations {recipe['min_distance']:,.0f} m apart",
        received=f"{recipe['kind']} with room for {placed:,}",
        do=f"lower n, to {max(1, placed * 4 // 5):,} say, or min_distance, or enlarge the region",
    )
