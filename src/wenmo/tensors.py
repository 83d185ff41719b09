"""Read and write safetensors files."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor

from wenmo.files import atomic
from wenmo.types import WenmoError


def save_tensors(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file, atomically."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        try:
            save_file(contiguous, temporary, metadata)
        except SafetensorError as error:  # raised for a failed write
            if "No space left" in str(error):
                raise WenmoError(f"{path}: the disk is full: make room and run it again") from None
            raise


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        WenmoError: missing, truncated, or not a safetensors file.
    """
    try:
        if not str(path).isprintable():  # safetensors cannot open a path with surrogates
            return load(path.read_bytes())
        return load_file(path)
    except FileNotFoundError:
        raise WenmoError(f"{path}: no such file") from None
    except (SafetensorError, ValueError) as error:
        raise WenmoError(f"{path}: damaged, not a whole safetensors file ({error})") from None
