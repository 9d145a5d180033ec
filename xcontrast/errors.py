"""The one error style: what was expected, what came, what to do about it."""

from __future__ import annotations


def problem(*, expected: str, received: str, do: str) -> str:
    """Join the three parts of an error message.

    Parameters
    ----------
    expected : str
        What the function needs, as a noun phrase.
    received : str
        What it was given, with the values that matter.
    do : str
        The call or the change that mends it, as an imperative.

    Returns
    -------
    str
        ``"Expected …; received …. Do this: …."``

    Examples
    --------
    >>> problem(expected="dims ('y', 'x')", received="('lat', 'lon')", do="rename them")
    "Expected dims ('y', 'x'); received ('lat', 'lon'). Do this: rename them."
    """
    return f"Expected {expected}; received {received}. Do this: {do}."


class DataError(ValueError):
    """The data cannot be used as asked: wrong dims, bands, units, dtype, or no overlap."""


class SourceError(OSError):
    """A catalog, item, asset or store cannot be opened or read."""


class ModelError(ValueError):
    """A model or head folder is not ours, damaged, or made for other inputs."""


class TrainingError(RuntimeError):
    """Training cannot start or go on: too few pairs, NaN, or a collapsed representation."""
