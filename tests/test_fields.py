"""Fields of options are explained by help(), and values that cannot be are answered in words."""

from __future__ import annotations

import inspect
import pydoc
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import pytest

import xcontrast as xc
from xcontrast.errors import DataError
from xcontrast.fields import explain_fields
from xcontrast.protocols.options import ReproduceOptions

EXPLAINED = (
    *(kind for name, kind in vars(xc).items() if is_dataclass(kind) and name.endswith("Options")),
    xc.Augmentation,
    xc.Legend,
    xc.Patience,
    xc.Sensor,
    ReproduceOptions,
)
BARE = {"loss", "weight_decay"}
"""Fields of FinetuneOptions whose names and values say all."""


def read_parameters(doc: str) -> dict[str, str]:
    """Give the texts of a docstring's parameters by name."""
    section = doc.split("Parameters\n----------\n")[1].split("\n\n")[0]
    parts = re.split(r"^(\w+) : .*$", section, flags=re.MULTILINE)[1:]
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def test_all_options_are_among_them() -> None:
    named = {kind.__name__ for kind in EXPLAINED}
    assert {"CollectOptions", "CubeOptions", "FinetuneOptions", "PretrainOptions"} <= named
    assert "ProbeOptions" in named


@pytest.mark.parametrize("kind", EXPLAINED)
def test_every_field_is_explained_where_help_looks(kind: type) -> None:
    told = read_parameters(inspect.getdoc(kind) or "")
    assert list(told) == [field.name for field in fields(kind)]
    assert {name for name, text in told.items() if not text} <= BARE
    assert "Parameters" in pydoc.render_doc(kind)


def test_types_and_defaults_are_told_with_the_text() -> None:
    text = inspect.getdoc(xc.PretrainOptions) or ""
    assert "negatives : {'both', 'cross', 'none'}, default 'both'\n    multimodal and" in text
    assert "s1_augmentation : Augmentation, default SAR\n" in text
    assert "patience : Patience, default Patience()\n" in (inspect.getdoc(xc.CubeOptions) or "")
    assert "codes : tuple[int, ...]\n" in (inspect.getdoc(xc.Legend) or "")
    assert text.index("Parameters\n---") < text.index("Raises\n---") < text.index("Examples\n---")


def test_without_source_names_types_and_defaults_are_left() -> None:
    made: dict[str, Any] = {"dataclass": dataclass}
    exec(
        "from __future__ import annotations\n"
        "@dataclass\nclass Made:\n    'Made here.'\n    side: int = 3",
        made,
    )
    explain_fields(made["Made"])
    assert inspect.getdoc(made["Made"]) == (
        "Made here.\n\nParameters\n----------\nside : int, default 3"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: xc.PretrainOptions(negatives="foo"),
            r"negatives 'both', 'cross' or 'none'; received negatives='foo'.*PretrainOptions",
        ),
        (lambda: xc.PretrainOptions(temperature=-1.0), r"temperature above 0; received"),
        (lambda: xc.PretrainOptions(clip="a"), r"clip above 0; received clip='a'"),
        (
            lambda: xc.CubeOptions(orbit_state="up"),
            r"orbit_state 'ascending' or 'descending'; received.*help\(xc\.CubeOptions\)",
        ),
        (lambda: xc.CubeOptions(sign=3), r"sign 'auto', None or a function"),
        (lambda: xc.ProbeOptions(windows=(4,)), r"windows odd, one or more; received windows=\(4"),
    ],
)
def test_the_values_that_can_be_are_told(make: Callable[[], object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


def test_none_is_taken_where_it_may_be() -> None:
    assert xc.PretrainOptions(clip=None, n_hidden=None).clip is None
    with pytest.raises(DataError, match="temperature above 0; received temperature=None"):
        xc.PretrainOptions(temperature=None)
