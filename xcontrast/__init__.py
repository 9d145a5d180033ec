"""xcontrast: from Sentinel-1/2 cubes to contrastive encoders, embeddings and maps, in xarray."""

from __future__ import annotations

from xcontrast.legends import DYNAMIC_WORLD as DYNAMIC_WORLD
from xcontrast.legends import FLOOD as FLOOD
from xcontrast.legends import WORLDCOVER as WORLDCOVER
from xcontrast.legends import Legend as Legend
from xcontrast.sensors import S1 as S1
from xcontrast.sensors import S2 as S2
from xcontrast.sensors import Sensor as Sensor
from xcontrast.version import __version__ as __version__
