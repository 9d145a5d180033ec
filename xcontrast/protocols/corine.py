"""BigEarthNet's 19 categories, from the 43 of CORINE that its files name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xcontrast.errors import DataError, problem

__all__ = ["CATEGORIES", "encode_labels"]

MIXED_FARMING = (
    "Land principally occupied by agriculture, with significant areas of natural vegetation"
)
MEMBERS: dict[str, tuple[str, ...]] = {
    "Urban fabric": ("Continuous urban fabric", "Discontinuous urban fabric"),
    "Industrial or commercial units": ("Industrial or commercial units",),
    "Arable land": ("Non-irrigated arable land", "Permanently irrigated land", "Rice fields"),
    "Permanent crops": (
        "Vineyards", "Fruit trees and berry plantations", "Olive groves",
        "Annual crops associated with permanent crops",
    ),
    "Pastures": ("Pastures",),
    "Complex cultivation patterns": ("Complex cultivation patterns",),
    MIXED_FARMING: (MIXED_FARMING,),
    "Agro-forestry areas": ("Agro-forestry areas",),
    "Broad-leaved forest": ("Broad-leaved forest",),
    "Coniferous forest": ("Coniferous forest",),
    "Mixed forest": ("Mixed forest",),
    "Natural grassland and sparsely vegetated areas": (
        "Natural grassland", "Sparsely vegetated areas",
    ),
    "Moors, heathland and sclerophyllous vegetation": (
        "Moors and heathland", "Sclerophyllous vegetation",
    ),
    "Transitional woodland, shrub": ("Transitional woodland/shrub",),
    "Beaches, dunes, sands": ("Beaches, dunes, sands",),
    "Inland wetlands": ("Inland marshes", "Peatbogs"),
    "Coastal wetlands": ("Salt marshes", "Salines"),
    "Inland waters": ("Water courses", "Water bodies"),
    "Marine waters": ("Coastal lagoons", "Estuaries", "Sea and ocean"),
}  # fmt: skip
"""Sumbul et al. (2021), BigEarthNet-MM, table of the 19-class nomenclature."""
DROPPED = (
    "Road and rail networks and associated land", "Port areas", "Airports",
    "Mineral extraction sites", "Dump sites", "Construction sites", "Green urban areas",
    "Sport and leisure facilities", "Bare rock", "Burnt areas", "Intertidal flats",
)  # fmt: skip
"""CORINE's that are in none of the 19."""
CATEGORIES = tuple(MEMBERS)
_NUMBER = {old: k for k, members in enumerate(MEMBERS.values()) for old in members}


def encode_labels(names: Sequence[str], *, source: str) -> npt.NDArray[np.uint8]:
    """Give the categories of a patch.

    Parameters
    ----------
    names : sequence of str
        CORINE's, as in ``labels_metadata.json``.
    source : str
        Where they were read, for the message.

    Returns
    -------
    ndarray (19,), uint8
        1 for each category; those that CORINE's dropped classes leave may be none.

    Raises
    ------
    DataError
        If a name is none of the 43.

    Examples
    --------
    >>> found = encode_labels(["Rice fields", "Airports", "Peatbogs"], source="here")
    >>> [CATEGORIES[k] for k in found.nonzero()[0]]
    ['Arable land', 'Inland wetlands']
    """
    unknown = [name for name in names if name not in _NUMBER and name not in DROPPED]
    if unknown:
        raise DataError(
            problem(
                expected="labels of CORINE's 43 classes",
                received=f"{', '.join(unknown)} in {source}",
                do="use BigEarthNet 1.0's files, not those of another nomenclature",
            )
        )
    found = np.zeros(len(CATEGORIES), np.uint8)
    found[[_NUMBER[name] for name in names if name in _NUMBER]] = 1
    return found
