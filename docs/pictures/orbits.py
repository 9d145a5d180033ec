"""Draw orbits.png: when each sensor looked, and how many dates find a partner by the tolerance.

Made by `python docs/pictures/orbits.py`.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
from drawing import keep, open_scene


def main() -> None:
    """Draw it with the package's own charts, of the simulated archive."""
    cube, _ = open_scene()
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(9, 5.4), height_ratios=[1, 1.25], layout="constrained"
    )
    cube.contrast.plot(ax=upper)
    cube.contrast.plot(kind="rate", ax=lower)
    keep(figure, "orbits")


if __name__ == "__main__":
    main()
