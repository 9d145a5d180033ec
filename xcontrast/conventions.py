"""What a store says of itself, so that other tools read it: CF grids, GeoZarr pyramids.

GeoZarr here is three conventions of https://github.com/zarr-conventions, all version 1:
``multiscales``, ``proj`` and ``spatial``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

__all__ = ["describe_levels", "drop_levels", "state_grid"]

HOME = "https://github.com/zarr-conventions"
RAW = "https://raw.githubusercontent.com/zarr-conventions"
CONVENTIONS = {
    "multiscales": ("d35379db-88df-4056-af3a-620245f8e347", "levels of resolution"),
    "proj": ("f17cb550-5864-4468-aeb7-f3180cfb622f", "coordinate reference system"),
    "spatial": ("689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "from cells to coordinates"),
}
"""Identity and meaning by name."""


def state_grid(data: xr.Dataset) -> xr.Dataset:
    """Say in CF's words on which grid the variables lie.

    Parameters
    ----------
    data : Dataset (…, y, x)
        Georeferenced (``spatial_ref``) or not.

    Returns
    -------
    Dataset
        With ``grid_mapping`` on all that lies on the grid, the right ``GeoTransform``, and
        ``standard_name`` of ``y`` and ``x``; as it was where it has no CRS.
    """
    geobox = _geobox(data)
    if geobox is None:
        return data
    from odc.geo.xr import xr_coords

    names = (
        {"y": "projection_y_coordinate", "x": "projection_x_coordinate"}
        if geobox.crs.projected
        else {"y": "latitude", "x": "longitude"}
    )
    stated = {dim: data[dim].assign_attrs(standard_name=name) for dim, name in names.items()}
    in_full = xr_coords(geobox, dims=("y", "x"))["spatial_ref"]
    stated["spatial_ref"] = data["spatial_ref"].assign_attrs(in_full.attrs)
    data = data.assign_coords(stated).assign_attrs(Conventions="CF-1.11")
    for variable in data.variables.values():
        if {"y", "x"} <= set(variable.dims):
            # As an attribute: as an encoding xarray would no longer open spatial_ref as a coord.
            variable.attrs = {**variable.attrs, "grid_mapping": "spatial_ref"}
    return data


def describe_levels(levels: Mapping[str, xr.Dataset], methods: Mapping[str, str]) -> dict[str, Any]:
    """Give the attributes of a group by which GeoZarr tells its levels of resolution.

    Parameters
    ----------
    levels : mapping of str to Dataset
        Levels by their path in the group, from fine to coarse, each half of the one before; the
        finest is the group itself, with the path ``""``.
    methods : mapping of str to str
        By variable that all levels have, how a cell is made of the finer ones.

    Returns
    -------
    dict
        ``multiscales`` and, where there is a CRS, ``proj:`` and ``spatial:``. Arrays are named,
        not groups: the finest is a group that holds the others.
    """
    layout = [
        entry
        for name, method in methods.items()
        for entry in _describe_variable(levels, name, method)
    ]
    geobox = _geobox(levels[""])
    stated = ["multiscales"] if geobox is None else list(CONVENTIONS)
    attrs: dict[str, Any] = {
        "zarr_conventions": [_identify(name) for name in stated],
        "multiscales": {"layout": layout},
    }
    if geobox is not None:
        attrs["proj:wkt2"] = geobox.crs.proj.to_wkt("WKT2_2019")
        attrs["spatial:dimensions"] = ["y", "x"]
        attrs["spatial:bbox"] = [float(v) for v in geobox.boundingbox]
        if geobox.crs.epsg is not None:
            attrs["proj:code"] = f"EPSG:{geobox.crs.epsg}"
    return attrs


def drop_levels(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Leave out what :func:`describe_levels` said: it is true of one store, not of copies.

    Parameters
    ----------
    attrs : mapping
        Attributes of a Dataset.

    Returns
    -------
    dict
    """
    said = ("zarr_conventions", "multiscales", "proj:", "spatial:")
    return {key: value for key, value in attrs.items() if not str(key).startswith(said)}


def _describe_variable(
    levels: Mapping[str, xr.Dataset], name: str, method: str
) -> list[dict[str, Any]]:
    layout: list[dict[str, Any]] = []
    for path, data in levels.items():
        step = 2.0 if layout else 1.0
        scale = [step if dim in ("y", "x") else 1.0 for dim in data[name].dims]
        entry: dict[str, Any] = {"asset": f"{path}/{name}" if path else name}
        entry["transform"] = {"scale": scale}
        if layout:
            entry |= {"derived_from": layout[-1]["asset"], "resampling_method": method}
        geobox = _geobox(data)
        if geobox is not None:
            entry["spatial:shape"] = list(geobox.shape)
            entry["spatial:transform"] = [float(v) for v in tuple(geobox.affine)[:6]]
        layout.append(entry)
    return layout


def _identify(name: str) -> dict[str, str]:
    uuid, description = CONVENTIONS[name]
    return {
        "uuid": uuid,
        "name": name,
        "schema_url": f"{RAW}/{name}/refs/tags/v1/schema.json",
        "spec_url": f"{HOME}/{name}/blob/v1/README.md",
        "description": description,
    }


def _geobox(data: xr.Dataset) -> Any:
    if "spatial_ref" not in data.coords:
        return None
    import odc.geo.xr  # noqa: F401  (registers .odc)

    box = data.odc.geobox
    return box if box is not None and box.crs is not None else None
