"""Cards in Markdown: facts, front matter that a hub reads, and lines of code that run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml
from scenes import planted_cube

import xcontrast as xc
from xcontrast.model.cards import open_call

KINDS = ("tiny", "tiny_head", "tiny_segmenter")


@pytest.fixture(params=KINDS)
def thing(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def split(text: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Give the front matter, and the sections by their headings."""
    _, front, body = text.split("---\n", 2)
    parts = re.split(r"^## (.+)\n", body, flags=re.MULTILINE)
    return yaml.safe_load(front), dict(zip(parts[1::2], parts[2::2], strict=True))


def test_front_matter_names_the_library_and_leaves_the_licence_to_the_author(thing: Any) -> None:
    front, sections = split(thing.card_markdown())
    assert front["library_name"] == "xcontrast"
    assert {"earth-observation", "sentinel-1"} <= set(front["tags"])
    assert "license" not in front
    assert sections["Licence"].strip() == "The author has not stated one."
    front, sections = split(thing.card_markdown(license="cc-by-4.0"))
    assert front["license"] == "cc-by-4.0"
    assert sections["Licence"].strip() == "`cc-by-4.0`"
    assert thing.digest in thing.card_markdown()


def test_lines_of_code_run(
    thing: Any, tiny: xc.Model, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = thing.save(tmp_path / "thing") and tmp_path / "thing"
    _, sections = split(thing.card_markdown(source=str(folder)))
    code = re.search(r"```python\n(.*?)```", sections["Use"], re.DOTALL)[1]
    cube = planted_cube(96)
    # Of the dates that the lines name: an event in May is after those of April.
    late = {f"{name}_time": cube[f"{name}_time"] + np.timedelta64(40, "D") for name in ("s1", "s2")}
    cube = cube.assign_coords({k: v.assign_attrs(cube[k].attrs) for k, v in late.items()})
    if not isinstance(thing, xc.Segmenter):
        tiny.save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(xc, "open_cube", lambda *, sensors=("s1", "s2"), **_: cube[[*sensors]])
    found: dict[str, Any] = {}
    exec(code, found)
    if isinstance(thing, xc.Model):
        assert set(found["emb"].data_vars) == {"s1", "s2"}
        return
    assert found["result"].label.dtype == np.uint8
    assert np.isfinite(found["result"].probability.compute()).any()


def test_a_model_tells_its_facts(tiny: xc.Model) -> None:
    text = tiny.card_markdown(source="lab/po")
    _, sections = split(text)
    assert "| Sentinel-1 | vv, vh | dB | 10 m |" in sections["Takes"]
    west, south, east, north = tiny.card.training["bbox"]
    assert west < east
    assert south < north
    assert f"west {west}, south {south}, east {east}, north {north} degrees" in text
    assert "dates of Sentinel-1: 2023-04-01 to 2023-04-13" in sections["Trained on"]
    options = json.loads(sections["Options"].split("```")[1].removeprefix("json"))
    told = tiny.card.training["options"]
    assert options == {k: v for k, v in told.items() if v is not None}
    assert "Nothing was trained" in sections["Limits"]
    assert "not comparable" in sections["Limits"]
    held = tiny.card.training["held_out"]
    assert f"| recall at 1 | {held['recall_at_1']:.4g} |" in sections["Scores"]
    assert 'xc.load_model("lab/po")' in sections["Use"]


def test_a_model_says_nothing_that_it_does_not_know(tiny: xc.Model) -> None:
    sensors = {"s2": tiny.card.sensors["s2"]}
    bare = replace(tiny.card, sensors=sensors, projected=(), projector=None, training={})
    _, sections = split(replace(tiny, card=bare).card_markdown())
    assert not {"Scores", "Options", "Trained on"} & set(sections)
    assert "Nothing was measured on ground held out" in sections["Limits"]
    assert "comparable" not in sections["Limits"]
    assert "projected" not in sections["Gives"]
    assert 'sensors=("s2",)' in sections["Use"]
    known = replace(bare, training={"imported": {"file": "b2.pth", "layout": "ssl4eo"}})
    _, sections = split(replace(tiny, card=known).card_markdown())
    assert "`b2.pth`, layout `ssl4eo`" in sections["Trained on"]
    assert "Nothing was trained" not in sections["Limits"]
    # A score that was not to be had is not told.
    broken = replace(bare, training={"steps": 1, "held_out": {"recall_at_1": float("nan")}})
    _, sections = split(replace(tiny, card=broken).card_markdown())
    assert "Scores" not in sections


def test_bands_that_are_not_opened_by_default_are_asked_for(tiny: xc.Model) -> None:
    own = replace(tiny.card.sensors["s2"], bands=("B01", "B04"))
    line = open_call({"s2": own})
    found: dict[str, Any] = {}
    exec(line, {"xc": type("xc", (), {"open_cube": lambda **told: found.update(told)})})
    assert found["bands"] == {"s2": ("B01", "B04")}


def test_a_head_tells_its_legend_and_what_it_takes(tiny_head: xc.Head, tiny: xc.Model) -> None:
    _, sections = split(tiny_head.card_markdown())
    counts = tiny_head.facts["n_cells"]
    assert f"| 0 | dry | {counts['dry']:,} |" in sections["Legend"]
    assert tiny.digest in sections["Takes"]
    assert "before, after, difference" in sections["Takes"]
    facts = {**tiny_head.facts, "n_cells": {"dry": 5}, "n_calibrated": 0}
    _, sections = split(replace(tiny_head, facts=facts).card_markdown())
    assert "not calibrated" in sections["Limits"]
    assert "No cell was labelled flood" in sections["Limits"]


def test_a_segmenter_tells_what_it_began_from(tiny_segmenter: xc.Segmenter, tiny: xc.Model) -> None:
    text = tiny_segmenter.card_markdown()
    _, sections = split(text)
    assert "`test_resnet` with a `unet` decoder, on two dates, before and after" in text
    assert tiny.digest in sections["Trained on"]
    assert "| Sentinel-1 | vv, vh | dB | 10 m |" in sections["Takes"]
    options = json.loads(sections["Options"].split("```")[1].removeprefix("json"))
    assert options["crop_size"] == 32
