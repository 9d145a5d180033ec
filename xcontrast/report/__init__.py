"""Reports: one HTML file each."""

from xcontrast.report.page import write_report
from xcontrast.report.parts import Picture, Section, Table

__all__ = ["Picture", "Section", "Table", "write_report"]
