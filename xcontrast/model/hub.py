"""Models, heads and segmenters on a model hub: sent whole, fetched and checked like any folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from xcontrast.errors import ModelError, SourceError, problem
from xcontrast.folders import CARD, WEIGHTS

__all__ = ["find_folder", "push_to_hub"]

NAME = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
HUB_ID = re.compile(rf"({NAME})(?:@([\w./-]+))?")
README = "README.md"
FILES = (CARD, WEIGHTS, "history.csv")
"""What makes a folder: nothing else of a repository is fetched."""
READ = (
    "check the path if it is a folder that you mean; else the id, the connection, and "
    "`hf auth login` for what is private"
)
WRITE = "log in by `hf auth login`, or give a token that may write there; check the connection"


class Publishable(Protocol):
    """A model, a head or a segmenter."""

    def save(self, path: str | os.PathLike[str]) -> Any:
        """Write it as a folder, and check that."""
        ...

    def card_markdown(self, *, source: str) -> str:
        """Describe it."""
        ...


def push_to_hub(
    thing: Publishable,
    repo_id: str,
    *,
    token: str | None = None,
    private: bool = False,
    card: str | None = None,
    message: str | None = None,
) -> str:
    """Send the folder and its card to a repository of the Hugging Face hub.

    What was changed since it was written is refused before anything is sent. The repository is
    made if there is none; its ``README.md`` is replaced. Others then load it by its id.

    Parameters
    ----------
    thing : Model, Head or Segmenter
        What is sent.
    repo_id : str
        ``"name/repository"``.
    token : str, optional
        With the right to write; by default that of ``hf auth login`` or of ``HF_TOKEN``.
    private : bool, default False
        Whether a repository that is made is hidden from others.
    card : str, optional
        Text of ``README.md``; by default that of :meth:`Model.card_markdown`. For a licence:
        ``card=model.card_markdown(source=repo_id, license="cc-by-4.0")``.
    message : str, optional
        Of the commit.

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    ModelError
        If the folder was damaged or changed.
    SourceError
        If the id is none, or the hub cannot be reached or refuses.
    """
    found = HUB_ID.fullmatch(repo_id)
    if found is None or found[2] is not None:
        raise SourceError(
            problem(
                expected="an id such as 'name/repository'",
                received=repr(repo_id),
                do="give your name on the hub and a repository's, without an address",
            )
        )
    with TemporaryDirectory() as place:
        folder = Path(place) / "folder"
        thing.save(folder)
        text = thing.card_markdown(source=repo_id) if card is None else card
        (folder / README).write_text(text, encoding="utf-8")
        from huggingface_hub import HfApi

        hub = HfApi(token=token, library_name="xcontrast")
        with _hub_faults(repo_id, SourceError, WRITE):
            hub.create_repo(repo_id, private=private, exist_ok=True)
            sent = hub.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=message or "Written by xcontrast",
            )
    return str(sent.commit_url)


def find_folder(path: str | os.PathLike[str]) -> Path:
    """Give the folder that is meant: fetched from the hub where there is none, and it is an id.

    Parameters
    ----------
    path : path
        A folder, which is given back as it is; or, as a text, a hub id ``"name/repository"`` or
        ``"name/repository@revision"``.

    Returns
    -------
    Path
        Not checked yet.

    Raises
    ------
    ModelError
        If the hub has no such repository or revision, cannot be reached, or the repository holds
        no folder of ours.

    Examples
    --------
    >>> find_folder("./runs/po").as_posix()  # no id begins with a dot
    'runs/po'
    """
    folder = Path(path)
    found = HUB_ID.fullmatch(path) if isinstance(path, str) else None
    if found is None or folder.exists():
        return folder
    from huggingface_hub import snapshot_download

    repo_id, revision = found.groups()
    with _hub_faults(str(path), ModelError, READ):
        fetched = Path(
            snapshot_download(
                repo_id, revision=revision, allow_patterns=list(FILES), library_name="xcontrast"
            )
        )
    missing = [name for name in (CARD, WEIGHTS) if not (fetched / name).is_file()]
    if missing:
        raise ModelError(
            problem(
                expected=f"a repository with {CARD} and {WEIGHTS}, as push_to_hub writes it",
                received=f"{str(path)!r}, without {' and '.join(missing)}",
                do="give the id of a model, head or segmenter of xcontrast; published weights of "
                "others are read by xc.import_weights",
            )
        )
    return fetched


@contextmanager
def _hub_faults(what: str, kind: type[ModelError | SourceError], do: str) -> Iterator[None]:
    """Say faults of the hub as ours are said."""
    from huggingface_hub import errors

    cause: Exception
    try:
        yield
    except errors.RepositoryNotFoundError as error:
        fault, cause = "which the hub does not have, or does not show to you", error
    except errors.RevisionNotFoundError as error:
        fault, cause = "a revision that the repository does not have", error
    except errors.LocalEntryNotFoundError as error:
        fault, cause = "and no hub that answers, nor a copy fetched before", error
    except Exception as error:
        # What clients of HTTP raise has no base class of its own.
        reason = next(iter(str(error).strip().splitlines()), "")
        fault, cause = f"and {type(error).__name__}: {reason}", error
    else:
        return
    expected = "a folder here, or a repository of the hub that can be read"
    if kind is SourceError:
        expected = "a repository of the hub that can be written to"
    raise kind(problem(expected=expected, received=f"{what!r}, {fault}", do=do)) from cause
