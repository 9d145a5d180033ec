"""Whether a model can give what is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xcontrast.errors import DataError, ModelError, problem
from xcontrast.sensors import Sensor

if TYPE_CHECKING:
    from xcontrast.model.folder import Model

__all__ = ["check_model", "check_precision", "check_stride"]


def check_model(model: Model, sensor: Sensor, space: str) -> None:
    """Refuse a sensor or space that a model lacks."""
    if sensor.name not in model.sensors:
        raise ModelError(
            problem(
                expected=f"a model with an encoder for {sensor.title}",
                received=f"one for {', '.join(model.sensors)}",
                do="embed only the sensor that it has, or pretrain on both",
            )
        )
    if space not in model.card.spaces:
        raise ModelError(
            problem(
                expected=f"a space of this model: {', '.join(model.card.spaces)}",
                received=repr(space),
                do="leave `space` out for the sensor's own features",
            )
        )


def check_precision(precision: str) -> None:
    """Refuse a precision that there is not, rather than compute in another one."""
    if precision not in ("auto", "32", "bf16"):
        raise DataError(
            problem(
                expected="the precision 'auto', '32' or 'bf16'",
                received=repr(precision),
                do="leave it out for the fastest that the device has units for",
            )
        )


def check_stride(stride: int | None, deepest: int) -> int:
    """Give the stride, 4 px by default; it is a power of two, up to the deepest level's."""
    step = min(4, deepest) if stride is None else stride
    if step < 1 or step > deepest or step & (step - 1):
        raise DataError(
            problem(
                expected=f"a stride that is a power of two, 1 to {deepest} px",
                received=str(stride),
                do="leave it out for 4 px, or use 1 for every pixel",
            )
        )
    return step
