"""From a catalog or a person's own arrays to a cube on one grid, in physical units."""
