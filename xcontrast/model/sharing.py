"""Models for workers that do not see the client's disk: sent once, kept in each worker's cache."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from xcontrast.errors import ModelError, problem
from xcontrast.folders import cached_folder, holds, pack_folder, unpack_folder
from xcontrast.model.folder import Model, load_model

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Parcel", "find_model", "share"]


class Shareable(Protocol):
    """A model or a segmenter: a folder with a digest."""

    @property
    def path(self) -> Path:
        """Where it lies here."""
        ...

    @property
    def digest(self) -> str:
        """Names what is in it."""
        ...


def share(model: Shareable, client: Client) -> None:
    """Send a model or a segmenter to all workers of a cluster, those to come included.

    For workers that do not see the folder of the model: a worker looks for a model at the path
    that it had when the embedding was made, then in its own cache, where this puts a copy.
    ``XCONTRAST_CACHE`` in a worker's environment moves that. Again for the same model it sends
    nothing. :meth:`MapPlan.run` calls it; before a lazy embedding is computed on such a cluster,
    call it once.

    Parameters
    ----------
    model : Model or Segmenter
        To embed or predict with.
    client : distributed.Client
        Of the cluster.

    Raises
    ------
    ModelError
        If the model's folder is gone or was changed, or a worker can keep no copy.

    Examples
    --------
    >>> xc.share(model, client)
    """
    name = f"xcontrast-{model.digest}"
    if client.run_on_scheduler(lambda dask_scheduler: name in dask_scheduler.worker_plugins):
        return
    places = (model.path, cached_folder(model.digest))
    folder = next((place for place in places if holds(place, model.digest)), None)
    if folder is None:
        raise ModelError(
            problem(
                expected=f"{model.digest} at its path or in the cache",
                received=f"nothing whole with that digest in {' or '.join(map(str, places))}",
                do="put its folder back, or load it from where it is",
            )
        )
    parcel = Parcel(str(model.path.resolve()), model.digest, pack_folder(folder))
    try:
        client.register_plugin(_make_plugin(parcel), name=name)
    except Exception:
        # Or the next call would find it registered, and send nothing.
        with suppress(Exception):
            client.unregister_worker_plugin(name)
        raise


def find_model(path: str, digest: str) -> Model:
    """Find a model by its digest: at its path, or in the cache of this process.

    Parameters
    ----------
    path : str
        Where it was on the client.
    digest : str
        Of the model.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If neither place holds it, whole.
    """
    received = []
    for folder in (Path(path), cached_folder(digest)):
        try:
            model = load_model(folder)
        except ModelError:
            received.append(f"no whole model in {folder}")
            continue
        if model.digest == digest:
            return model
        received.append(f"model {model.digest} in {folder}")
    raise ModelError(
        problem(
            expected=f"model {digest} at its path or in the cache",
            received=" and ".join(received),
            do="send it to the workers of a cluster with xc.share(model, client); or put its "
            "folder back, or embed again with another model",
        )
    )


@dataclass
class Parcel:
    """A model folder on its way to a worker."""

    path: str
    """Where it was on the client."""
    digest: str
    files: dict[str, bytes]

    def is_in(self, folder: Path) -> bool:
        """Say whether a folder holds the same, whole."""
        return holds(folder, self.digest)

    def unpack(self) -> None:
        """Write the model to the cache of this process, unless it is there.

        Raises
        ------
        ModelError
            If the cache cannot be written, and the model is not at its path either.
        """
        target = cached_folder(self.digest)
        try:
            if not self.is_in(target):
                unpack_folder(self.files, target)
        except OSError as error:
            # A worker that sees the client's folder needs no copy.
            if not self.is_in(Path(self.path)):
                raise ModelError(
                    problem(
                        expected="a cache on every worker that can hold the model",
                        received=f"{target}, where {error}",
                        do="set XCONTRAST_CACHE in the workers' environment to a folder with "
                        f"{sum(map(len, self.files.values())) / 1e6:.0f} MB free",
                    )
                ) from error
        # The worker keeps the plugin as long as it lives.
        self.files = {}


def _make_plugin(parcel: Parcel) -> Any:
    """Wrap a parcel as a plugin; distributed takes only classes that derive from its own."""
    import asyncio

    from distributed import WorkerPlugin

    class Delivery(WorkerPlugin):  # type: ignore[misc]
        def __init__(self, parcel: Parcel) -> None:
            self.parcel = parcel

        async def setup(self, worker: Any) -> None:  # noqa: ARG002
            # Off the worker's own thread, which answers the scheduler meanwhile.
            await asyncio.to_thread(self.parcel.unpack)

    return Delivery(parcel)
