"""Every public name has a docstring with an example, which the suite runs as a doctest."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import xcontrast as xc
from xcontrast.accessor import DataArrayContrast, DatasetContrast

API = (Path(__file__).parents[1] / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
UNRUN = {
    "protocols.sen1floods11.run_sen1floods11": "a dozen trainings",
    "protocols.dynamic_world.run_dynamic_world": "a dozen trainings",
}
"""Names whose example takes too long: tests/protocols runs them with fewer subsets."""
ONLINE = {"push_to_hub"}
"""Methods that need a hub: tests/model/test_hub.py has one."""


def exported() -> set[str]:
    """Give the names that ``xc.`` offers, modules apart."""
    found = {n: o for n, o in vars(xc).items() if not n.startswith("_") and n != "annotations"}
    return {n for n, o in found.items() if not inspect.ismodule(o)}


def listed(module: str) -> set[str]:
    """Give the names that the reference lists below a module."""
    names = set()
    for part in API.split(".. currentmodule:: ")[1:]:
        head, *lines = part.splitlines()
        if head == module:
            names |= {m[1] for line in lines if (m := re.fullmatch(r"   ([A-Za-z][\w.]+)", line))}
    return names


def find(name: str) -> Any:
    """Give what a dotted name of the package is."""
    *modules, last = name.split(".")
    return getattr(importlib.import_module(".".join(["xcontrast", *modules])), last)


def examples(thing: object) -> list[str]:
    """Give the statements of a docstring's examples that are run."""
    found = doctest.DocTestParser().get_examples(inspect.getdoc(thing) or "")
    return [e.source for e in found if doctest.SKIP not in e.options]


def methods(kind: Any) -> Iterator[str]:
    """Give the names of a class's own public methods; of anything else none."""
    for name, value in vars(kind).items() if inspect.isclass(kind) else ():
        plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if not name.startswith("_") and inspect.isfunction(plain):
            yield name


NAMES = sorted(exported() | listed("xcontrast"))
RECORDS = [n for n in NAMES if not (inspect.isclass(find(n)) or inspect.isroutine(find(n)))]
CALLED = [n for n in NAMES if n not in RECORDS and n not in UNRUN]
KINDS = [n for n in NAMES if inspect.isclass(find(n))]
RUN = "\n".join(
    line
    for name in NAMES
    for thing in (find(name), *(getattr(find(name), m) for m in methods(find(name))))
    for line in examples(thing)
)


def test_the_reference_lists_every_name() -> None:
    assert exported() - listed("xcontrast") == set()


def test_the_reference_lists_every_method() -> None:
    bound = {f"Dataset.contrast.{n}" for n in vars(DatasetContrast) if n[0] != "_"}
    bound |= {f"DataArray.contrast.{n}" for n in vars(DataArrayContrast) if n[0] != "_"}
    assert listed("xarray") == bound


@pytest.mark.parametrize("name", CALLED)
def test_it_has_an_example_of_itself(name: str) -> None:
    used = "\n".join(examples(find(name)))
    # An option or a handle may be made by the function that it belongs to.
    maker = {"Head": "fit", "Model": "model", "Clicks": "click", "MapPlan": "plan_map"}
    maker |= {
        "Chips": "chips",
        "Segmenter": "finetune",
        "sampling.loader.Loader": "loader",
        "Sensor": "S2",
    }
    assert re.search(rf"\b{maker.get(name, name.split('.')[-1])}\b", used)


@pytest.mark.parametrize("name", sorted(UNRUN))
def test_what_is_not_run_has_an_example_to_read(name: str) -> None:
    assert ">>>" in inspect.getdoc(find(name))
    assert not examples(find(name))


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_used_in_an_example(name: str) -> None:
    assert re.search(rf"\b{name}\b", RUN)


@pytest.mark.parametrize("name", KINDS)
def test_methods_are_described_and_used_in_an_example(name: str) -> None:
    kind = find(name)
    assert [m for m in methods(kind) if not inspect.getdoc(getattr(kind, m))] == []
    unused = [m for m in methods(kind) if f".{m}(" not in RUN and m not in ONLINE]
    assert unused == []


def test_accessor_methods_are_documented_with_the_examples() -> None:
    for accessor in (DatasetContrast, DataArrayContrast):
        for name in (n for n in vars(accessor) if n[0] != "_"):
            assert examples(getattr(accessor, name)), name
