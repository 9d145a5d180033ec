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
    """The data cannot be used as asked: wrong dims, bands, units, dtype, or no overlap.

    Examples
    --------
    >>> try:
    ...     xc.as_cube(s2=xr.DataArray([1.0], dims="time"))
    ... except xc.errors.DataError as error:
    ...     print(str(error).split(";")[0])
    Expected a band dim with names, such as 'band' or 's2_band'
    """


class SourceError(OSError):
    """A catalog, item, asset or store cannot be opened or read.

    Examples
    --------
    >>> try:
    ...     xc.read_truth("nowhere")
    ... except xc.errors.SourceError as error:
    ...     print(str(error).split(";")[0])
    Expected a folder that simulate_archive wrote
    """


class ModelError(ValueError):
    """A model or head folder is not ours, damaged, or made for other inputs.

    Examples
    --------
    >>> try:
    ...     xc.load_model(folder)
    ... except xc.errors.ModelError as error:
    ...     print(str(error).split(";")[0])
    Expected a folder with weights.safetensors and a card.json of format 'xcontrast-model'
    """


class TrainingError(RuntimeError):
    """Training cannot start or go on: too few pairs, NaN, or a collapsed representation.

    Examples
    --------
    >>> options = xc.PretrainOptions(chip_size=32, progress=False)
    >>> try:
    ...     xc.pretrain(cube, batch_size=64, options=options)
    ... except xc.errors.TrainingError as error:
    ...     print(str(error).split(";")[0])
    Expected at least as many training chips as a batch (64, of 2 or more)
    """
