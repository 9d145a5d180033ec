"""What a cube is opened with beyond the call's own arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from xcontrast.cubes.faults import Patience
from xcontrast.cubes.radiometry import INVALID_SCL
from xcontrast.fields import Rule, check_fields

__all__ = ["CubeOptions", "state_options"]

ACCESS = frozenset({"sign", "patience"})
"""Fields that say how files are reached, not what is in them."""


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


RULES: dict[str, Rule] = {
    "crs": ("as a name or an EPSG code that there is", _is_crs),
    "invalid_scl": ("in 0..11", lambda codes: set(codes) <= set(range(12))),
    "sign": ("'auto', None or a function", lambda sign: sign == "auto" or callable(sign)),
}


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
        check_fields(self, RULES)


def state_options(options: CubeOptions) -> dict[str, Any]:
    """Give what pixels depend on, for a store that is gone on with under the same options only.

    Parameters
    ----------
    options : CubeOptions
        Of a cube.

    Returns
    -------
    dict
        Of plain values; how files are reached may change, and is left out.

    Examples
    --------
    >>> state_options(CubeOptions())["resampling"]
    'bilinear'
    """
    told = {f.name: getattr(options, f.name) for f in fields(options) if f.name not in ACCESS}
    return told | {"invalid_scl": sorted(options.invalid_scl)}
