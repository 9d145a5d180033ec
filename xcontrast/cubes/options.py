"""What a cube is opened with beyond the call's own arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from xcontrast.cubes.faults import Patience
from xcontrast.cubes.radiometry import INVALID_SCL
from xcontrast.errors import DataError, problem

__all__ = ["CubeOptions"]

RESAMPLINGS = ("nearest", "bilinear", "cubic", "average")


@dataclass(frozen=True, kw_only=True)
class CubeOptions:
    """What a cube is opened with beyond the call's own arguments.

    Examples
    --------
    >>> options = xc.CubeOptions(orbit_state="descending", invalid_scl=(0, 1, 3, 9))
    >>> options.orbit_state, options.resampling
    ('descending', 'bilinear')
    """

    crs: str | int | None = None
    """Of the grid made from a bbox, as a name or an EPSG code; by default the UTM zone of its
    centre."""
    resampling: Literal["nearest", "bilinear", "cubic", "average"] = "bilinear"
    """Of bands that do not lie on the grid (20 and 60 m bands, other zones); scene classes are
    always the nearest."""
    invalid_scl: tuple[int, ...] = INVALID_SCL
    """Scene classes of Sentinel-2 that become NaN."""
    floor_db: float = -40.0
    """Least Sentinel-1 value."""
    orbit_state: Literal["ascending", "descending"] | None = None
    """Keep only Sentinel-1 passes of this direction."""
    relative_orbit: int | None = None
    """Keep only Sentinel-1 passes of this relative orbit."""
    sign: Callable[[str], str] | Literal["auto"] | None = "auto"
    """Signs a link when it is read, in the process that reads: a function that pickles. By default
    links to the Planetary Computer's storage are signed, others are open."""
    patience: Patience = field(default_factory=Patience)
    """How long a read insists."""

    def __post_init__(self) -> None:
        wrong = []
        if self.resampling not in RESAMPLINGS:
            wrong.append(f"resampling={self.resampling!r}")
        if self.orbit_state not in (None, "ascending", "descending"):
            wrong.append(f"orbit_state={self.orbit_state!r}")
        if not set(self.invalid_scl) <= set(range(12)):
            wrong.append(f"invalid_scl={self.invalid_scl}")
        if self.sign not in ("auto", None) and not callable(self.sign):
            wrong.append(f"sign={self.sign!r}")
        if self.crs is not None and not _is_crs(self.crs):
            wrong.append(f"crs={self.crs!r}")
        if wrong:
            raise DataError(
                problem(
                    expected="options in their documented ranges",
                    received=", ".join(wrong),
                    do="see the fields of xc.CubeOptions",
                )
            )


def _is_crs(crs: str | int) -> bool:
    from odc.geo.crs import CRS
    from pyproj.exceptions import CRSError

    if str(crs).lower().startswith("utm"):
        return True  # odc's own name of the zone of a place.
    try:
        CRS(crs)
    except CRSError:
        return False
    return True
