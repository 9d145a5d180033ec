"""Which points of the Earth are land: a mask at 30 seconds of arc, held as its coastline."""

from __future__ import annotations

import importlib.util
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xcontrast.errors import SourceError, problem

__all__ = ["GREENLAND", "homogeneous", "is_land"]

GREENLAND = (
    (-43.5, 59.0), (-50.0, 60.0), (-55.0, 65.0), (-58.0, 70.0), (-61.0, 75.0), (-74.3, 75.8),
    (-74.3, 77.8), (-73.4, 78.5), (-70.0, 79.7), (-67.6, 80.5), (-64.5, 81.2), (-60.3, 82.15),
    (-55.0, 83.0), (-30.0, 84.2), (-9.0, 82.5), (-14.5, 77.0), (-16.5, 74.0), (-20.0, 70.0),
    (-25.0, 68.0), (-36.0, 65.0), (-40.0, 61.0),
)  # fmt: skip
"""Around Greenland and its islands, longitude and latitude in degrees, along mid-channel to
Ellesmere Island; Iceland, Jan Mayen and Svalbard are outside."""
ANTARCTICA = -60.0
"""Land south of this latitude is Antarctica with its islands."""


def is_land(lon: npt.ArrayLike, lat: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tell land from sea.

    Parameters
    ----------
    lon, lat : array_like, degrees
        Of one shape; longitudes -180..180, latitudes -90..90.

    Returns
    -------
    ndarray of bool
        True on land; most lakes count as land.

    Raises
    ------
    SourceError
        If the package global-land-mask is not installed or lacks its file.

    Notes
    -----
    The answers are those of ``global_land_mask.globe.is_land``. Importing that keeps 930 MB; here
    only the 0.8 million places where land and sea change along a row are kept, 3 MB. The first
    call takes about 3 s.

    Examples
    --------
    >>> is_land([2.35, -30.0], [48.85, 40.0])  # Paris, the Atlantic
    array([ True, False])
    """
    coast = _read_coast()
    cell = coast.columns * _index(lat, coast.lat) + _index(lon, coast.lon)
    # The first cell is sea, so an odd number of changes before a cell means land.
    land: npt.NDArray[np.bool_] = np.searchsorted(coast.changes, cell, side="right") % 2 == 1
    return land


def homogeneous(
    lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Tell points in Greenland or Antarctica, where images hold little to contrast.

    Parameters
    ----------
    lon, lat : ndarray (n,), degrees
        The points.

    Returns
    -------
    ndarray (n,), bool
        True inside :data:`GREENLAND` or south of 60 degrees south.

    References
    ----------
    Jain, Wilson and Gulshan (2022), Multimodal contrastive learning for remote sensing tasks,
    section 3: both are left out as homogeneous and hard to contrast.

    Examples
    --------
    >>> homogeneous(np.array([-40.0, -19.0, 0.0]), np.array([72.0, 65.0, -75.0]))
    array([ True, False,  True])
    """
    import shapely

    island = shapely.Polygon(GREENLAND)
    shapely.prepare(island)
    inside: npt.NDArray[np.bool_] = lat < ANTARCTICA
    north = lat > island.bounds[1]
    inside[north] = shapely.contains_xy(island, lon[north], lat[north])
    return inside


@dataclass(frozen=True)
class _Coast:
    """Where, along the rows of the mask laid end to end, land and sea change."""

    changes: npt.NDArray[np.uint32]
    lat: npt.NDArray[np.float64]
    lon: npt.NDArray[np.float64]

    @property
    def columns(self) -> int:
        return len(self.lon)


def _index(degrees: npt.ArrayLike, axis: npt.NDArray[np.float64]) -> npt.NDArray[np.uint32]:
    values = np.clip(np.asarray(degrees, np.float64), axis.min(), axis.max())
    return np.asarray((values - axis[0]) / (axis[1] - axis[0])).astype(np.uint32)


@lru_cache(maxsize=1)
def _read_coast() -> _Coast:
    # Found without importing: the import itself unpacks the whole mask and keeps it.
    found = importlib.util.find_spec("global_land_mask")
    folders = list(found.submodule_search_locations or ()) if found else []
    path = Path(*folders[:1]) / "globe_combined_mask_compressed.npz"
    try:
        with zipfile.ZipFile(path) as archive:
            changes = _read_changes(archive)
        with np.load(path) as file:
            return _Coast(changes, file["lat"], file["lon"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise SourceError(
            problem(
                expected="the land mask of the package global-land-mask",
                received=f"{path} ({error})",
                do="pip install --force-reinstall global-land-mask",
            )
        ) from error


def _read_changes(archive: zipfile.ZipFile) -> npt.NDArray[np.uint32]:
    with archive.open("mask.npy") as file:
        np.lib.format.read_magic(file)
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
        if len(shape) != 2 or by_columns or dtype != np.bool_:
            raise ValueError(f"a mask of shape {shape} and dtype {dtype}")
        before, at, changes = np.ones(1, bool), 0, []
        # By 400 rows, 17 MB, so that the 930 MB never lie in memory at once.
        while block := file.read(400 * shape[1]):
            sea = np.frombuffer(block, bool)
            change = np.diff(sea, prepend=before)
            changes.append((at + np.flatnonzero(change)).astype(np.uint32))
            before, at = sea[-1:], at + len(sea)
    if at != shape[0] * shape[1]:
        raise ValueError(f"{at} cells of {shape[0] * shape[1]}")
    return np.concatenate(changes)
