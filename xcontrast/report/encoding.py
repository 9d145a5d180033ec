"""Pictures as the bytes of a PNG."""

from __future__ import annotations

import io
from typing import Any

from xcontrast.errors import DataError, problem

__all__ = ["encode_picture"]

DPI = 110
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def encode_picture(image: Any) -> bytes:
    """Encode a picture, and forget the figure that pyplot would otherwise keep open."""
    if not isinstance(image, bytes):
        figure = image.get_figure(root=True) if hasattr(image, "get_figure") else None
        figure = image if hasattr(image, "savefig") else figure
        if figure is None:
            raise DataError(
                problem(
                    expected="a matplotlib figure, axes, or the bytes of a PNG",
                    received=f"a {type(image).__name__}",
                    do="pass what the functions of xcontrast.plotting return",
                )
            )
        import matplotlib.pyplot as plt

        buffer = io.BytesIO()
        figure.savefig(
            buffer, format="png", dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.06
        )
        plt.close(figure)
        return buffer.getvalue()
    if not image.startswith(PNG_MAGIC) or len(image) < 24:
        raise DataError(
            problem(
                expected="the bytes of a PNG",
                received=f"{len(image)} bytes that begin with {image[:8]!r}",
                do="save the picture with format='png'",
            )
        )
    return image
