"""A small simulated archive of both sensors over a year with a flood: real COGs, a static catalog.

Everything in it says that it is simulated. The truth lies beside it.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.cubes.archive import NOTE, write_catalog, write_cog, write_item
from xcontrast.cubes.landscape import COVERS, Landscape, flooded_at, make_landscape
from xcontrast.cubes.physics import OPTICAL_BANDS, Weather, see_optical, see_radar
from xcontrast.errors import DataError, SourceError, problem
from xcontrast.grids import zoom_out
from xcontrast.legends import FLOOD, Legend
from xcontrast.progress import track

if TYPE_CHECKING:
    from pystac import Item

__all__ = ["COVER", "read_truth", "simulate_archive"]

START = datetime(2023, 1, 1, tzinfo=UTC)
PEAK = 127
"""Days from the start to the flood's peak, a day with a descending pass."""
NEW_BASELINE = 150
"""Days from the start from which Sentinel-2 products carry the offset of -1000."""
TRUTH = "truth"
MOST_THREADS = 8
"""Each holds an image of all bands."""

COVER = Legend(
    title="simulated land cover",
    codes=tuple(range(len(COVERS))),
    names=COVERS,
    colors=(
        "#1f6fb4", "#1b7837", "#a6d96a", "#e6c35c", "#f0a030", "#a9745b", "#c51b2b", "#4d4d4d",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class _Shot:
    day: int
    sensor: str
    ascending: bool


def simulate_archive(
    folder: str | os.PathLike[str],
    *,
    size: int = 640,
    cycle: int = 24,
    cloud: float = 0.4,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Write an archive of a year of simulated Sentinel-1 and Sentinel-2 images of one river plain.

    Parameters
    ----------
    folder : path
        Where to; must not exist or be empty.
    size : int, default 640
        Side of the square scene, pixels of 10 m; even, at least 128.
    cycle : int, default 24
        Days between two passes of one orbit: 12, 24 or 48. There is an ascending and a
        descending orbit, and a Sentinel-2 image every ``5 * cycle / 12`` days.
    cloud : float, default 0.4
        Mean share of the sky under cloud, 0..0.9; around the flood it is nearly all.
    seed : int, default 0
        Of everything.
    progress : bool, default True
        Show a bar.

    Returns
    -------
    Path
        ``catalog.json``, a static STAC catalog with the collections ``sentinel-1-rtc`` and
        ``sentinel-2-l2a``. :func:`read_truth` reads what was simulated.

    Raises
    ------
    DataError
        If a number is out of its range.
    SourceError
        If the folder holds something.

    Notes
    -----
    Speckle is multi-look gamma in power, backscatter depends on cover, season, soil moisture,
    roughness, incidence and orbit; spectra follow each parcel's phenology; clouds have shadows
    and an imperfect scene classification. See "The simulation" in the documentation.

    Examples
    --------
    >>> catalog = xc.simulate_archive(folder / "plain", size=128, cycle=48, progress=False)
    >>> catalog.name, xc.read_truth(folder / "plain").flood.shape
    ('catalog.json', (128, 128))
    """
    root = Path(folder).resolve()
    _check(root, size, cycle, cloud)
    land = make_landscape(size, seed)
    level = _flood_level(land)
    shots = _schedule(cycle)

    def take(number: int) -> tuple[str, Item]:
        shot, rng = shots[number], np.random.default_rng((seed, 2, number))
        weather = _weather(land, shot, level, cloud, seed)
        write = _write_radar if shot.sensor == "s1" else _write_optical
        return write(root, land, shot, weather, rng)

    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        done = pool.map(take, range(len(shots)))
        bar = track(done, what="simulating", total=len(shots), on=progress)
        items = list(bar)
    _write_truth(root, land, level, shots, seed)
    return write_catalog(root, items)


def read_truth(folder: str | os.PathLike[str]) -> xr.Dataset:
    """Read what a simulated archive shows.

    Parameters
    ----------
    folder : path
        As given to :func:`simulate_archive`.

    Returns
    -------
    Dataset
        ``flood (y, x)`` and ``land_cover (y, x)`` uint8 with CF flags; attrs ``peak`` (date of the
        flood), ``seed`` and ``note``. Permanent water is not flood.

    Raises
    ------
    SourceError
        If there is no simulated archive in the folder.

    Examples
    --------
    >>> truth = xc.read_truth(archive)
    >>> list(truth.data_vars), truth.flood.dtype, "peak" in truth.attrs
    (['flood', 'land_cover'], dtype('uint8'), True)
    """
    import odc.geo.xr  # noqa: F401  (registers .odc)
    import rioxarray

    root = Path(folder) / TRUTH
    try:
        facts = json.loads((root / "truth.json").read_text())
        layers = {
            name: rioxarray.open_rasterio(root / f"{name}.tif").squeeze("band", drop=True).load()
            for name in ("flood", "land_cover")
        }
    except (OSError, ValueError) as error:
        raise SourceError(
            problem(
                expected="a folder that simulate_archive wrote",
                received=f"{folder} ({error})",
                do="call xc.simulate_archive(folder) first",
            )
        ) from error
    truth = xr.Dataset(layers, attrs=facts)
    truth.flood.attrs, truth.land_cover.attrs = FLOOD.attrs, COVER.attrs
    # rioxarray's coords lack units; the cube's have them.
    return truth.assign_coords(zoom_out(truth, 1))


def _check(root: Path, size: int, cycle: int, cloud: float) -> None:
    if size < 128 or size % 2 or cycle not in (12, 24, 48) or not 0 <= cloud <= 0.9:
        raise DataError(
            problem(
                expected="an even size of at least 128, a cycle of 12, 24 or 48, cloud in 0..0.9",
                received=f"size={size}, cycle={cycle}, cloud={cloud}",
                do="leave them out for the defaults",
            )
        )
    if root.is_file() or (root.is_dir() and any(root.iterdir())):
        raise SourceError(
            problem(
                expected="a folder that does not exist or is empty",
                received=str(root),
                do="choose another, or remove it first",
            )
        )


def _flood_level(land: Landscape) -> float:
    """Find the level at which an eighth of the scene, dry before, is under water."""
    levels = np.linspace(0.2, 6, 59)
    shares = [float(flooded_at(land, level).mean()) for level in levels]
    return float(levels[np.searchsorted(shares, 0.125).clip(max=len(levels) - 1)])


def _schedule(cycle: int) -> list[_Shot]:
    descending = range(PEAK % cycle, 365, cycle)
    ascending = range((PEAK - 5) % cycle, 365, cycle)
    optical = range(2, 365, 5 * cycle // 12)
    return sorted(
        [
            *(_Shot(day, "s1", False) for day in descending),
            *(_Shot(day, "s1", True) for day in ascending),
            *(_Shot(day, "s2", False) for day in optical),
        ],
        key=lambda shot: (shot.day, shot.sensor, shot.ascending),
    )


def _weather(land: Landscape, shot: _Shot, level: float, cloud: float, seed: int) -> Weather:
    # Of the day alone, so that both sensors see the same weather.
    rng = np.random.default_rng((seed, 3, shot.day))
    rain = np.exp(-(((shot.day - PEAK + 1) / 6) ** 2))
    moisture = float(0.55 + 0.2 * np.cos(2 * np.pi * shot.day / 365) + rng.normal(0, 0.15))
    # The river rises in three days, stays for two and falls over a fortnight.
    since = shot.day - PEAK
    stage = np.clip(1 + (since + 1) / 2, 0, 1) if since < 0 else np.exp(-max(since - 1, 0) / 4)
    under = flooded_at(land, level * stage) if stage > 0.05 else np.zeros(land.height.shape, bool)
    depth = np.where(under, level * stage - land.height, 0).clip(min=0)
    sky = float(np.clip(rng.beta(0.9, 0.9 * (1 / max(cloud, 0.05) - 1)) if cloud else 0, 0, 1))
    return Weather(
        day=shot.day + 1,
        moisture=float(np.clip(max(moisture, rain), 0, 1)),
        wind=float(rng.beta(1.5, 3.0)),
        cloud=float(max(sky, 0.97 * rain if cloud else 0)),
        depth=depth.astype(np.float32),
    )


def _write_radar(
    root: Path, land: Landscape, shot: _Shot, weather: Weather, rng: np.random.Generator
) -> tuple[str, Item]:
    power = see_radar(land, weather, ascending=shot.ascending, rng=rng)
    when = START + timedelta(days=shot.day, hours=17 if shot.ascending else 5, minutes=12)
    orbit = 46_500 + shot.day * 15 + (7 if shot.ascending else 0)
    relative = 15 if shot.ascending else 95
    name = f"S1A_IW_GRDH_1SDV_{when:%Y%m%dT%H%M%S}_{orbit:06d}_rtc_SIMULATED"
    bands = {"vv": _round_bits(power[0]), "vh": _round_bits(power[1])}
    facts = {
        "platform": "sentinel-1a",
        "sat:orbit_state": "ascending" if shot.ascending else "descending",
        "sat:relative_orbit": relative,
        "sat:absolute_orbit": orbit,
    }
    return "sentinel-1-rtc", write_item(root, "sentinel-1-rtc", name, when, bands, facts, -32768)


def _write_optical(
    root: Path, land: Landscape, shot: _Shot, weather: Weather, rng: np.random.Generator
) -> tuple[str, Item]:
    seen = see_optical(land, weather, rng=rng)
    when = START + timedelta(days=shot.day, hours=10, minutes=10)
    offset = 1000 if shot.day >= NEW_BASELINE else 0
    name = f"S2A_MSIL2A_{when:%Y%m%dT%H%M%S}_R022_T32TPQ_SIMULATED"
    numbers = np.rint(seen.reflectance * 10_000 + offset).clip(1, 65_535).astype(np.uint16)
    bands: dict[str, npt.NDArray[Any]] = {}
    for band, values in zip(OPTICAL_BANDS, numbers, strict=True):
        fine = band in ("B02", "B03", "B04", "B08")
        bands[band] = values if fine else _halve(values)
    bands["SCL"] = seen.scl[::2, ::2]
    facts = {
        "platform": "Sentinel-2A",
        "eo:cloud_cover": round(100 * seen.cloudy, 2),
        "s2:processing_baseline": "05.09" if offset else "03.01",
        "s2:generation_time": f"{when + timedelta(hours=6):%Y-%m-%dT%H:%M:%SZ}",
        "s2:mgrs_tile": "32TPQ",
    }
    return "sentinel-2-l2a", write_item(root, "sentinel-2-l2a", name, when, bands, facts, 0)


def _halve(values: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    n = len(values) // 2
    half: npt.NDArray[np.uint16] = np.rint(values.reshape(n, 2, n, 2).mean((1, 3))).astype("uint16")
    return half


def _round_bits(power: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Keep 11 bits of the mantissa: 0.002 dB, at half the size on disk."""
    bits = np.ascontiguousarray(power).view(np.uint32)
    return ((bits + np.uint32(0x800)) & np.uint32(0xFFFFF000)).view(np.float32)


def _write_truth(root: Path, land: Landscape, level: float, shots: list[_Shot], seed: int) -> None:
    folder = root / TRUTH
    folder.mkdir(parents=True)
    peak = START + timedelta(days=PEAK)
    flood = flooded_at(land, level)
    write_cog(folder / "flood.tif", flood.astype(np.uint8), 10.0, 255)
    write_cog(folder / "land_cover.tif", land.cover, 10.0, 255)
    facts = {
        "simulated": "true",
        "note": NOTE,
        "seed": seed,
        "peak": f"{peak:%Y-%m-%d}",
        "relative_orbit": 95,
        "level_m": round(level, 2),
        "flooded_share": round(float(flood.mean()), 4),
        "n_s1": sum(shot.sensor == "s1" for shot in shots),
        "n_s2": sum(shot.sensor == "s2" for shot in shots),
    }
    (folder / "truth.json").write_text(json.dumps(facts, indent=2) + "\n")
