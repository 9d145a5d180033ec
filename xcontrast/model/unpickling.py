"""Weight files of others, read without running what they might hold.

PyTorch's own safe reader (``weights_only``) refuses checkpoints that also pickle settings or
callbacks, as Seasonal Contrast's do. Here tensors are read, and every class that is not part of a
tensor becomes an inert stand-in.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from xcontrast.errors import ModelError, problem

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["read_weights"]

TENSOR_PARTS = {
    ("torch", "Size"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch.storage", "UntypedStorage"),
}
"""Not torch.storage._load_from_bytes: it unpickles again, unguarded."""

FAULTS = (
    OSError, RuntimeError, ValueError, TypeError, EOFError, KeyError, IndexError, AttributeError,
    pickle.UnpicklingError,
)  # fmt: skip
"""What a file that is no file of weights, or not a whole one, makes its readers raise."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file: safetensors, or PyTorch's zip or older form.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict of str to Tensor
        On the CPU. Of nested dicts, ``state_dict``, ``model`` or ``teacher`` where there is one.

    Raises
    ------
    ModelError
        If it is not there, cannot be read, or holds no tensors.
    """
    try:
        content = _read(path)
    except FAULTS as error:
        raise ModelError(
            problem(
                expected="a file of weights, .safetensors or as torch.save writes it",
                received=f"{path} ({type(error).__name__}: {error})",
                do="download it again, or check the path",
            )
        ) from error
    for key in ("state_dict", "model", "teacher"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = _keep_tensors(content)
    if not tensors:
        raise ModelError(
            problem(
                expected="weights by their names",
                received=f"{path}, without any",
                do="give the file with the state dict",
            )
        )
    return tensors


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    import torch

    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_Guarded)


def _keep_tensors(content: Any) -> dict[str, Tensor]:
    import torch

    if not isinstance(content, dict):
        return {}
    return {str(k): v.detach() for k, v in content.items() if isinstance(v, torch.Tensor)}


class _StandIn(dict[Any, Any]):
    """Takes whatever a pickle gives it and does nothing with it."""

    def __init__(self, *_args: Any, **_options: Any) -> None:
        super().__init__()

    def __setstate__(self, _state: Any) -> None:
        pass

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def append(self, _item: Any) -> None:
        """Take an item of a list's subclass."""

    def extend(self, _items: Any) -> None:
        """Take items of a list's subclass."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        import torch

        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in TENSOR_PARTS or (module == "torch" and _is_dtype(name)):
            return super().find_class(module, name)
        if module == "torch" and name.endswith("Storage"):
            return getattr(torch, name)
        return type(name, (_StandIn,), {})


def _is_dtype(name: str) -> bool:
    import torch

    return isinstance(getattr(torch, name, None), torch.dtype)


class _Guarded:
    """What torch.load asks of a pickle module."""

    __name__ = "guarded"
    Unpickler: ClassVar[type[pickle.Unpickler]] = _Unpickler

    @staticmethod
    def load(file: Any, **options: Any) -> Any:
        """As pickle.load."""
        return _Unpickler(file, **options).load()
