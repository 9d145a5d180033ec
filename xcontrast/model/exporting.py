"""A frozen encoder as one file that runs without this package: ONNX, or PyTorch's own.

Letters: B batch, C bands, F features, H W pixels, s stride.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xcontrast.errors import DataError, ModelError, problem
from xcontrast.model.card import WINDOW
from xcontrast.model.checks import check_model, check_stride
from xcontrast.sensors import SENSORS, Sensor
from xcontrast.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

    from xcontrast.model.files import ExportFile
    from xcontrast.model.folder import Model
    from xcontrast.nn.frozen import FrozenEncoder

__all__ = ["export"]

TOLERANCE = 1e-4
"""Largest difference between a file's embedding and the model's, absolute."""


def export(
    model: Model,
    path: str | os.PathLike[str],
    *,
    format: Literal["onnx", "torch"] = "onnx",
    sensor: Literal["s1", "s2"] | None = None,
    space: str = "encoder",
    stride: int | None = None,
    min_valid: float = 0.5,
) -> Path:
    """Write one sensor's frozen encoder as a file that runs without xcontrast.

    The file takes ``images (B, C, H, W)`` float32 in the sensor's own units (dB; reflectance),
    bands in the card's order, NaN where invalid, and gives ``embedding (B, F, H / s, W / s)``
    float32: the numbers of :func:`embed`, but for cells nearer to the edge of the images than the
    encoder sees. Scaling is part of it. The number of images is free, and so are H and W, as
    multiples of the deepest level's stride. A network that sees the whole image takes windows of
    384 x 384 pixels, which :func:`embed` blends and the file does not.

    The file is run on a fixed input and compared with the model before it gets its name.

    Parameters
    ----------
    model : Model
        Whose encoder.
    path : path
        A file that does not exist; usually ``….onnx`` or ``….pt2``.
    format : {"onnx", "torch"}, default "onnx"
        onnx: for ONNX Runtime and others, in Python or not. torch: for ``torch.export.load``.
    sensor : {"s1", "s2"}, optional
        Which encoder; may be left out where there is one.
    space : str, default "encoder"
        As in :func:`embed`: a projected space of the model gives unit vectors.
    stride : int, optional
        Pixels a cell, a power of two; by default 4.
    min_valid : float, default 0.5
        A cell is NaN when a smaller share of its pixels is valid in all bands.

    Returns
    -------
    Path
        The file. :func:`read_export` reads what it says of itself: sensor, bands, units, stride,
        the model's digest, and the largest difference that was found (``max_difference``).

    Raises
    ------
    ModelError
        If the model has no such encoder or space, a package is missing, the exporter refuses the
        network, or the file gives another embedding than the model, by more than 1e-4.
    DataError
        If the stride or the format cannot be, or the file exists.
    """
    from xcontrast.model.files import choose_file

    target = Path(path)
    if target.exists():
        raise DataError(
            problem(
                expected="a file that does not exist yet",
                received=str(target),
                do="choose another name, or remove that file first",
            )
        )
    own = _choose_sensor(model, sensor)
    check_model(model, own, space)
    step = check_stride(stride, max(level.stride for level in model.card.geometry()))
    file = choose_file(format)
    network = _freeze(model, own, space, step, min_valid)
    facts = {**_describe(model, own, space, step, min_valid), "file_format": format}
    example, other = _make_images(model, own.name)
    content = _trace(file, network, example, facts)
    facts["max_difference"] = _compare(file.run(content, other), network, other)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(file.seal(content, facts))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _choose_sensor(model: Model, name: str | None) -> Sensor:
    if name is None and len(model.sensors) > 1:
        raise ModelError(
            problem(
                expected=f"one of the model's sensors: {', '.join(model.sensors)}",
                received="none",
                do=f"give sensor={model.sensors[0]!r}; each sensor has a file of its own",
            )
        )
    wanted = model.sensors[0] if name is None else name
    found = next((own for own in SENSORS if own.name == wanted), None)
    if found is None:
        raise ModelError(
            problem(
                expected=f"one of the model's sensors: {', '.join(model.sensors)}",
                received=repr(name),
                do="choose one of them",
            )
        )
    return found


def _freeze(
    model: Model, sensor: Sensor, space: str, stride: int, min_valid: float
) -> FrozenEncoder:
    from xcontrast.model.network import load_network
    from xcontrast.nn.frozen import FrozenEncoder

    own = load_network(str(model.path), model.digest, sensor.name, "cpu")
    return FrozenEncoder(
        own.encoder,
        own.levels,
        own.normalise,
        stride=stride,
        min_valid=min_valid,
        projector=own.projectors.get(space),
    ).eval()


def _describe(
    model: Model, sensor: Sensor, space: str, stride: int, min_valid: float
) -> dict[str, Any]:
    card = model.card
    own = card.sensors[sensor.name]
    n_features = card.n_features
    if space != "encoder" and card.projector is not None:
        n_features = card.projector.n_projected
    facts = {
        "model_digest": model.digest,
        "model_method": card.method,
        "model_encoder": card.encoder,
        "sensor": sensor.name,
        "bands": list(own.bands),
        "units": own.units,
        "gsd": own.gsd,
        "space": space,
        "n_features": n_features,
        "stride": stride,
        "min_valid": min_valid,
        "xcontrast": __version__,
    }
    if card.halo is None:
        return {**facts, "window": WINDOW}
    return {**facts, "multiple": _deepest(model), "halo": card.halo}


def _deepest(model: Model) -> int:
    return max(level.stride for level in model.card.geometry())


def _make_images(model: Model, sensor: str) -> tuple[Tensor, Tensor]:
    """Give images to trace with, and others to compare on: of another number and size.

    As the sensor's values are distributed; a part is invalid.
    """
    import torch

    card, deepest = model.card.sensors[sensor], _deepest(model)
    generator = torch.Generator().manual_seed(0)
    sides = [(4 * deepest, 5 * deepest), (6 * deepest, 3 * deepest)]
    if model.card.halo is None:
        sides = [(WINDOW, WINDOW)] * 2
    made = []
    for n, (rows, cols) in zip((2, 1), sides, strict=True):
        noise = torch.randn(n, len(card.bands), rows, cols, generator=generator)
        images = card.scaling().undo(noise)
        images[:, :1, : rows // 2, : cols // 3] = torch.nan
        made.append(images)
    return made[0], made[1]


def _trace(file: ExportFile, network: FrozenEncoder, example: Tensor, facts: dict[str, Any]) -> Any:
    import torch

    dims: dict[int, Any] = {0: torch.export.Dim("batch")}
    if "multiple" in facts:
        for at, name in ((2, "rows"), (3, "columns")):
            side = torch.export.Dim(name)
            dims[at] = facts["multiple"] * side if facts["multiple"] > 1 else side
    try:
        with torch.no_grad():
            program = torch.export.export(network, (example,), dynamic_shapes={"images": dims})
            return file.write(program, example)
    except Exception as error:
        # Tracers raise of many kinds.
        raise ModelError(
            problem(
                expected="a network that PyTorch's exporter can trace",
                received=f"{facts['model_encoder']!r}: {type(error).__name__}: "
                f"{str(error).strip().splitlines()[0] if str(error).strip() else ''}",
                do="try the other format, a newer torch, or a plain encoder such as 'resnet18'",
            )
        ) from error


def _compare(found: Tensor, network: FrozenEncoder, images: Tensor) -> float:
    """Give the largest difference of an exported file, or refuse it."""
    import torch

    with torch.no_grad():
        expected = network(images)
    same = found.shape == expected.shape and bool((found.isnan() == expected.isnan()).all())
    difference = float((found - expected).nan_to_num().abs().max()) if same else float("inf")
    if difference >= TOLERANCE:
        raise ModelError(
            problem(
                expected=f"an exported file that gives the model's embedding to {TOLERANCE:g}",
                received=f"a difference of {difference:.2g}",
                do="try the other format or another version of torch; nothing was written",
            )
        )
    return difference
