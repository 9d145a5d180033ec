import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data, or a skip that says where it was looked for."""
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("XCONTRAST_DATA", default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set XCONTRAST_DATA to the folder that holds it")
    return folder
