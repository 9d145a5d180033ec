"""Several processes that train together: the first one writes, the others follow."""

from __future__ import annotations

import pickle
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
    """Have the first process do what follows before the others do it; if it fails, all do."""
    rank, n = _find_rank()
    if n > 1 and rank:
        _share(None)
    try:
        yield
    except Exception as error:
        if n > 1 and not rank:
            _share(error)
        raise
    if n > 1 and not rank:
        _share(None)


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


def _share(failure: Exception | None) -> None:
    """Have all wait for the first one, and the others raise what it failed with."""
    import torch.distributed as dist

    told = [_as_sent(failure)]
    dist.broadcast_object_list(told, src=0)
    if _find_rank()[0] and told[0] is not None:
        raise told[0]


def _as_sent(failure: Exception | None) -> Exception | None:
    """Give an error that can be pickled; not every one can, there and back."""
    try:
        pickle.loads(pickle.dumps(failure))
    except Exception:
        return RuntimeError(f"{type(failure).__name__}: {failure}")
    return failure
