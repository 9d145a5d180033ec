"""What the codes of a map mean: `Legend` records and the CF flag attributes made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xcontrast.errors import DataError, problem

__all__ = ["DYNAMIC_WORLD", "FLOOD", "NO_LABEL", "WORLDCOVER", "Legend"]

NO_LABEL = 255
"""The code of a pixel without a label, in labels and in maps."""


@dataclass(frozen=True, kw_only=True)
class Legend:
    """Codes of a map with their names and colours.

    Sequences of any kind are kept as tuples, and codes as plain ints: legends of the same
    content are equal, before they were saved and after.

    Raises
    ------
    DataError
        If the three do not have one length, a code or a name repeats, a code is no whole number
        in 0..254, or a colour has blanks.

    Examples
    --------
    >>> ice = Legend(title="ice", codes=(0, 1), names=("water", "ice"), colors=("#003", "#eef"))
    >>> ice.attrs["flag_meanings"]
    'water ice'
    >>> len(WORLDCOVER.names), DYNAMIC_WORLD.names[0], FLOOD.codes
    (11, 'water', (0, 1))
    """

    title: str
    """What the map shows."""
    codes: tuple[int, ...]
    """The codes, 0..254; 255 means no label."""
    names: tuple[str, ...]
    """One name a code, for people."""
    colors: tuple[str, ...]
    """One colour a code, ``#rrggbb`` (or ``#rgb``)."""

    def __post_init__(self) -> None:
        codes, names, colors = tuple(self.codes), _plain(self.names), _plain(self.colors)
        good = len(codes) == len(names) == len(colors) and len(set(codes)) == len(codes) >= 2
        if not good or not all(_is_whole(code) and 0 <= code < NO_LABEL for code in codes):
            raise DataError(
                problem(
                    expected="two or more different codes, whole numbers in 0..254, with a name "
                    "and a colour each",
                    received=f"codes {codes}, names {names}, colors {colors}",
                    do="give the three the same length; 255 is kept for no label",
                )
            )
        # Attributes keep the colours in one string, and cards count cells by name.
        if len(set(names)) < len(names) or any(color.split() != [color] for color in colors):
            raise DataError(
                problem(
                    expected="names that differ, and colours without blanks",
                    received=f"names {names}, colors {colors}",
                    do="give each code a name of its own, and write colours as #rrggbb",
                )
            )
        plain = {"codes": tuple(map(int, codes)), "names": names, "colors": colors}
        for field, value in {"title": str(self.title), **plain}.items():
            object.__setattr__(self, field, value)

    @classmethod
    def from_attrs(cls, attrs: Mapping[str, Any]) -> Legend:
        """Read a legend from the flag attributes of a map.

        Parameters
        ----------
        attrs : mapping
            With ``flag_values`` and ``flag_meanings``; ``flag_colors`` and ``long_name`` if there
            are.

        Returns
        -------
        Legend
            Names have underscores where the attributes have; missing colours are greys.

        Raises
        ------
        DataError
            If there are no flags, or the lengths differ.

        References
        ----------
        CF Conventions 1.11, section 3.5.

        Examples
        --------
        >>> Legend.from_attrs({"flag_values": [1, 5], "flag_meanings": "bare forest"}).names
        ('bare', 'forest')
        """
        if not {"flag_values", "flag_meanings"} <= set(attrs):
            raise DataError(
                problem(
                    expected="attrs with flag_values and flag_meanings",
                    received=f"{sorted(map(str, attrs))}",
                    do="write the legend: xc.Legend(title=..., codes=..., names=..., colors=...)",
                )
            )
        codes = tuple(int(code) for code in np.atleast_1d(attrs["flag_values"]))
        names = tuple(str(attrs["flag_meanings"]).split())
        levels = np.linspace(40, 220, len(codes)).astype(int)
        colors = tuple(str(attrs.get("flag_colors", "")).split())
        return cls(
            title=str(attrs.get("long_name", "map")),
            codes=codes,
            names=names,
            colors=colors or tuple(f"#{level:02x}{level:02x}{level:02x}" for level in levels),
        )

    @property
    def attrs(self) -> dict[str, Any]:
        """CF flag attributes (Conventions 1.11, section 3.5), ``flag_colors`` and ``nodata``."""
        return {
            "long_name": self.title,
            "flag_values": np.asarray(self.codes, "uint8").tolist(),
            "flag_meanings": " ".join(name.replace(" ", "_") for name in self.names),
            "flag_colors": " ".join(self.colors),
            "nodata": NO_LABEL,
        }


def _plain(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(str(text) for text in texts)


def _is_whole(code: object) -> bool:
    return isinstance(code, int | np.integer) and not isinstance(code, bool)


FLOOD = Legend(
    title="flood",
    codes=(0, 1),
    names=("dry", "flood"),
    colors=("#e8e2d0", "#1f6fb4"),
)

WORLDCOVER = Legend(
    title="ESA WorldCover",
    codes=(10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100),
    names=(
        "tree cover", "shrubland", "grassland", "cropland", "built-up", "bare or sparse vegetation",
        "snow and ice", "permanent water", "herbaceous wetland", "mangroves", "moss and lichen",
    ),
    colors=(
        "#006400", "#ffbb22", "#ffff4c", "#f096ff", "#fa0000", "#b4b4b4",
        "#f0f0f0", "#0064c8", "#0096a0", "#00cf75", "#fae6a0",
    ),
)  # fmt: skip
"""ESA WorldCover product user manual, table of classes."""

DYNAMIC_WORLD = Legend(
    title="Dynamic World",
    codes=tuple(range(9)),
    names=(
        "water", "trees", "grass", "flooded vegetation", "crops", "shrub and scrub", "built",
        "bare", "snow and ice",
    ),
    colors=(
        "#419bdf", "#397d49", "#88b053", "#7a87c6", "#e49635", "#dfc35a", "#c4281b", "#a59b8f",
        "#b39fe1",
    ),
)  # fmt: skip
"""Brown et al. 2022, Dynamic World, table 1."""
