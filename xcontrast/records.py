"""Records read back from JSON, where tuples have become lists."""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["read_record"]

R = TypeVar("R")


def read_record(record: type[R], facts: dict[str, Any]) -> R:
    """Make a dataclass of its JSON form.

    Parameters
    ----------
    record : type
        A dataclass; its lists are tuples.
    facts : dict
        Its fields by name; what it does not know is left.

    Returns
    -------
    dataclass
        Of that type.

    Raises
    ------
    TypeError
        If a field that has no default is missing.

    Examples
    --------
    >>> from xcontrast.legends import Legend
    >>> facts = {"title": "ice", "codes": [0, 1], "names": ["a", "b"], "colors": ["#000", "#fff"]}
    >>> read_record(Legend, facts).codes
    (0, 1)
    """
    known = {k: facts[k] for k in record.__dataclass_fields__ if k in facts}  # type: ignore[attr-defined]
    return record(**{k: tuple(v) if isinstance(v, list) else v for k, v in known.items()})
