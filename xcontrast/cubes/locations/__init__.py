"""Where to gather: locations drawn around cities, over land or on a grid, and drawn again."""

from __future__ import annotations

from xcontrast.cubes.locations.sampler import can_redraw, redraw, sample_locations

__all__ = ["can_redraw", "redraw", "sample_locations"]
