from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

import xcontrast as xc
from xcontrast.model.fresh import write_fresh_model


def test_a_fresh_model_is_the_same_but_for_its_weights(
    untrained: xc.Model, cube: xr.Dataset, tmp_path: Path
) -> None:
    fresh = write_fresh_model(untrained.card, tmp_path / "one", seed=1)
    again = write_fresh_model(untrained.card, tmp_path / "two", seed=1)
    other = write_fresh_model(untrained.card, tmp_path / "three", seed=2)
    assert fresh.digest == again.digest != other.digest
    assert fresh.card.sensors == untrained.card.sensors
    assert fresh.card.levels == untrained.card.levels
    assert fresh.card.spaces == ("encoder",)
    own, theirs = (cube.s1.contrast.embed(m).values for m in (fresh, other))
    assert own.shape == cube.s1.contrast.embed(untrained).shape
    assert np.abs(own - theirs).mean() > 0.1 * own.std()


def test_its_weights_are_those_that_pretraining_begins_from(
    untrained: xc.Model, cube: xr.Dataset, tmp_path: Path
) -> None:
    fresh = write_fresh_model(untrained.card, tmp_path / "model", seed=0)
    for array in (cube.s1, cube.s2):
        np.testing.assert_array_equal(
            array.contrast.embed(fresh).values, array.contrast.embed(untrained).values
        )
