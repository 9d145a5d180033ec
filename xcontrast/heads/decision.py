"""Which category a pixel is given: the most probable one, the rarer weighing more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xcontrast.errors import DataError, problem
from xcontrast.heads.classifiers.classifier import Floats
from xcontrast.legends import NO_LABEL

__all__ = ["check_balance", "choose_codes", "weigh_categories"]


def check_balance(balance: float) -> None:
    """Raise where categories cannot be balanced so.

    Parameters
    ----------
    balance : float
        As of :func:`xcontrast.fit`.

    Raises
    ------
    DataError
        If it is not between 0 and 1.
    """
    if not 0 <= balance <= 1:
        raise DataError(
            problem(
                expected="balance between 0, categories as common as labelled, and 1, all alike",
                received=repr(balance),
                do="leave it at 0.5, or give 0 for the most probable category",
            )
        )


def weigh_categories(counts: Sequence[int], balance: float) -> Floats:
    """Give each category's weight: its share to the power of minus `balance`.

    Parameters
    ----------
    counts : sequence of int
        Labelled cells of each of K categories.
    balance : float
        0 and above.

    Returns
    -------
    ndarray (K,), float32
        1 for the most common category, more for others, 0 for those without a cell.

    Examples
    --------
    >>> weigh_categories([90, 10, 0], 0.5)
    array([1., 3., 0.], dtype=float32)
    """
    n = np.asarray(counts, np.float64)
    weights: Floats = np.where(n > 0, (n.max() / n.clip(1)) ** balance, 0).astype(np.float32)
    return weights


def choose_codes(
    probability: Floats, *, codes: tuple[int, ...], weights: Floats | None = None
) -> npt.NDArray[np.uint8]:
    """Choose the category with the largest product of probability and weight.

    Parameters
    ----------
    probability : ndarray (…, K), float32
        NaN where invalid.
    codes : tuple of int
        Of the K categories.
    weights : ndarray (K,), float32, optional
        All alike by default.

    Returns
    -------
    ndarray (…), uint8
        255 where invalid.
    """
    invalid = np.isnan(probability).any(-1)
    weighted = np.nan_to_num(probability) * (1 if weights is None else weights)
    best = np.array(codes, np.uint8)[weighted.argmax(-1)]
    chosen: npt.NDArray[np.uint8] = np.where(invalid, np.uint8(NO_LABEL), best)
    return chosen
