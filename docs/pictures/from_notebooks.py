"""Pictures that the notebooks made, for pages that show the same thing.

    python docs/pictures/from_notebooks.py

Run again after notebooks were: a test compares them.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
PICTURES = {
    "timeline": ("1_pairs", "xc.plot(cube);"),
    "windows": ("1_pairs", "Rectangle((col, row), 48, 48"),
    "training": ("2_pretrain", "xc.plot(model.history);"),
    "probability": ("3_flood_from_clicks", '"entropy (1: all alike)"'),
    "hits": ("3_flood_from_clicks", "plot_hits(mapped.isel(x=east)"),
    "stopped": ("5_region_on_a_cluster", "plan.open().label.contrast.plot();"),
}
"""By file name: a notebook, and words of the cell whose first picture it is."""


def find_picture(name: str) -> bytes:
    """Give a picture as the notebook holds it."""
    notebook, words = PICTURES[name]
    cells = json.loads((EXAMPLES / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    (cell,) = (c for c in cells if c["cell_type"] == "code" and words in "".join(c["source"]))
    shown = [o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {})]
    return base64.b64decode("".join(shown[0]))


if __name__ == "__main__":
    for name in PICTURES:
        (HERE / f"{name}.png").write_bytes(find_picture(name))
