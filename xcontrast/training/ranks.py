"""Several processes that train together: the first one writes, the others follow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xcontrast.errors import DataError, problem

__all__ = ["check_folder", "first_goes_ahead", "is_first"]


def is_first() -> bool:
    """Say whether this process is the one that writes."""
    return _find_rank()[0] == 0


@contextmanager
def first_goes_ahead() -> Iterator[None]:
    """Have the first process do what follows before the others do it."""
    rank, n = _find_rank()
    if n > 1 and rank:
        _wait()
    yield
    if n > 1 and not rank:
        _wait()


def check_folder(folder: Path | None) -> None:
    """Refuse to train together without a folder that all processes know.

    Parameters
    ----------
    folder : Path, optional
        Of the model to be.

    Raises
    ------
    DataError
        If there are several processes and none is given.
    """
    n = _find_rank()[1]
    if n > 1 and folder is None:
        raise DataError(
            problem(
                expected=f"`out`, a folder that all {n} processes see",
                received="none",
                do="give every process the same one",
            )
        )


def _find_rank() -> tuple[int, int]:
    # torch takes a second to import, and a call that is wrong shall be told so at once.
    from xcontrast.sampling.devices import find_rank

    return find_rank()


def _wait() -> None:
    import torch.distributed as dist

    dist.barrier()
