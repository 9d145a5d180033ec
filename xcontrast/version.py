"""The version of the package: that of its tag, as it was installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("xcontrast")
except PackageNotFoundError:  # Files that were not installed.
    __version__ = "0.0.0+unknown"
