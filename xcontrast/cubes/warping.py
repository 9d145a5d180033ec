"""Reading a file of another CRS, so that a pixel does not depend on the block it is read in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from odc.loader import RasterLoadParams
    from rasterio import DatasetReader

__all__ = ["read_warped"]

TOLERANCE = 1e-4
"""Pixels by which GDAL's approximation of a projection may be off. It differs from block to block:
with its default of an eighth radar differed by up to .4 dB."""


def read_warped(link: str, config: RasterLoadParams, grid: GeoBox) -> npt.NDArray[Any]:
    """Read the first band of a file on a grid of another CRS.

    Parameters
    ----------
    link : str
        That GDAL opens.
    config : RasterLoadParams
        Dtype, fill value, no data of the source, resampling; as odc-loader reads them.
    grid : GeoBox
        A block.

    Returns
    -------
    ndarray
        ``(y, x)``, the fill value where the file has no data.
    """
    import rasterio
    from odc.geo.warp import resampling_s2rio
    from rasterio.vrt import WarpedVRT

    with rasterio.open(link, sharing=False) as file:
        scale = _scale(file, grid)
        shrinks = [1, *(n for n in file.overviews(1) if n <= scale.min() * 1.01)]
    # What the kernel averages over: left to GDAL it would go by the block, too.
    ratio = np.minimum(np.round(shrinks[-1] / scale, 3), 1)
    level = {"overview_level": len(shrinks) - 2} if len(shrinks) > 1 else {}
    with rasterio.open(link, sharing=False, **level) as file:
        nodata = [config.src_nodata_override, file.nodata, config.src_nodata_fallback]
        with WarpedVRT(
            file,
            crs=str(grid.crs),
            transform=grid.affine,
            height=grid.shape.y,
            width=grid.shape.x,
            dtype=config.dtype,
            src_nodata=next(value for value in nodata if value is not None),
            nodata=config.fill_value,
            resampling=resampling_s2rio(config.resampling),
            tolerance=TOLERANCE,
            XSCALE=ratio[0],
            YSCALE=ratio[1],
        ) as warped:
            values: npt.NDArray[Any] = warped.read(1)
    return values


def _scale(file: DatasetReader, grid: GeoBox) -> npt.NDArray[np.float64]:
    """Give the pixels of a file that a pixel of a grid spans along x and y, amid the file."""
    from odc.geo import xy_
    from odc.geo.converters import rio_geobox
    from odc.geo.overlap import get_scale_at_point, native_pix_transform

    between = native_pix_transform(rio_geobox(file), grid)
    (middle,) = between([xy_(file.width / 2, file.height / 2)])
    return np.array(get_scale_at_point(middle, between.back).xy)
