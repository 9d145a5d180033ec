"""What functions ask of an argument before they read anything."""

from __future__ import annotations

import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.legends import Legend

__all__ = ["require_legend", "require_places"]


def require_legend(legend: object) -> None:
    """Refuse what is no legend.

    Raises
    ------
    DataError
        If it is something else, such as a legend's name.
    """
    if not isinstance(legend, Legend):
        raise DataError(
            problem(
                expected="a Legend",
                received=repr(legend),
                do="give legend=xc.FLOOD, xc.WORLDCOVER or xc.DYNAMIC_WORLD, or your own: "
                "xc.Legend(title=..., codes=..., names=..., colors=...)",
            )
        )


def require_places(data: xr.Dataset | xr.DataArray) -> None:
    """Refuse a collection in which every place was given up.

    Raises
    ------
    DataError
        If it has no places.
    """
    if data.sizes.get("location") == 0:
        raise DataError(
            problem(
                expected="a collection with places",
                received="no places: none was accepted, or none was selected",
                do="print its .contrast, which counts the draws that were rejected and why; then "
                "collect with a higher max_cloud, fewer dates, a wider window or a longer period",
            )
        )
