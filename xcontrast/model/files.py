"""Exported files: how each format is written, run and read, and what it says of itself."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from xcontrast.errors import DataError, ModelError, problem

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

__all__ = ["ExportFile", "choose_file", "read_export"]

FORMAT = "xcontrast-export"
VERSION = 1
KEY = "xcontrast"
"""Under which a file holds its facts, as JSON."""
INPUT, OUTPUT = "images", "embedding"


class ExportFile(Protocol):
    """A format of exported files."""

    def write(self, program: ExportedProgram, example: Tensor) -> bytes:
        """Give a file's content, without facts."""
        ...

    def run(self, content: bytes, images: Tensor) -> Tensor:
        """Give the embedding that it computes."""
        ...

    def seal(self, content: bytes, facts: dict[str, Any]) -> bytes:
        """Add facts, and a checksum of all but them."""
        ...

    def open(self, content: bytes) -> tuple[dict[str, Any], str]:
        """Read the facts, and make the checksum anew."""
        ...


def read_export(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what an exported file says of itself, and check that it is whole.

    Parameters
    ----------
    path : path
        Written by :meth:`Model.export`.

    Returns
    -------
    dict
        ``sensor``, ``bands`` in order, ``units``, ``gsd`` in metres, ``space``, ``n_features``,
        ``stride`` in pixels, ``min_valid``; ``multiple``, of which the sides of images are, and
        ``halo``, the pixels from an edge within which cells differ from :func:`embed`'s; or the
        ``window`` that it takes; ``model_digest``, ``model_method``, ``model_encoder``,
        ``max_difference`` from the model, and the version of ``xcontrast`` that wrote it.

    Raises
    ------
    ModelError
        If it is no such file, is of a newer format, was damaged or changed, or onnx is missing.

    Examples
    --------
    >>> path = model.export(folder / "s1.onnx", sensor="s1")
    >>> told = xc.read_export(path)
    >>> told["bands"], told["stride"], told["n_features"], told["max_difference"] < 1e-4
    (['vv', 'vh'], 4, 512, True)
    """
    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _not_ours(file, error) from error
    kind = "torch" if content[:2] == b"PK" else "onnx"
    try:
        facts, checksum = choose_file(kind).open(content)
        ours = facts.get("format") == FORMAT
    except ModelError:
        raise
    except Exception as error:
        # Parsers of damaged files raise of many kinds.
        raise _not_ours(file, error) from error
    if not ours:
        raise _not_ours(file, None)
    if facts["format_version"] > VERSION:
        raise ModelError(
            problem(
                expected=f"format version {VERSION} or older",
                received=f"version {facts['format_version']} in {file}",
                do="upgrade xcontrast",
            )
        )
    if facts.pop("checksum", None) != checksum:
        raise ModelError(
            problem(
                expected="an exported file as xcontrast wrote it",
                received=f"{file}, whose content does not match its checksum",
                do="copy the file again from where it was made, or export the model again",
            )
        )
    return facts


def choose_file(format: str) -> ExportFile:
    """Give a format by its name, having checked that what it needs is installed.

    Parameters
    ----------
    format : {"onnx", "torch"}
        Which.

    Returns
    -------
    ExportFile

    Raises
    ------
    DataError
        If there is no such format.
    ModelError
        If a package is missing.
    """
    if format not in ("onnx", "torch"):
        raise DataError(
            problem(expected="format 'onnx' or 'torch'", received=repr(format), do="choose one")
        )
    if format == "torch":
        return TorchFile()
    names = ("onnx", "onnxscript", "onnxruntime")
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            problem(
                expected=f"{', '.join(names)}, for format='onnx'",
                received=f"no {' and no '.join(missing)} here",
                do="pip install 'xcontrast[export]', or use format='torch'",
            )
        )
    return OnnxFile()


class OnnxFile:
    """ONNX; facts are in its ``metadata_props``."""

    def write(self, program: ExportedProgram, example: Tensor) -> bytes:
        """Translate a traced network."""
        import torch

        made = torch.onnx.export(
            program, (example,), dynamo=True, verbose=False,
            input_names=[INPUT], output_names=[OUTPUT],
        )  # fmt: skip
        assert made is not None
        content: bytes = made.model_proto.SerializeToString(deterministic=True)
        return content

    def run(self, content: bytes, images: Tensor) -> Tensor:
        """Run by ONNX Runtime, on the CPU."""
        import onnxruntime
        import torch

        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])

    def seal(self, content: bytes, facts: dict[str, Any]) -> bytes:
        """Add facts."""
        import onnx

        model = onnx.load_from_string(content)
        onnx.helper.set_model_props(model, {KEY: _to_json(facts, self._checksum(model))})
        sealed: bytes = model.SerializeToString(deterministic=True)
        return sealed

    def open(self, content: bytes) -> tuple[dict[str, Any], str]:
        """Read facts and checksum."""
        import onnx

        model = onnx.load_from_string(content)
        props = {entry.key: entry.value for entry in model.metadata_props}
        return json.loads(props.get(KEY, "{}")), self._checksum(model)

    @staticmethod
    def _checksum(model: Any) -> str:
        bare = type(model)()
        bare.CopyFrom(model)
        del bare.metadata_props[:]
        return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


class TorchFile:
    """PyTorch's exported program; facts are in an extra file of the archive."""

    extra = f"extra/{KEY}.json"

    def write(self, program: ExportedProgram, example: Tensor) -> bytes:  # noqa: ARG002
        """Save a traced network."""
        import torch

        buffer = io.BytesIO()
        with warnings.catch_warnings():
            # PyTorch's, of weights that are parts of a larger buffer: it matters where they are
            # not on the CPU. Here they are, and what is read back is compared with the model.
            warnings.filterwarnings("ignore", message="No complete tensor found in the group")
            torch.export.save(program, buffer)
        return buffer.getvalue()

    def run(self, content: bytes, images: Tensor) -> Tensor:
        """Run by PyTorch, on the CPU."""
        import torch

        program = torch.export.load(io.BytesIO(content))
        with torch.no_grad():
            embedding: Tensor = program.module()(images)
        return embedding

    def seal(self, content: bytes, facts: dict[str, Any]) -> bytes:
        """Add facts."""
        buffer = io.BytesIO(content)
        with zipfile.ZipFile(buffer, "a") as archive:
            root = archive.namelist()[0].split("/")[0]
            archive.writestr(f"{root}/{self.extra}", _to_json(facts, self._checksum(archive)))
        return buffer.getvalue()

    def open(self, content: bytes) -> tuple[dict[str, Any], str]:
        """Read facts and checksum."""
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            name = next((n for n in archive.namelist() if n.endswith(self.extra)), None)
            facts = {} if name is None else json.loads(archive.read(name))
            return facts, self._checksum(archive)

    def _checksum(self, archive: zipfile.ZipFile) -> str:
        told = hashlib.sha256()
        for name in sorted(archive.namelist()):
            if not name.endswith(self.extra):
                told.update(name.encode() + hashlib.sha256(archive.read(name)).digest())
        return told.hexdigest()


def _to_json(facts: dict[str, Any], checksum: str) -> str:
    told = {"format": FORMAT, "format_version": VERSION, **facts, "checksum": checksum}
    return json.dumps(told, sort_keys=True)


def _not_ours(path: Path, error: Exception | None) -> ModelError:
    reason = "" if error is None else f" ({type(error).__name__}: {error})"
    return ModelError(
        problem(
            expected="a whole file that Model.export wrote",
            received=f"{path}{reason}",
            do="give that file; copy it again if it was cut short",
        )
    )
