"""What the numbers of each sensor mean: bands in channel order, units, names met in the wild.

Nothing here reads data. A `Sensor` is a record; `S1` and `S2` are the two that xcontrast knows.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from xcontrast.errors import DataError, problem

__all__ = ["S1", "S2", "SENSORS", "STORED_NODATA", "Sensor"]

STORED_NODATA = -32768
"""The int16 code of an invalid value at rest."""


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """One sensor: where it lives in a catalog and what its bands are.

    Examples
    --------
    >>> S2.canonical("red"), S2.canonical("S2-L2A-B04"), S1.canonical("VV")
    ('B04', 'B04', 'vv')
    >>> S2.canonical_bands(["red", "nir"])
    ('B04', 'B08')
    >>> S1.time, S2.band, S2.gsd
    ('s1_time', 's2_band', 10.0)
    """

    name: str
    """Variable name in a cube, ``"s1"`` or ``"s2"``; dims ``{name}_time``, ``{name}_band``."""
    title: str
    """Name for people."""
    collection: str
    """STAC collection on the Planetary Computer."""
    bands: tuple[str, ...]
    """Default bands, in channel order."""
    known_bands: tuple[str, ...]
    """Every band of the product that can be asked for."""
    units: str
    """Units of a loaded array: ``"dB"`` or ``"1"`` (surface reflectance, 1 = 100 %)."""
    gsd: float
    """Ground sampling distance of the finest band, metres."""
    plausible: tuple[float, float]
    """Range in which the median of real data lies, in `units`; outside it the scale is wrong."""
    stored_scale: float
    """Step of the int16 form at rest, in `units`."""
    display: tuple[str, ...]
    """Bands for red, green and blue; S1 uses VV, VH and their difference."""
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Other names of a band, lower case, to its canonical name."""

    @property
    def time(self) -> str:
        """Name of the time dim in a cube."""
        return f"{self.name}_time"

    @property
    def band(self) -> str:
        """Name of the band dim."""
        return f"{self.name}_band"

    @property
    def valid(self) -> str:
        """Name of the variable of a cube that tells where the ground is seen."""
        return f"{self.name}_valid"

    def owns(self, collection: str) -> bool:
        """Tell whether a STAC collection, by its id, is of this sensor (Sentinel-2: Level-2A).

        Examples
        --------
        >>> S2.owns("sentinel-2-c1-l2a"), S2.owns("sentinel-2-l1c"), S1.owns("sentinel-1-rtc")
        (True, False, True)
        """
        name = collection.lower().replace("-", "").replace("_", "")
        return self.title.lower().replace("-", "") in name and "l1c" not in name

    def canonical(self, name: Hashable) -> str | None:
        """Give the canonical name of a band, or None when it is not one of this sensor's.

        Parameters
        ----------
        name : Hashable
            A band name as met in catalogs and files: ``"B4"``, ``"red"``, ``"S2-L2A-B04"``.

        Returns
        -------
        str or None
            The name in `known_bands`, or None.
        """
        key = str(name).lower().replace("-", "_")
        for prefix in (
            "s1_sigma0_",
            "s1_gamma0_",
            "s2_l2a_",
            "s2_l1c_",
            "s1_",
            "s2_",
            "gamma0_",
            "sigma0_",
        ):
            key = key.removeprefix(prefix)
        return self.aliases.get(key)

    def canonical_bands(self, names: list[Hashable]) -> tuple[str, ...]:
        """Translate band names, refusing those that are not this sensor's.

        Parameters
        ----------
        names : list of Hashable
            Band names in any of the known spellings.

        Returns
        -------
        tuple of str
            The canonical names, in the order given.

        Raises
        ------
        DataError
            If a name is unknown or two names mean the same band.
        """
        found = [self.canonical(name) for name in names]
        unknown = [str(name) for name, band in zip(names, found, strict=True) if band is None]
        if unknown:
            raise DataError(
                problem(
                    expected=f"bands of {self.title}: {', '.join(self.known_bands)}",
                    received=", ".join(unknown),
                    do="rename the bands, or leave out those that the sensor does not have",
                )
            )
        bands = tuple(band for band in found if band is not None)
        if len(set(bands)) != len(bands):
            raise DataError(
                problem(
                    expected=f"each band of {self.title} once",
                    received=", ".join(f"{n} ({b})" for n, b in zip(names, bands, strict=True)),
                    do="keep one of the bands that mean the same",
                )
            )
        return bands


def _spellings(*rows: tuple[str, ...]) -> Mapping[str, str]:
    table = {name.lower(): row[0] for row in rows for name in row}
    return MappingProxyType(table)


S1 = Sensor(
    name="s1",
    title="Sentinel-1",
    collection="sentinel-1-rtc",
    bands=("vv", "vh"),
    known_bands=("vv", "vh", "hh", "hv"),
    units="dB",
    gsd=10.0,
    plausible=(-45.0, 15.0),
    stored_scale=0.01,
    display=("vv", "vh"),
    aliases=_spellings(("vv", "VV_db"), ("vh", "VH_db"), ("hh",), ("hv",)),
)

S2 = Sensor(
    name="s2",
    title="Sentinel-2",
    collection="sentinel-2-l2a",
    bands=("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
    known_bands=(
        "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12",
    ),
    units="1",
    gsd=10.0,
    plausible=(-0.1, 1.6),
    stored_scale=1e-4,
    display=("B04", "B03", "B02"),
    aliases=_spellings(
        ("B01", "B1", "coastal"),
        ("B02", "B2", "blue"),
        ("B03", "B3", "green"),
        ("B04", "B4", "red"),
        ("B05", "B5", "rededge1", "rededge"),
        ("B06", "B6", "rededge2"),
        ("B07", "B7", "rededge3"),
        ("B08", "B8", "nir"),
        ("B8A", "B08A", "nir08", "nir2"),
        ("B09", "B9", "nir09", "water_vapor"),
        ("B10", "cirrus"),
        ("B11", "swir16", "swir1"),
        ("B12", "swir22", "swir2"),
    ),
)  # fmt: skip

SENSORS: tuple[Sensor, Sensor] = (S1, S2)
"""Both sensors, in the order in which a cube holds them."""
