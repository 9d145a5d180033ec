"""The reader that odc-stac calls for a block of one item: signed, patient, in physical units.

An item is one source with all bands of its sensor, so that a block is one task of the graph. Links
are signed when the block is read.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from xcontrast.cubes.faults import Patience, ReadError, persist
from xcontrast.cubes.files import BandFile, ItemFiles
from xcontrast.cubes.radiometry import decibels_np, reflectance_np
from xcontrast.cubes.reports import note_failure
from xcontrast.cubes.warping import read_warped
from xcontrast.errors import SourceError, problem

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from odc.loader import RasterGroupMetadata, RasterLoadParams, RasterSource
    from pystac import Item

    from xcontrast.sensors import Sensor

__all__ = ["ItemParser", "ItemReader", "ReadSettings", "SensorDriver"]

Float = npt.NDArray[np.float32]

READERS = 16
"""Files that a process reads at once: reading from far away is waiting."""
_pools: dict[int, ThreadPoolExecutor] = {}
_inside = threading.local()


@dataclass(frozen=True)
class ReadSettings:
    """How blocks are read."""

    reads: str
    """Name of the cube's reads: tells this way of reading these items from any other."""
    sign: Callable[[str], str] | None
    patience: Patience
    on_error: Literal["raise", "nan"]
    resampling: str
    floor_db: float
    invalid_scl: tuple[int, ...]


class ItemParser:
    """Tells odc-stac what an item holds: one source with the bands as a dim, and their validity."""

    def __init__(self, sensor: Sensor, files: Sequence[ItemFiles]) -> None:
        self._sensor = sensor
        self._files = {own.item: own for own in files}
        self._n_bands = len(files[0].bands)

    def extract(self, _item: Item) -> RasterGroupMetadata:
        """Give the dtypes and dims of the values and of their validity."""
        from odc.loader import RasterBandMetadata, RasterGroupMetadata

        sensor = self._sensor
        values = RasterBandMetadata("float32", float("nan"), dims=(sensor.band, "y", "x"))
        valid = RasterBandMetadata("bool", 0.0)
        kinds = {(sensor.name, 1): values, (sensor.valid, 1): valid}
        return RasterGroupMetadata(kinds, {}, {sensor.band: self._n_bands})

    def driver_data(self, item: Item, key: tuple[str, int]) -> ItemFiles:
        """Give what is read of an item for its values, or for their validity."""
        files = self._files[item.id]
        return replace(files, validity=True) if key[0] == self._sensor.valid else files


class SensorDriver:
    """Reader driver of odc-loader for one sensor's items.

    Pickled into every task: the parser, which knows all items, stays behind.
    """

    dask_reader = None
    aux_reader = None

    def __init__(self, settings: ReadSettings, parser: ItemParser | None = None) -> None:
        self.settings = settings
        self.md_parser = parser

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.settings,)

    def new_load(self, _geobox: GeoBox, **_options: Any) -> Any:
        """Begin a load; nothing is kept."""
        return None

    def finalise_load(self, load_state: Any) -> Any:
        """End a load."""
        return load_state

    def capture_env(self) -> dict[str, Any]:
        """Give GDAL's options where the graph is built; part of its tasks' names."""
        from odc.loader import RioDriver

        # Without `reads`, two cubes of the same files that differ in offset, floor or signing
        # would share the names of their tasks, and one would get the other's values.
        return {"gdal": RioDriver().capture_env(), "reads": self.settings.reads}

    @contextmanager
    def restore_env(self, env: dict[str, Any], _load_state: Any) -> Iterator[dict[str, Any]]:
        """Hand GDAL's options on to the reader."""
        yield env["gdal"]

    def open(self, source: RasterSource, gdal: dict[str, Any]) -> ItemReader:
        """Give the reader of one item; reads nothing yet."""
        return ItemReader(source.driver_data, self.settings, gdal)


@dataclass(frozen=True)
class ItemReader:
    """Reads blocks of one item."""

    files: ItemFiles
    settings: ReadSettings
    gdal: dict[str, Any]

    def read(
        self, _config: RasterLoadParams, grid: GeoBox, **_options: Any
    ) -> tuple[tuple[slice, slice], npt.NDArray[Any]]:
        """Read a block: ``(band, y, x)`` float32, NaN where invalid; or ``(y, x)`` bool."""
        if self.files.validity:
            return np.s_[:, :], self.read_seen(grid)
        values = np.full((len(self.files.bands), *grid.shape), np.nan, np.float32)
        failures: list[dict[str, Any]] = []
        hidden = self._find_hidden(grid, failures)
        if hidden is None or not hidden.all():
            read = partial(self._read_band, grid=grid, failures=failures)
            for row, band in zip(values, _pool().map(read, self.files.bands), strict=True):
                if band is not None:
                    row[:] = band
            if hidden is not None:
                np.copyto(values, np.nan, where=hidden)
        # Here and not in the pool: only this thread knows which worker it belongs to.
        for failure in failures:
            note_failure(self.settings.reads, failure)
        return np.s_[:, :], values

    def read_seen(self, grid: GeoBox) -> npt.NDArray[np.bool_]:
        """Read where the ground is seen: by the scene classes, else where the first band is.

        Nowhere in an item that lacks a band: there is no pixel with all of them.
        """
        if None in self.files.bands:
            return np.zeros(tuple(grid.shape), bool)
        failures: list[dict[str, Any]] = []
        hidden = self._find_hidden(grid, failures)
        seen = None if hidden is None else ~hidden
        if seen is None:
            values = self._read_band(self.files.bands[0], grid, failures)
            seen = np.zeros(tuple(grid.shape), bool) if values is None else ~np.isnan(values)
        for failure in failures:
            note_failure(self.settings.reads, failure)
        return seen

    def _find_hidden(
        self, grid: GeoBox, failures: list[dict[str, Any]]
    ) -> npt.NDArray[np.bool_] | None:
        """Read where the ground is not seen; everywhere, if that cannot be known."""
        if self.files.classes is None:
            return None
        classes = self._read_file(self.files.classes, grid, failures)
        if classes is None:
            return np.ones(tuple(grid.shape), bool)
        hidden = np.zeros(256, bool)
        hidden[list(self.settings.invalid_scl)] = True
        result: npt.NDArray[np.bool_] = hidden[classes]
        return result

    def _read_band(
        self, file: BandFile | None, grid: GeoBox, failures: list[dict[str, Any]]
    ) -> Float | None:
        values = None if file is None else self._read_file(file, grid, failures)
        if file is None or values is None:
            return None
        if file.kind == "numbers":
            return reflectance_np(values, offset=file.offset, scale=file.scale)
        if file.kind == "reflectance":
            return values + np.float32(file.offset)
        if file.kind == "power":
            return decibels_np(values, floor=self.settings.floor_db)
        return values

    def _read_file(
        self, file: BandFile, grid: GeoBox, failures: list[dict[str, Any]]
    ) -> npt.NDArray[Any] | None:
        """Read a file on a grid; None where it is at fault and may be left out."""
        settings = self.settings
        try:
            return persist(
                lambda link, attempt: self._read_once(file, link, grid, attempt),
                file.href,
                sign=settings.sign,
                patience=settings.patience,
            )
        except ReadError as error:
            fault = error.fault
            if not fault.of_asset or settings.on_error == "raise":
                raise _explain(error, self.files.item, file) from None
            entry: dict[str, Any] = {"item": self.files.item, "asset": file.asset}
            entry |= {"href": file.href}
            entry |= {"block": tuple(round(v, 6) for v in grid.boundingbox)}
            entry |= {"kind": fault.kind, "message": fault.message}
            failures.append(entry | {"attempts": error.attempts, "seconds": error.seconds})
            return None

    def _read_once(self, file: BandFile, link: str, grid: GeoBox, attempt: int) -> npt.NDArray[Any]:
        from odc.loader import RasterLoadParams, RasterSource, RioDriver

        classes = file.kind == "classes"
        # Of scene classes and digital numbers 0 is no data, whatever the file says. Of the others
        # the file knows; those of the Planetary Computer have -32768.
        nodata = 0.0 if file.kind in ("classes", "numbers") else None
        config = RasterLoadParams(
            "uint8" if classes else "float32",
            fill_value=0 if classes else float("nan"),
            src_nodata_override=nodata,
            src_nodata_fallback=-32768.0,
            resampling="nearest" if classes else self.settings.resampling,
        )
        whole = np.full(tuple(grid.shape), config.fill_value, config.dtype)
        driver = RioDriver()
        options = self.gdal | _gdal_options(self.settings.patience, attempt)
        with _quietly(), driver.restore_env(options, driver.new_load(grid)) as context:
            # In the file's own CRS nothing depends on the block, and most is not even resampled.
            if self.files.epsg not in (None, grid.crs.epsg):
                return read_warped(link, config, grid)
            region, values = driver.open(RasterSource(link), context).read(config, grid)
        whole[region] = values
        return whole


def _gdal_options(patience: Patience, attempt: int) -> dict[str, str]:
    seconds = str(max(round(patience.timeout), 1))
    options = {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
        "GDAL_HTTP_CONNECTTIMEOUT": seconds,
        "GDAL_HTTP_TIMEOUT": seconds,
        # Single requests that fail, of the many of a block; the rest is left to faults.persist.
        "GDAL_HTTP_MAX_RETRY": "2",
        "GDAL_HTTP_RETRY_DELAY": "0.5",
    }
    if attempt > 1:
        # GDAL remembers for the rest of the process that a link gave a 500, and does not ask again.
        options["CPL_VSIL_CURL_NON_CACHED"] = "/vsicurl/http"
    return options


def _explain(error: ReadError, item: str, file: BandFile) -> SourceError:
    fault = error.fault
    advice = {
        "access": "check that the collection is open to you, and what signs its links: "
        "options=xc.CubeOptions(sign=...)",
        "busy": "compute again later, or with fewer workers; patience=xc.Patience(...) insists "
        "longer",
        "network": "check the network from the machine that reads, then compute again",
        "missing": "search again: the archive may have replaced the item; or open the cube with "
        "on_error='nan'",
        "damaged": "open the cube with on_error='nan', or tell the archive",
    }[fault.kind]
    where = file.href.split("?")[0]
    return SourceError(
        problem(
            expected=f"to read {file.asset} of {item}",
            received=f"{fault.message} from {where} ({fault.kind}; {error.attempts} attempts in "
            f"{error.seconds:.0f} s)",
            do=advice,
        )
    )


def _pool() -> ThreadPoolExecutor:
    """Give this process its readers; a fork has to have its own."""
    process = os.getpid()
    if process not in _pools:
        _pools[process] = ThreadPoolExecutor(READERS, "xcontrast-reader")
    return _pools[process]


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep odc-loader from logging each failed attempt, with its token, and rasterio from alarming.

    rasterio warns that an array that it warps into has no geotransform, before it gives it one.
    """
    logger = logging.getLogger("odc.loader._rio")
    if _keep not in logger.filters:
        logger.addFilter(_keep)
        warnings.filterwarnings("ignore", "Dataset has no geotransform", module="rasterio.warp")
    _inside.reading = True
    try:
        yield
    finally:
        _inside.reading = False


def _keep(_record: logging.LogRecord) -> bool:
    return not getattr(_inside, "reading", False)
